//! Settings with which a session begins: named in its startup, or among its `options`.

use crate::wire::postgres::Startup;

/// As far as they are followed. Of equals the last one counts, as at the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub search_path: Option<Box<str>>,
    pub role: Option<Box<str>>,
    pub statement_timeout: Option<Box<str>>,
    /// There was more than could be read.
    pub uncertain: bool,
}

impl Given {
    /// The server takes `options` first, and then what is named.
    pub fn of(startup: &Startup<'_>) -> Self {
        let mut given = Self::default();
        if let Some(options) = startup.parameter(b"options") {
            match str::from_utf8(options) {
                Ok(options) => given.options(options),
                Err(_) => given.uncertain = true,
            }
        }
        for (name, value) in startup.parameters() {
            match (str::from_utf8(name), str::from_utf8(value)) {
                (Ok("user" | "database" | "options" | "replication"), _) => {}
                (Ok(name), Ok(value)) => given.set(name, value),
                _ => {}
            }
        }
        given
    }

    /// `-c name=value`, `-cname=value`, `--name=value`; a backslash keeps what follows.
    fn options(&mut self, text: &str) {
        let mut words = words(text).into_iter();
        while let Some(word) = words.next() {
            let pair = match word.strip_prefix("-c") {
                Some("") => words.next(),
                Some(pair) => Some(pair.to_owned()),
                None => word.strip_prefix("--").map(ToOwned::to_owned),
            };
            match pair.as_deref().and_then(|pair| pair.split_once('=')) {
                Some((name, value)) => self.set(&name.replace('-', "_"), value),
                None => self.uncertain |= pair.is_some() || is_hidden(&word),
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        let place = match name.to_ascii_lowercase().as_str() {
            "search_path" => &mut self.search_path,
            "role" => &mut self.role,
            "statement_timeout" => &mut self.statement_timeout,
            "session_authorization" => {
                self.uncertain = true;
                return;
            }
            _ => return,
        };
        *place = Some(value.into());
    }
}

/// Short options may stand in one word, with the one for settings behind others:
/// `-ecrole=boss`.
fn is_hidden(word: &str) -> bool {
    !word.starts_with("-c") && word.get(1..).is_some_and(|rest| rest.contains(['c', '-']))
}

/// Apart by white space that no backslash stands before.
fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        if sign.is_ascii_whitespace() {
            all.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        word.extend(if sign == '\\' { signs.next() } else { Some(sign) });
    }
    all.extend(word);
    all
}
