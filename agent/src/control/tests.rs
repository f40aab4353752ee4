use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::model::{EventKind, OriginalDestination, RefusedWhy, Timestamp};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tidegate-control-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }

    /// In a folder that isn't there yet.
    fn socket(&self) -> PathBuf {
        self.0.join("run/control.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn event(netns: u64) -> Event {
    Event {
        schema: crate::model::EVENT_SCHEMA,
        at: Timestamp(1_795_222_800_123_456_000),
        kind: EventKind::Refused {
            why: RefusedWhy::DirectDial,
            process: Box::new(crate::model::samples::process()),
            destination: OriginalDestination("10.0.0.7:5432".parse().unwrap()),
            netns,
        },
    }
}

fn ask(path: &Path, order: &Order) -> Vec<Answer> {
    Client::connect(path).unwrap().ask(order).unwrap().map(Result::unwrap).collect()
}

fn done() -> Answer {
    Answer::Done { message: "done".into() }
}

#[test]
fn an_order_gets_its_answers() {
    let folder = Folder::new("answers");
    let path = folder.socket();
    let server = Server::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let serving = server
        .serve(|order, asker| match order {
            Order::Status => {
                asker.send(&Answer::Status(Box::new(crate::model::samples::status())));
            }
            Order::Observe { follow: false } => {
                for netns in 0..3 {
                    asker.send(&Answer::Event(Box::new(event(netns))));
                }
                asker.send(&done());
            }
            other => {
                asker.send(&Answer::Failed { error: format!("no: {other:?}") });
            }
        })
        .unwrap();
    let answers = ask(&path, &Order::Status);
    let [Answer::Status(status)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(**status, crate::model::samples::status());
    let answers = ask(&path, &Order::Observe { follow: false });
    assert_eq!(answers.len(), 4);
    let Answer::Event(second) = &answers[1] else { panic!("{answers:?}") };
    assert_eq!(**second, event(1));
    let answers = ask(&path, &Order::Upgrade { binary: Some("/x".into()), drain_ms: Some(7) });
    let [Answer::Failed { error }] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(error, "no: Upgrade { binary: Some(\"/x\"), drain_ms: Some(7) }");
    drop(serving);
    assert!(!path.exists());
    assert!(matches!(Client::connect(&path), Err(ControlError::Unreachable { .. })));
}

#[test]
fn a_stale_socket_is_taken_over_and_a_living_one_is_not() {
    let folder = Folder::new("stale");
    let path = folder.socket();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::bind(&path).unwrap();
    assert!(matches!(Server::bind(&path), Err(ControlError::AlreadyRunning { .. })));
    drop(server);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Server::bind(&path), Err(ControlError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn an_old_server_leaves_its_successors_socket_alone() {
    let folder = Folder::new("successor");
    let path = folder.socket();
    let old = Server::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _new = Server::bind(&path).unwrap();
    drop(old);
    assert!(path.exists());
}

#[test]
fn foreign_bytes_get_a_reason_and_nothing_else_breaks() {
    let folder = Folder::new("foreign");
    let path = folder.socket();
    let server = Server::bind(&path).unwrap();
    let _serving = server
        .serve(|_, asker| {
            asker.send(&done());
        })
        .unwrap();
    for (bytes, reason) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "does not speak this version's language"),
        (b"{\"order\":\"dance\"}\n".to_vec(), "unknown variant `dance`"),
        (b"{\"order\":\"observe\",\"follow\":true,\"x\":1}\n".to_vec(), "unknown field `x`"),
        (vec![b'x'; 70_000], "a line longer than 65536 bytes"),
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        // It hangs up on a line that has no end.
        drop(stream.write_all(&bytes));
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.contains("\"answer\":\"failed\"") && line.contains(reason), "{line}");
    }
    assert_eq!(ask(&path, &Order::Reload).len(), 1);
}

#[test]
fn who_asks_for_too_long_a_line_is_told_so_by_the_client() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(&[b'x'; 100]).unwrap();
    let mut reader = BufReader::new(theirs);
    let read = line::read::<Answer>(&mut reader, 99);
    assert!(matches!(read, Err(ControlError::TooLong(99))), "{read:?}");
}

#[test]
fn clients_are_bounded_and_their_places_come_back() {
    let folder = Folder::new("bounded");
    let path = folder.socket();
    let server = Server::bind(&path).unwrap();
    let (arrived_tx, arrived_rx) = mpsc::channel();
    let _serving = server
        .serve(move |_, asker| {
            arrived_tx.send(()).unwrap();
            while !asker.is_gone() {
                std::thread::yield_now();
            }
        })
        .unwrap();
    let order = Order::Observe { follow: true };
    let patience = Duration::from_secs(20);
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(Client::connect(&path).unwrap().ask(&order).unwrap());
        arrived_rx.recv_timeout(patience).unwrap();
    }
    let answers = ask(&path, &Order::Status);
    let [Answer::Failed { error }] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(error.starts_with("64 commands"), "{error}");
    drop(held);
    // Handlers see that their clients left, and make room.
    let deadline = std::time::Instant::now() + patience;
    loop {
        let _client = Client::connect(&path).unwrap().ask(&order).unwrap();
        if arrived_rx.recv_timeout(Duration::from_millis(200)).is_ok() {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
    }
}

