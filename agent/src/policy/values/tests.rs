use super::*;
use crate::model::ActorKind;
use crate::policy::testing::{Asker, facts, source};
use crate::policy::{Cache, Set, Verdict};

fn told(kind: &'static str, text: &str) -> Is {
    Value::text(kind, text).is
}

#[test]
fn one_value_has_one_form() {
    let text = |text: &str| Is::Text(text.into());
    for (kind, spellings, form) in [
        ("bool", &["t", "TRUE", " yes ", "on", "1"][..], "true"),
        ("bool", &["f", "False", "n", "of", "off", "0"], "false"),
        ("int4", &["7", "+7", " 007 "], "7"),
        (
            "uuid",
            &[
                "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
                "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            ],
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("text", &[" As it is "], " As it is "),
    ] {
        for spelling in spellings {
            assert_eq!(told(kind, spelling), text(form), "{kind} {spelling}");
        }
    }
    for (kind, odd) in [("bool", "o"), ("bool", ""), ("int4", "0x10"), ("uuid", "a0eebc99")] {
        assert_eq!(told(kind, odd), Is::Untold, "{kind} {odd}");
    }
    assert_eq!(told("text", &"x".repeat(LONGEST + 1)), Is::Untold);
}

#[test]
fn policies_ask_for_what_is_bound() {
    let set = Set::parse(&[source(
        "@id(\"all\") permit (principal, action, resource);
         @id(\"few\") @reason(\"r\") forbid (principal, action == Action::\"update\", resource)
         when { context.parameters has p1 && context.parameters.p1 has number
                && context.parameters.p1.number > 100 };
         @id(\"own\") @reason(\"r\") forbid (principal, action == Action::\"delete\", resource)
         unless { context.parameters.count == 1 && context.parameters has p1
                  && context.parameters.p1 has value && context.parameters.p1.value == \"me\" };",
    )])
    .unwrap();
    let cache = Cache::new(64);
    let told = |text: &str, values: Option<&[Value]>| {
        let asker = Asker::new(ActorKind::Terminal, None);
        let facts = facts(text);
        let mut question = asker.question(&facts);
        question.circumstances.parameters = values;
        let verdict = cache.decide(&set, &question, asker.stance);
        assert_eq!(verdict.ruling(), set.decide(&question, asker.stance).ruling());
        verdict
    };
    let (few, many) = ([Value::text("int4", "7")], [Value::text("int8", "101")]);
    let update = "update a set b = 1 where c = $1";
    assert!(matches!(told(update, Some(&few)), Verdict::Allow(_)));
    assert!(matches!(told(update, Some(&many)), Verdict::Refuse(_)));
    assert!(matches!(told(update, Some(&few)), Verdict::Allow(_)));
    let (me, other) = ([Value::text("text", "me")], [Value::text("text", "you")]);
    let delete = "delete from a where b = $1";
    assert!(matches!(told(delete, Some(&me)), Verdict::Allow(_)));
    assert!(matches!(told(delete, Some(&other)), Verdict::Refuse(_)));
    assert!(matches!(told(delete, Some(&[])), Verdict::Refuse(_)));
    // Those to come decide; where they never come, it is refused.
    let unbound = told(delete, None);
    assert!(matches!(unbound, Verdict::Refuse(_)) && unbound.ruling().awaits_values());
    assert!(unbound.to_prepare(&facts(delete)).is_some());
    assert!(!told(delete, Some(&other)).ruling().awaits_values());
    assert_eq!(cache.len(), 1, "what was bound is kept");
    // Who asks for none of it is not kept from being remembered.
    let plain = told("select 1 from a", Some(&few));
    assert!(matches!(plain, Verdict::Allow(_)));
    assert_eq!(cache.len(), 2);
}
