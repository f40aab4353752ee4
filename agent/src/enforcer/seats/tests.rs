use super::*;

fn place(process: u32, since: &str) -> Place {
    Place { process, since: since.into() }
}

#[test]
fn two_at_one_process_are_both_told() {
    let seats = Seats::default();
    let one = seats.take(place(7, "1"));
    let others = [seats.take(place(8, "1")), seats.take(place(7, "2"))];
    assert!(!one.is_shared() && !others.iter().any(Seat::is_shared));
    let two = seats.take(place(7, "1"));
    assert!(one.is_shared() && two.is_shared());
    assert!(!others.iter().any(Seat::is_shared));
    // It was so, whoever leaves.
    drop(two);
    assert!(one.is_shared());
}

#[test]
fn one_after_the_other_have_it_alone() {
    let seats = Seats::default();
    drop(seats.take(place(7, "1")));
    assert!(!seats.take(place(7, "1")).is_shared());
    assert!(seats.lock().is_empty(), "a seat is left");
}
