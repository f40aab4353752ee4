use super::*;

#[test]
fn so_many_at_once_and_then_so_many_a_second() {
    let start = Instant::now();
    let mut allowance = Allowance { since: start, ..Allowance::new(5, 10) };
    assert_eq!((0..20).filter(|_| allowance.take(start).is_ok()).count(), 5);
    // A tenth of a second each, and no part of one is lost or won.
    let mut taken = 0;
    for millis in 0..1000 {
        taken += u32::from(allowance.take(start + Duration::from_millis(millis)).is_ok());
    }
    assert_eq!(taken, 9);
    assert_eq!(allowance.take(start + Duration::from_millis(1000)), Ok(()));
    // Told once.
    let told: Vec<_> = (0..3).map(|_| allowance.take(start).unwrap_err().first).collect();
    assert_eq!(told, [true, false, false]);
    // Never more than at the start, however long nobody asked.
    let later = start + Duration::from_secs(86_400);
    assert_eq!((0..20).filter(|_| allowance.take(later).is_ok()).count(), 5);
    // A clock that stands still, or goes back, gives nothing.
    assert!(allowance.take(start).is_err());
}
