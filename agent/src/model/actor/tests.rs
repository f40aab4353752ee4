use super::*;

fn attribute(name: &str, value: &str, confidence: Confidence) -> Attribute {
    Attribute { name: name.into(), value: value.into(), origin: Origin::Process, confidence }
}

#[test]
fn what_is_learnt_later_never_outranks_what_is_surer() {
    let mut actor = Actor::default();
    assert!(actor.enrich(attribute("image", "a", Confidence::Likely)));
    assert!(!actor.enrich(attribute("image", "b", Confidence::Claimed)));
    assert!(!actor.enrich(attribute("image", "c", Confidence::Likely)));
    assert_eq!(actor.attribute("image").unwrap().value, "a");
    assert!(actor.enrich(attribute("image", "d", Confidence::Certain)));
    assert_eq!(actor.attribute("image").unwrap().value, "d");
    assert_eq!(actor.attributes.len(), 1);
}

#[test]
fn attributes_are_bounded() {
    let mut actor = Actor::default();
    for number in 0..100 {
        actor.enrich(attribute(
            &format!("{number}-{}", "n".repeat(999)),
            &"v".repeat(9999),
            Confidence::Claimed,
        ));
    }
    assert_eq!(actor.attributes.len(), MOST_ATTRIBUTES);
    for attribute in &actor.attributes {
        assert!(attribute.name.len() <= LONGEST_NAME && attribute.value.len() <= LONGEST_VALUE);
    }
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(cut("abc", 3), "abc");
    assert_eq!(cut("abcd", 3), "…");
    assert_eq!(cut("abcdefg", 6), "abc…");
    assert_eq!(cut("ééééé", 8), "éé…");
    assert_eq!(cut_front("abcdefg", 6), "…efg");
    assert_eq!(cut_front("abc", 3), "abc");
    assert_eq!(cut_front("ééééé", 8), "…éé");
}
