//! For tests: a worker on a thread, with the test as its keeper, and real
//! connections for it to carry.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::means::Shared;
use super::worker::{Patience, Start, Worker, WorkerError};
use crate::channel::{Channel, ChannelError, ToEnforcer, ToKeeper, pair, seal_terms};
use crate::model::{
    Closing, DestinationTerms, Fences, Flow, FlowId, Mode, OriginalDestination, Peer, PolicyMode,
    PolicyTerms, Process, ProcessKey, Protocol, SocketKind, Source, Terms, Timestamp, Workload,
};

pub struct Rig {
    pub keeper: Channel<ToEnforcer, ToKeeper>,
    worker: JoinHandle<Result<(), WorkerError>>,
    flows: u64,
}

/// What is carried here is no database's protocol. Elsewhere it is, and nothing is decided.
pub fn unread_terms() -> Terms {
    let named = DestinationTerms::named("5432".into());
    let destinations = vec![DestinationTerms { protocol: Protocol::Unread, ..named }];
    let policy = PolicyTerms { mode: PolicyMode::Off, ..PolicyTerms::default() };
    Terms { destinations, policy, ..Terms::default() }
}

/// Both ends that a session joins, as the application and the database see it.
pub struct Ends {
    pub flow: FlowId,
    pub client: TcpStream,
    pub server: TcpStream,
}

pub const PATIENCE: Duration = Duration::from_secs(20);

impl Rig {
    pub fn new(capacity: u32) -> Self {
        Self::with(capacity, Patience::default())
    }

    pub fn with(capacity: u32, patience: Patience) -> Self {
        let (keeper, theirs) = pair().unwrap();
        let fences = Fences {
            uid: 1,
            no_capabilities: false,
            no_new_privs: false,
            not_dumpable: false,
            landlock: "test".into(),
            seccomp: "test".into(),
        };
        let worker = Worker::new(
            theirs,
            Start { number: 3, fences, capacity, shared: Shared::new().unwrap(), patience },
        )
        .unwrap();
        let worker = std::thread::spawn(move || worker.run());
        let terms = seal_terms(&unread_terms()).unwrap();
        keeper.send(&ToEnforcer::Terms, &[terms.as_fd()]).unwrap();
        Self { keeper, worker, flows: 0 }
    }

    /// One that has said hello and given its first credits.
    pub fn ready() -> Self {
        let rig = Self::new(10_000);
        assert!(matches!(rig.told(), ToKeeper::Hello { worker: 3, .. }));
        assert!(matches!(rig.told(), ToKeeper::Credit { more: 256 }));
        rig
    }

    pub fn connect(&mut self) -> Ends {
        self.connect_for("5432")
    }

    pub fn connect_for(&mut self, rule: &str) -> Ends {
        let (client, accepted) = connection();
        let (upstream, server) = connection();
        let flow = self.flow(rule);
        let id = flow.id;
        let descriptors = [OwnedFd::from(accepted), OwnedFd::from(upstream)];
        self.hand_over(flow, &descriptors).unwrap();
        Ends { flow: id, client, server }
    }

    pub fn flow(&mut self, rule: &str) -> Flow {
        self.flows += 1;
        flow(self.flows, rule)
    }

    pub fn hand_over(&self, flow: Flow, descriptors: &[OwnedFd]) -> Result<(), ChannelError> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.keeper.send(&ToEnforcer::Handover { flow: Box::new(flow) }, &descriptors)
    }

    pub fn drain(&self, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap();
        self.keeper.send(&ToEnforcer::Drain { within_ms }, &[]).unwrap();
    }

    /// The next that the worker tells.
    pub fn told(&self) -> ToKeeper {
        self.try_told().unwrap_or_else(|error| panic!("the worker told nothing: {error}"))
    }

    pub fn try_told(&self) -> Result<ToKeeper, ChannelError> {
        let mut polled = [PollFd::new(&self.keeper, PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE).unwrap();
        poll(&mut polled, Some(&patience)).unwrap();
        self.keeper.receive().map(|received| received.message)
    }

    /// The next end that it tells; credits are passed over.
    pub fn closed(&self) -> Closing {
        loop {
            match self.told() {
                ToKeeper::Closed(closing) => return closing,
                ToKeeper::Credit { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The keeper dies; gives the worker.
    pub fn orphan(self) -> JoinHandle<Result<(), WorkerError>> {
        self.worker
    }

    /// Waits for the worker to end by itself.
    pub fn join(self) -> Result<(), WorkerError> {
        ended(self.worker)
    }
}

pub fn ended(worker: JoinHandle<Result<(), WorkerError>>) -> Result<(), WorkerError> {
    let deadline = Instant::now() + PATIENCE;
    while !worker.is_finished() {
        assert!(Instant::now() < deadline, "the worker goes on");
        std::thread::yield_now();
    }
    worker.join().unwrap()
}

/// A connection over loopback; neither end waits for ever.
pub fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for end in [&one, &other] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (one, other)
}

/// Closing it is a reset.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

pub fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes);
}

pub fn flow(number: u64, rule: &str) -> Flow {
    let process = Process {
        key: ProcessKey { tgid: 1, started: 2, exec: 3 },
        tid: 1,
        uid: 1000,
        gid: 1000,
        user: None,
        comm: "client".into(),
        command: vec!["client".into()],
        command_cut: false,
        command_source: Source::Kernel,
        exe: Some(PathBuf::from("/bin/client")),
        parent: None,
        login_uid: None,
        cgroup_id: 7,
        cgroup: None,
        workload: Workload::default(),
    };
    Flow {
        id: FlowId { cookie: number, connected_at: number },
        opened: Timestamp::now(),
        process,
        actor: Default::default(),
        client: Peer("127.0.0.1:1".parse().unwrap()),
        destination: OriginalDestination("127.0.0.1:2".parse().unwrap()),
        netns: 1,
        rule: rule.into(),
        mode: Mode::Strict,
        socket: SocketKind::Ipv4,
        generation: 1,
    }
}

/// Numbers that look random and are the same in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}
