//! Settings with which a session begins: named in its startup, or among its `options`.

use crate::sql::builtin;
use crate::wire::postgres::Startup;

/// As far as they are followed. Of equals the last one counts, as at the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub search_path: Option<Box<str>>,
    pub role: Option<Box<str>>,
    pub statement_timeout: Option<Box<str>>,
    /// Those that do more than say how a session's texts are read: whoever may not set
    /// them may not begin with them.
    pub guarded: Vec<&'static str>,
    /// There was more than could be read.
    pub uncertain: bool,
}

impl Given {
    /// The server takes `options` first, and then what is named.
    pub fn of(startup: &Startup<'_>) -> Self {
        let mut given = Self::default();
        if let Some(options) = startup.parameter(b"options") {
            given.uncertain |= str::from_utf8(options).is_err();
            given.options(&String::from_utf8_lossy(options));
        }
        for (name, value) in startup.parameters() {
            match (str::from_utf8(name), str::from_utf8(value)) {
                (Ok("user" | "database" | "options" | "replication"), _) => {}
                (Ok(name), Ok(value)) => given.set(name, value),
                (Ok(name), Err(_)) => given.guard(name),
                _ => {}
            }
        }
        given
    }

    /// `-c name=value`, `-cname=value`, `--name=value`, also behind other short options in
    /// one word: `-ecname=value`. A backslash keeps what follows.
    fn options(&mut self, text: &str) {
        let mut words = words(text).into_iter();
        while let Some(word) = words.next() {
            let mut letters = word.chars();
            self.uncertain |= letters.next() != Some('-');
            let Some(letter) = letters.find(|letter| !WITHOUT_VALUE.contains(*letter)) else {
                continue;
            };
            let rest = letters.as_str();
            let value = if rest.is_empty() { words.next() } else { Some(rest.to_owned()) };
            let Some(value) = value.filter(|_| matches!(letter, 'c' | '-')) else { continue };
            match value.split_once('=') {
                Some((name, value)) => self.set(&name.replace('-', "_"), value),
                None => self.uncertain = true,
            }
        }
    }

    fn guard(&mut self, name: &str) {
        self.guarded.extend(builtin::guarded_setting(name).map(|(name, _)| name));
    }

    fn set(&mut self, name: &str, value: &str) {
        self.guard(name);
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

/// Short options of the server's that stand alone.
const WITHOUT_VALUE: &str = "bEeFijlnOPsT";
