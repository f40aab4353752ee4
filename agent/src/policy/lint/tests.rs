use crate::policy::testing::source;
use crate::policy::{Layers, Set};

fn remarks(text: &str) -> Vec<String> {
    let set = Set::load(&Layers { bare: true, own: vec![source(text)], ..Layers::default() });
    set.unwrap().remarks().iter().map(ToString::to_string).collect()
}

#[test]
fn what_ships_is_not_odd() {
    for packs in [&[][..], &["ai-agents"], &["read-only"], &["ai-agents", "read-only"]] {
        let packs = packs.iter().map(|name| (*name).to_owned()).collect();
        let set = Set::load(&Layers { packs, ..Layers::default() }).unwrap();
        assert_eq!(set.remarks(), []);
    }
}

#[test]
fn what_can_never_matter_is_found() {
    assert_eq!(
        remarks(
            r#"@id("a") forbid (principal, action == Action::"drop", resource);
@id("b") @reason("r") forbid (principal, action == Action::"read", resource)
    when { context.bounded && !context.bounded };
@id("c") @reason("r") forbid (principal, action == Action::"connect", resource is Table);
@id("d") permit (principal in Kind::"agent", action == Action::"drop", resource is Table);
@id("e") permit (principal, action in Action::"write", resource is Table);
@id("f") permit (principal, action == Action::"insert",
    resource is Table in Schema::"s/d/public") when { context.bounded };
@id("g") @reason("r") forbid (principal, action == Action::"drop", resource) when { true };
@id("h") @reason("flagged") permit (principal, action == Action::"insert", resource is Table);
@id("i") permit (principal, action == Action::"read", resource is Table);"#
        ),
        [
            "own.cedar:1: `a` has no `@reason`: whoever is refused by it will not know why",
            "own.cedar:2: `b` can never fit: `context.bounded` can't both hold and not hold",
            "own.cedar:4: `c` can never fit: no request is of that kind",
            "own.cedar:5: `d` can never permit anything: `a` (own.cedar:1) forbids all of it",
            "own.cedar:7: `f` can't change anything: `e` (own.cedar:6) permits all of it already",
            "own.cedar:9: `g` can't change anything: `a` (own.cedar:1) forbids all of it already",
        ]
    );
}

#[test]
fn of_two_that_are_the_same_one_stands() {
    assert_eq!(
        remarks(
            r#"@id("a") permit (principal, action, resource);
@id("b") permit (principal, action, resource);"#
        ),
        ["own.cedar:2: `b` can't change anything: `a` (own.cedar:1) permits all of it already"]
    );
    // One that may be lifted hides none that may not.
    assert_eq!(
        remarks(
            r#"@id("a") @reason("r") @hold("approvers") forbid (principal, action, resource);
@id("b") @reason("r") forbid (principal, action == Action::"drop", resource);"#
        ),
        [""; 0]
    );
}

#[test]
fn conditions_that_exclude_each_other_are_found() {
    let of = |conditions: &str| {
        let policy = format!(
            "@id(\"a\") @reason(\"r\") forbid (principal, action == Action::\"read\", resource) \
             {conditions};"
        );
        remarks(&policy).pop().unwrap_or_default().replace("own.cedar:1: `a` can never fit: ", "")
    };
    for (conditions, expected) in [
        ("when { context.bounded }", ""),
        ("when { context.bound == \"weak\" || context.bound == \"unbounded\" }", ""),
        ("when { context.bounded } unless { context.cascade && context.bounded }", ""),
        ("when { context.hour > 8 && context.hour < 18 }", ""),
        (
            "when { context.bounded } unless { context.cascade || context.bounded }",
            "`context.bounded` can't both hold and not hold",
        ),
        (
            "when { context.bound == \"weak\" } when { context.bound == \"bounded\" }",
            "`context.bound` can't be both `weak` and `bounded`",
        ),
        (
            "when { context.bound == \"unbound\" }",
            "`context.bound` is never `unbound`: did you mean `unbounded`?",
        ),
        (
            "when { context.transaction == \"aborted\" }",
            "`context.transaction` is never `aborted`: idle, open, failed, pipeline",
        ),
        ("when { context.hour > 24 }", "`context.hour` is never more than 24"),
        (
            "when { context.hour > 18 && context.hour < 8 }",
            "`context.hour` can't be both more than 18 and less than 8",
        ),
        ("when { context.weekday == 0 }", "`context.weekday` is never 0"),
        ("when { context.verb == \"select\" }", ""),
        ("when { [\"select\", \"copy\"].contains(context.verb) }", ""),
        ("when { context.doubts.contains(\"body\") && context.defines.contains(\"drop\") }", ""),
        (
            "when { resource is Table && [\"materialized_view\", \"table\"].contains(resource.kind) }",
            "",
        ),
        (
            "when { context.verb == \"selct\" }",
            "`context.verb` is never `selct`: did you mean `select`?",
        ),
        (
            "when { [\"SELECT\"].contains(context.verb) || context.bounded }",
            "a condition of `a` never holds: `context.verb` is never `SELECT`: ",
        ),
        (
            "when { context.bounded } unless { context.doubts.contains(\"unparseable\") }",
            "a condition of `a` never holds: `context.doubts` is never `unparseable`: did you mean \
             `unparsable`?",
        ),
        (
            "when { context.defines.containsAny([\"delet\"]) }",
            "`context.defines` is never `delet`: did you mean `delete`?",
        ),
        (
            "when { context.doubts.containsAll([\"body\", \"bodies\"]) }",
            "`context.doubts` is never `bodies`: ",
        ),
        (
            "when { resource is Table && resource.kind == \"relation\" }",
            "`resource.kind` is never `relation`: ",
        ),
    ] {
        let told = of(conditions);
        // Long lists of words aren't repeated here.
        let fits = match expected.ends_with(": ") {
            true => told.replace("own.cedar:1: ", "").starts_with(expected),
            false => told.replace("own.cedar:1: ", "") == expected,
        };
        assert!(fits, "{conditions}: {told}");
    }
}

