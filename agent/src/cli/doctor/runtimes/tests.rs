use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::*;
use crate::host::tests::Tree;

/// As real ones answered.
const DOCKER: &[u8] = include_bytes!("../../../identity/runtime/fixtures/docker-ping.http");
const CONTAINERD: &[u8] =
    include_bytes!("../../../identity/runtime/fixtures/containerd-version.bin");

fn check(tree: &Tree, sockets: &[&str], owner: u32) -> Check {
    let mut settings = Settings::default();
    settings.identity.runtimes = sockets.iter().map(PathBuf::from).collect();
    asked(tree.root(), &settings, owner)
}

/// Answers each question so, or hangs up.
fn serve(tree: &Tree, path: &str, answer: &'static [u8]) {
    tree.file(&format!("{path}.folder"), "");
    let listener = UnixListener::bind(tree.root().join(path)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
}

#[test]
fn the_runtimes_that_answer_are_named() {
    let own = rustix::process::geteuid().as_raw();
    let tree = Tree::new("doctor-runtimes");
    let both = ["/run/docker.sock", "/run/containerd/containerd.sock"];
    let none = check(&tree, &both, own);
    assert_eq!((none.verdict, none.finding.as_str()), (Verdict::Ok, "none is here"));
    serve(&tree, "run/docker.sock", DOCKER);
    let one = check(&tree, &both, own);
    assert_eq!((one.verdict, one.finding.as_str()), (Verdict::Ok, "/run/docker.sock answers"));
    serve(&tree, "run/containerd/containerd.sock", CONTAINERD);
    let two = check(&tree, &both, own);
    let finding = "/run/docker.sock, /run/containerd/containerd.sock answer";
    assert_eq!((two.verdict, two.finding.as_str()), (Verdict::Ok, finding));
    let nobody = check(&tree, &[], own);
    assert_eq!(nobody.verdict, Verdict::Ok);
    assert!(nobody.finding.starts_with("none is asked"), "{}", nobody.finding);
}

#[test]
fn one_that_does_not_answer_is_told() {
    let own = rustix::process::geteuid().as_raw();
    let tree = Tree::new("doctor-runtimes-silent");
    serve(&tree, "run/docker.sock", DOCKER);
    // It speaks, but not what its name says.
    serve(&tree, "run/crio/crio.sock", DOCKER);
    let found = check(&tree, &["/run/docker.sock", "/run/crio/crio.sock"], own);
    let finding =
        "/run/docker.sock answers; /run/crio/crio.sock does not answer: the answer is no gRPC";
    assert_eq!((found.verdict, found.finding.as_str()), (Verdict::Warn, finding));
    assert!(found.next.is_some());
    let others = check(&tree, &["/run/docker.sock"], own + 1);
    let finding = format!("none answers; /run/docker.sock is of uid {own}, and not believed");
    assert_eq!((others.verdict, others.finding), (Verdict::Warn, finding));
}
