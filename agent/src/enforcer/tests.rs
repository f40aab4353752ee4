use super::*;

#[test]
fn descriptors_are_shared_out_and_some_are_kept_back() {
    assert_eq!(capacity(1024, 2).unwrap(), (1024 - 128) / 4);
    assert_eq!(capacity(u64::MAX, 1).unwrap(), MOST_SESSIONS);
    assert!(matches!(capacity(128, 1), Err(EnforcerError::TooFewFiles { open: 128, .. })));
}

#[test]
fn without_a_channel_it_does_not_start() {
    let options =
        Options { uid: 1, gid: 1, writable: vec![], log: None, parsers: None, channels: vec![] };
    assert!(matches!(run(options), Err(EnforcerError::NoChannel)));
}

#[test]
fn only_open_seqpacket_sockets_are_channels() {
    for numbers in [&[0][..], &[2], &[-1], &[i32::MAX]] {
        assert!(matches!(channels(numbers), Err(EnforcerError::Inherited { .. })), "{numbers:?}");
    }
}