#[test]
fn a_handler_that_panics_takes_nobody_with_it() {
    let folder = Folder::new("panic");
    let path = folder.socket();
    let _serving = Server::bind(&path)
        .unwrap()
        .serve(|order, asker| {
            assert!(!matches!(order, Order::Reload), "on purpose");
            asker.send(&done());
        })
        .unwrap();
    let mut answers = Client::connect(&path).unwrap().ask(&Order::Reload).unwrap();
    assert!(matches!(answers.next(), Some(Err(ControlError::Ended))));
    assert!(answers.next().is_none());
    assert_eq!(ask(&path, &Order::Detach).len(), 1);
}

#[test]
fn the_end_of_serving_hangs_up_on_followers() {
    let folder = Folder::new("end");
    let path = folder.socket();
    let (ended_tx, ended_rx) = mpsc::channel();
    let serving = Server::bind(&path)
        .unwrap()
        .serve(move |_, asker| {
            asker.send(&Answer::Event(Box::new(event(1))));
            while !asker.is_gone() {
                std::thread::yield_now();
            }
            assert!(!asker.send(&done()));
            ended_tx.send(()).unwrap();
        })
        .unwrap();
    let mut answers =
        Client::connect(&path).unwrap().ask(&Order::Observe { follow: true }).unwrap();
    assert!(matches!(answers.next(), Some(Ok(Answer::Event(_)))));
    drop(serving);
    assert!(matches!(answers.next(), Some(Err(ControlError::Ended))));
    ended_rx.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn only_root_and_the_agents_own_user_may_ask() {
    use rustix::process::Uid;
    let (agent, other) = (Uid::from_raw(5), Uid::from_raw(6));
    assert!(server::may_ask(Uid::ROOT, agent) && server::may_ask(agent, agent));
    assert!(!server::may_ask(other, agent) && !server::may_ask(other, Uid::ROOT));
}

#[test]
fn another_user_is_refused_by_the_kernels_word() {
    use rustix::process::Uid;
    if !rustix::process::geteuid().is_root() {
        eprintln!("not shown: only root can become another user");
        return;
    }
    let folder = Folder::new("user");
    let path = folder.socket();
    let _serving = Server::bind(&path)
        .unwrap()
        .serve(|_, asker| {
            asker.send(&done());
        })
        .unwrap();
    // Whoever may open the socket is still asked for by the kernel.
    for open in [folder.0.clone(), path.parent().unwrap().into(), path.clone()] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let answers = std::thread::scope(|scope| {
        let nobody = scope.spawn(|| {
            // Of this thread alone, until it ends.
            rustix::thread::set_thread_uid(Uid::from_raw(65_534)).unwrap();
            ask(&path, &Order::Status)
        });
        nobody.join().unwrap()
    });
    let [Answer::Denied { error }] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(error.contains("only root may speak with the agent"), "{error}");
    assert_eq!(ask(&path, &Order::Status).len(), 1);
}

#[test]
fn a_group_is_heard_about_holds_and_nothing_else() {
    let about = [
        Order::Holds { all: true },
        Order::Hold { id: "x".into() },
        Order::WatchHolds,
        Order::Approve { id: "x".into(), reason: "y".into(), reach: Default::default() },
        Order::Deny { id: "x".into(), reason: "y".into() },
    ];
    assert!(about.iter().all(Order::is_about_holds));
    let others = [
        Order::Status,
        Order::Observe { follow: false },
        Order::Reload,
        Order::Detach,
        Order::LogRead { command: "x".into() },
        Order::Forget { schema: "s".into(), table: "t".into(), database: None, server: None },
        Order::Upgrade { binary: None, drain_ms: None },
    ];
    assert!(!others.iter().any(Order::is_about_holds));
    for order in about {
        let text = serde_json::to_string(&order).unwrap();
        let read: Order = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{read:?}"), format!("{order:?}"));
    }
}

#[test]
fn the_socket_is_the_groups_too_once_it_is_admitted() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = Folder::new("group");
    let path = folder.socket();
    let mut server = Server::bind(&path).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path) & 0o777, 0o600);
    let own = rustix::process::getegid().as_raw();
    server.admit(own).unwrap();
    assert_eq!((mode(&path) & 0o777, std::fs::metadata(&path).unwrap().gid()), (0o660, own));
}
