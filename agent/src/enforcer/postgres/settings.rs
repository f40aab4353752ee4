//! The settings of a session that decide what a statement means and by whose rights it
//! runs, as far as its own statements tell: servers before 18 report hardly any of them.
//!
//! INVARIANT: a value counts once the statement that set it has succeeded, and after a
//! transaction's end only if that end can't have taken it back. Whatever may have set
//! it otherwise makes it unknown, until it is set by itself, the session is reset, or
//! the server is asked ([`super::probe`]).

mod startup;

use std::time::Duration;

use super::probe::Held;
use super::temporary::Rest;
use crate::policy::Role;
use crate::sql::facts::{Facts, Scope, SessionEffect, Setting, Statement, Verb};
pub use startup::Given;

/// All that is followed.
#[derive(Debug)]
pub struct Settings {
    path: Followed,
    role: Followed,
    /// `session_authorization`.
    login: Followed,
    timeout: Followed,
    /// Something failed since all was answered.
    failed: bool,
    /// Transactions that ended since then: so, and so.
    commits: u32,
    rollbacks: u32,
    /// The server was asked.
    asked: bool,
    /// Code, or what is known only when it runs, may have set the path since the server
    /// was asked; and whether that was so at any time.
    anywhere: bool,
    ever_anywhere: bool,
    /// Something is another than it was when it was looked at.
    changed: bool,
}

/// What a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// What the session began with.
    Default,
    To(Box<str>),
}

/// One setting.
#[derive(Debug)]
struct Followed {
    /// What the session began with, as far as anybody has said.
    base: Option<Box<str>>,
    /// `None`: nobody can say.
    now: Option<Value>,
    /// … and what it was before the transaction that has touched it.
    before: Option<Value>,
    /// A change that was let through and isn't answered.
    coming: Option<Coming>,
    /// Touched since then: for the session, and for the transaction alone.
    session: bool,
    local: bool,
    /// The server's own word, where it says so by itself.
    reported: Option<Box<str>>,
    /// What it has been, or was to be.
    seen: Vec<Box<str>>,
}

#[derive(Debug)]
struct Coming {
    serial: u64,
    /// Which statement of its text.
    index: u32,
    to: Value,
    local: bool,
}

impl Settings {
    /// `login`: who has logged in.
    pub fn new(login: &str, given: &Given) -> Self {
        let role = given.role.clone().filter(|role| **role != *NONE);
        let mut settings = Self {
            path: Followed::new(given.search_path.clone()),
            role: Followed::new(role),
            login: Followed::new(Some(login.into())),
            timeout: Followed::new(given.statement_timeout.clone()),
            failed: false,
            commits: 0,
            rollbacks: 0,
            asked: false,
            // A role and a database may have a path of their own.
            anywhere: given.search_path.is_none() || given.uncertain,
            ever_anywhere: false,
            changed: true,
        };
        if given.uncertain {
            settings.lose();
        }
        settings
    }

    /// `search_path`: `Some(None)` is the server's default; `None`: nobody can say.
    pub fn path(&self) -> Option<Option<&str>> {
        self.path.value()
    }

    /// Whether a bare name may lie in any schema.
    pub fn is_anywhere(&self) -> bool {
        self.anywhere
    }

    fn lose_place(&mut self) {
        self.changed |= !self.anywhere;
        (self.anywhere, self.ever_anywhere) = (true, true);
    }

    /// All schemas that a name may mean while nobody can say.
    pub fn paths(&self) -> String {
        // One with an open quote no server takes; here it would swallow the others.
        let whole = |path: &&str| path.matches('"').count().is_multiple_of(2);
        let base = self.path.base.as_deref().unwrap_or(DEFAULT_PATH);
        let all = self.path.seen.iter().map(AsRef::as_ref).chain([base]);
        all.filter(whole).collect::<Vec<_>>().join(", ")
    }

    pub fn role(&self) -> Role {
        match self.role.value() {
            Some(Some(role)) if role != NONE => role.into(),
            Some(_) => match self.login.value() {
                Some(Some(login)) => login.into(),
                _ => self.any_role(),
            },
            None => self.any_role(),
        }
    }

