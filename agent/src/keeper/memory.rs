//! What enforcers have learnt that no server can tell them again, kept over their end
//! and the keeper's own.
//!
//! `enforcers --learnt--> gate --lines--> memory's thread --> file`
//!
//! The gate owns what is known and waits for no disk; the thread only writes.
//!
//! INVARIANT: what an enforcer tells only adds (see [`Book`]), and is told to all
//! others. A file that can't be read or written stops nothing: it is told.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::config::filled::{self, Book};
use crate::model::{DatabaseName, Learnt, Timestamp};

#[derive(Debug)]
pub struct Memory {
    book: Book,
    /// Changes with it.
    edition: u64,
    /// All of it, for an enforcer that begins; none since it has changed.
    sealed: Option<Arc<OwnedFd>>,
    path: PathBuf,
    /// What is in the file is to be written anew.
    whole: bool,
    /// Lines that were put at the file's end since.
    appended: usize,
    /// When tables were last seen, and that isn't in the file.
    seen: Option<Timestamp>,
    /// It was told that an enforcer says what isn't well-formed.
    complained: bool,
    desk: Arc<Desk>,
    writer: Option<JoinHandle<()>>,
}

/// Something more is known.
#[derive(Debug)]
pub struct News {
    pub edition: u64,
    pub learnt: Learnt,
    /// Something else had to go for it.
    pub forgot: bool,
}

/// What is to be written.
#[derive(Debug, Default)]
struct Desk {
    work: Mutex<Work>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    replace: Option<String>,
    append: String,
    /// Why the last writing failed; then only a whole file is written.
    trouble: Option<String>,
    closed: bool,
}

impl Memory {
    /// Reads what was kept. What can't be read is laid aside.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let mut whole = !path.exists();
        let book = match filled::read(&path) {
            Ok(found) => {
                whole |= found.stale;
                if !found.damage.is_empty() {
                    let (shown, aside) = (path.display(), aside(&path));
                    tracing::error!(
                        "some of what tables were filled with can't be read, and is masked no \
                         more unless its names or forms tell it: `{shown}`: {} (the whole file is \
                         kept as `{}`)",
                        found.damage.join("; "),
                        aside.display()
                    );
                    if let Err(error) = std::fs::copy(&path, &aside) {
                        tracing::error!("cannot copy `{shown}`: {error}");
                    }
                    whole = true;
                }
                found.book
            }
            Err(error) => {
                tracing::error!(
                    "what tables were filled with is not known any more: cannot read `{}`: \
                     {error}; it is laid aside",
                    path.display()
                );
                if let Err(error) = std::fs::rename(&path, aside(&path)) {
                    tracing::error!("cannot move `{}`: {error}", path.display());
                }
                whole = true;
                Book::default()
            }
        };
        let desk = Arc::<Desk>::default();
        let writer = {
            let (desk, path) = (Arc::clone(&desk), path.clone());
            super::start("memory", move || desk.write(&path))?
        };
        let mut memory = Self {
            // A stale file is written at the first look; one that isn't there once there
            // is something.
            whole,
            book,
            edition: 1,
            sealed: None,
            path,
            appended: 0,
            seen: None,
            complained: false,
            desk,
            writer: Some(writer),
        };
        memory.look();
        Ok(memory)
    }

    /// Takes what an enforcer tells. `None`: it was known.
    pub fn take(&mut self, database: &DatabaseName, learnt: Learnt) -> Option<News> {
        let now = Timestamp::now();
        if matches!(learnt, Learnt::There(_)) {
            self.seen.get_or_insert(now);
        }
        let taken = match self.book.take(database, learnt, now) {
            Ok(taken) => taken,
            Err(why) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!("what an enforcer says of a database is not taken: {why}");
                }
                return None;
            }
        };
        let learnt = taken.new?;
        self.edition += 1;
        self.sealed = None;
        if taken.forgotten > 0 {
            tracing::warn!(
                "what {} tables were filled with is forgotten, to make room: those that nobody \
                 has seen the longest",
                taken.forgotten
            );
            self.whole = true;
        }
        if self.whole {
            self.look();
        } else {
            self.appended += 1;
            let line = self.book.line(database, &learnt);
            self.whole = !self.desk.append(&line);
        }
        Some(News { edition: self.edition, learnt, forgot: taken.forgotten > 0 })
    }

    /// Takes out what a table was filled with; how many entries that were.
    pub fn forget(
        &mut self,
        schema: &str,
        relation: &str,
        of: impl Fn(&DatabaseName) -> bool,
    ) -> usize {
        let gone = self.book.forget(schema, relation, of);
        if gone > 0 {
            self.edition += 1;
            self.sealed = None;
            self.whole = true;
            self.look();
        }
        gone
    }

    /// All of it, sealed, with its edition.
    pub fn sealed(&mut self) -> io::Result<(u64, Arc<OwnedFd>)> {
        let sealed = match &self.sealed {
            Some(sealed) => Arc::clone(sealed),
            None => Arc::new(crate::channel::seal_kept(&self.book.all())?),
        };
        self.sealed = Some(Arc::clone(&sealed));
        Ok((self.edition, sealed))
    }

    /// Has the file written anew where that is due.
    pub fn look(&mut self) {
        let age = |since: Timestamp| Timestamp::now().0.saturating_sub(since.0);
        let due = self.whole
            || self.appended > self.book.lines() + SPARE_LINES
            || self.seen.is_some_and(|since| age(since) > SEEN_EVERY)
            || self.desk.has_failed();
        if due && (!self.book.is_empty() || self.path.exists()) {
            self.desk.replace(self.book.text());
            (self.whole, self.appended, self.seen) = (false, 0, None);
        }
    }

    /// Why it can't be kept.
    pub fn trouble(&self) -> Option<String> {
        let why = self.desk.lock().trouble.clone()?;
        Some(format!("`{}` can't be written: {why}", self.path.display()))
    }
}

