use super::*;
use crate::sql::{Effects, Strings};

fn facts() -> Arc<Facts> {
    Arc::new(Facts::unknown(Doubt::TooDeep, Effects::NONE))
}

#[test]
fn only_the_same_text_under_the_same_state_is_a_hit() {
    let cache = Cache::new(1 << 20);
    let state = LexingState::default();
    cache.put(b"select 1", &state, &facts());
    assert!(cache.get(b"select 1", &state).is_some());
    assert!(cache.get(b"select 2", &state).is_none());
    assert!(cache.get(b"select 1 ", &state).is_none());
    for other in [
        LexingState { strings: Strings::Escaping, ..state.clone() },
        LexingState { search_path: Some("x".into()), ..state.clone() },
        LexingState { server_major: Some(15), ..state.clone() },
        LexingState { encoding: crate::sql::Encoding::Latin1, ..state.clone() },
    ] {
        assert!(cache.get(b"select 1", &other).is_none(), "{other:?}");
    }
}

#[test]
fn it_never_weighs_more_than_it_may_and_keeps_what_is_asked_for() {
    let limit = 1 << 20;
    let cache = Cache::new(limit);
    let state = LexingState::default();
    cache.put(b"asked for", &state, &facts());
    for number in 0..20_000 {
        cache.put(format!("select {number}").as_bytes(), &state, &facts());
        assert!(cache.get(b"asked for", &state).is_some(), "{number}");
    }
    assert!(cache.weight() <= limit, "{}", cache.weight());
    assert!(cache.get(b"select 1", &state).is_none());
}

#[test]
fn what_may_not_come_again_is_not_kept() {
    let cache = Cache::new(1 << 20);
    let state = LexingState::default();
    let lost = Facts::unknown(Doubt::Parser("lost".into()), Effects::NONE);
    cache.put(b"x", &state, &Arc::new(lost));
    assert!(cache.get(b"x", &state).is_none());
    cache.put(&[b'x'; 1 << 20], &state, &facts());
    assert_eq!(cache.weight(), 0);
}

#[test]
fn a_text_with_other_numbers_is_a_hit_where_nothing_hangs_on_them() {
    let cache = Cache::new(1 << 20);
    let state = LexingState::default();
    let put = |text: &str| {
        let facts = crate::sql::Cell::quick(text.as_bytes(), &state).unwrap();
        cache.put(text.as_bytes(), &state, &Arc::new(facts));
    };
    let has = |text: &str| cache.get(text.as_bytes(), &state).is_some();
    put("select a from t where id = 1 limit 10");
    assert!(has("select a from t where id = 23456 limit 10"));
    assert!(!has("select a from t where id = 1 limit 11"));
    assert!(!has("select a from t where id = 1  limit 10"));
    assert!(!has("select a from t where id = 1.0 limit 10"));
    assert!(!has("select a from t where id = \0 limit 10"));
    let other = LexingState { server_major: Some(15), ..state.clone() };
    assert!(cache.get(b"select a from t where id = 2 limit 10", &other).is_none());
    put("select a from t where id = 1 limit 11");
    assert!(has("select a from t where id = 2 limit 11"));
}
