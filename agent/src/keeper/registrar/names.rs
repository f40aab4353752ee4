//! The names of users and groups: as the host's files have them now, and, for
//! users that aren't in these, as its name service tells (LDAP, SSSD).
//!
//! ```text
//! readers --uids--> namer --names--> readers
//! ```
//!
//! INVARIANT: nobody waits for the name service but who asks for a name to be told
//! later. It may take as long as it likes, and answers are kept for a while only.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::lock;
use super::told::told;
use crate::model::{LONGEST_NAME, cut};

/// For one question.
const WITHIN: Duration = Duration::from_secs(2);
/// How long a name is not asked for again, and the want of one.
const FRESH: Duration = Duration::from_secs(600);
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How long a name is told where nobody answers any more.
const KEPT: Duration = Duration::from_secs(3600);
const MOST_KNOWN: usize = 4096;
const MOST_WAITING: usize = 256;
const LONGEST_ANSWER: u64 = 16 * 1024;

/// Where names of users are asked for.
pub(super) trait Book: Send {
    fn user(&self, uid: u32) -> Option<String>;
}

#[derive(Debug)]
pub(in crate::keeper) struct Names {
    users: Mutex<List>,
    groups: Mutex<List>,
    asked: Mutex<HashMap<u32, Asked>>,
    answered: Condvar,
    /// `None`: only files are read.
    wanted_tx: Option<SyncSender<u32>>,
}

#[derive(Debug)]
struct List {
    file: &'static str,
    read_at: Option<SystemTime>,
    names: HashMap<u32, String>,
}

#[derive(Clone, Debug)]
struct Asked {
    at: Instant,
    waiting: bool,
    /// The last that was told, and when.
    name: Option<(String, Instant)>,
}

impl Default for Names {
    fn default() -> Self {
        let list = |file| Mutex::new(List { file, read_at: None, names: HashMap::new() });
        Self {
            users: list("/etc/passwd"),
            groups: list("/etc/group"),
            asked: Mutex::default(),
            answered: Condvar::new(),
            wanted_tx: None,
        }
    }
}

impl Names {
    /// With the host's name service behind them.
    pub fn start() -> io::Result<Arc<Self>> {
        Self::by(Box::new(Getent))
    }

    fn by(book: Box<dyn Book>) -> io::Result<Arc<Self>> {
        let (wanted_tx, wanted_rx) = sync_channel(MOST_WAITING);
        let names = Arc::new(Self { wanted_tx: Some(wanted_tx), ..Self::default() });
        let shared = Arc::downgrade(&names);
        crate::keeper::start("namer", move || run(&wanted_rx, &shared, &*book))?;
        Ok(names)
    }

    /// A user's name by the host's file.
    pub fn user(&self, uid: u32) -> Option<String> {
        lock(&self.users).name(uid)
    }

    /// The same, or what the name service has told; it is asked where that isn't known.
    /// Not for numbers in containers, which are the image's own.
    pub fn user_of_host(&self, uid: u32) -> Option<String> {
        if let Some(name) = self.user(uid) {
            return Some(name);
        }
        let wanted_tx = self.wanted_tx.as_ref()?;
        let mut asked = lock(&self.asked);
        let known = asked.get(&uid).cloned();
        let due = known.as_ref().is_none_or(Asked::is_due);
        if due && wanted_tx.try_send(uid).is_ok() {
            if asked.len() >= MOST_KNOWN {
                asked.clear();
            }
            let name = known.as_ref().and_then(|known| known.name.clone());
            asked.insert(uid, Asked { at: Instant::now(), waiting: true, name });
        }
        known.and_then(|known| known.told())
    }

