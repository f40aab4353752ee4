use super::*;

fn read(bytes: &[u8], state: &LexingState) -> Result<String, Doubt> {
    readable(bytes, state, 1_000, 100).map(|readable| readable.text.into_owned())
}

fn state(encoding: &str, strings: Strings) -> LexingState {
    LexingState { encoding: Encoding::named(encoding), strings, ..LexingState::default() }
}

#[test]
fn what_could_be_read_in_two_ways_is_a_doubt() {
    let utf8 = state("UTF8", Strings::Standard);
    assert_eq!(read(b"a\0b", &utf8), Err(Doubt::Nul));
    assert_eq!(read(b"a\xffb", &utf8), Err(Doubt::NotUtf8));
    assert_eq!(read(&[b'x'; 1_001], &utf8), Err(Doubt::TooLong { bytes: 1_001, limit: 1_000 }));
    // The second byte of a character is a backslash, a quote …
    let sjis = state("SJIS", Strings::Standard);
    assert!(matches!(read(b"select '\x83\x5c'", &sjis), Err(Doubt::Encoding(_))));
    assert!(read(b"select 1", &sjis).is_ok());
    // … also where the bytes happen to be good UTF-8.
    assert!(matches!(read("'\u{e9}'".as_bytes(), &sjis), Err(Doubt::Encoding(_))));
    assert!(matches!(read(b"'", &utf8), Err(Doubt::Unparsable(_))));
}

#[test]
fn supersets_of_ascii_keep_their_shape() {
    let latin = state("LATIN1", Strings::Standard);
    assert_eq!(read(b"select '\xe9'", &latin).unwrap(), "select 'é'");
    assert_eq!(read(b"select \xe9", &latin).unwrap(), "select é");
    let windows = state("WIN1251", Strings::Standard);
    assert!(read(b"select '\xe9'", &windows).is_ok());
    assert_eq!(read(b"select \xe9", &windows), Err(Doubt::Names));
    let ascii = state("SQL_ASCII", Strings::Standard);
    assert_eq!(read(b"'\xff'", &ascii), Err(Doubt::NotUtf8));
}

#[test]
fn backslashes_follow_the_setting() {
    let text = br"select '\'";
    assert_eq!(read(text, &state("UTF8", Strings::Standard)).unwrap(), r"select '\'");
    assert!(read(text, &state("UTF8", Strings::Escaping)).is_err());
    let text = br"select '\\'";
    assert_eq!(read(text, &state("UTF8", Strings::Escaping)).unwrap(), r"select  E'\\'");
    assert_eq!(read(text, &state("UTF8", Strings::Uncertain)), Err(Doubt::Strings));
    assert!(read(b"select 'x'", &state("UTF8", Strings::Uncertain)).is_ok());
}

#[test]
fn positions_are_told_apart_from_the_originals_when_they_move() {
    let of = |text: &[u8], strings| {
        readable(text, &state("UTF8", strings), 1_000, 100).unwrap().in_place
    };
    assert!(of(b"select 'x'", Strings::Escaping));
    assert!(!of(br"select '\\'", Strings::Escaping));
}