    fn any_role(&self) -> Role {
        let all = self.login.seen.iter().chain(&self.login.base);
        let all = all.chain(&self.role.seen).chain(&self.role.base);
        let mut names: Vec<Box<str>> = all.filter(|name| ***name != *NONE).cloned().collect();
        names.sort();
        names.dedup();
        Role::MayBe(names)
    }

    /// `statement_timeout`; none: there is no limit. `None`: nobody can say.
    pub fn timeout(&self) -> Option<Option<Duration>> {
        let set = self.timeout.value()??;
        let limit = duration(set)?;
        Some((!limit.is_zero()).then_some(limit))
    }

    /// Whether the server was asked once.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// A text is about to run.
    pub fn follow(&mut self, facts: &Facts, serial: u64) {
        // A text is undone as a whole, but for what ends a transaction within it.
        let whole = !facts.running().any(|one| is_of_transactions(one.verb));
        for (statement, index) in facts.running().zip(0..) {
            for effect in &statement.session {
                self.touch(statement, effect, (serial, index), whole);
            }
        }
        // What stands behind code of somebody's own in one text may run as anybody.
        if facts.running().count() > 1 {
            self.ran(facts);
        }
    }

    /// Code of somebody's own runs, and may take another role and another path: what is
    /// judged after it can't be told by whose rights it runs, nor where bare names lie.
    pub fn ran(&mut self, facts: &Facts) {
        let opaque = |one: &Statement| {
            use crate::sql::Effect::{Execute, Unknown};
            !one.doubts.is_empty() || one.effects.contains(Execute) || one.effects.contains(Unknown)
        };
        if facts.running().any(opaque) {
            self.code_ran();
        }
    }

    /// Rows of a cursor are taken: what its query sets, it sets with each of them.
    pub fn fetched(&mut self, facts: &Facts) {
        if facts.session().next().is_some() {
            self.changed = true;
            self.lose();
            self.lose_place();
        }
    }

    /// The same, of code that nobody knows.
    pub fn code_ran(&mut self) {
        self.changed |= self.role.value().is_some();
        self.role.lose();
        self.lose_place();
    }

    /// What the server was asked may have been of somebody else's session.
    pub fn doubt(&mut self) {
        self.lose();
        self.lose_place();
        self.changed = true;
    }

