//! One connection's records.

mod together;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::flood::{self, Allowance};
use super::{Group, Log, LogError, Sealed, Shared, State, micros};
use crate::audit::record::{self, Back, Body, Head, OnFlow};
use crate::audit::redact;
use crate::audit::says::HIDDEN;
use crate::audit::statement::{self, Outcome, PROCESS, Reach, Statement, TransactionEnd, key_of};
use crate::model::{Carried, Closing, Durability, Flow, LONGEST_VALUE, Mode, cut};

/// For one session; its records bear its process's own count.
#[derive(Debug)]
pub struct Connection {
    shared: Option<Arc<Shared>>,
    flow: Arc<Flow>,
    party: Arc<Party>,
    /// Behind the last of its records that the disk is to have before anything more is
    /// let through.
    owed: AtomicU64,
}

/// Whose a record is. Some are written when the connection has gone.
#[derive(Debug)]
pub struct Party {
    /// Tells it from this process's other connections.
    pub number: u64,
    /// Of all its process's connections: it is as long as all else that they keep.
    process_json: Arc<str>,
    process_key: u128,
    flow_json: Box<str>,
    flow_key: u128,
    sequence: Arc<AtomicU64>,
    payer: flood::Payer,
}

/// A process of which there were connections.
#[derive(Debug, Default)]
pub(super) struct Counted {
    sequence: Arc<AtomicU64>,
    /// As long as one of its connections is there.
    told: Option<Weak<str>>,
}

impl Log {
    /// Writes nothing yet.
    pub fn connection(&self, flow: Arc<Flow>) -> Connection {
        // Who it is goes with the process: told once for all its connections.
        let mut process = serde_json::to_value(&flow.process).unwrap_or_default();
        let mut rest = serde_json::to_value(&*flow).unwrap_or_default();
        if let (Some(process), Some(rest)) = (process.as_object_mut(), rest.as_object_mut()) {
            rest.remove("process");
            process.extend(rest.remove("actor").map(|actor| ("actor".to_owned(), actor)));
        }
        let process_json = process.to_string();
        let flow_json = rest.to_string().into_boxed_str();
        let (number, sequence, process_json) = match self.shared() {
            Some(shared) => shared.lock().counted(&flow, &process_json),
            None => (0, Arc::default(), process_json.into()),
        };
        let party = Arc::new(Party {
            number,
            process_key: key_of(PROCESS, process_json.as_bytes()),
            flow_key: key_of(FLOW, flow_json.as_bytes()),
            process_json,
            flow_json,
            sequence,
            payer: flood::payer(&flow.process),
        });
        Connection { shared: self.shared().cloned(), flow, party, owed: AtomicU64::new(0) }
    }
}

impl State {
    /// The connection's number, and where its process's records are counted. `told`: who
    /// that is, as far as is known by now.
    fn counted(&mut self, flow: &Flow, told: &str) -> (u64, Arc<AtomicU64>, Arc<str>) {
        if self.processes.len() > MOST_PROCESSES {
            self.processes.retain(|_, known| Arc::strong_count(&known.sequence) > 1);
        }
        self.connections += 1;
        let known = self.processes.entry(flow.process.key).or_default();
        let shared = known.told.as_ref().and_then(Weak::upgrade).filter(|known| **known == *told);
        let told = shared.unwrap_or_else(|| told.into());
        known.told = Some(Arc::downgrade(&told));
        (self.connections, Arc::clone(&known.sequence), told)
    }
}

impl Connection {
    #[cfg(test)]
    pub(super) fn party(&self) -> &Arc<Party> {
        &self.party
    }

    /// Who it is, as it is told once for all connections of that process.
    #[cfg(test)]
    pub(super) fn process(&self) -> &Arc<str> {
        &self.party.process_json
    }

    pub fn opened(&self) -> Result<(), LogError> {
        self.event(|head, _| Body::Opened(head))
    }

    /// Who it logged in as, or was refused, and how it is carried.
    pub fn session(&self, carried: &Carried) -> Result<(), LogError> {
        let application = carried.application.as_deref().map(named);
        let carried = Carried { application, ..carried.clone() };
        let json: Box<str> = serde_json::to_string(&carried).unwrap_or_default().into();
        self.event(|head, _| Body::Session(OnFlow { head, json: json.clone() }))
    }

