//! The keys of a destination that say how it is read, and `[[passthrough]]`.

use toml_edit::{Item, TableLike, Value};

use super::{Reader, check, path, string, with_article};
use crate::config::draft::Located;
use crate::config::service::{self, DEFAULT_DATABASE, DEFAULT_QUERY};
use crate::config::{
    AccountSettings, AuthSettings, ClientFiles, LoginSettings, PassthroughSettings, Place,
    QuerySettings, Service, TlsSettings, WhoSettings,
};
use crate::model::{AuthMode, Protocol, Verify};

const QUERY: [&str; 4] = ["role", "password_file", "database", "query"];
const CATALOG: [&str; 2] = ["role", "password_file"];
const WHO: [&str; 4] = ["exe", "unit", "user", "cgroup"];
const LOGIN: [&str; 6] = ["role", "from", "exe", "unit", "user", "cgroup"];
const PASSTHROUGH: [&str; 5] = ["exe", "unit", "user", "cgroup", "to"];
/// What has a meaning only where the destination is read.
const OF_READING: [&str; 13] = [
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

impl Reader<'_> {
    pub(super) fn service(
        &mut self,
        table: &dyn TableLike,
        usual: Protocol,
        exclude: bool,
    ) -> Service {
        let protocol = self.take(table, "protocol", |i| service::protocol(string(i)?));
        if let (true, Some(protocol)) = (exclude, &protocol) {
            self.mistakes.add(
                protocol.place.clone(),
                "an excluded destination is not read: take out `protocol`, or `exclude`",
            );
        }
        let written = protocol.is_some();
        let protocol = protocol.map_or(usual, |protocol| protocol.value);
        if exclude || protocol == Protocol::Unread {
            for key in OF_READING {
                let Some(item) = table.get(key) else { continue };
                let text = match (exclude, written) {
                    (true, _) => format!(
                        "an excluded destination is not read: take out `{key}`, or `exclude`"
                    ),
                    (_, true) => format!(
                        "`{key}` has no meaning where nothing is read: take it out, or write \
                         `protocol = \"postgres\"`"
                    ),
                    (_, false) => format!(
                        "`{key}` has no meaning where nothing is read, and this port is another \
                         database's: write `protocol = \"postgres\"` if it isn't"
                    ),
                };
                let place = self.place_of(table, key, item);
                self.mistakes.add(place, text);
            }
        }
        let (tls, auth) = (self.tls(table), self.auth(table));
        let pooling = self.take(table, "pooling", |i| service::pooling(string(i)?));
        let pooling = pooling.map(|pooling| pooling.value).unwrap_or_default();
        let catalog = self.table(table, "catalog").and_then(|account| self.account(account));
        Service { protocol, tls, auth, pooling, catalog }
    }

    fn tls(&mut self, table: &dyn TableLike) -> TlsSettings {
        let verify = self.take(table, "verify", |i| service::verify(string(i)?));
        let roots = self.take(table, "roots", |i| check::absolute(path(i)?));
        let server_name = self.take(table, "server_name", |i| service::server_name(string(i)?));
        let certificate = self.take(table, "client_cert", |i| check::absolute(path(i)?));
        let key = self.take(table, "client_key", |i| check::absolute(path(i)?));
        let upstream = self.take(table, "upstream_tls", |i| service::upstream(string(i)?));
        let verify = verify.map_or(Verify::Mirror, |verify| verify.value);
        if let (Verify::None, Some(roots)) = (verify, &roots) {
            self.mistakes.add(
                roots.place.clone(),
                "`roots`: with `verify = \"none\"` no root is asked: take out one of the two",
            );
        }
        for (here, there, name, missing) in [
            (&certificate, "client_key", "client_cert", "key"),
            (&key, "client_cert", "client_key", "certificate"),
        ] {
            if let (Some(one), false) = (here, table.contains_key(there)) {
                self.mistakes.add(
                    one.place.clone(),
                    format!("`{name}` needs its {missing}: write `{there} = \"…\"` too"),
                );
            }
        }
        let client = certificate
            .zip(key)
            .map(|(one, other)| ClientFiles { certificate: one.value, key: other.value });
        TlsSettings {
            verify,
            roots: roots.map(|roots| roots.value),
            server_name: server_name.map(|name| name.value),
            client,
            upstream_always: upstream.is_some_and(|upstream| upstream.value),
        }
    }

    fn auth(&mut self, table: &dyn TableLike) -> AuthSettings {
        let mode = self.take(table, "auth", |i| service::auth(string(i)?));
        let cleartext = self.take(table, "cleartext", |i| service::cleartext(string(i)?));
        let query = self.table(table, "auth_query").map(|query| self.query(query));
        let mode = mode.map_or(AuthMode::Auto, |mode| mode.value);
        let forbid_cleartext = cleartext.as_ref().is_some_and(|cleartext| cleartext.value);
        if let (true, AuthMode::Cleartext, Some(cleartext)) = (forbid_cleartext, mode, &cleartext) {
            self.mistakes.add(
                cleartext.place.clone(),
                "`cleartext`: `auth = \"cleartext\"` is forbidden by this: take out one of the two",
            );
        }
        let unused = matches!(mode, AuthMode::Through | AuthMode::Cleartext);
        for key in ["auth_query", "verifiers"] {
            let Some(item) = table.get(key).filter(|_| unused) else { continue };
            let place = self.place_of(table, key, item);
            self.mistakes.add(
                place,
                format!(
                    "`{key}`: verifiers are used with `auth = \"auto\"` or `\"verifier\"` only: \
                     take out one of the two"
                ),
            );
        }
        let verifiers = self.take(table, "verifiers", |i| check::absolute(path(i)?));
        AuthSettings {
            mode,
            forbid_cleartext,
            verifiers: verifiers.map(|verifiers| verifiers.value),
            query: query.flatten(),
            logins: self.logins(table),
        }
    }

    /// `{ role = "tidegate", password_file = "…" }`
    fn query(&mut self, table: &dyn TableLike) -> Option<QuerySettings> {
        self.unknown_keys(table, &QUERY, " of `auth_query`");
        let role = self.needed(table, "role", "auth_query", |i| service::identifier(string(i)?));
        let password_file =
            self.needed(table, "password_file", "auth_query", |i| check::absolute(path(i)?));
        let database = self.take(table, "database", |i| service::identifier(string(i)?));
        let query = self.take(table, "query", |i| service::query(string(i)?));
        Some(QuerySettings {
            role: role?,
            password_file: password_file?,
            database: database.map_or_else(|| DEFAULT_DATABASE.to_owned(), |l| l.value),
            query: query.map_or_else(|| DEFAULT_QUERY.to_owned(), |l| l.value),
        })
    }

    /// `{ role = "tidegate", password_file = "…" }`
    fn account(&mut self, table: &dyn TableLike) -> Option<AccountSettings> {
        self.unknown_keys(table, &CATALOG, " of `catalog`");
        let role = self.needed(table, "role", "catalog", |i| service::identifier(string(i)?));
        let password_file =
            self.needed(table, "password_file", "catalog", |i| check::absolute(path(i)?));
        Some(AccountSettings { role: role?, password_file: password_file? })
    }

    /// One table, or a list of them.
    fn logins(&mut self, table: &dyn TableLike) -> Vec<LoginSettings> {
        let mut list: Vec<Located<LoginSettings>> = Vec::new();
        for (table, place) in self.tables(table, "login") {
            self.unknown_keys(table, &LOGIN, " of `login`");
            let role = self.needed(table, "role", "login", |i| service::identifier(string(i)?));
            let from = self.needed(table, "from", "login", |i| service::secret_file(string(i)?));
            let who = self.who(table);
            if let Some(all) = list.iter().find(|one| one.value.who == WhoSettings::default()) {
                let before = all.place.beside();
                self.mistakes.add(
                    place.clone(),
                    format!("this login is never reached: the one at {before} fits everybody"),
                );
            }
            if let (Some(role), Some(password_file)) = (role, from) {
                let value = LoginSettings { who, role, password_file };
                list.push(Located { value, place });
            }
        }
        list.into_iter().map(|one| one.value).collect()
    }

    /// `[[passthrough]]`
    pub(super) fn passthrough(&mut self, top: &dyn TableLike) -> Vec<Located<PassthroughSettings>> {
        let mut list = Vec::new();
        for (table, place) in self.tables(top, "passthrough") {
            self.unknown_keys(table, &PASSTHROUGH, " of `passthrough`");
            let who = self.who(table);
            let to = self.take(table, "to", |item| match item.as_integer() {
                Some(port) => Ok(port.to_string()),
                None => string(item).map(str::to_owned),
            });
            if !WHO.iter().any(|key| table.contains_key(key)) {
                self.mistakes.add(
                    place.clone(),
                    "`passthrough` needs to say who: `exe`, `unit`, `user` or `cgroup` (a \
                     destination that nobody's is read at has `protocol = \"unread\"`)",
                );
            }
            let to = to.map(|to| to.value);
            list.push(Located { value: PassthroughSettings { who, to }, place });
        }
        list
    }

    fn who(&mut self, table: &dyn TableLike) -> WhoSettings {
        let mut word = |key: &str, check: fn(&str) -> Result<(), String>| {
            self.take(table, key, |item| {
                let text = match item.as_integer() {
                    Some(number) if key == "user" => number.to_string(),
                    _ => string(item)?.to_owned(),
                };
                check(&text)?;
                Ok(text)
            })
            .map(|located| located.value)
        };
        WhoSettings {
            exe: word("exe", beginning_with_slash),
            unit: word("unit", unit),
            user: word("user", not_empty),
            cgroup: word("cgroup", beginning_with_slash),
        }
    }

    fn needed<T>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        of: &str,
        read: impl Fn(&Item) -> Result<T, String>,
    ) -> Option<T> {
        if !table.contains_key(key) {
            let span = table.iter().next().and_then(|(first, item)| {
                table.key(first).and_then(toml_edit::Key::span).or_else(|| item.span())
            });
            let place = self.place(span);
            self.mistakes.add(place, format!("`{of}` needs `{key}`"));
        }
        self.take(table, key, read).map(|located| located.value)
    }

    /// A table, a list of tables, or `[[key]]`.
    fn tables<'i>(
        &mut self,
        within: &'i dyn TableLike,
        key: &str,
    ) -> Vec<(&'i dyn TableLike, Place)> {
        let Some(item) = within.get(key) else { return Vec::new() };
        if let Some(tables) = item.as_array_of_tables() {
            return tables
                .iter()
                .map(|table| (table as &dyn TableLike, self.place(table.span())))
                .collect();
        }
        if let Some(table) = item.as_table_like() {
            return vec![(table, self.place_of(within, key, item))];
        }
        let Some(array) = item.as_array() else {
            let place = self.place_of(within, key, item);
            let text =
                format!("`{key}` must be a table or a list of them, not {}", with_article(item));
            self.mistakes.add(place, text);
            return Vec::new();
        };
        let mut list = Vec::new();
        for value in array {
            let place = self.place(value.span());
            match value {
                Value::InlineTable(table) => list.push((table as &dyn TableLike, place)),
                other => {
                    let what = super::article(other.type_name());
                    self.mistakes.add(place, format!("`{key}` is a list of tables, not {what}"));
                }
            }
        }
        list
    }
}

fn beginning_with_slash(text: &str) -> Result<(), String> {
    if text.starts_with('/') && text.len() > 1 {
        Ok(())
    } else {
        Err(format!("`{text}` is not an absolute path: begin it with `/`"))
    }
}

fn unit(text: &str) -> Result<(), String> {
    let named = [".service", ".scope", ".slice", ".socket", ".mount", ".timer"];
    if named.iter().any(|end| text.len() > end.len() && text.ends_with(end)) {
        Ok(())
    } else {
        Err(format!("`{text}` is not a unit's whole name: write `{text}.service`"))
    }
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it is empty: name a user".into()) } else { Ok(()) }
}