    /// Whether anything has changed since this was last asked.
    pub fn take_changes(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// It doesn't run now: it comes again, under another number.
    pub fn take_back(&mut self, serial: u64) {
        self.changed = true;
        self.each(|followed| {
            followed.coming.take_if(|coming| coming.serial == serial);
        });
    }

    fn lose(&mut self) {
        self.each(Followed::lose);
    }

    /// `then` tells whether it has changed anything.
    fn all(&mut self, mut then: impl FnMut(&mut Followed) -> bool) {
        let mut changed = false;
        self.each(|followed| changed |= then(followed));
        self.changed |= changed;
    }

    fn each(&mut self, mut then: impl FnMut(&mut Followed)) {
        [&mut self.path, &mut self.role, &mut self.login, &mut self.timeout]
            .into_iter()
            .for_each(&mut then);
    }

    fn touch(
        &mut self,
        statement: &Statement,
        effect: &SessionEffect,
        at: (u64, u32),
        whole: bool,
    ) {
        let to = match &effect.value {
            Setting::To(value) => Some(Value::To(value.clone())),
            Setting::Default => Some(Value::Default),
            Setting::Dynamic => None,
        };
        let place = matches!(&*effect.setting, "search_path" | "*");
        if place && effect.value == Setting::Dynamic {
            self.lose_place();
        }
        let to = to.filter(|_| whole && effect.scope != Scope::Stored);
        let local = effect.scope == Scope::Transaction;
        self.changed = true;
        let mut full = false;
        let mut set = |followed: &mut Followed, to: Option<Value>| {
            if let Setting::To(value) = &effect.value {
                full |= followed.see(value);
            }
            match to {
                Some(to) => followed.set(at, to, local),
                None => followed.lose(),
            }
        };
        match &*effect.setting {
            "search_path" => set(&mut self.path, to),
            "role" => set(&mut self.role, to),
            "session_authorization" => {
                // The role goes with it.
                let none = to.is_some().then(|| Value::To(NONE.into()));
                set(&mut self.login, to);
                set(&mut self.role, none);
            }
            "statement_timeout" => set(&mut self.timeout, to),
            "*" => {
                set(&mut self.path, to.clone());
                set(&mut self.timeout, to.clone());
                // RESET ALL leaves these as they are, DISCARD ALL takes any role off.
                if statement.verb != Verb::Reset {
                    let none = to.is_some().then(|| Value::To(NONE.into()));
                    set(&mut self.login, to);
                    set(&mut self.role, none);
                }
            }
            _ => {}
        }
        // What was forgotten may hold again, and a role names a schema of its own.
        if full && &*effect.setting != "statement_timeout" {
            self.lose_place();
        }
    }

    /// A statement has run to its end, with this tag.
    pub fn completed(&mut self, serial: u64, index: u32, tag: &[u8]) {
        match tag {
            b"COMMIT" | b"PREPARE TRANSACTION" => self.commits += 1,
            b"ROLLBACK" => self.rollbacks += 1,
            _ => {}
        }
        let ended = self.commits + self.rollbacks > 0;
        self.all(|followed| followed.completed((serial, index), ended));
    }

    /// A request is over.
    pub fn ended(&mut self, serial: u64, failed: bool) {
        self.failed |= failed;
        self.all(|followed| followed.ended(serial));
    }

    /// Everything is answered.
    pub fn rests(&mut self, rest: Rest) {
        if rest == Rest::Failed {
            self.failed = true;
            return;
        }
        let failed = std::mem::take(&mut self.failed);
        let (commits, rollbacks) =
            (std::mem::take(&mut self.commits), std::mem::take(&mut self.rollbacks));
        let end = match (commits, rollbacks) {
            (0, 0) if rest == Rest::Open => None,
            // What was sent together without a BEGIN was a transaction too.
            (0, 0) if failed => Some(End::RolledBack),
            (0, 0) | (1, 0) => Some(End::Committed),
            (0, 1) if rest == Rest::Idle => Some(End::RolledBack),
            _ => Some(End::Somehow),
        };
        // What was set before may hold again.
        if self.ever_anywhere && matches!(end, Some(End::RolledBack | End::Somehow)) {
            self.lose_place();
        }
        self.all(|followed| followed.rests(end));
        // Before it rests, the server has said what it is now.
        if self.path.reported.is_some() {
            self.changed |= std::mem::take(&mut self.anywhere);
        }
    }

    /// What the server says by itself.
    pub fn report(&mut self, path: Option<&str>, login: Option<&str>) {
        if self.path.reported.is_none() && path.is_some() {
            self.anywhere = false;
        }
        let path = self.path.report(path);
        self.changed |= self.login.report(login) || path;
    }

    /// It was asked, and nothing else was under way. `None`: it gave no answer.
    pub fn hear(&mut self, told: Option<&Held>) {
        self.asked = true;
        let Some(told) = told else { return };
        self.changed = true;
        self.anywhere = false;
        self.path.hear(&told.search_path);
        self.timeout.hear(&told.statement_timeout);
        let login = self.login.value().flatten();
        // As it is, whoever it is.
        if !(self.role.now == Some(Value::Default) && login == Some(&*told.user)) {
            self.role.hear(&told.user);
        }
    }
}

fn is_of_transactions(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Begin
            | Verb::Commit
            | Verb::Rollback
            | Verb::Savepoint
            | Verb::ReleaseSavepoint
            | Verb::RollbackTo
            | Verb::PrepareTransaction
            | Verb::CommitPrepared
            | Verb::RollbackPrepared
    )
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Committed,
    RolledBack,
    /// To a savepoint, or more than one of them.
    Somehow,
}

impl Followed {
    fn new(base: Option<Box<str>>) -> Self {
        Self {
            base,
            now: Some(Value::Default),
            before: Some(Value::Default),
            coming: None,
            session: false,
            local: false,
            reported: None,
            seen: Vec::new(),
        }
    }

