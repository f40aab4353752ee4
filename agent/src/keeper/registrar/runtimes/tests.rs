use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::identity::cgroup;

const ID: &str = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";

fn answer() -> String {
    let json = format!(
        r#"{{"Id":"{ID}","Config":{{"Image":"shop/web:1","Labels":{{"com.docker.compose.service":"web"}}}},"HostConfig":{{"RestartPolicy":{{"Name":"always"}}}}}}"#
    );
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}", json.len())
}

/// Answers as it was told to, and counts.
#[derive(Debug, Default)]
struct Recorded {
    owner: u32,
    answer: Option<String>,
    asked: Arc<AtomicUsize>,
}

impl Ask for Recorded {
    fn owner(&self, _: &Path) -> Option<u32> {
        Some(self.owner)
    }

    fn ask(&self, _: &Path, question: &str) -> io::Result<Vec<u8>> {
        assert!(question.contains(ID));
        self.asked.fetch_add(1, Ordering::Relaxed);
        match &self.answer {
            Some(answer) => Ok(answer.clone().into_bytes()),
            None => Err(io::ErrorKind::TimedOut.into()),
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
    let recorded = Recorded { owner: 0, answer: Some(answer()), asked: Arc::clone(&asked) };
    let mut runtimes = runtimes(recorded);
    for _ in 0..3 {
        let found = runtimes.describe(container(ID));
        assert_eq!(found.image.as_deref(), Some("shop/web:1"));
        assert_eq!((found.managed, found.runtime.as_deref()), (Some(true), Some("docker")));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let none = Workload { unit: Some("a.service".into()), ..Workload::default() };
    assert_eq!(runtimes.describe(none.clone()), none);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_runtime_that_is_silent_is_left_alone() {
    let asked = Arc::<AtomicUsize>::default();
    let mut runtimes = runtimes(Recorded { owner: 0, answer: None, asked: Arc::clone(&asked) });
    for first in ["1", "2", "3"] {
        let id = format!("{first}{}", &ID[1..]);
        let workload = container(&id);
        // The question is checked for another id: only the first is asked.
        if first == "1" {
            assert_eq!(runtimes.describe(container(ID)), container(ID));
        }
        assert_eq!(runtimes.describe(workload.clone()), workload);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_socket_of_another_owner_is_not_believed() {
    let asked = Arc::<AtomicUsize>::default();
    let mut others =
        runtimes(Recorded { owner: 1000, answer: Some(answer()), asked: Arc::clone(&asked) });
    assert_eq!(others.describe(container(ID)), container(ID));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // A user's own, about a container in that user's slice: but never a service.
    let path =
        format!("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope");
    let mut own = runtimes(Recorded { owner: 1000, answer: Some(answer()), asked });
    let found = own.describe(cgroup::of_path(&path));
    assert_eq!((found.image.as_deref(), found.managed), (Some("shop/web:1"), None));
}

#[test]
fn over_a_real_socket() {
    let folder = std::env::temp_dir().join(format!("tidegate-runtime-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = std::thread::spawn(move || {
        // Whole, then in small pieces, then never.
        for pieces in [usize::MAX, 7] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4096];
            let length = stream.read(&mut question).unwrap();
            let question = String::from_utf8_lossy(&question[..length]).into_owned();
            assert!(question.starts_with(&format!("GET /containers/{ID}/json HTTP/1.1\r\n")));
            for piece in answer().as_bytes().chunks(pieces) {
                stream.write_all(piece).unwrap();
            }
        }
        listener.accept().unwrap()
    });
    let way = OverSocket { within: WITHIN };
    assert_eq!(way.owner(&path), Some(rustix::process::geteuid().as_raw()));
    assert_eq!(way.owner(&folder), None);
    for _ in 0..2 {
        let got = way.ask(&path, &runtime::request(ID)).unwrap();
        assert_eq!(got, answer().into_bytes());
    }
    let began = Instant::now();
    assert!(way.ask(&path, &runtime::request(ID)).is_err());
    assert!(began.elapsed() < WITHIN * 10, "{:?}", began.elapsed());
    drop(serving.join().unwrap());
    assert!(way.ask(Path::new("/nowhere"), "x").is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}
