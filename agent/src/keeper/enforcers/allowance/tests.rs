use super::*;

#[test]
fn so_many_at_once_and_then_so_many_a_second() {
    let start = Instant::now();
    let mut allowance = Allowance { since: start, ..Allowance::new(5, 10) };
    assert_eq!((0..20).filter(|_| allowance.take(start)).count(), 5);
    // A tenth of a second each, and no part of one is lost or won.
    let mut taken = 0;
    for millis in 0..1000 {
        taken += u32::from(allowance.take(start + Duration::from_millis(millis)));
    }
    assert_eq!(taken, 9);
    assert!(allowance.take(start + Duration::from_millis(1000)));
    // Never more than at the start, however long nobody asked.
    let later = start + Duration::from_secs(86_400);
    assert_eq!((0..20).filter(|_| allowance.take(later)).count(), 5);
    // A clock that stands still, or goes back, gives nothing.
    assert!(!allowance.take(start));
}
