use super::*;

#[test]
fn equal_texts_are_kept_once() {
    let texts = Texts::new(1000);
    let (one, other) = (texts.share(b"select 1"), texts.share(b"select 1"));
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(texts.bytes(), 8);
}

#[test]
fn what_is_long_is_not_shared() {
    let texts = Texts::default();
    for (length, shared) in [(LARGEST_SHARED, true), (LARGEST_SHARED + 1, false)] {
        let text = vec![b'l'; length];
        assert_eq!(Arc::ptr_eq(&texts.share(&text), &texts.share(&text)), shared, "{length}");
    }
    assert_eq!(texts.bytes(), LARGEST_SHARED);
}

#[test]
fn the_pool_stays_within_its_budget_and_forgets_what_nobody_uses() {
    let texts = Texts::new(100);
    let kept = texts.share(&[b'k'; 60]);
    for index in 0..50_u8 {
        texts.share(&[index; 30]);
        assert!(texts.bytes() <= 100);
    }
    assert!(Arc::ptr_eq(&kept, &texts.share(&[b'k'; 60])));
    assert_eq!(texts.share(&[1; 500]).len(), 500);
    assert!(texts.bytes() <= 100);
}

#[test]
fn a_budget_gets_back_what_is_dropped() {
    let budget = Budget::default();
    let first = budget.keep(10, b"12345678", |text| text.into()).unwrap();
    assert!(budget.keep(10, b"123", |text| text.into()).is_none());
    drop(first);
    assert_eq!(budget.used(), 0);
    assert!(budget.keep(10, b"123", |text| text.into()).is_some());
}