    /// It calls itself otherwise from now on. What can't be recorded is counted.
    pub fn renamed(&self, application: &str) {
        let told = serde_json::json!({ "application": named(application) });
        let json: Box<str> = told.to_string().into();
        let told = self.event(|head, _| Body::Renamed(OnFlow { head, json: json.clone() }));
        if let (Err(_), Some(shared)) = (told, &self.shared) {
            shared.lose();
        }
    }

    /// What the settings say of the session turned out not to be so.
    pub fn doubted(&self, why: &str) {
        let json: Box<str> = serde_json::json!({ "why": why }).to_string().into();
        let told = self.event(|head, _| Body::Doubted(OnFlow { head, json: json.clone() }));
        if let (Err(_), Some(shared)) = (told, &self.shared) {
            shared.lose();
        }
    }

    /// To be called once, with the connection's last words.
    pub fn closed(&self, closing: &Closing) -> Result<(), LogError> {
        let mut json = serde_json::to_value(closing).unwrap_or_default();
        if let Some(fields) = json.as_object_mut() {
            // The connection's id stands in its `flow`; the rest in `session`, but for
            // what came of it since.
            fields.remove("flow");
            fields.remove("carried");
            if let Some(fault) = closing.carried.as_ref().and_then(|it| it.fault.as_deref()) {
                fields.insert("fault".into(), fault.into());
            }
        }
        let json: Box<str> = json.to_string().into();
        if let Some(shared) = &self.shared {
            self.end_sums(shared);
        }
        self.event(|head, _| Body::Closed(OnFlow { head, json: json.clone() }))
    }

    /// Records that a statement is about to be let through, refused or held.
    ///
    /// For a strict destination an error means that it must not be let through. Where
    /// the settings say so, it must not be before the disk has it: see [`Self::owes`].
    /// For a permissive one there is always a seal; if nothing could be written
    /// it says so, and the loss is counted and later recorded.
    pub fn intent(&self, statement: &Statement<'_>) -> Result<Sealed, LogError> {
        let Some(shared) = &self.shared else { return Ok(self.unrecorded(0)) };
        match self.try_intent(shared, statement) {
            Ok(sealed) => Ok(sealed),
            Err(_) if self.flow.mode == Mode::Permissive => {
                shared.lose();
                Ok(self.unrecorded(shared.writer))
            }
            Err(error) => Err(error),
        }
    }

    /// The record that the disk must have before anything more of this connection's is
    /// let through ([`Log::on_disk`]). `None`: there is none, as by default.
    #[inline]
    pub fn owes(&self) -> Option<u64> {
        let position = self.owed.load(Ordering::Relaxed).checked_sub(1)?;
        let shared = self.shared.as_ref()?;
        if shared.has_on_disk(position) {
            self.owed.store(0, Ordering::Relaxed);
            return None;
        }
        Some(position)
    }

    /// The disk doesn't take it. `false`: so nothing may be let through. Otherwise that
    /// is counted, and later recorded.
    pub fn goes_on_without_disk(&self) -> bool {
        let permissive = self.flow.mode == Mode::Permissive;
        if permissive && self.owed.swap(0, Ordering::Relaxed) > 0 {
            self.shared.iter().for_each(|shared| shared.lose());
        }
        permissive
    }

    fn unrecorded(&self, writer: u64) -> Sealed {
        Sealed { writer, position: None, summed: false }
    }

    fn try_intent(&self, shared: &Shared, statement: &Statement<'_>) -> Result<Sealed, LogError> {
        let at = micros();
        // Before anybody else waits for it.
        let subject = statement.subject.map(|subject| subject.within(shared.text_kept()));
        let statement = &Statement { subject, ..*statement };
        let mut state = shared.lock();
        let (position, summed) = match self.allowance(shared, &mut state, at)? {
            Allowance::Whole => (self.tell(shared, &mut state, statement, at, None)?, false),
            Allowance::Together { reach, window } => {
                self.tell_together(shared, &mut state, statement, (reach, window), at)?
            }
        };
        let waits = match state.terms.durability {
            Durability::Process => false,
            Durability::Power => true,
            Durability::PowerForWrites => statement.subject.is_none_or(|subject| subject.writes),
        };
        drop(state);
        if waits {
            self.owed.store(position + 1, Ordering::Relaxed);
        }
        Ok(Sealed { writer: shared.writer, position: Some(position), summed })
    }

