use super::*;

const LOCKED_IN: &str = "Name:\ttidegate\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t \n\
    Threads:\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
    CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n\
    NoNewPrivs:\t1\nSeccomp:\t2\n";

fn judge(text: &str) -> Result<Held, FenceError> {
    let file = tempfile(text);
    let expected = Expected { user: User { uid: 7, gid: 8 }, was_root: true };
    verify(expected, &Status(file))
}

/// A file with no name.
fn tempfile(text: &str) -> File {
    let memory = rustix::fs::memfd_create("status", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(memory);
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file
}

#[test]
fn a_process_that_is_locked_in_passes() {
    let held = judge(LOCKED_IN).unwrap();
    assert_eq!(held.uid, 7);
    assert!(held.no_capabilities && held.no_new_privs);
}

#[test]
fn each_must_that_does_not_hold_is_an_error() {
    for (good, bad) in [
        ("Uid:\t7\t7\t7\t7", "Uid:\t7\t7\t0\t7"),
        ("Gid:\t8\t8\t8\t8", "Gid:\t0\t8\t8\t8"),
        ("Groups:\t ", "Groups:\t4 27 "),
        ("CapInh:\t0000000000000000", "CapInh:\t0000000000000001"),
        ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000002000"),
        ("CapEff:\t0000000000000000", "CapEff:\t0000000000200000"),
        ("CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff"),
        ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000400"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        ("CapEff:\t0000000000000000\n", ""),
    ] {
        let text = LOCKED_IN.replace(good, bad);
        assert_ne!(text, LOCKED_IN);
        assert!(matches!(judge(&text), Err(FenceError::Open { .. })), "let through: {bad:?}");
    }
}

#[test]
fn the_own_status_is_read_as_it_is_now() {
    let status = Status::open().unwrap();
    let seen = status.read().unwrap();
    let uid = geteuid().as_raw().to_string();
    assert_eq!(seen.field("Uid").split('\t').nth(1), Some(uid.as_str()));
    assert_ne!(seen.field("Threads"), "");
}
