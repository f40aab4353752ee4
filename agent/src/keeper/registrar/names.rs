//! The names of users and groups, as the host's files have them now.

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;
use std::time::SystemTime;

use super::lock;

#[derive(Debug)]
pub(in crate::keeper) struct Names {
    users: Mutex<List>,
    groups: Mutex<List>,
}

#[derive(Debug)]
struct List {
    file: &'static str,
    read_at: Option<SystemTime>,
    names: HashMap<u32, String>,
}

impl Default for Names {
    fn default() -> Self {
        let list = |file| Mutex::new(List { file, read_at: None, names: HashMap::new() });
        Self { users: list("/etc/passwd"), groups: list("/etc/group") }
    }
}

impl Names {
    pub fn user(&self, uid: u32) -> Option<String> {
        lock(&self.users).name(uid)
    }

    pub fn group(&self, gid: u32) -> Option<String> {
        lock(&self.groups).name(gid)
    }
}

impl List {
    fn name(&mut self, number: u32) -> Option<String> {
        if let Some(name) = self.names.get(&number) {
            return Some(name.clone());
        }
        let changed = fs::metadata(self.file).and_then(|data| data.modified()).ok();
        if changed != self.read_at || self.read_at.is_none() {
            self.read_at = changed;
            self.names = fs::read_to_string(self.file)
                .unwrap_or_default()
                .lines()
                .filter_map(|line| {
                    let mut fields = line.split(':');
                    let name = fields.next()?;
                    Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
                })
                .collect();
        }
        self.names.get(&number).cloned()
    }
}