/// What was told is written before the keeper ends.
impl Drop for Memory {
    fn drop(&mut self) {
        self.desk.lock().closed = true;
        self.desk.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False: there is no room for it, or what stands in the file isn't known.
    fn append(&self, line: &str) -> bool {
        let mut work = self.lock();
        if work.trouble.is_some() || work.append.len() + line.len() > MOST_WAITING {
            return false;
        }
        work.append.push_str(line);
        drop(work);
        self.wake.notify_all();
        true
    }

    fn replace(&self, text: String) {
        let mut work = self.lock();
        work.replace = Some(text);
        work.append.clear();
        drop(work);
        self.wake.notify_all();
    }

    fn has_failed(&self) -> bool {
        let work = self.lock();
        work.trouble.is_some() && work.replace.is_none()
    }

    /// Writes until there is nothing more and nobody who could bring any.
    fn write(&self, path: &Path) {
        let mut work = self.lock();
        loop {
            let (replace, append) = (work.replace.take(), std::mem::take(&mut work.append));
            if replace.is_none() && append.is_empty() {
                if work.closed {
                    return;
                }
                work = self.wake.wait(work).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(work);
            let written = match replace {
                Some(text) => filled::replace(path, &(text + &append)),
                None => filled::append(path, &append),
            };
            work = self.lock();
            let trouble = written.err().map(|error| error.to_string());
            if let Some(why) = trouble.as_ref().filter(|_| work.trouble.is_none()) {
                tracing::error!(
                    "what tables are filled with can't be kept in `{}`: {why}; a restart forgets \
                     it",
                    path.display()
                );
            }
            work.trouble = trouble;
        }
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    PathBuf::from(name)
}

/// The file may have so many more lines than there are tables.
const SPARE_LINES: usize = 1_024;
/// What waits to be put at the file's end.
const MOST_WAITING: usize = 4 << 20;
/// How often it is written which tables are there, in nanoseconds.
const SEEN_EVERY: u64 = 3_600 * 1_000_000_000;

#[cfg(test)]
mod tests;
