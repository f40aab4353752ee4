use super::*;

#[test]
fn a_process_with_other_threads_is_not_locked_in() {
    // A test runs beside its harness's own thread.
    let user = User { uid: 61_843, gid: 61_843 };
    let error = raise(user, &[]).unwrap_err();
    assert!(matches!(error, FenceError::Threads { .. }), "{error}");
}
