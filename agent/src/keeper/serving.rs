//! The control socket's orders, carried to the gate and back.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::gate::{self, Orders};
use super::observers::Observers;
use super::{KeeperError, Reload, destinations, names, registrar, terms, watching};
use crate::config::Settings;
use crate::control::{Answer, Asker, Order, Server, Serving};
use crate::model::{Caller, DatabaseName, EventKind, HoldState, LogCaller, LogNote};

pub type SharedReload = Mutex<Reload>;

/// An upgrade waits for the new enforcer's fences; all else is quick.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a watcher that gets no event is asked whether it is still there.
const LOOK: Duration = Duration::from_millis(500);

/// Who is owed an answer.
#[derive(Debug, Default)]
pub struct Busy {
    answering: RwLock<()>,
}

impl Busy {
    fn enter(&self) -> RwLockReadGuard<'_, ()> {
        self.answering.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every order that was taken is answered.
    pub fn wait(&self) {
        drop(self.answering.write().unwrap_or_else(PoisonError::into_inner));
    }
}

pub fn bind(settings: &Settings) -> Result<Server, KeeperError> {
    Server::bind(&settings.control).map_err(|error| KeeperError::Control {
        path: settings.control.clone(),
        reason: error.to_string(),
    })
}

/// Lets those in who approve. A group that isn't there is nobody's.
pub fn admit(server: &mut Server, settings: &Settings) {
    let Some(group) = &settings.approvals.group else { return };
    let Some(gid) = names::gid(group) else {
        tracing::warn!("there is no group `{group}`: root alone decides what is held");
        return;
    };
    if let Err(error) = server.admit(gid) {
        tracing::warn!("`{group}` can't be let in to decide what is held: {error}");
    }
}

pub fn start(
    server: Server,
    orders: Orders,
    observers: Arc<Observers>,
    reload: Arc<SharedReload>,
    busy: Arc<Busy>,
    path: &Path,
) -> Result<Serving, KeeperError> {
    server
        .serve(move |order, asker| {
            // A watcher may stay for ever, and is owed no last word.
            let _until_answered =
                (!matches!(order, Order::Observe { .. } | Order::WatchHolds)).then(|| busy.enter());
            serve(order, asker, &orders, &observers, &reload);
        })
        .map_err(|error| KeeperError::Control { path: path.to_owned(), reason: error.to_string() })
}

fn serve(
    order: Order,
    asker: &mut Asker,
    orders: &Orders,
    observers: &Observers,
    reload: &SharedReload,
) {
    let answer = match order {
        Order::Status => {
            let (report_tx, report_rx) = channel();
            orders.send(gate::Order::Status(report_tx));
            match report_rx.recv_timeout(PATIENCE) {
                Ok(report) => Answer::Status(report),
                Err(_) => Answer::Failed { error: "the gate does not answer".into() },
            }
        }
        Order::Observe { follow } => {
            observe(follow, asker, observers);
            Answer::Done { message: String::new() }
        }
        Order::Upgrade { binary, drain_ms } => {
            let drain = drain_ms.map(Duration::from_millis);
            let outcome = ask(orders, |done| gate::Order::Upgrade { binary, drain, done });
            told(outcome)
        }
        Order::Reload => told(reread(orders, reload, Some(named(asker.caller())))),
        Order::Forget { schema, table, database, server } => told(ask(orders, |done| {
            let fits = move |name: &DatabaseName| {
                server.as_ref().is_none_or(|one| *one == name.destination)
                    && database.as_ref().is_none_or(|one| *one == name.database)
            };
            let by = named(asker.caller());
            gate::Order::Forget { schema, table, of: Box::new(fits), by, done }
        })),
        Order::LogRead { command } => {
            observers.note(LogNote::Read { by: named(asker.caller()), command });
            Answer::Done { message: String::new() }
        }
        Order::WatchHolds => {
            watch_holds(asker, orders, observers);
            Answer::Done { message: String::new() }
        }
        wanted @ (Order::Holds { .. }
        | Order::Hold { .. }
        | Order::Approve { .. }
        | Order::Deny { .. }) => of_holds(orders, wanted, asker),
        Order::Detach => told(ask(orders, |done| {
            let by = Some(named(asker.caller()));
            gate::Order::Stop { detach: true, by, done }
        })),
    };
    asker.send(&answer);
}

