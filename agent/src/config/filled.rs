//! What tables were filled with, as enforcers have learnt it and the keeper keeps it:
//! put together, within bounds.
//!
//! INVARIANTS
//! - What is told only adds: two classes for one column are `opaque`, and columns that
//!   are too many are one class for the whole table.
//! - Where there is no room any more, those tables go that nobody has seen the
//!   longest; it is told how many.
//!
//! Never: a value, or anything that isn't well-formed.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use file::{Found, append, read, replace};

use crate::model::{DatabaseName, Filled, Learnt, MOST_COLUMNS, OPAQUE, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    databases: BTreeMap<DatabaseName, Database>,
    bytes: usize,
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub databases: usize,
    /// Of one database.
    pub tables: usize,
    /// Of one database, and of all.
    pub bytes: usize,
    pub all_bytes: usize,
}

/// As many tables as an enforcer can take up at its start and forget none.
const BOUNDS: Bounds =
    Bounds { databases: 256, tables: 4_096, bytes: 4 << 20, all_bytes: 16 << 20 };
/// A table with so many bytes has many columns.
const LARGE: usize = 1_024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Database {
    tables: BTreeMap<Key, Table>,
    notifications: bool,
    large_objects: bool,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    schema: Option<String>,
    relation: String,
    guessed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    columns: BTreeMap<String, String>,
    others: Option<String>,
    /// When it was last filled.
    told: u64,
    /// When somebody last saw that there is such a table.
    there: Option<u64>,
}

/// What came of something that was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What is known by it now, if that is more than before.
    pub new: Option<Learnt>,
    /// Tables that had to go for it.
    pub forgotten: usize,
}

impl Default for Book {
    fn default() -> Self {
        Self::within(BOUNDS)
    }
}

impl Book {
    fn within(bounds: Bounds) -> Self {
        Self { databases: BTreeMap::new(), bytes: 0, bounds }
    }

    /// Takes in what an enforcer has told. `Err`: it isn't of the form that it must be.
    pub fn take(
        &mut self,
        database: &DatabaseName,
        learnt: Learnt,
        now: Timestamp,
    ) -> Result<Taken, &'static str> {
        if !database.is_well_formed() || !learnt.is_well_formed() {
            return Err("it is no name of a table, a column or a class");
        }
        let mut forgotten = 0;
        if !self.databases.contains_key(database) && !matches!(learnt, Learnt::There(_)) {
            forgotten += self.make_room_for_database();
            self.databases.insert(database.clone(), Database::default());
        }
        let Some(known) = self.databases.get_mut(database) else { return Ok(Taken::default()) };
        let new = match learnt {
            Learnt::Filled(filled) => {
                let (key, filled) = split(filled);
                let table = known.tables.entry(key.clone()).or_default();
                table.told = table.told.max(now.0);
                let before = if table.is_empty() { 0 } else { size(&key, table) };
                let new = table.absorb(filled).then(|| joined(&key, table));
                let after = size(&key, table);
                known.bytes = (known.bytes + after).saturating_sub(before);
                self.bytes = (self.bytes + after).saturating_sub(before);
                new.map(Learnt::Filled)
            }
            Learnt::Notifications => {
                let before = std::mem::replace(&mut known.notifications, true);
                (!before).then_some(Learnt::Notifications)
            }
            Learnt::LargeObjects => {
                let before = std::mem::replace(&mut known.large_objects, true);
                (!before).then_some(Learnt::LargeObjects)
            }
            Learnt::There(names) => {
                for (key, table) in &mut known.tables {
                    if names.contains(&key.relation) {
                        table.there = table.there.max(Some(now.0));
                    }
                }
                None
            }
        };
        if new.is_some() {
            forgotten += self.make_room(database);
        }
        Ok(Taken { new, forgotten })
    }

    /// All of it, for those who are to know it.
    pub fn all(&self) -> Vec<(DatabaseName, Vec<Learnt>)> {
        self.databases.iter().map(|(name, one)| (name.clone(), one.all())).collect()
    }

    /// What is known of one database.
    pub fn of(&self, database: &DatabaseName) -> Vec<Learnt> {
        self.databases.get(database).map(Database::all).unwrap_or_default()
    }

    /// Takes out what is known of a table; how many entries that were.
    pub fn forget(
        &mut self,
        schema: &str,
        relation: &str,
        wanted: impl Fn(&DatabaseName) -> bool,
    ) -> usize {
        let mut gone = 0;
        for (_, known) in self.databases.iter_mut().filter(|(name, _)| wanted(name)) {
            let fits = |key: &Key| {
                key.relation == relation && key.schema.as_deref().is_none_or(|one| one == schema)
            };
            let keys: Vec<Key> = known.tables.keys().filter(|key| fits(key)).cloned().collect();
            gone += keys.len();
            self.bytes = self.bytes.saturating_sub(known.drop_all(&keys));
        }
        self.databases.retain(|_, known| !known.is_empty());
        gone
    }

    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// Tables, whatever database they are in.
    pub fn tables(&self) -> usize {
        self.databases.values().map(|one| one.tables.len()).sum()
    }

    // ---- room -----------------------------------------------------------------

    /// The database that was heard of the longest ago goes.
    fn make_room_for_database(&mut self) -> usize {
        if self.databases.len() < self.bounds.databases {
            return 0;
        }
        let heard = |one: &Database| one.tables.values().map(Table::seen).max();
        let oldest = self.databases.iter().min_by_key(|(_, one)| heard(one));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return 0 };
        let Some(gone) = self.databases.remove(&name) else { return 0 };
        self.bytes = self.bytes.saturating_sub(gone.bytes);
        gone.tables.len().max(1)
    }

    fn make_room(&mut self, database: &DatabaseName) -> usize {
        let Bounds { tables, bytes, all_bytes, .. } = self.bounds;
        let mut forgotten = 0;
        if let Some(known) = self.databases.get_mut(database) {
            let before = known.bytes;
            if known.bytes > bytes {
                known.fold();
            }
            if known.tables.len() > tables || known.bytes > bytes {
                forgotten += known.forget_some();
            }
            self.bytes = (self.bytes + known.bytes).saturating_sub(before);
        }
        while self.bytes > all_bytes {
            let largest = self.databases.values_mut().max_by_key(|one| one.bytes);
            let Some(known) = largest.filter(|one| one.bytes > 0) else { break };
            let before = known.bytes;
            known.fold();
            if known.bytes == before {
                forgotten += known.forget_some();
            }
            self.bytes = (self.bytes + known.bytes).saturating_sub(before);
        }
        forgotten
    }
}

