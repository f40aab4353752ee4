//! The enforcer as the keeper starts it: the real binary, from root, with the
//! channels inherited. Needs root, and says so.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use tidegate::channel::{Channel, ToEnforcer, ToKeeper, pair, seal_terms};
use tidegate::model::{
    Closing, DestinationTerms, End, Fences, Flow, FlowId, Mode, OriginalDestination, Peer, Process,
    ProcessKey, Protocol, SocketKind, Source, Terms, Timestamp, Workload,
};

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");
const PATIENCE: Duration = Duration::from_secs(20);
/// As the settings' fallback.
const UID: u32 = 61_843;

/// Held while a descriptor is inheritable, so that it is by one child only.
static SPAWN: Mutex<()> = Mutex::new(());

struct Enforcer {
    child: Child,
    channels: Vec<Channel<ToEnforcer, ToKeeper>>,
    fences: Fences,
}

impl Enforcer {
    fn start(workers: usize) -> Self {
        Self::start_with(workers, &[])
    }

    fn start_with(workers: usize, more: &[&str]) -> Self {
        let (mut child, channels) = spawn(workers, &format!("{UID}:{UID}"), more);
        let mut fences = None;
        for (number, channel) in channels.iter().enumerate() {
            match told(channel) {
                Some(ToKeeper::Hello { version, worker, fences: seen }) => {
                    assert_eq!(version, env!("CARGO_PKG_VERSION"));
                    assert_eq!(worker as usize, number);
                    fences = Some(seen);
                }
                other => panic!("{other:?}; {}", complaint(&mut child)),
            }
            assert!(matches!(told(channel), Some(ToKeeper::Credit { more: 256 })));
            // What is carried here is no database's protocol.
            let named = DestinationTerms::named(flow(0).rule);
            let unread = DestinationTerms { protocol: Protocol::Unread, ..named };
            let terms = Terms { destinations: vec![unread], ..Terms::default() };
            let sealed = seal_terms(&terms).unwrap();
            channel.send(&ToEnforcer::Terms, &[sealed.as_fd()]).unwrap();
        }
        Self { child, channels, fences: fences.unwrap() }
    }

    fn status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap()
    }

    fn resident(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size()
    }

    /// A connection over the worker, as its two far ends.
    fn connect(&self, worker: usize, number: u64) -> (TcpStream, TcpStream) {
        let (client, accepted) = connection();
        let (upstream, server) = connection();
        let message = ToEnforcer::Handover { flow: Box::new(flow(number)) };
        let rights = [accepted.as_fd(), upstream.as_fd()];
        self.channels[worker].send(&message, &rights).unwrap();
        (client, server)
    }
}

impl Drop for Enforcer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(workers: usize, user: &str, more: &[&str]) -> (Child, Vec<Channel<ToEnforcer, ToKeeper>>) {
    assert!(rustix::process::geteuid().is_root(), "the enforcer is started by root: run as root");
    let _alone = SPAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut command = Command::new(BINARY);
    command.args(["enforcer", "--user", user]).args(more);
    let (mut ours, mut theirs) = (Vec::new(), Vec::<OwnedFd>::new());
    for _ in 0..workers {
        let (our, their) = pair().unwrap();
        rustix::io::fcntl_setfd(&their, FdFlags::empty()).unwrap();
        command.arg("--channel").arg(their.as_raw_fd().to_string());
        ours.push(our);
        theirs.push(their);
    }
    command.stderr(Stdio::piped());
    (command.spawn().unwrap(), ours)
}

fn told(channel: &Channel<ToEnforcer, ToKeeper>) -> Option<ToKeeper> {
    let mut polled = [PollFd::new(channel, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::try_from(PATIENCE).unwrap())).unwrap();
    channel.receive().ok().map(|received| received.message)
}

fn closed(channel: &Channel<ToEnforcer, ToKeeper>) -> Closing {
    loop {
        match told(channel) {
            Some(ToKeeper::Closed(closing)) => return closing,
            Some(ToKeeper::Credit { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn exit(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "the enforcer goes on");
        std::thread::yield_now();
    }
}

fn complaint(child: &mut Child) -> String {
    let _ = child.kill();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for end in [&one, &other] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    (one, other)
}

fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes);
}

fn flow(number: u64) -> Flow {
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
        id: FlowId { cookie: number, connected_at: 1 },
        opened: Timestamp::now(),
        process,
        actor: Default::default(),
        client: Peer("127.0.0.1:1".parse().unwrap()),
        destination: OriginalDestination("127.0.0.1:2".parse().unwrap()),
        netns: 1,
        rule: "5432".into(),
        mode: Mode::Strict,
        socket: SocketKind::Ipv4,
        generation: 1,
    }
}

fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn every_thread_is_locked_in_and_hello_says_so() {
    let folder = std::env::temp_dir().join(format!("tidegate-own-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for more in [&[][..], &["--writable", folder.to_str().unwrap()]] {
        let enforcer = Enforcer::start_with(2, more);
        let Fences { uid, no_capabilities, no_new_privs, not_dumpable, landlock, seccomp } =
            &enforcer.fences;
        assert_eq!(*uid, UID);
        assert!(*no_capabilities && *no_new_privs && *not_dumpable);
        assert_eq!(seccomp, "full");
        if kernel() >= (6, 12) {
            assert_eq!(landlock, "full");
        } else {
            assert!(landlock.starts_with("partial") || landlock.starts_with("not there"));
        }
        // What the kernel says from outside, of each thread.
        let tasks = fs::read_dir(format!("/proc/{}/task", enforcer.child.id())).unwrap();
        let mut threads = 0;
        for task in tasks {
            threads += 1;
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let id = UID.to_string();
            for (field, expected) in [
                ("Uid", [id.as_str(); 4].join("\t")),
                ("Gid", [id.as_str(); 4].join("\t")),
                ("Groups", String::new()),
                ("CapInh", "0000000000000000".into()),
                ("CapPrm", "0000000000000000".into()),
                ("CapEff", "0000000000000000".into()),
                ("CapBnd", "0000000000000000".into()),
                ("CapAmb", "0000000000000000".into()),
                ("NoNewPrivs", "1".into()),
                ("Seccomp", "2".into()),
            ] {
                let line = status.lines().find_map(|l| l.strip_prefix(&format!("{field}:")));
                assert_eq!(line.map(str::trim), Some(expected.as_str()), "{field}");
            }
        }
        // Itself, its workers, and those that hash, read, and have others read for them.
        assert_eq!(threads, 1 + 2 + 1 + 2 + 2);
    }
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_process_of_the_same_user_gets_no_hold_of_it() {
    let enforcer = Enforcer::start(1);
    let pid = i32::try_from(enforcer.child.id()).unwrap();
    let _alone = SPAWN.lock().unwrap();
    for file in ["mem", "environ", "maps", "fd/0"] {
        let read = Command::new("cat")
            .arg(format!("/proc/{pid}/{file}"))
            .uid(UID)
            .gid(UID)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(!read.status.success() && error.contains("Permission denied"), "{file}: {error}");
    }
    let mut attach = Command::new("true");
    attach.uid(UID).gid(UID);
    refused_in(&mut attach, move || trace(pid));
    assert!(attach.status().unwrap().success());
    // The same attempt on a process with no fence succeeds: the test can fail.
    let mut open = Command::new("cat").stdin(Stdio::piped()).uid(UID).gid(UID).spawn().unwrap();
    let target = i32::try_from(open.id()).unwrap();
    let mut attach = Command::new("true");
    attach.uid(UID).gid(UID);
    refused_in(&mut attach, move || trace(target));
    assert_eq!(attach.status().unwrap_err().kind(), ErrorKind::AddrInUse);
    open.kill().unwrap();
    open.wait().unwrap();
}

/// Lets the command run only if `attempt`, made as the command's own user,
/// fails for want of permission.
#[expect(unsafe_code, reason = "it must be tried as another user, before exec")]
fn refused_in(
    command: &mut Command,
    attempt: impl Fn() -> std::io::Result<()> + Send + Sync + 'static,
) {
    let judged = move || match attempt() {
        Ok(()) => Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        Err(error) => Err(error),
    };
    let judged = move || -> std::io::Result<()> {
        judged().map_err(|error: std::io::Error| match error.kind() {
            // Only a number from the system crosses into the parent.
            ErrorKind::AddrInUse => std::io::Error::from_raw_os_error(libc::EADDRINUSE),
            _ => error,
        })
    };
    // SAFETY: between fork and exec it makes one system call and compares.
    unsafe { command.pre_exec(judged) };
}

#[expect(unsafe_code, reason = "ptrace has no safe wrapper")]
fn trace(pid: i32) -> std::io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE reads no memory of the caller's.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn it_carries_both_ways_behind_its_fences_and_an_idle_connection_costs_little() {
    let nofile = rustix::process::Resource::Nofile;
    let most = rustix::process::getrlimit(nofile).maximum;
    let limit = rustix::process::Rlimit { current: most, maximum: most };
    rustix::process::setrlimit(nofile, limit).unwrap();
    let enforcer = Enforcer::start(2);
    let mut credit = [256; 2];
    let mut open = Vec::new();
    let block = [7; 100_000];
    let mut begin = |count: u64, open: &mut Vec<_>| {
        for number in 0..count {
            let worker = usize::try_from(number % 2).unwrap();
            while credit[worker] == 0 {
                match told(&enforcer.channels[worker]) {
                    Some(ToKeeper::Credit { more }) => credit[worker] += more,
                    other => panic!("{other:?}"),
                }
            }
            credit[worker] -= 1;
            let (mut client, mut server) = enforcer.connect(worker, number);
            exchange(&mut client, &mut server, b"SELECT 1");
            exchange(&mut server, &mut client, b"1");
            open.push((client, server));
        }
    };
    begin(10, &mut open);
    for (client, server) in &mut open {
        exchange(client, server, &block[..50_000]);
        exchange(server, client, &block[..50_000]);
    }
    let before = enforcer.resident();
    begin(1_000, &mut open);
    for (client, server) in open.iter_mut().skip(10) {
        exchange(client, server, &block[..50_000]);
        exchange(server, client, &block[..50_000]);
    }
    let each = enforcer.resident().saturating_sub(before) / 1_000;
    println!("{each} bytes for each idle connection");
    assert!(each <= 16 * 1024, "{each} bytes for each idle connection");
    assert!(enforcer.status().contains("State:"));
    drop(open);
    for channel in &enforcer.channels {
        for _ in 0..505 {
            let closing = closed(channel);
            assert_eq!(closing.end, End::Closed);
            assert_eq!((closing.bytes_up, closing.bytes_down), (50_008, 50_001));
        }
    }
}

#[test]
fn drained_it_exits_in_order() {
    let mut enforcer = Enforcer::start(2);
    let (mut client, mut server) = enforcer.connect(1, 1);
    exchange(&mut client, &mut server, b"hello");
    for channel in &enforcer.channels {
        channel.send(&ToEnforcer::Drain { within_ms: 100 }, &[]).unwrap();
    }
    assert_eq!(closed(&enforcer.channels[1]).end, End::Drained);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(exit(&mut enforcer.child).success());
}

#[test]
fn orphaned_it_goes_on_until_the_last_connection_ends() {
    let mut enforcer = Enforcer::start(2);
    let (mut client, mut server) = enforcer.connect(0, 1);
    exchange(&mut client, &mut server, b"hello");
    enforcer.channels.clear();
    for _ in 0..100 {
        exchange(&mut client, &mut server, b"still there");
        exchange(&mut server, &mut client, b"still there");
    }
    assert!(enforcer.child.try_wait().unwrap().is_none());
    drop((client, server));
    assert!(exit(&mut enforcer.child).success());
}

#[test]
fn killed_it_leaves_no_connection_open() {
    let mut enforcer = Enforcer::start(1);
    let (mut client, mut server) = enforcer.connect(0, 1);
    exchange(&mut client, &mut server, b"hello");
    enforcer.child.kill().unwrap();
    for end in [&mut client, &mut server] {
        // An end or a reset, but not a wait.
        match end.read(&mut [0]) {
            Ok(read) => assert_eq!(read, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn it_does_not_start_as_root_or_with_what_it_cannot_have() {
    for (user, more, says) in [
        ("0:0", &[][..], "told to run as root"),
        ("61843:0", &[], "told to run as root"),
        ("61843:61843", &["--writable", "/nonexistent/folder"], "make the folder first"),
        ("61843:61843", &["--channel", "0"], "standard streams"),
        ("61843:61843", &["--channel", "999"], "isn't open"),
    ] {
        let (mut child, channels) = spawn(1, user, more);
        assert_eq!(exit(&mut child).code(), Some(1), "{user} {more:?}");
        assert!(told(&channels[0]).is_none());
        let said = complaint(&mut child);
        assert!(said.contains(says), "{said}");
    }
}
