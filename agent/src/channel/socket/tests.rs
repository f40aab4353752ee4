use std::os::fd::AsFd;

use super::*;

#[test]
fn a_message_and_its_descriptors_arrive_together() {
    let (left, right) = pair::<String, u32>().unwrap();
    let right = Channel::<u32, String>::new(right);
    let (a, b) = std::io::pipe().unwrap();
    left.send(&"take these".into(), &[a.as_fd(), b.as_fd()]).unwrap();
    let received = right.receive().unwrap();
    assert_eq!(received.message, "take these");
    assert_eq!(received.descriptors.len(), 2);
    right.send(&7, &[]).unwrap();
    assert_eq!(left.receive().unwrap().message, 7);
}

#[test]
fn nothing_there_would_block_and_a_closed_end_is_closed() {
    let (left, right) = pair::<u32, u32>().unwrap();
    assert!(matches!(left.receive(), Err(ChannelError::WouldBlock)));
    drop(right);
    assert!(matches!(left.receive(), Err(ChannelError::Closed)));
    assert!(matches!(left.send(&1, &[]), Err(ChannelError::Closed)));
}

#[test]
fn a_full_socket_never_blocks() {
    let (left, _right) = pair::<String, u32>().unwrap();
    let long = "x".repeat(8_000);
    let mut sent = 0;
    while left.send(&long, &[]).is_ok() {
        sent += 1;
        assert!(sent < 100_000);
    }
    assert!(matches!(left.send(&long, &[]), Err(ChannelError::WouldBlock)));
}

#[test]
fn foreign_bytes_are_malformed_not_fatal() {
    let (left, right) = pair::<Vec<u8>, u32>().unwrap();
    let right = Channel::<u32, String>::new(right);
    left.send(&vec![0xff; 40], &[]).unwrap();
    assert!(matches!(right.receive(), Err(ChannelError::Malformed(_))));
}