impl Database {
    fn all(&self) -> Vec<Learnt> {
        let flags = [
            (self.notifications, Learnt::Notifications),
            (self.large_objects, Learnt::LargeObjects),
        ];
        let flags = flags.into_iter().filter(|(told, _)| *told).map(|(_, learnt)| learnt);
        let tables = self.tables.iter().map(|(key, table)| Learnt::Filled(joined(key, table)));
        flags.chain(tables).collect()
    }

    fn is_empty(&self) -> bool {
        self.tables.is_empty() && !self.notifications && !self.large_objects
    }

    /// Tables with many columns count as a whole.
    fn fold(&mut self) {
        for (key, table) in &mut self.tables {
            let before = size(key, table);
            if before > LARGE {
                table.fold();
                self.bytes = (self.bytes + size(key, table)).saturating_sub(before);
            }
        }
    }

    /// A quarter of the tables goes: first those that nobody has seen since they were
    /// filled, and of these the oldest.
    fn forget_some(&mut self) -> usize {
        let mut all: Vec<((bool, u64), Key)> = self
            .tables
            .iter()
            .map(|(key, table)| ((table.there.is_some(), table.seen()), key.clone()))
            .collect();
        all.sort();
        all.truncate(all.len().div_ceil(4));
        let keys: Vec<Key> = all.into_iter().map(|(_, key)| key).collect();
        self.drop_all(&keys);
        keys.len()
    }

    fn drop_all(&mut self, keys: &[Key]) -> usize {
        let mut freed = 0;
        for key in keys {
            if let Some(table) = self.tables.remove(key) {
                freed += size(key, &table);
            }
        }
        self.bytes = self.bytes.saturating_sub(freed);
        freed
    }
}

impl Table {
    fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.others.is_none()
    }

    fn seen(&self) -> u64 {
        self.there.unwrap_or_default().max(self.told)
    }

    /// True: something new is in it.
    fn absorb(&mut self, filled: Contents) -> bool {
        let mut changed = false;
        for (column, class) in filled.columns {
            match self.columns.get_mut(&column) {
                Some(known) => changed |= merge(known, class),
                None => {
                    self.columns.insert(column, class);
                    changed = true;
                }
            }
        }
        if let Some(class) = filled.others {
            changed |= add(&mut self.others, class);
        }
        if self.columns.len() > MOST_COLUMNS {
            self.fold();
        }
        changed
    }

    fn fold(&mut self) {
        for (_, class) in std::mem::take(&mut self.columns) {
            add(&mut self.others, class);
        }
    }
}

type Contents = Filled;

fn split(filled: Filled) -> (Key, Contents) {
    let Filled { schema, relation, guessed, .. } = filled.clone();
    (Key { schema, relation, guessed }, filled)
}

fn joined(key: &Key, table: &Table) -> Filled {
    let Key { schema, relation, guessed } = key.clone();
    let columns = table.columns.clone().into_iter().collect();
    Filled { schema, relation, columns, others: table.others.clone(), guessed }
}

/// True: the class is another one now.
fn merge(known: &mut String, class: String) -> bool {
    if *known == class || known == OPAQUE {
        return false;
    }
    OPAQUE.clone_into(known);
    true
}

fn add(known: &mut Option<String>, class: String) -> bool {
    match known {
        Some(known) => merge(known, class),
        None => {
            *known = Some(class);
            true
        }
    }
}

/// As much as it takes in memory, by and large.
fn size(key: &Key, table: &Table) -> usize {
    let Key { schema, relation, .. } = key;
    let columns = table.columns.iter().map(|(name, class)| name.len() + class.len() + 48);
    schema.as_ref().map_or(0, String::len) + relation.len() + columns.sum::<usize>() + 96
}
