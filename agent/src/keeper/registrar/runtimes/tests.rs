use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::*;
use crate::identity::cgroup;

/// As a real Docker and a real containerd answered.
const DOCKER: &[u8] = include_bytes!("../../../identity/runtime/fixtures/docker-container.http");
const CONTAINERD: [(&str, &[u8]); 3] = [
    (
        "ListContainers",
        include_bytes!("../../../identity/runtime/fixtures/containerd-containers.bin"),
    ),
    (
        "PodSandboxStatus",
        include_bytes!("../../../identity/runtime/fixtures/containerd-sandbox.bin"),
    ),
    ("ImageStatus", include_bytes!("../../../identity/runtime/fixtures/containerd-image.bin")),
];
const ID: &str = "10a335c490cd61fb4a8388556bda74203f5301a3d2033939d918c0a805d602c4";
const POD: &str = include_str!("../../../identity/cgroup/fixtures/containerd-pod");

/// Answers as it was recorded, and counts; what wasn't recorded it doesn't answer.
#[derive(Debug, Default)]
struct Recorded {
    owner: u32,
    mute: bool,
    asked: Arc<AtomicUsize>,
}

impl Ask for Recorded {
    fn owner(&self, _: &Path) -> Option<u32> {
        Some(self.owner)
    }

    fn ask(
        &self,
        _: &Path,
        owner: u32,
        question: &Question,
        _: Instant,
    ) -> Result<Vec<u8>, AnswerError> {
        assert_eq!(owner, self.owner);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let known = matches!(question, Question::Http(path) if path.starts_with("/containers/"));
        match question.exchange().take(DOCKER)? {
            Heard::All(answer) if known && !self.mute => Ok(answer),
            _ if known => Err(AnswerError::Silent("mute".into())),
            _ => Err(AnswerError::Status(404)),
        }
    }
}

fn runtimes(recorded: Recorded) -> Runtimes {
    Runtimes::by(vec!["/run/a.sock".into()], Box::new(recorded))
}

fn container(id: &str) -> Workload {
    cgroup::of_path(&format!("/system.slice/docker-{id}.scope"))
}