    fn value(&self) -> Option<Option<&str>> {
        if self.coming.is_some() {
            return None;
        }
        self.now.as_ref().map(|value| match value {
            Value::Default => self.base.as_deref(),
            Value::To(value) => Some(&**value),
        })
    }

    /// Whether another had to be forgotten for it.
    fn see(&mut self, value: &str) -> bool {
        if self.seen.iter().any(|seen| **seen == *value) {
            return false;
        }
        let full = self.seen.len() >= MOST_SEEN;
        if full {
            self.seen.remove(0);
        }
        self.seen.push(value.into());
        full
    }

    fn set(&mut self, (serial, index): (u64, u32), to: Value, local: bool) {
        // What comes of two at once hangs on both, but for two of one text and kind.
        let alike = |coming: &Coming| coming.serial == serial && coming.local == local;
        if self.coming.as_ref().is_some_and(|coming| !alike(coming)) {
            return self.lose();
        }
        self.coming = Some(Coming { serial, index, to, local });
    }

    fn lose(&mut self) {
        (self.now, self.before, self.coming) = (None, None, None);
        (self.session, self.local) = (true, true);
    }

    fn completed(&mut self, at: (u64, u32), ended: bool) -> bool {
        let Some(coming) = self.coming.take_if(|coming| (coming.serial, coming.index) == at) else {
            return false;
        };
        if ended {
            // Which transaction it belongs to can't be told.
            self.lose();
        } else {
            self.session |= !coming.local;
            self.local |= coming.local;
            self.now = Some(coming.to);
        }
        true
    }

    /// It failed, or was never said to have succeeded.
    fn ended(&mut self, serial: u64) -> bool {
        let was_coming = self.coming.take_if(|coming| coming.serial == serial).is_some();
        if was_coming {
            self.now = None;
            self.session = true;
        }
        was_coming
    }

    fn rests(&mut self, end: Option<End>) -> bool {
        if !(self.session || self.local) {
            return false;
        }
        if let Some(reported) = &self.reported {
            self.now = Some(Value::To(reported.clone()));
            self.before.clone_from(&self.now);
            (self.session, self.local) = (false, false);
            return true;
        }
        let Some(end) = end else { return false };
        self.now = match (end, self.session, self.local) {
            (End::Somehow, true, _) => None,
            (End::Committed, true, true) => None,
            (End::Committed, true, false) => self.now.take(),
            // What is local ends with it, however it does – but for a savepoint, or a
            // transaction in its stead.
            (End::Somehow, false, _) => None,
            (End::Committed, false, _) | (End::RolledBack, ..) => self.before.take(),
        };
        if end != End::Somehow {
            self.before.clone_from(&self.now);
            (self.session, self.local) = (false, false);
        }
        true
    }

    fn report(&mut self, value: Option<&str>) -> bool {
        let Some(value) = value.filter(|value| self.reported.as_deref() != Some(value)) else {
            return false;
        };
        self.reported = Some(value.into());
        self.now = Some(Value::To(value.into()));
        if !(self.session || self.local) {
            self.before.clone_from(&self.now);
        }
        true
    }

    fn hear(&mut self, value: &str) {
        let touched = self.session || self.local;
        if self.now == Some(Value::Default) && !touched {
            self.base = Some(value.into());
        } else {
            self.now = Some(Value::To(value.into()));
            self.see(value);
        }
        // What was lost within a transaction that is open may come back with its end.
        if !touched {
            self.before.clone_from(&self.now);
        }
    }
}

/// A time as PostgreSQL writes it: `1500`, `1.5s`, `2min`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|sign: char| sign.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.trim().parse().ok()?;
    let milliseconds = match unit.trim() {
        "" | "ms" => number,
        "us" => number / 1e3,
        "s" => number * 1e3,
        "min" => number * 60e3,
        "h" => number * 3_600e3,
        "d" => number * 86_400e3,
        _ => return None,
    };
    Duration::try_from_secs_f64(milliseconds.round() / 1e3).ok()
}

/// What the role is called while there is none but the login's.
const NONE: &str = "none";
const DEFAULT_PATH: &str = "\"$user\", public";
/// More values of a setting than anybody can take for its own.
const MOST_SEEN: usize = 16;

#[cfg(test)]
mod tests;