/// Who asks, for the log.
fn named(caller: &Caller) -> LogCaller {
    LogCaller {
        uid: caller.uid,
        user: names::user(caller.uid),
        login_uid: caller.login_uid,
        login_user: caller.login_uid.and_then(names::user),
        before_uid: caller.before_uid,
        before_user: caller.before_uid.and_then(names::user),
    }
}

/// Reads the settings and gives them to the gate; broken ones are refused. `by`: who
/// asks, where it isn't a signal.
pub fn reread(
    orders: &Orders,
    reload: &SharedReload,
    by: Option<LogCaller>,
) -> Result<String, String> {
    let settings = {
        let reload = reload.lock().unwrap_or_else(PoisonError::into_inner);
        reload()
    };
    let settings =
        settings.map_err(|mistakes| format!("the running settings stay:\n{mistakes}"))?;
    let prepared = Box::new(
        terms::prepare(&settings)
            .map_err(|faults| format!("the running settings stay:\n{faults}"))?,
    );
    let known = registrar::known(&settings.identity)
        .map(Box::new)
        .map_err(|mistakes| format!("the running settings stay:\n{mistakes}"))?;
    let resolved = watching::resolve_all(&destinations::hosts_of(&settings.protect));
    let settings = Box::new(settings);
    ask(orders, |done| gate::Order::Settings { settings, resolved, prepared, known, by, done })
}

pub fn ask(
    orders: &Orders,
    order: impl FnOnce(Sender<Result<String, String>>) -> gate::Order,
) -> Result<String, String> {
    let (done_tx, done_rx): (_, Receiver<Result<String, String>>) = channel();
    orders.send(order(done_tx));
    done_rx.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("the gate does not answer".into()))
}

fn told(outcome: Result<String, String>) -> Answer {
    match outcome {
        Ok(message) => Answer::Done { message },
        Err(error) => Answer::Failed { error },
    }
}

fn observe(follow: bool, asker: &mut Asker, observers: &Observers) {
    let (kept, events_rx) = if follow {
        let (kept, events_rx) = observers.watch();
        (kept, Some(events_rx))
    } else {
        (observers.kept(), None)
    };
    for event in kept {
        if !asker.send(&Answer::Event(Box::new((*event).clone()))) {
            return;
        }
    }
    let Some(events_rx) = events_rx else { return };
    loop {
        match events_rx.recv_timeout(LOOK) {
            Ok(event) => {
                if !asker.send(&Answer::Event(Box::new((*event).clone()))) {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                if asker.is_gone() {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What the gate answers to an order about holds.
fn of_holds(orders: &Orders, wanted: Order, asker: &Asker) -> Answer {
    let (answer_tx, answer_rx) = channel();
    orders.send(gate::Order::Holds(Box::new(wanted), asker.caller().clone(), answer_tx));
    answer_rx
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Answer::Failed { error: "the gate does not answer".into() })
}

/// Those that wait, then each as something becomes of it.
fn watch_holds(asker: &mut Asker, orders: &Orders, observers: &Observers) {
    // Before they are listed, or one that comes in between is missed.
    let (_, events_rx) = observers.watch();
    if let Answer::Holds { holds } = of_holds(orders, Order::Holds { all: false }, asker) {
        for hold in holds.into_iter().filter(|hold| hold.state == HoldState::Waiting) {
            if !asker.send(&Answer::Hold(Box::new(hold))) {
                return;
            }
        }
    }
    loop {
        match events_rx.recv_timeout(LOOK) {
            Ok(event) => {
                let EventKind::Hold { hold, .. } = &event.kind else { continue };
                let wanted = Order::Hold { id: hold.id.0.clone() };
                let Answer::Holds { holds } = of_holds(orders, wanted, asker) else { continue };
                for hold in holds {
                    if !asker.send(&Answer::Hold(Box::new(hold))) {
                        return;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                if asker.is_gone() {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