#[test]
fn a_container_is_asked_about_once() {
    let asked = Arc::<AtomicUsize>::default();
    let runtimes = runtimes(Recorded { asked: Arc::clone(&asked), ..Recorded::default() });
    for _ in 0..3 {
        let found = runtimes.describe(container(ID));
        assert_eq!(found.image.as_deref(), Some("127.0.0.1:5000/shop/web:1.2"));
        assert_eq!((found.managed, found.runtime.as_deref()), (Some(true), Some("docker")));
    }
    // By its container, and by its image.
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let none = Workload { unit: Some("a.service".into()), ..Workload::default() };
    assert_eq!(runtimes.describe(none.clone()), none);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_runtime_that_is_silent_is_left_alone() {
    let asked = Arc::<AtomicUsize>::default();
    let runtimes =
        runtimes(Recorded { mute: true, asked: Arc::clone(&asked), ..Recorded::default() });
    for first in ["1", "2", "3"] {
        let workload = container(&format!("{first}{}", &ID[1..]));
        assert_eq!(runtimes.describe(workload.clone()), workload);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_socket_of_another_owner_is_not_believed() {
    let asked = Arc::<AtomicUsize>::default();
    let others =
        runtimes(Recorded { owner: 1000, asked: Arc::clone(&asked), ..Recorded::default() });
    assert_eq!(others.describe(container(ID)), container(ID));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // A user's own, about a container in that user's slice: but never a service.
    let path =
        format!("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope");
    let own = runtimes(Recorded { owner: 1000, asked, ..Recorded::default() });
    let found = own.describe(cgroup::of_path(&path));
    assert!(found.image.is_some() && found.managed.is_none());
}

/// A cgroup below a user's own slice may have the name of any container of root's.
#[test]
fn what_root_was_told_of_a_container_is_not_a_users_and_the_other_way_round() {
    let slice = "/user.slice/user-1000.slice/user@1000.service";
    let forged = || cgroup::of_path(&format!("{slice}/docker-{ID}.scope"));
    // Root's runtime knows it, the user has none.
    let roots = runtimes(Recorded::default());
    assert_eq!(roots.describe(container(ID)).managed, Some(true));
    assert_eq!(roots.describe(forged()), forged());
    // The user's says what it likes, and says it first.
    let users = runtimes(Recorded { owner: 1000, ..Recorded::default() });
    let theirs = users.describe(forged());
    assert!(theirs.image.is_some() && theirs.user_slice == Some(1000));
    assert_eq!(users.describe(container(ID)), container(ID));
    // Nor by what is learnt afterwards.
    let told = runtimes(Recorded { mute: true, ..Recorded::default() });
    told.keep(&theirs);
    assert_eq!(told.describe(container(ID)), container(ID));
    assert_eq!(told.describe(forged()), theirs);
    // Where it runs is the asker's own.
    let moved = Workload { unit: Some("own.scope".into()), ..forged() };
    assert_eq!(told.describe(moved.clone()).unit, moved.unit);
}

/// Nor does another user's, or root's own slice, below which nobody else is.
#[test]
fn a_slice_within_a_users_slice_is_that_users() {
    for inner in ["user-0.slice", "user-1001.slice"] {
        let path =
            format!("/user.slice/user-1000.slice/user@1000.service/{inner}/docker-{ID}.scope");
        assert_eq!(cgroup::of_path(&path).user_slice, Some(1000), "{inner}");
    }
    // Root has a slice of a user too.
    let path = format!("/user.slice/user-0.slice/user@0.service/docker-{ID}.scope");
    let found = runtimes(Recorded::default()).describe(cgroup::of_path(&path));
    assert!(found.image.is_some() && found.managed.is_none());
}

#[test]
fn a_container_within_another_is_not_looked_up_outside() {
    let asked = Arc::<AtomicUsize>::default();
    let runtimes = runtimes(Recorded { asked: Arc::clone(&asked), ..Recorded::default() });
    let outer = ID.replace('1', "2");
    // Made by whoever is in the outer one, by the name of one that the host has.
    let forged = cgroup::of_path(&format!("/system.slice/docker-{outer}.scope/docker/{ID}"));
    assert_eq!(forged.container.as_deref(), Some(ID));
    assert_eq!(runtimes.describe(forged.clone()), forged);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn a_path_that_names_no_runtime_gets_it_from_who_knew_the_container() {
    let by = |socket: &str| {
        Runtimes::by(vec![socket.into()], Box::new(Recorded::default()))
            .describe(cgroup::of_path(&format!("/actions_job/{ID}")))
            .runtime
    };
    assert_eq!(by("/run/docker.sock").as_deref(), Some("docker"));
    assert_eq!(by("/run/a.sock"), None);
}

/// A folder with a socket in it, on which one connection after the other is served.
struct Served {
    folder: PathBuf,
    socket: PathBuf,
}

impl Served {
    fn by(name: &str, mut serve: impl FnMut(UnixStream) + Send + 'static) -> Self {
        let own = format!("tidegate-runtime-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(own);
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
        Self { folder, socket }
    }

    fn ask(&self, question: &Question) -> Result<Vec<u8>, AnswerError> {
        OverSocket.ask(&self.socket, own(), question, Instant::now() + WITHIN * 100)
    }

    /// How an answer fails that has little time.
    fn fails(&self, question: &Question) -> AnswerError {
        let began = Instant::now();
        let error = OverSocket.ask(&self.socket, own(), question, began + WITHIN).unwrap_err();
        assert!(began.elapsed() < WITHIN * 10, "{:?}", began.elapsed());
        error
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Answers as containerd did, in pieces, by the method that is asked for.
fn as_containerd(mut stream: UnixStream, pieces: usize) {
    let mut question = [0; 4096];
    let Ok(length @ 1..) = stream.read(&mut question) else { return };
    let question = String::from_utf8_lossy(&question[..length]).into_owned();
    let answer = CONTAINERD.iter().find(|(method, _)| question.contains(method));
    let Some((_, answer)) = answer else { return };
    for piece in answer.chunks(pieces) {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
}

#[test]
fn a_pod_is_told_over_a_real_socket() {
    let served = Served::by("containerd.sock", |stream| as_containerd(stream, 61));
    let way = OverSocket;
    assert_eq!(way.owner(&served.socket), Some(own()));
    assert_eq!(way.owner(&served.folder), None);
    let workload = cgroup::of_process(POD);
    let mut ask = |question: &Question| served.ask(question);
    let told = Tongue::Cri.describe(&workload, &mut ask).unwrap();
    assert!(told.whole && told.workload.image_digest.is_some());
    assert_eq!(told.workload.pod_name.as_deref(), Some("web-5c9f"));
    // It isn't whose it should be.
    let others =
        way.ask(&served.socket, own() + 1, &Tongue::Cri.greeting(), Instant::now() + WITHIN);
    assert_eq!(others, Err(AnswerError::Silent("somebody else listens there".into())));
    let nowhere =
        way.ask(Path::new("/nowhere"), 0, &Tongue::Cri.greeting(), Instant::now() + WITHIN);
    assert!(matches!(nowhere, Err(AnswerError::Silent(_))));
}

#[test]
fn dockers_answer_is_read_in_pieces() {
    for pieces in [usize::MAX, 7] {
        let served = Served::by(&format!("docker-{pieces}.sock"), move |mut stream| {
            let mut question = [0; 4096];
            let length = stream.read(&mut question).unwrap();
            assert!(question[..length].starts_with(b"GET /containers/x/json HTTP/1.1\r\n"));
            for piece in DOCKER.chunks(pieces) {
                let _ = stream.write_all(piece);
            }
        });
        let answer = served.ask(&Question::Http("/containers/x/json".into())).unwrap();
        assert!(answer.starts_with(b"{") && answer.ends_with(b"}\n"));
    }
}

#[test]
fn who_hangs_up_drips_or_floods_costs_nothing_but_the_answer() {
    let questions = [Question::Http("/x".into()), Tongue::Cri.greeting()];
    let hangs = Served::by("hangs.sock", {
        let mut kept = Vec::new();
        move |stream| kept.push(stream)
    });
    let closes = Served::by("closes.sock", drop);
    let drips = Served::by("drips.sock", |mut stream| {
        // The beginning of either, byte by byte, for as long as somebody listens.
        let greeting = b"\0\0\0\x04\0\0\0\0\0";
        while greeting.iter().all(|byte| stream.write_all(&[*byte]).is_ok()) {}
    });
    let floods = Served::by("floods.sock", |mut stream| {
        // Pings that want an answer, of which none is read.
        let mut flood = b"\0\0\0\x04\0\0\0\0\0".to_vec();
        flood.extend(b"\0\0\x08\x06\0\0\0\0\x0012345678".repeat(100_000));
        let _ = stream.write_all(&flood);
    });
    for question in &questions {
        assert!(matches!(hangs.fails(question), AnswerError::Silent(_)));
        let error = closes.fails(question);
        assert!(matches!(error, AnswerError::Short | AnswerError::Silent(_)), "{error}");
        drips.fails(question);
        floods.fails(question);
    }
}

/// Doesn't answer until it is told to.
#[derive(Debug)]
struct Held {
    asked_tx: mpsc::Sender<()>,
    go_on_rx: Mutex<mpsc::Receiver<()>>,
}

impl Ask for Held {
    fn owner(&self, _: &Path) -> Option<u32> {
        Some(0)
    }

    fn ask(&self, _: &Path, _: u32, _: &Question, _: Instant) -> Result<Vec<u8>, AnswerError> {
        self.asked_tx.send(()).unwrap();
        let told = lock(&self.go_on_rx).recv_timeout(Duration::from_secs(20));
        Err(AnswerError::Silent(format!("{told:?}")))
    }
}

#[test]
fn nobody_waits_for_anothers_runtime() {
    let (asked_tx, asked_rx) = mpsc::channel();
    let (go_on_tx, go_on_rx) = mpsc::channel();
    let held = Held { asked_tx, go_on_rx: Mutex::new(go_on_rx) };
    let runtimes = Arc::new(Runtimes::by(vec!["/run/a.sock".into()], Box::new(held)));
    let other = ID.replace('1', "2");
    let known = Workload { image: Some("told".into()), ..container(&other) };
    runtimes.keep(&known);
    let asking = Arc::clone(&runtimes);
    let slow = std::thread::spawn(move || asking.describe(container(ID)));
    asked_rx.recv().unwrap();
    // While that is being asked.
    let began = Instant::now();
    assert_eq!(runtimes.describe(container(&other)), known);
    assert!(began.elapsed() < Duration::from_secs(10));
    go_on_tx.send(()).unwrap();
    assert_eq!(slow.join().unwrap(), container(ID));
    assert!(runtimes.is_silent(Path::new("/run/a.sock")));
}
