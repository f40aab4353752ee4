use super::*;

#[test]
fn names_are_as_the_server_reads_them() {
    for (text, name) in [
        ("Note", "note"),
        ("note", "note"),
        ("\"Note\"", "Note"),
        ("\"a\"\"b\"", "a\"b"),
        ("\"", "\""),
    ] {
        assert_eq!(folded(text), name);
    }
    assert_eq!(folded(&"é".repeat(40)), "é".repeat(31));
}