    /// Writes an intent. `standing`: which statements it is for, and until when.
    fn tell(
        &self,
        shared: &Shared,
        state: &mut State,
        statement: &Statement<'_>,
        at: u64,
        over: Option<Over>,
    ) -> Result<u64, LogError> {
        let kept = state.terms.text;
        let flags = flags(statement, over.is_some());
        let (standing, subject) = match over {
            Some(Over { standing, texts }) => (standing, statement.subject.filter(|_| texts)),
            None => (None, statement.subject),
        };
        self.party.append(shared, state, &mut |group, flow, sequence| {
            let text = subject.map(|subject| {
                group.define(subject.key, |_| Body::Statement(subject.json.clone()))
            });
            let grounds = statement
                .grounds
                .map(|grounds| group.define(grounds.key, |_| Body::Grounds(grounds.json.clone())));
            group.put(|here| {
                let intent = record::Intent {
                    head: Head { at, flow: here - flow, sequence },
                    serial: statement.serial,
                    way: statement.way.code(),
                    statement: Group::back(here, text),
                    effects: statement.subject.map_or(0, |subject| subject.effects),
                    verdict: statement.verdict.code(),
                    flags,
                    grounds: Group::back(here, grounds),
                    hold: statement.hold.map(Into::into),
                    approver: statement.approver.map(Into::into),
                    parameters: if over.is_some() {
                        vec![]
                    } else {
                        statement::shown(statement.parameters, statement.subject, kept)
                    },
                };
                match standing {
                    None => Body::Intent(intent),
                    Some((reach, until)) => {
                        Body::Standing(record::Standing { intent, until, reach: reach.code() })
                    }
                }
            });
        })
    }

    /// Records an end. What can't be recorded is counted: the statement has run.
    pub fn outcome(&self, sealed: &Sealed, outcome: &Outcome<'_>) {
        let Some(shared) = &self.shared else { return };
        let at = micros();
        let mut state = shared.lock();
        if self.counts(shared, &mut state, (sealed, outcome), at) {
            return;
        }
        let intent = sealed.position;
        let written = self.party.append(shared, &mut state, &mut |group, flow, sequence| {
            let tag = outcome.tag.map(|tag| group.words(tag));
            let mut classes = |all: &[(&str, u64)]| -> Vec<(u64, u64)> {
                all.iter().map(|(class, cells)| (group.words(class), *cells)).collect()
            };
            let (masked, seen) = (classes(outcome.masked), classes(outcome.seen));
            let would_mask = classes(outcome.would_mask);
            group.put(|here| {
                Body::Outcome(record::Outcome {
                    head: Head { at, flow: here - flow, sequence },
                    intent: Group::back(here, intent),
                    index: outcome.index,
                    ending: outcome.ending.code(),
                    sqlstate: outcome.sqlstate.map(Into::into),
                    tag: Group::back(here, tag),
                    rows: outcome.rows,
                    bytes: outcome.bytes,
                    latency_us: outcome.latency_us,
                    masked: back(here, &masked),
                    seen: back(here, &seen),
                    would_mask: back(here, &would_mask),
                })
            });
        });
        if written.is_err() {
            shared.lose();
        }
    }

    pub fn transaction(&self, ending: TransactionEnd, statements: u64) {
        let Some(shared) = &self.shared else { return };
        let at = micros();
        let mut state = shared.lock();
        if self.counts_transaction(shared, &mut state, (ending, statements), at) {
            return;
        }
        let ending = ending.code();
        let written = self.party.append(shared, &mut state, &mut |group, flow, sequence| {
            group.put(|here| {
                let head = Head { at, flow: here - flow, sequence };
                Body::Transaction(record::Transaction { head, ending, statements })
            });
        });
        if written.is_err() {
            shared.lose();
        }
    }

