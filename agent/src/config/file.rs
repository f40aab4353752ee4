//! The file: TOML with the line of every value. It knows every key and its
//! type; what a value must be otherwise, `check` knows.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml_edit::{Document, Item, TableLike, Value};

use super::draft::{Draft, Located};
use super::{Mistakes, Place, Protect, check, protect};
use crate::config;
use crate::model::Mode;

mod audit;
mod policy;
mod service;

#[cfg(test)]
pub(super) use audit::AUDIT;

/// Every key of the file, by table.
pub(super) const TOP: [&str; 21] = [
    "cgroup",
    "bpffs",
    "listen_port",
    "control",
    "enforcer",
    "on_existing",
    "protect",
    "passthrough",
    "ca",
    "audit",
    "approvals",
    "identity",
    "logins",
    "classes",
    "policy",
    "canary_every",
    "resolve_every",
    "resolve_grace",
    "quota_user",
    "quota_cgroup",
    "debug_programs",
];
pub(super) const ENFORCER: [&str; 3] = ["user", "workers", "drain"];
pub(super) const CA: [&str; 2] = ["certificate", "key"];
pub(super) const IDENTITY: [&str; 5] = ["directory", "kinds", "runtimes", "kubelet", "pod_logs"];
pub(super) const POLICY: [&str; 6] = ["mode", "folder", "packs", "bare", "enforce", "enforce_file"];
pub(super) const PROTECT: [&str; 18] = [
    "to",
    "mode",
    "exclude",
    "environment",
    "protocol",
    "verify",
    "roots",
    "server_name",
    "client_cert",
    "client_key",
    "upstream_tls",
    "auth",
    "cleartext",
    "verifiers",
    "auth_query",
    "login",
    "pooling",
    "catalog",
];

/// How alike two words are for one to be offered for the other.
const ALIKE: f64 = 0.75;

/// Takes all that can be read, and tells all that can't.
pub(super) fn read(text: &str, file: &str) -> (Draft, Mistakes) {
    let mut reader = Reader { text, file, mistakes: Mistakes::default() };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let message = error.message().trim().replace('\n', ": ");
            let place = reader.place(error.span());
            return (
                Draft::default(),
                Mistakes::one(place, format!("this is not TOML: {message}")),
            );
        }
    };
    let table = document.as_table();
    reader.unknown_keys(table, &TOP, "");
    let draft = reader.draft(table);
    (draft, reader.mistakes)
}

/// Says that `word` is not one of `known`, and which one may be meant.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match closest(word, known) {
        Some(near) => format!("unknown {what} `{word}`: did you mean `{near}`?"),
        None => format!("unknown {what} `{word}`: {}", one_of(known)),
    }
}

fn one_of(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [first, second] => format!("it is {first} or {second}"),
        many => format!("it is one of {}", many.join(", ")),
    }
}

fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .iter()
        .map(|&candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

pub(super) struct Reader<'t> {
    text: &'t str,
    file: &'t str,
    mistakes: Mistakes,
}

