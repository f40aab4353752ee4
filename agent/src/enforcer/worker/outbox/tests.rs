use super::*;
use crate::channel::pair;
use crate::model::{Closing, End, FlowId};

fn closed(number: u64) -> ToKeeper {
    ToKeeper::Closed(Closing {
        flow: FlowId { cookie: number, connected_at: 0 },
        bytes_up: 0,
        bytes_down: 0,
        duration_us: 0,
        end: End::Closed,
        carried: None,
    })
}

#[test]
fn what_a_full_channel_does_not_take_is_sent_later_in_order() {
    let (keeper, theirs) = pair::<ToEnforcer, ToKeeper>().unwrap();
    let channel = Channel::new(theirs);
    let mut outbox = Outbox::default();
    let many = 20_000;
    for number in 0..many {
        outbox.push(closed(number));
    }
    outbox.flush(&channel).unwrap();
    assert!(!outbox.is_empty(), "the channel took everything: make it more");
    for number in 0..many {
        let ToKeeper::Closed(closing) = keeper.receive().unwrap().message else { panic!() };
        assert_eq!(closing.flow.cookie, number);
        outbox.flush(&channel).unwrap();
    }
    assert!(outbox.is_empty());
}

#[test]
fn a_closed_channel_is_an_error() {
    let (keeper, theirs) = pair::<ToEnforcer, ToKeeper>().unwrap();
    let channel = Channel::new(theirs);
    drop(keeper);
    let mut outbox = Outbox::default();
    outbox.push(closed(1));
    assert!(matches!(outbox.flush(&channel), Err(ChannelError::Closed)));
}