#[test]
fn a_scope_and_conditions_that_exclude_each_other_are_found() {
    let never = |policy: &str| {
        let told = remarks(&format!("@id(\"a\") @reason(\"r\") forbid {policy};"));
        let told = told.iter().find_map(|one| one.split_once("`a` can never fit: "));
        told.map(|(_, why)| why.to_owned()).unwrap_or_default()
    };
    for (policy, expected) in [
        (
            "(principal in Kind::\"agent\", action, resource) \
             when { principal in Kind::\"service\" }",
            "no principal is in both `Kind::\"agent\"` and `Kind::\"service\"`",
        ),
        (
            "(principal in Kind::\"agent\", action, resource) \
             unless { principal in [Kind::\"agent\", Kind::\"service\"] }",
            "no principal is left outside of `Kind::\"agent\"`, `Kind::\"service\"`",
        ),
        (
            "(principal, action, resource in Environment::\"production\") \
             when { resource in Environment::\"staging\" }",
            "no resource is in both `Environment::\"production\"` and `Environment::\"staging\"`",
        ),
        (
            "(principal, action == Action::\"read\", resource is Table in Schema::\"s/d/a\") \
             when { resource in Schema::\"s/d/b\" }",
            "no resource is in both `Schema::\"s/d/a\"` and `Schema::\"s/d/b\"`",
        ),
        (
            "(principal, action == Action::\"read\", resource) \
             when { action in Action::\"write\" }",
            "no action is all that is asked of it",
        ),
        (
            "(principal, action in [Action::\"read\", Action::\"drop\"], resource) \
             unless { action == Action::\"read\" || action in Action::\"define\" }",
            "no action is all that is asked of it",
        ),
        // None of these excludes anything.
        (
            "(principal in Kind::\"agent\", action in Action::\"write\", resource) \
             when { action == Action::\"delete\" && principal in Kind::\"agent\" }",
            "",
        ),
        ("(principal in Team::\"a\", action, resource) when { principal in Team::\"b\" }", ""),
        (
            "(principal, action, resource in Environment::\"production\") \
             when { principal in Kind::\"agent\" || resource in Environment::\"staging\" }",
            "",
        ),
        (
            "(principal, action, resource in Server::\"s\") \
             unless { principal in Kind::\"agent\" || resource in Schema::\"s/d/a\" }",
            "",
        ),
        (
            "(principal, action == Action::\"reveal\", resource in Class::\"a\") \
             when { resource in Class::\"a.b\" }",
            "",
        ),
    ] {
        assert_eq!(never(policy), expected, "{policy}");
    }
}

#[test]
fn facts_that_go_together_are_held_against_each_other() {
    let never = |conditions: &str| {
        let policy = format!(
            "@id(\"a\") @reason(\"r\") forbid (principal, action == Action::\"delete\", resource) \
             {conditions};"
        );
        remarks(&policy).iter().any(|one| one.contains("`a` can never fit: "))
    };
    for conditions in [
        "when { context.bound == \"unbounded\" && context.bounded }",
        "when { context.bounded } when { \"unbounded\" == context.bound }",
        "when { [\"weak\", \"bounded\"].contains(context.bound) && !context.bounded }",
        "when { context.transaction == \"idle\" && context.in_transaction }",
        "when { context.transaction == \"open\" } unless { context.in_transaction }",
        "when { context.understood && context.doubts.contains(\"body\") }",
        "when { context.bound != \"unbounded\" } unless { context.bounded }",
    ] {
        assert!(never(conditions), "{conditions}");
    }
    for conditions in [
        "when { context.bound == \"weak\" && context.bounded }",
        "when { context.bound == \"unbounded\" || context.bounded }",
        "when { context.transaction == \"pipeline\" && context.in_transaction }",
        "when { !context.understood && context.doubts.contains(\"body\") }",
        "when { context.understood && !context.doubts.contains(\"body\") }",
        "when { [\"weak\", \"unbounded\"].contains(context.bound) && !context.bounded }",
    ] {
        assert!(!never(conditions), "{conditions}");
    }
}

#[test]
fn what_a_policy_says_for_nothing_is_told() {
    let text = r#"
@id("a") @reason("r") @mask("partial") forbid (principal, action == Action::"drop", resource);
@id("b") @reason("r") @hold("approvers") forbid (principal, action == Action::"reveal", resource);
@id("c") @reason("r") forbid (principal, action == Action::"read", resource)
    unless { context.approvals.contains("x") };
@id("d") @reason("r") @mask("hash") forbid (principal, action == Action::"reveal", resource is Column);
@id("e") @reason("r") @hold("approvers") @mask("null") forbid (principal in Kind::"agent", action, resource);
"#;
    let told = remarks(text);
    for (line, words) in [
        (2, "`@mask` of `a` does nothing"),
        (3, "`@hold` of `b` does nothing"),
        (4, "`c` asks for `context.approvals`"),
    ] {
        let place = format!("own.cedar:{line}: {words}");
        assert!(told.iter().any(|one| one.starts_with(&place)), "{place}: {told:#?}");
    }
    assert!(!told.iter().any(|one| one.contains("`e`")), "{told:#?}");
}
