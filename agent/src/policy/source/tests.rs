use super::{Source, read, statements};
use crate::policy::{Layers, Mistakes, Set};

fn of(text: &str) -> Result<Set, Mistakes> {
    let own = vec![Source { name: "own.cedar".into(), text: text.into() }];
    Set::load(&Layers { bare: true, own, ..Layers::default() })
}

fn told(text: &str) -> Vec<String> {
    of(text).err().unwrap().0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_text_is_cut_into_its_policies() {
    let cut = |text: &str| -> Vec<String> {
        statements(text).into_iter().map(|range| text[range].to_owned()).collect()
    };
    assert_eq!(cut(""), [""; 0]);
    assert_eq!(cut("// a; b\n \n// c"), [""; 0]);
    assert_eq!(cut("a; // x;\nb // ;\n c;"), ["a;", "b // ;\n c;"]);
    assert_eq!(cut(r#"@a(";\";") b; c"#), [r#"@a(";\";") b;"#, "c"]);
    assert_eq!(cut("; a;"), [";", "a;"]);
    // An open string takes the rest.
    assert_eq!(cut("a \"b; c"), ["a \"b; c"]);
    assert_eq!(cut("a \"\\"), ["a \"\\"]);
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_line() {
    let text = r#"
@id("fine")
permit (principal, action, resource);

@id("typo") @reson("x")
forbid (principal, action, resource);

forbid (principal, actoin, resource);

@id("loud") @severity("loud") @hold("bob")
forbid (principal, action, resource);

@id("fine")
forbid (principal, action, resource);

@id("attribute")
forbid (principal, action == Action::"read", resource)
when { context.bonded };

@id("action")
forbid (principal, action == Action::"reed", resource);

@id("kind")
forbid (principal in Kind::"robot", action, resource);

forbid (principal == ?principal, action, resource);

@hold("approvers") permit (principal, action, resource);
@off("") @id("x") permit (principal, action, resource);
@off("why") permit (principal, action, resource);
@hold_in_transaction forbid (principal, action, resource);
@mask("partial") permit (principal, action, resource);
@mask("partail") forbid (principal, action, resource);
@mask("keep") forbid (principal, action, resource);
"#;
    let told = told(text);
    for (line, words) in [
        (5, "no annotation is called `@reson`: did you mean `@reason`?"),
        (8, "actoin"),
        (10, "`loud` is no severity: one of low, medium, high, critical"),
        (10, "`bob` is nobody who could approve: `approvers` or `group:NAME`"),
        (13, "`fine` is there already: own.cedar:2"),
        (16, "`attribute`: attribute `bonded`"),
        (20, "`action`: unrecognized action `Action::\"reed\"`"),
        (23, "robot"),
        (26, "a template"),
        (28, "`@hold` says who lifts a refusal"),
        (29, "`@off` must say why"),
        (30, "`@off` needs `@id`"),
        (31, "`@hold_in_transaction` needs `@hold`"),
        (32, "`@mask` says how a column"),
        (33, "no mask is called `partail`: did you mean `partial`?"),
        (34, "`@mask(\"keep\")` would show the value"),
    ] {
        let place = format!("own.cedar:{line}: ");
        assert!(
            told.iter().any(|one| one.starts_with(&place) && one.contains(words)),
            "line {line}: {words}\n{}",
            told.join("\n")
        );
    }
    // `context.bonded` is a mistake in the only place it stands, `bounded` is meant.
    assert!(told.iter().any(|one| one.contains("did you mean `bounded`?")), "{told:#?}");
}

#[test]
fn nameless_policies_are_called_by_their_file() {
    let text = "permit (principal, action, resource); forbid (principal, action, resource);";
    let source = Source { name: "/etc/x/own.v2.cedar".into(), text: text.into() };
    let mut mistakes = Vec::new();
    let ids: Vec<_> =
        read(&source, &mut mistakes).iter().map(|read| read.policy.id.to_string()).collect();
    assert_eq!(ids, ["own/1", "own/2"]);
    assert!(mistakes.is_empty());
}
