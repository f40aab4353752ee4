use super::constants;
use crate::sql::Strings;

fn read(text: &str, strings: Strings) -> Vec<String> {
    let all = constants(text.as_bytes(), strings);
    all.map(|one| String::from_utf8_lossy(&one).into_owned()).collect()
}

#[test]
fn they_are_what_the_server_reads() {
    for (text, expected) in [
        ("select 'a', 'it''s', ''", &["a", "it's", ""][..]),
        ("select E'a\\'b\\n\\x41\\102\\u2022\\U0001F600\\q'", &["a'b\nAB•😀q"]),
        ("select U&'\\2022\\+002022 \\\\ it''s'", &["•• \\ it's"]),
        ("select N'a'", &["a"]),
        ("select 'a'\n  'b'", &["ab"]),
        ("select $$a'b$$, $x$c$x$", &["$$a'b$$", "$x$c$x$"]),
        ("select 'a\\'", &["a\\"]),
        ("select 1 -- 'a'\n /* 'b' */ \"c'd'\"", &[]),
        ("select B'101', 'open", &[]),
    ] {
        assert_eq!(read(text, Strings::Standard), expected, "{text}");
    }
    assert_eq!(read("select 'a\\u2022'", Strings::Escaping), ["a•"]);
    assert_eq!(read("select 'a\\u2022'", Strings::Uncertain), ["a\\u2022", "a•"]);
}

/// Every text of so many of these signs.
fn texts(signs: &[&str], most: u32) -> impl Iterator<Item = String> {
    let count = signs.len() as u64;
    (0..count.pow(most)).map(move |mut number| {
        let mut text = String::new();
        for _ in 0..most {
            text.push_str(signs[(number % count) as usize]);
            number /= count;
        }
        text
    })
}

#[test]
fn no_text_is_too_strange() {
    for text in texts(&["'", "\\", "E'", "U&'", "$$", "u2", "+", "\n"], 6) {
        for strings in [Strings::Standard, Strings::Escaping, Strings::Uncertain] {
            let all: usize = constants(text.as_bytes(), strings).map(|one| one.len()).sum();
            assert!(all <= 2 * text.len(), "{text}");
        }
    }
}

#[test]
fn what_is_quoted_is_found_as_it_was() {
    for value in texts(&["'", "\\", "a", "•", "u2022", " \n"], 5) {
        let text = format!("select '{}'", value.replace('\'', "''"));
        assert_eq!(read(&text, Strings::Standard), [&*value], "{text}");
        let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
        assert_eq!(read(&format!("select E'{escaped}'"), Strings::Standard), [value]);
    }
}
