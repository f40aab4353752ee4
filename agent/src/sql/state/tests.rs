use super::*;

#[test]
fn encodings_by_what_they_mean() {
    for (name, expected) in [
        ("UTF8", Encoding::Utf8),
        ("utf-8", Encoding::Utf8),
        ("SQL_ASCII", Encoding::SqlAscii),
        ("LATIN1", Encoding::Latin1),
        ("WIN1252", Encoding::Superset("win1252".into())),
        ("ISO_8859_5", Encoding::Superset("iso88595".into())),
        ("EUC_JP", Encoding::Superset("eucjp".into())),
        ("SJIS", Encoding::Overlapping("sjis".into())),
        ("WIN932", Encoding::Overlapping("win932".into())),
        ("windows-949", Encoding::Overlapping("windows949".into())),
        ("GB18030", Encoding::Overlapping("gb18030".into())),
        ("JOHAB", Encoding::Overlapping("johab".into())),
        ("SHIFT_JIS_2004", Encoding::Overlapping("shiftjis2004".into())),
        ("whatever", Encoding::Overlapping("whatever".into())),
    ] {
        assert_eq!(Encoding::named(name), expected, "{name}");
    }
}

#[test]
fn a_path_that_puts_something_before_the_catalog_is_seen() {
    let first = |path: Option<&str>| {
        LexingState { search_path: path.map(Into::into), ..LexingState::default() }.catalog_first()
    };
    assert!(first(None));
    assert!(first(Some("\"$user\", public")));
    assert!(first(Some("pg_catalog, public")));
    assert!(first(Some("\"a, pg_catalog\", public")));
    assert!(!first(Some("evil, pg_catalog")));
    assert!(!first(Some("evil, \"pg_catalog\"")));
    assert!(!first(Some("evil,PG_CATALOG")));
    assert!(!first(Some("\"evil")));
}
