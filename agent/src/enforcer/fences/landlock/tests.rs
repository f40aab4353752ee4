use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};

use super::*;

/// Landlock holds a thread and what it starts: the test's own goes free.
fn behind<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(what).join().unwrap()
}

fn denied<T>(outcome: io::Result<T>) -> bool {
    outcome.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn only_the_own_folder_can_be_read_and_written() {
    let base = std::env::temp_dir().join(format!("tidegate-landlock-{}", std::process::id()));
    let (own, other) = (base.join("own"), base.join("other"));
    for folder in [&own, &other] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("old"), "old").unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let told = behind({
        let (own, other) = (own.clone(), other.clone());
        move || {
            let told = raise(std::slice::from_ref(&own)).unwrap();
            fs::write(own.join("new"), "new").unwrap();
            fs::rename(own.join("new"), own.join("newer")).unwrap();
            assert_eq!(fs::read(own.join("old")).unwrap(), b"old");
            fs::remove_file(own.join("old")).unwrap();
            assert!(denied(fs::write(other.join("new"), "new")));
            assert!(denied(fs::read(other.join("old"))));
            assert!(denied(fs::remove_file(other.join("old"))));
            assert!(fs::rename(own.join("newer"), other.join("newer")).is_err());
            if told == "full" {
                assert!(denied(TcpListener::bind("127.0.0.1:0")));
                assert!(denied(TcpStream::connect(open)));
            }
            told
        }
    });
    assert!(told == "full" || told.starts_with("partial"), "{told}");
    assert!(own.join("newer").exists() && !other.join("newer").exists());
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = raise(&["/nonexistent/log".into()]).unwrap_err().to_string();
    assert!(error.contains("`/nonexistent/log`") && error.contains("make the folder"), "{error}");
}

#[test]
fn what_is_missing_is_told_and_why() {
    let status = |landlock, ruleset| {
        // Only the library makes one.
        let mut status = behind(|| restrict(Vec::new()).unwrap());
        status.landlock = landlock;
        status.ruleset = ruleset;
        status
    };
    let with = |effective_abi| LandlockStatus::Available { effective_abi, kernel_abi: None };
    for (landlock, ruleset, holds, says) in [
        (with(ABI::V6), RulesetStatus::FullyEnforced, true, "full"),
        (
            with(ABI::V2),
            RulesetStatus::PartiallyEnforced,
            true,
            "partial: the kernel has version 2",
        ),
        (with(ABI::V5), RulesetStatus::PartiallyEnforced, true, "without signals and sockets"),
        (with(ABI::V6), RulesetStatus::FullyEnforced, false, "does not hold"),
        (LandlockStatus::NotEnabled, RulesetStatus::NotEnforced, false, "`lsm=`"),
        (LandlockStatus::NotImplemented, RulesetStatus::NotEnforced, false, "older than 5.13"),
    ] {
        let told = describe(&status(landlock, ruleset), holds);
        assert!(told.contains(says), "{told}");
    }
}