impl Reader<'_> {
    fn draft(&mut self, top: &dyn TableLike) -> Draft {
        let mut draft = Draft {
            cgroup: self.take(top, "cgroup", |i| check::absolute(path(i)?)),
            bpffs: self.take(top, "bpffs", |i| check::absolute(path(i)?)),
            listen_port: self.take(top, "listen_port", |i| {
                Ok(number(i, 1, u64::from(u16::MAX))?.try_into().unwrap_or(u16::MAX))
            }),
            control: self.take(top, "control", |i| check::socket(path(i)?)),
            on_existing: self.take(top, "on_existing", |i| check::on_existing(string(i)?)),
            protect: self.protect(top),
            passthrough: self.passthrough(top),
            logins: self.take(top, "logins", |i| check::absolute(path(i)?)),
            classes: self.take(top, "classes", |i| check::absolute(path(i)?)),
            canary_every: self.take(top, "canary_every", |i| time(i, check::CANARY)),
            resolve_every: self.take(top, "resolve_every", |i| time(i, check::RESOLVE)),
            resolve_grace: self.take(top, "resolve_grace", |i| time(i, check::GRACE)),
            quota_user: self.take(top, "quota_user", quota),
            quota_cgroup: self.take(top, "quota_cgroup", quota),
            debug_programs: self.take(top, "debug_programs", boolean),
            ..Draft::default()
        };
        if let Some(table) = self.table(top, "enforcer") {
            self.unknown_keys(table, &ENFORCER, " in [enforcer]");
            draft.user = self.take(table, "user", |i| check::user(string(i)?.to_owned()));
            draft.workers = self.take(table, "workers", |i| {
                let most = check::MOST_WORKERS;
                Ok(number(i, 0, most as u64)?.try_into().unwrap_or(most))
            });
            draft.drain = self.take(table, "drain", |i| time(i, check::DRAIN));
        }
        if let Some(table) = self.table(top, "ca") {
            self.unknown_keys(table, &CA, " in [ca]");
            draft.ca_certificate = self.take(table, "certificate", |i| check::absolute(path(i)?));
            draft.ca_key = self.take(table, "key", |i| check::absolute(path(i)?));
        }
        self.policy(top, &mut draft);
        if let Some(table) = self.table(top, "audit") {
            self.audit(table, &mut draft.audit);
        }
        if let Some(table) = self.table(top, "approvals") {
            self.approvals(table, &mut draft.approvals);
        }
        if let Some(table) = self.table(top, "identity") {
            self.unknown_keys(table, &IDENTITY, " in [identity]");
            draft.directory = self.take(table, "directory", |i| check::absolute(path(i)?));
            draft.kinds = self.take(table, "kinds", |i| check::absolute(path(i)?));
            draft.runtimes = self.take(table, "runtimes", sockets);
            draft.kubelet = self.take(table, "kubelet", |i| check::absolute(path(i)?));
            draft.pod_logs = self.take(table, "pod_logs", |i| check::absolute(path(i)?));
        }
        draft
    }

    fn table<'i>(&mut self, within: &'i dyn TableLike, key: &str) -> Option<&'i dyn TableLike> {
        let item = within.get(key)?;
        let table = item.as_table_like();
        if table.is_none() {
            let place = self.place_of(within, key, item);
            self.mistakes
                .add(place, format!("`{key}` must be a table, not {}", with_article(item)));
        }
        table
    }

    pub(super) fn unknown_keys(&mut self, table: &dyn TableLike, known: &[&str], within: &str) {
        for (key, item) in table.iter() {
            if known.contains(&key) {
                continue;
            }
            let text = if within.is_empty() && ENFORCER.contains(&key) {
                format!("unknown key `{key}`: it belongs in the table [enforcer]")
            } else if within.is_empty() && PROTECT.contains(&key) {
                format!("unknown key `{key}`: it belongs to a destination, behind [[protect]]")
            } else if within.is_empty() && POLICY.contains(&key) {
                format!("unknown key `{key}`: it belongs in the table [policy]")
            } else if (known == ENFORCER || known == POLICY) && TOP.contains(&key) {
                format!("unknown key `{key}`{within}: it belongs above the first table")
            } else {
                match closest(key, known) {
                    Some(near) => format!("unknown key `{key}`{within}: did you mean `{near}`?"),
                    None => format!("unknown key `{key}`{within}: {}", one_of(known)),
                }
            };
            let place =
                self.place(table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span()));
            self.mistakes.add(place, text);
        }
    }

    pub(super) fn take<T>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        read: impl Fn(&Item) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let item = table.get(key)?;
        let place = self.place_of(table, key, item);
        match read(item) {
            Ok(value) => Some(Located { value, place }),
            Err(error) => {
                self.mistakes.add(place, format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// A list of strings, numbers and tables, or `[[protect]]`.
    fn protect(&mut self, top: &dyn TableLike) -> Option<Located<Vec<Located<Protect>>>> {
        let item = top.get("protect")?;
        let place = self.place_of(top, "protect", item);
        let mut list = Vec::new();
        if let Some(array) = item.as_array() {
            for value in array {
                let place = self.place(value.span());
                let found = match value {
                    Value::String(text) => self.note(&place, protect::parse(text.value())),
                    Value::Integer(port) => {
                        self.note(&place, protect::parse(&port.value().to_string()))
                    }
                    Value::InlineTable(table) => self.destination(table, &place),
                    other => {
                        let error = format!(
                            "a destination is a string or a table, not {}",
                            article(other.type_name())
                        );
                        self.note(&place, Err(error))
                    }
                };
                list.extend(found.map(|value| Located { value, place }));
            }
        } else if let Some(tables) = item.as_array_of_tables() {
            for table in tables {
                let place = self.place(table.span());
                let found = self.destination(table, &place);
                list.extend(found.map(|value| Located { value, place }));
            }
        } else {
            let text = format!(
                "`protect`: it must be a list, such as `[\"5432\"]`, not {}",
                with_article(item)
            );
            self.mistakes.add(place, text);
            return None;
        }
        Some(Located { value: list, place })
    }

    /// `{ to = "10.0.0.7:5432", mode = "permissive" }`
    fn destination(&mut self, table: &dyn TableLike, place: &Place) -> Option<Protect> {
        self.unknown_keys(table, &PROTECT, " of a destination");
        let to = self.take(table, "to", |item| match item.as_integer() {
            Some(port) => plain_target(&port.to_string()),
            None => plain_target(string(item)?),
        });
        let mode = self.take(table, "mode", |item| protect::mode(string(item)?));
        let exclude = self.take(table, "exclude", boolean);
        let environment =
            self.take(table, "environment", |item| config::policy::environment(string(item)?));
        if !table.contains_key("to") {
            self.mistakes.add(place.clone(), "a destination needs `to`, such as `to = \"5432\"`");
        }
        let exclude = exclude.is_some_and(|exclude| exclude.value);
        if let (true, Some(mode)) = (exclude, &mode) {
            self.mistakes.add(
                mode.place.clone(),
                "an excluded destination has no mode: take out `mode`, or `exclude`",
            );
        }
        if let (true, Some(environment)) = (exclude, &environment) {
            self.mistakes.add(
                environment.place.clone(),
                "an excluded destination has no environment: take out `environment`, or `exclude`",
            );
        }
        let environment = environment.map(|environment| environment.value);
        let mode = mode.map_or(Mode::Strict, |mode| mode.value);
        let usual = to.as_ref().map(|to| to.value.service.protocol).unwrap_or_default();
        let service = self.service(table, usual, exclude);
        Some(Protect { mode, exclude, environment, service, ..to?.value })
    }

    fn note<T>(&mut self, place: &Place, result: Result<T, String>) -> Option<T> {
        result.map_err(|error| self.mistakes.add(place.clone(), error)).ok()
    }

    fn place_of(&self, table: &dyn TableLike, key: &str, item: &Item) -> Place {
        self.place(item.span().or_else(|| table.key(key).and_then(toml_edit::Key::span)))
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        Place::at(self.text, self.file, span)
    }
}

fn plain_target(text: &str) -> Result<Protect, String> {
    if text.contains(',') {
        return Err(format!("`{text}`: in a table, write `mode`, `exclude` and the rest as keys"));
    }
    protect::parse(text)
}

pub(super) fn string(item: &Item) -> Result<&str, String> {
    item.as_str().ok_or_else(|| format!("it must be a string, not {}", with_article(item)))
}

fn path(item: &Item) -> Result<PathBuf, String> {
    string(item).map(PathBuf::from)
}

/// A list of sockets' paths.
fn sockets(item: &Item) -> Result<Vec<PathBuf>, String> {
    let list = item.as_array().ok_or_else(|| {
        format!(
            "it must be a list of paths, such as `[\"/run/docker.sock\"]`, not {}",
            with_article(item)
        )
    })?;
    let path = |value: &Value| match value.as_str() {
        Some(text) => check::socket(text.into()),
        None => Err(format!("a path is a string, not {}", article(value.type_name()))),
    };
    list.iter().map(path).collect()
}

fn boolean(item: &Item) -> Result<bool, String> {
    item.as_bool().ok_or_else(|| format!("it must be true or false, not {}", with_article(item)))
}

fn number(item: &Item, least: u64, most: u64) -> Result<u64, String> {
    let Some(number) = item.as_integer() else {
        let quoted = item.as_str().is_some_and(|text| text.parse::<i64>().is_ok());
        let hint = if quoted { ": take off the quotes" } else { "" };
        return Err(format!(
            "it must be a whole number from {least} to {most}, not {}{hint}",
            with_article(item)
        ));
    };
    u64::try_from(number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("`{number}` is out of range: from {least} to {most}"))
}

fn quota(item: &Item) -> Result<u32, String> {
    let most = check::MOST_QUOTA;
    Ok(number(item, 1, most.into())?.try_into().unwrap_or(most))
}

pub(super) fn time(item: &Item, range: (Duration, Duration)) -> Result<Duration, String> {
    if let Some(number) = item.as_integer() {
        return Err(format!("`{number}` has no unit: write \"{number}ms\" or \"{number}s\""));
    }
    check::between(string(item)?, range)
}

fn with_article(item: &Item) -> String {
    article(item.type_name())
}

fn article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}
