//! What makes the log searchable: a database beside it that can be thrown away
//! and is built again from the segments.
//!
//! Full text lies over what is told once (texts, processes, connections); a
//! statement is a row of numbers, in the order of time, with its outcome in the
//! same row. That is what keeps it small and quick.
//!
//! Never believed: it is a copy, and proofs come from the log itself.

mod build;
mod definitions;
mod learnt;
mod processes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use build::{Ended, Progress, SPAN, counts, unpacked};
pub use learnt::whose;
pub use processes::{Born, namesakes, starts};

use super::store::{Folder, StoreError, segments};

#[derive(Debug)]
pub struct Index {
    pub(super) database: Connection,
    folder: Folder,
    build: build::Build,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the index in `{path}` can't be used: {error}; remove that folder, it is built again", path = .path.display())]
    Database { path: PathBuf, error: rusqlite::Error },
}

impl IndexError {
    /// The log can be read all the same: the disk is full, or another holds the index.
    pub fn is_of_the_index(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure,
        };
        match self {
            Self::Store(StoreError::Io { error, .. }) => {
                error.kind() == std::io::ErrorKind::StorageFull
            }
            Self::Store(_) => false,
            Self::Database { error, .. } => matches!(
                error.sqlite_error_code(),
                Some(CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure)
            ),
        }
    }
}

impl Index {
    /// One that lies in memory and goes with the process, for where none can be
    /// written. `None`: the log is too long for that.
    pub fn aside(folder: &Folder) -> Result<Option<Self>, IndexError> {
        let mut bytes = 0;
        for path in segments::files(folder)?.into_values() {
            bytes += std::fs::metadata(&path).map_or(0, |file| file.len());
        }
        if bytes > MOST_ASIDE {
            return Ok(None);
        }
        let path = folder.index();
        let database = Connection::open_in_memory().and_then(prepared);
        let database = database.map_err(|error| IndexError::Database { path, error })?;
        Ok(Some(Self { database, folder: folder.clone(), build: build::Build::default() }))
    }

    /// Opens or makes it. Others may read and build at the same time.
    pub fn open(folder: &Folder) -> Result<Self, IndexError> {
        let path = folder.index();
        let wrong = |error| IndexError::Database { path: path.clone(), error };
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("make", &path)(error).into());
            }
            _ => {}
        }
        // Those of older versions are of no use any more.
        for version in 0..VERSION {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(path.join(format!("v{version}.sqlite{end}")));
            }
        }
        let file = path.join(format!("v{VERSION}.sqlite"));
        let database = connect(&file).map_err(wrong)?;
        Ok(Self { database, folder: folder.clone(), build: build::Build::default() })
    }

    /// Takes in what has come since, for as long as `go_on` says.
    pub fn catch_up(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<Progress, IndexError> {
        let path = self.folder.index();
        let Self { database, folder, build } = self;
        build.catch_up(database, folder, go_on).map_err(|error| match error {
            build::BuildError::Store(error) => error.into(),
            build::BuildError::Database(error) => IndexError::Database { path, error },
        })
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    prepared(Connection::open_with_flags(file, flags)?)
}

fn prepared(database: Connection) -> rusqlite::Result<Connection> {
    database.set_prepared_statement_cache_capacity(64);
    database.busy_timeout(PATIENCE)?;
    // Whoever writes the file isn't trusted more than the log.
    database.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    database.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; PRAGMA mmap_size = 1073741824;",
    )?;
    database.execute_batch(SCHEMA)?;
    Ok(database)
}

/// Bits of a row's number that tell its place within its block: of 1 ms.
pub(in crate::audit) const BLOCK: u32 = 22;

/// Bytes of segments that are indexed in memory: sealed ones hold some twenty times that.
const MOST_ASIDE: u64 = 64 << 20;
/// For another that builds, which may be at the lowest priority.
const PATIENCE: Duration = Duration::from_secs(10);

/// Raised when the tables change: the old file is let go, and a new one built.
const VERSION: u32 = 8;