    /// The same for who has the time to wait for an answer that is under way.
    pub fn wait_for_user(&self, uid: u32) -> Option<String> {
        if let Some(name) = self.user_of_host(uid) {
            return Some(name);
        }
        let until = Instant::now() + WITHIN * 2;
        let mut asked = lock(&self.asked);
        loop {
            let known = asked.get(&uid)?;
            let left = until.saturating_duration_since(Instant::now());
            if !known.waiting || left.is_zero() {
                return known.told();
            }
            let waited = self.answered.wait_timeout(asked, left);
            asked = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub fn group(&self, gid: u32) -> Option<String> {
        lock(&self.groups).name(gid)
    }
}

impl Asked {
    fn is_due(&self) -> bool {
        let holds = if self.name.is_some() { FRESH } else { ASK_AGAIN };
        !self.waiting && self.at.elapsed() > holds
    }

    fn told(&self) -> Option<String> {
        let (name, at) = self.name.as_ref()?;
        (at.elapsed() < KEPT).then(|| name.clone())
    }
}

fn run(wanted_rx: &Receiver<u32>, names: &std::sync::Weak<Names>, book: &dyn Book) {
    while let Ok(uid) = wanted_rx.recv() {
        let name = book.user(uid);
        let Some(names) = names.upgrade() else { return };
        let now = Instant::now();
        let mut asked = lock(&names.asked);
        let entry = asked.entry(uid).or_insert(Asked { at: now, waiting: false, name: None });
        (entry.at, entry.waiting) = (now, false);
        if let Some(name) = name {
            entry.name = Some((name, now));
        }
        names.answered.notify_all();
    }
}

/// The host's own `getent`: whatever its nsswitch.conf names is asked by it.
struct Getent;

impl Book for Getent {
    fn user(&self, uid: u32) -> Option<String> {
        let answer = told("getent", &["passwd", &uid.to_string()], WITHIN, LONGEST_ANSWER)?;
        name_in(&String::from_utf8_lossy(&answer), uid)
    }
}

/// `alice:*:1200:1200:Alice Example:/home/alice:/bin/bash`
fn name_in(answer: &str, uid: u32) -> Option<String> {
    answer.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let own: u32 = fields.nth(1)?.parse().ok()?;
        (own == uid).then(|| cut(name, LONGEST_NAME))
    })
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What `getent passwd` prints where SSSD has the users.
    const SSSD: &str = "alice:*:812001200:812000513:Alice Example:/home/alice:/bin/bash\n";

    pub struct Recorded(pub Duration);

    impl Book for Recorded {
        fn user(&self, uid: u32) -> Option<String> {
            std::thread::sleep(self.0);
            name_in(SSSD, uid)
        }
    }

    #[test]
    fn who_is_in_no_file_is_asked_for_and_nobody_waits() {
        let slow = Duration::from_millis(300);
        let names = Names::by(Box::new(Recorded(slow))).unwrap();
        let asked_at = Instant::now();
        assert_eq!(names.user_of_host(812_001_200), None);
        assert_eq!(names.user_of_host(0).as_deref(), Some("root"));
        assert!(asked_at.elapsed() < slow, "a reader waited");
        assert_eq!(names.wait_for_user(812_001_200).as_deref(), Some("alice"));
        // From now on it is known at once; and who isn't, isn't asked for again.
        assert_eq!(names.user_of_host(812_001_200).as_deref(), Some("alice"));
        assert_eq!(names.wait_for_user(812_009_999), None);
        let asked_at = Instant::now();
        assert_eq!(names.wait_for_user(812_009_999), None);
        assert!(asked_at.elapsed() < slow, "it was asked for twice");
        // The file alone: numbers in a container are nobody's here.
        assert_eq!(names.user(812_001_200), None);
    }

    #[test]
    fn names_have_an_end() {
        let now = Instant::now();
        let ago = |past: Duration| now.checked_sub(past).unwrap_or(now);
        let name = |at| Some(("alice".to_owned(), at));
        let fresh = Asked { at: now, waiting: false, name: name(now) };
        assert!(!fresh.is_due() && fresh.told().is_some());
        if let Some(long_ago) = now.checked_sub(KEPT + FRESH) {
            let old = Asked { at: long_ago, waiting: false, name: name(long_ago) };
            assert!(old.is_due() && old.told().is_none());
        }
        let none = Asked { at: ago(ASK_AGAIN * 2), waiting: false, name: None };
        assert!(none.is_due() && none.told().is_none());
        assert!(!Asked { waiting: true, ..none }.is_due());
    }

    #[test]
    fn an_answer_must_be_of_the_one_who_was_asked_for() {
        assert_eq!(name_in(SSSD, 812_001_200).as_deref(), Some("alice"));
        for wrong in ["", "alice", "alice:*:x:1::/:/bin/sh", ":*:812001200:1::/:/bin/sh"] {
            assert_eq!(name_in(wrong, 812_001_200), None, "{wrong}");
        }
        assert_eq!(name_in(SSSD, 1200), None);
    }

    #[test]
    fn this_hosts_own_service_answers() {
        assert_eq!(Getent.user(0).as_deref(), Some("root"));
        assert_eq!(Getent.user(3_999_999_999), None);
    }
}