    /// What this workload may still write; the limit itself is recorded.
    fn allowance(
        &self,
        shared: &Shared,
        state: &mut State,
        at: u64,
    ) -> Result<Allowance, LogError> {
        state.allowance(shared, self.party.payer, || flood::named(&self.flow.process), at)
    }

    fn event(&self, body: impl Fn(Head, u64) -> Body) -> Result<(), LogError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let at = micros();
        let mut state = shared.lock();
        if let Ok(Allowance::Together { reach: Reach::Workload, .. }) =
            self.allowance(shared, &mut state, at)
        {
            // Always new connections: nothing else keeps them from pushing out the others'.
            state.floods.leave_out(self.party.payer);
            return Ok(());
        }
        let written = self.party.append(shared, &mut state, &mut |group, flow, sequence| {
            group.put(|here| body(Head { at, flow: here - flow, sequence }, here));
        });
        match written {
            Ok(_) => Ok(()),
            Err(_) if self.flow.mode == Mode::Permissive => {
                shared.lose();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// How a statement is told whose workload is over its rate.
#[derive(Clone, Copy)]
struct Over {
    /// For others too: which, and until when.
    standing: Option<(Reach, u64)>,
    /// Whether its text is told.
    texts: bool,
}

impl Party {
    /// Tells the connection and its process in this segment.
    fn define(&self, group: &mut Group<'_>) -> u64 {
        let process =
            group.define(self.process_key, |_| Body::Process(Box::from(&*self.process_json)));
        group.define(self.flow_key, |here| {
            Body::Flow(record::Flow { process: here - process, json: self.flow_json.clone() })
        })
    }

    /// Appends with the connection and its process defined, and counts it.
    pub(super) fn append(
        &self,
        shared: &Shared,
        state: &mut State,
        make: &mut dyn FnMut(&mut Group<'_>, u64, u64),
    ) -> Result<u64, LogError> {
        // Under the state's lock: nobody else counts.
        let sequence = self.sequence.load(Ordering::Relaxed);
        let mut written = 0;
        let position = state.append(shared, &mut |group| {
            let flow = group.known(self.flow_key).unwrap_or_else(|| self.define(group));
            make(group, flow, sequence);
            written = flood::cost(group.records(), group.bytes());
        })?;
        self.sequence.store(sequence + 1, Ordering::Relaxed);
        state.floods.spend(self.payer, written);
        Ok(position)
    }
}

impl State {
    /// What a workload may still write; the limit itself is recorded.
    pub(super) fn allowance(
        &mut self,
        shared: &Shared,
        payer: flood::Payer,
        named: impl FnOnce() -> serde_json::Value,
        at: u64,
    ) -> Result<Allowance, LogError> {
        let Self { floods, terms, .. } = self;
        let allowance = floods.allowance(payer, terms, at);
        if allowance != Allowance::Whole
            && let Some(told) = self.floods.due(payer, named, at)
        {
            tracing::warn!("the log sums up a workload that writes too much: {told}");
            self.tell_flood(shared, &told, at)?;
        }
        Ok(allowance)
    }

    /// Names a workload that is over its rate.
    pub(super) fn tell_flood(
        &mut self,
        shared: &Shared,
        told: &serde_json::Value,
        at: u64,
    ) -> Result<(), LogError> {
        let told = record::Told { at, json: told.to_string().into() };
        self.append(shared, &mut |group| group.put(|_| Body::Flood(told.clone()))).map(drop)
    }
}

fn flags(statement: &Statement<'_>, brief: bool) -> u8 {
    (u8::from(statement.in_transaction) * IN_TRANSACTION) | (u8::from(brief) * BRIEF)
}

/// What a session calls itself, in its own words.
fn named(application: &str) -> String {
    if redact::is_secret(application) { HIDDEN.into() } else { cut(application, LONGEST_VALUE) }
}

fn back(here: u64, classes: &[(u64, u64)]) -> Vec<(Back, u64)> {
    classes.iter().map(|(class, cells)| (here - class, *cells)).collect()
}

pub(in crate::audit) const IN_TRANSACTION: u8 = 1;
/// The workload was over its rate: parameters are left out.
pub(in crate::audit) const BRIEF: u8 = 2;
const FLOW: u8 = 2;
/// Processes whose counts are kept before those without a connection go.
const MOST_PROCESSES: usize = 100_000;