/// `records.id` is the time in microseconds and 12 bits that make it unique, so
/// that every index on it is in the order of time.
///
/// In which of time's [`BLOCK`]s a text, a connection occurs is all that is kept for
/// finding its rows: a busy host's have hundreds of rows of the same few, and an
/// entry for each would be half of the work. `more` tells of the blocks that follow.
///
/// What is only shown of a text, a connection, a process lies apart (`…_told`): a
/// host of short-lived processes has millions of each, and what is looked through is
/// to be small. What many of them have in common is told once more: `actors` is all
/// that a process is asked for by but its number and its ancestors, `places` where a
/// connection led.
///
/// `classes.clear`: its cells were shown.
///
/// `ended` is what is only shown of an outcome ([`Ended`]): a column costs, also one
/// that nothing is asked of.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS writers(
    writer INTEGER PRIMARY KEY, next INTEGER NOT NULL, taken INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS texts(
    id INTEGER PRIMARY KEY, uses INTEGER NOT NULL DEFAULT 0, hash BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS texts_told(id INTEGER PRIMARY KEY, json TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    body, content='', tokenize = \"unicode61 tokenchars '_'\");
CREATE TABLE IF NOT EXISTS touched(
    name TEXT NOT NULL, what INTEGER NOT NULL, text INTEGER NOT NULL,
    PRIMARY KEY(name, what, text)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS actors(
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, comm TEXT, exe TEXT, base TEXT,
    uid INTEGER, user TEXT, unit TEXT, container TEXT, pod TEXT, pod_name TEXT,
    namespace TEXT, agent TEXT, person TEXT, kind TEXT);
CREATE INDEX IF NOT EXISTS actors_comm ON actors(comm);
CREATE INDEX IF NOT EXISTS actors_exe ON actors(exe);
CREATE INDEX IF NOT EXISTS actors_base ON actors(base);
CREATE INDEX IF NOT EXISTS actors_uid ON actors(uid);
CREATE INDEX IF NOT EXISTS actors_user ON actors(user);
CREATE INDEX IF NOT EXISTS actors_unit ON actors(unit);
CREATE INDEX IF NOT EXISTS actors_container ON actors(container);
CREATE INDEX IF NOT EXISTS actors_pod ON actors(pod);
CREATE INDEX IF NOT EXISTS actors_pod_name ON actors(pod_name);
CREATE INDEX IF NOT EXISTS actors_agent ON actors(agent);
CREATE INDEX IF NOT EXISTS actors_person ON actors(person);
CREATE INDEX IF NOT EXISTS actors_kind ON actors(kind);
CREATE VIRTUAL TABLE IF NOT EXISTS actor_words USING fts5(
    body, content='', tokenize = \"unicode61 tokenchars '_'\");
CREATE TABLE IF NOT EXISTS processes(
    id INTEGER PRIMARY KEY, tgid INTEGER, started INTEGER, actor INTEGER NOT NULL, boot TEXT,
    hash BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS processes_told(id INTEGER PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ancestors(
    tgid INTEGER NOT NULL, started INTEGER NOT NULL, process INTEGER NOT NULL,
    PRIMARY KEY(tgid, started, process)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS processes_born ON processes(tgid, started);
CREATE TABLE IF NOT EXISTS learnt(
    id INTEGER PRIMARY KEY, tgid INTEGER NOT NULL, started INTEGER NOT NULL, boot TEXT,
    uid INTEGER, container TEXT, name TEXT NOT NULL, value TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS learnt_values ON learnt(name, value);
CREATE INDEX IF NOT EXISTS learnt_born ON learnt(tgid, started);
CREATE VIRTUAL TABLE IF NOT EXISTS learnt_words USING fts5(
    body, content='', tokenize = \"unicode61 tokenchars '_'\");
CREATE TABLE IF NOT EXISTS places(
    id INTEGER PRIMARY KEY, destination TEXT, rule TEXT, database TEXT, role TEXT);
CREATE INDEX IF NOT EXISTS places_whole ON places(destination, rule, database, role);
CREATE TABLE IF NOT EXISTS flows(
    id INTEGER PRIMARY KEY, uses INTEGER NOT NULL DEFAULT 0, process INTEGER NOT NULL,
    actor INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS flows_told(id INTEGER PRIMARY KEY, json TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS flows_process ON flows(process);
CREATE INDEX IF NOT EXISTS flows_actor ON flows(actor, place);
CREATE INDEX IF NOT EXISTS flows_place ON flows(place);
CREATE TABLE IF NOT EXISTS phrases(
    id INTEGER PRIMARY KEY, phrase TEXT NOT NULL UNIQUE, uses INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS classes(
    class TEXT NOT NULL, clear INTEGER NOT NULL, phrase INTEGER NOT NULL,
    PRIMARY KEY(class, clear, phrase)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS text_blocks(
    text INTEGER NOT NULL, block INTEGER NOT NULL, more BLOB NOT NULL,
    PRIMARY KEY(text, block, more)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flow_blocks(
    flow INTEGER NOT NULL, block INTEGER NOT NULL, more BLOB NOT NULL,
    PRIMARY KEY(flow, block, more)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records(
    id INTEGER PRIMARY KEY, writer INTEGER NOT NULL, position INTEGER NOT NULL,
    kind INTEGER NOT NULL, flow INTEGER, text INTEGER, verdict INTEGER, policies INTEGER,
    ended BLOB, masked INTEGER, cells TEXT, seen TEXT, would TEXT, sqlstate TEXT);
CREATE INDEX IF NOT EXISTS records_verdict ON records(verdict) WHERE verdict > 1;
CREATE INDEX IF NOT EXISTS records_masked ON records(masked) WHERE masked IS NOT NULL;
CREATE INDEX IF NOT EXISTS records_kind ON records(kind) WHERE kind >= 40;
CREATE INDEX IF NOT EXISTS records_life ON records(kind) WHERE kind < 32;
CREATE INDEX IF NOT EXISTS records_sqlstate ON records(sqlstate) WHERE sqlstate IS NOT NULL;
";

#[cfg(test)]
mod tests;
