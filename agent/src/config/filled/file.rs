//! The file: one JSON object a line. What is learnt later stands further down and adds
//! to what stands above.
//!
//! Never: half of a file; a line that keeps the agent from starting.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Book, Key, Table, joined};
use crate::config::kept;
use crate::model::{DatabaseName, Filled, Learnt, Timestamp};

/// The version of the lines.
const VERSION: u32 = 1;
/// Root's alone: it says where what is sensitive lies.
const MODE: u32 = 0o600;
/// Far above what the bounds let into it.
const MOST_BYTES: u64 = 128 << 20;
/// Of damaged lines that are told one by one.
const MOST_TOLD: usize = 5;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u32,
    destination: String,
    system: String,
    database: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filled: Option<Told>,
    #[serde(default, skip_serializing_if = "is_false")]
    notifications: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    large_objects: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    schema: Option<String>,
    table: String,
    #[serde(default)]
    columns: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    others: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    guessed: bool,
    told: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    there: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a file held.
#[derive(Debug, Default)]
pub struct Found {
    pub book: Book,
    /// What could not be read, for people.
    pub damage: Vec<String>,
    /// It isn't as it would be written now.
    pub stale: bool,
}

/// Reads the file; one that isn't there holds nothing.
pub fn read(path: &Path) -> io::Result<Found> {
    let file = match File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > MOST_BYTES {
        return Err(io::Error::other(format!("it has more than {MOST_BYTES} bytes")));
    }
    let mut found = parse(BufReader::new(file.take(MOST_BYTES)))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        found.damage.push(format!("others could write it (mode {mode:04o})"));
    }
    found.stale |= mode != MODE;
    Ok(found)
}

pub(super) fn parse(mut from: impl BufRead) -> io::Result<Found> {
    let mut found = Found::default();
    let mut damaged = 0;
    let (mut number, mut lines) = (0_usize, 0_usize);
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes)? > 0 {
        number += 1;
        match take(&mut found.book, &bytes) {
            Ok(()) => lines += 1,
            Err(why) => {
                damaged += 1;
                if damaged <= MOST_TOLD {
                    found.damage.push(format!("line {number}: {why}"));
                }
            }
        }
        bytes.clear();
    }
    if damaged > MOST_TOLD {
        found.damage.push(format!("{} more lines", damaged - MOST_TOLD));
    }
    found.stale = damaged > 0 || lines > found.book.lines();
    Ok(found)
}

fn take(book: &mut Book, bytes: &[u8]) -> Result<(), String> {
    let whole = bytes.strip_suffix(b"\n").ok_or("it was not written to its end")?;
    let line: Line = serde_json::from_slice(whole).map_err(|error| error.to_string())?;
    if line.v != VERSION {
        return Err(format!("it is of version {}, and {VERSION} is read here", line.v));
    }
    let Line { destination, system, database, filled, notifications, large_objects, .. } = line;
    let name = DatabaseName { destination, system, database };
    let mut told = |learnt, at| book.take(&name, learnt, at).map(drop).map_err(str::to_owned);
    if notifications {
        told(Learnt::Notifications, Timestamp(0))?;
    }
    if large_objects {
        told(Learnt::LargeObjects, Timestamp(0))?;
    }
    let Some(filled) = filled else { return Ok(()) };
    let Told { schema, table, columns, others, guessed, told: at, there } = filled;
    let key = Key { schema: schema.clone(), relation: table.clone(), guessed };
    told(Learnt::Filled(Filled { schema, relation: table, columns, others, guessed }), at)?;
    if let Some(at) = there {
        book.was_there(&name, &key, at);
    }
    Ok(())
}

impl Book {
    fn was_there(&mut self, database: &DatabaseName, key: &Key, at: Timestamp) {
        let known = self.databases.get_mut(database);
        if let Some(table) = known.and_then(|known| known.tables.get_mut(key)) {
            table.there = table.there.max(Some(at.0));
        }
    }

    /// As many as [`Self::text`] has.
    pub fn lines(&self) -> usize {
        let flags = |one: &super::Database| usize::from(one.notifications || one.large_objects);
        self.databases.values().map(|one| one.tables.len() + flags(one)).sum()
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, known) in &self.databases {
            if known.notifications || known.large_objects {
                let mut line = Line::of(name);
                (line.notifications, line.large_objects) =
                    (known.notifications, known.large_objects);
                line.write(&mut text);
            }
            for (key, table) in &known.tables {
                let mut line = Line::of(name);
                line.filled = Some(told(key, table));
                line.write(&mut text);
            }
        }
        text
    }

    /// The line for something new.
    pub fn line(&self, database: &DatabaseName, learnt: &Learnt) -> String {
        let mut line = Line::of(database);
        match learnt {
            Learnt::Notifications => line.notifications = true,
            Learnt::LargeObjects => line.large_objects = true,
            Learnt::Filled(filled) => {
                let Filled { schema, relation, guessed, .. } = filled.clone();
                let key = Key { schema, relation, guessed };
                let known = self.databases.get(database).and_then(|one| one.tables.get(&key));
                line.filled = known.map(|table| told(&key, table));
            }
            Learnt::There(_) => return String::new(),
        }
        let mut text = String::new();
        line.write(&mut text);
        text
    }
}

impl Line {
    fn of(name: &DatabaseName) -> Self {
        let DatabaseName { destination, system, database } = name.clone();
        Self {
            v: VERSION,
            destination,
            system,
            database,
            filled: None,
            notifications: false,
            large_objects: false,
        }
    }

    fn write(&self, text: &mut String) {
        // Nothing in it can fail.
        if let Ok(line) = serde_json::to_string(self) {
            text.push_str(&line);
            text.push('\n');
        }
    }
}

fn told(key: &Key, table: &Table) -> Told {
    let Filled { schema, relation, columns, others, guessed } = joined(key, table);
    let (told, there) = (Timestamp(table.told), table.there.map(Timestamp));
    Told { schema, table: relation, columns, others, guessed, told, there }
}

/// Puts a new text in the place of the whole file.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    kept::replace(path, MODE, text)?;
    File::open(folder)?.sync_all()
}

/// Puts lines at its end.
pub fn append(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}
