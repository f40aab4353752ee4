//! The directory file: which people, teams and groups stand behind users,
//! units, pods, service accounts and images.
//!
//! ```toml
//! [users.alice]
//! person = "Alice Example"
//! teams = ["payments"]
//! groups = ["dba"]
//!
//! [units."billing.service"]
//! teams = ["billing"]
//! ```
//!
//! INVARIANT: only what the process could not choose is looked up: its user,
//! its login, its unit, and the runtime's or the kubelet's word of its pod, its
//! service account and image.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::file::{FileMistakes, Reader};
use crate::model::{Confidence, LONGEST_NAME, MOST_GROUPS, Person, cut, without_tag};

const TOP: [&str; 5] = ["users", "units", "pods", "service_accounts", "images"];
const KEYS: [&str; 3] = ["person", "teams", "groups"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// By name, or by number.
    users: BTreeMap<String, Entry>,
    units: BTreeMap<String, Entry>,
    /// `namespace/name`, where a `*` at the end stands for the rest.
    pods: BTreeMap<String, Entry>,
    /// The same.
    service_accounts: BTreeMap<String, Entry>,
    /// Without its tag; a `*` at the end stands for the rest.
    images: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    person: Option<String>,
    teams: Vec<String>,
    groups: Vec<String>,
}

/// What the directory adds to an actor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub person: Option<String>,
    pub teams: Vec<String>,
    pub groups: Vec<String>,
}

impl Directory {
    pub fn parse(text: &str, file: &str) -> Result<Self, FileMistakes> {
        Reader::read(text, file, |reader, top| {
            reader.only(top, &TOP);
            let mut read = |key: &str| {
                let mut entries = BTreeMap::new();
                for (name, table) in reader.tables(top, key) {
                    reader.only(table, &KEYS);
                    if key != "users" && table.contains_key("person") {
                        let span = table.get("person").and_then(toml_edit::Item::span);
                        reader.mistake(span, "only a user is a person: give this one `teams`");
                    }
                    let entry = Entry {
                        person: reader.string(table, "person"),
                        teams: reader.strings(table, "teams"),
                        groups: reader.strings(table, "groups"),
                    };
                    entries.insert(name, entry);
                }
                entries
            };
            Self {
                users: read("users"),
                units: read("units"),
                pods: read("pods"),
                service_accounts: read("service_accounts"),
                images: read("images"),
            }
        })
    }

    pub fn look_up(&self, facts: &Facts, person: Option<&Person>) -> Found {
        let mut found = Found::default();
        // The one who logged in, if that is sure.
        let login = person
            .and_then(|person| person.user.as_ref())
            .filter(|user| user.confidence > Confidence::Claimed);
        let logged_in = login
            .and_then(|user| self.users.get(&user.value))
            .or_else(|| self.users.get(&facts.process.login_uid?.to_string()));
        if let Some(entry) = logged_in {
            found.person.clone_from(&entry.person);
            found.add(entry);
        }
        let process = &facts.process;
        let acting = process
            .user
            .as_ref()
            .and_then(|user| self.users.get(user))
            .or_else(|| self.users.get(&process.uid.to_string()));
        // In a container the numbers are the image's, not the host's people.
        if let Some(entry) = acting.filter(|_| facts.workload.container.is_none()) {
            found.add(entry);
        }
        let workload = &facts.workload;
        if let Some(entry) = workload.system_unit().and_then(|unit| self.units.get(unit)) {
            found.add(entry);
        }
        // A user's own runtime may say anything.
        if workload.user_slice.is_none() {
            if let (Some(namespace), Some(name)) = (&workload.namespace, &workload.pod_name) {
                let whole = format!("{namespace}/{name}");
                found.add_all(&self.pods, &whole);
            }
            let account = facts.account.as_ref();
            if let Some(account) = account.filter(|it| it.confidence == Confidence::Certain) {
                found.add_all(&self.service_accounts, &account.value);
            }
            if let Some(image) = &workload.image {
                found.add_all(&self.images, without_tag(image));
            }
        }
        found
    }
}

impl Found {
    fn add_all(&mut self, entries: &BTreeMap<String, Entry>, text: &str) {
        for (pattern, entry) in entries {
            let matches = match pattern.strip_suffix('*') {
                Some(beginning) => text.starts_with(beginning),
                None => pattern == text,
            };
            if matches {
                self.add(entry);
            }
        }
    }

    fn add(&mut self, entry: &Entry) {
        for (names, into) in [(&entry.teams, &mut self.teams), (&entry.groups, &mut self.groups)] {
            for name in names {
                let name = cut(name, LONGEST_NAME);
                if into.len() < MOST_GROUPS && !into.contains(&name) {
                    into.push(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
