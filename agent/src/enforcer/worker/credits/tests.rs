use super::*;

#[test]
fn the_first_grant_is_whole_and_later_ones_come_in_batches() {
    let mut credits = Credits::new(10_000);
    assert_eq!(credits.grant(0), Some(MOST));
    assert_eq!(credits.grant(0), None);
    for live in 1..BATCH {
        assert!(credits.spend());
        assert_eq!(credits.grant(live), None);
    }
    assert!(credits.spend());
    assert_eq!(credits.grant(BATCH), Some(BATCH));
}

#[test]
fn credits_and_sessions_never_pass_the_capacity() {
    let capacity = 300;
    let mut credits = Credits::new(capacity);
    let (mut live, mut given) = (0, 0);
    for step in 0..10_000_u32 {
        given += credits.grant(live).unwrap_or(0);
        assert!(live + given <= capacity, "step {step}: {live} live, {given} on the way");
        // Two come, then one goes, until it is full; then some go.
        if given > 0 && step % 3 != 0 {
            assert!(credits.spend());
            given -= 1;
            live += 1;
        } else {
            live = live.saturating_sub(1);
        }
    }
    assert!(live + given > capacity / 2);
}

#[test]
fn when_full_one_that_ends_makes_room_for_one() {
    let mut credits = Credits::new(2);
    assert_eq!(credits.grant(0), Some(2));
    assert!(credits.spend() && credits.spend());
    assert_eq!(credits.grant(2), None);
    assert!(!credits.spend());
    assert_eq!(credits.grant(1), Some(1));
}
