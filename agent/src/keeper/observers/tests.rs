use super::*;
use crate::model::samples;

fn tell(observers: &Observers, times: usize) {
    for event in samples::events().iter().cycle().take(times) {
        observers.tell(event.kind.clone());
    }
}

#[test]
fn a_watcher_gets_what_was_kept_and_then_what_comes() {
    let observers = Observers::default();
    tell(&observers, 2);
    let (kept, events_rx) = observers.watch();
    assert_eq!(kept.len(), 2);
    tell(&observers, 1);
    assert_eq!(events_rx.try_iter().count(), 1);
    assert_eq!(observers.kept().len(), 3);
}

#[test]
fn only_the_newest_are_kept_and_a_slow_watcher_is_left_behind() {
    let observers = Observers::default();
    let (_, slow) = observers.watch();
    tell(&observers, WATCHER_CAPACITY + 10);
    assert_eq!(observers.kept().len(), KEPT);
    assert_eq!(slow.try_iter().count(), WATCHER_CAPACITY);
    assert!(slow.recv().is_err());
}

#[test]
fn the_log_is_told_who_without_all_that_it_has_already() {
    for event in crate::model::samples::events() {
        let text = noted(&event);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let whole = serde_json::to_value(&event).unwrap();
        assert_eq!(value["event"], whole["event"]);
        assert_eq!(value["flow"]["process"]["uid"], whole["flow"]["process"]["uid"]);
        assert_eq!(value["hold"], whole["hold"]);
        assert!(value["flow"]["process"]["command"].is_null());
        if whole["flow"].is_object() {
            // As the log tells a connection: who it is goes with the process.
            let process = &value["flow"]["process"];
            assert_eq!(process["workload"]["unit"], whole["flow"]["process"]["workload"]["unit"]);
            assert_eq!(process["actor"]["person"], whole["flow"]["actor"]["person"]);
            let above = &process["actor"]["ancestry"][0];
            assert_eq!(above["pid"], whole["flow"]["actor"]["ancestry"][0]["pid"]);
            assert!(above["command"].is_null() && value["flow"]["actor"].is_null());
        }
    }
}
