use super::*;
use crate::audit::beside::Which;

/// The text, where columns called `note` hold something.
fn kept(text: &str) -> Option<String> {
    let note = |beside: &Beside<'_>| {
        matches!(beside.column, Which::Named("note") | Which::Nth(1)).then_some(Class::Phone)
    };
    Literals::read(text, Strings::Standard).without(|| Some(text.to_owned()), &note)
}

#[test]
fn literals_of_a_class_go_and_nothing_else() {
    for (text, expected) in [
        (
            "UPDATE t SET id = 1, note = 'x''y' WHERE note IN ('a', 'b') AND id = 12.5e3",
            "UPDATE t SET id = 1, note = [phone] WHERE note IN ([phone], [phone]) AND id = 12.5e3",
        ),
        (
            "SELECT 1 FROM t WHERE note = 12.5e3 LIMIT 3",
            "SELECT 1 FROM t WHERE note = [phone] LIMIT 3",
        ),
        ("SELECT 1 FROM t WHERE note = $$a b$$ -- c", "SELECT 1 FROM t WHERE note = [phone] -- c"),
        (
            "INSERT INTO t VALUES (1, 'é', [email]), (2, 'b', 'c')",
            "INSERT INTO t VALUES (1, [phone], [email]), (2, [phone], 'c')",
        ),
        (
            "DO $x$ BEGIN UPDATE t SET note = 'é', id = 'b'; END $x$; SELECT 'c'",
            "DO $x$ BEGIN UPDATE t SET note = [phone], id = 'b'; END $x$; SELECT 'c'",
        ),
    ] {
        assert_eq!(kept(text).as_deref(), Some(expected));
    }
    for text in ["SELECT 1 FROM t WHERE id = 'a'", "SELECT note FROM t WHERE note = $1", "", "$$"] {
        assert_eq!(kept(text), None, "{text}");
    }
}
