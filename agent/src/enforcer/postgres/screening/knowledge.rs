//! What a session knows of its database, and what it has done there since that was
//! learnt.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::fresh::{self, Fresh};
use super::super::gate::{Granted, Mentions};
use super::super::sights::Viewer;
use crate::enforcer::catalogs::{Identity, Known};
use crate::mask::filling;
use crate::mask::functions;
use crate::mask::lineage;
use crate::mask::names::Evidence;
use crate::mask::{Catalog, Class};
use crate::model::code::{Code, Kind};
use crate::policy::Stance;
use crate::sql::facts::{ObjectKind, Statement, Verb};

#[derive(Debug)]
pub struct Knowledge {
    identity: Identity,
    known: Option<Arc<Known>>,
    /// A snapshot of it, and its version.
    catalog: Arc<Catalog>,
    version: u64,
    /// Until then this session doesn't try to learn it.
    patient_until: Option<Instant>,
    /// This session defined something: the catalog is learnt anew before it goes on.
    defined: bool,
    /// What it has defined since the catalog was learnt.
    fresh: Fresh,
    /// What others have, and when that was looked at.
    others: Vec<Arc<Fresh>>,
    heard: u64,
    /// Which session it is, to the others.
    number: u64,
    doubtful: bool,
    /// Some of it may be in a transaction that is still open.
    unsettled: bool,
    /// All of it before a learning that began after this one.
    settled: u64,
    /// A setting of the session may hold something sensitive.
    pub settings_told: bool,
    /// Code ran that may have given names of prepared statements and cursors to
    /// others.
    pub handles_unsure: bool,
    /// The search path may be another than when a prepared statement was described.
    pub paths_unsure: bool,
    edition: u64,
}

/// All that plans are made by; they hold as long as it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    own: u64,
    /// Other sessions put something sensitive where it has no column.
    pub large_objects_told: bool,
}

impl Knowledge {
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            known: None,
            catalog: Arc::default(),
            version: 0,
            patient_until: None,
            defined: false,
            fresh: Fresh::default(),
            others: Vec::new(),
            heard: 0,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            doubtful: false,
            unsettled: false,
            settled: 0,
            settings_told: false,
            handles_unsure: false,
            paths_unsure: false,
            edition: 0,
        }
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Takes the newest of what is known.
    pub fn renew(&mut self) -> Edition {
        if let Some(known) = &self.known
            && known.version() != self.version
        {
            self.version = known.version();
            self.catalog = known.catalog();
            self.edition += 1;
        }
        if let Some(known) = &self.known
            && self.doubtful
            && !self.unsettled
            && known.ended() > self.settled
        {
            self.fresh = Fresh::default();
            self.doubtful = false;
            self.edition += 1;
        }
        if let Some(known) = &self.known
            && known.doubts().version() != self.heard
        {
            (self.heard, self.others) = known.doubts().of_others(self.number);
            self.edition += 1;
        }
        let spread = self.known.as_ref().map(|known| known.spread());
        let told = spread.is_some_and(|spread| spread.large_objects.load(Ordering::Relaxed));
        Edition { own: self.edition, large_objects_told: told }
    }

    /// Whether what a statement answers goes through what nobody knows yet.
    pub fn doubts(&self, statement: &Statement) -> bool {
        self.in_doubt().any(|fresh| fresh.doubts(statement, &self.catalog))
    }

    /// Whether a table's columns may be others than the server said once.
    pub fn doubts_names(&self, name: &str) -> bool {
        self.in_doubt().any(|fresh| fresh.doubts_names(name))
    }

    /// Whether a view's own columns can't be trusted to be what they were.
    pub fn doubts_view(&self, name: &str) -> bool {
        self.in_doubt().any(|fresh| fresh.doubts_view(name))
    }

    /// Changes with the catalog, and with what is in doubt.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// The code that runs under names of the server's, and what of it is in doubt: one
    /// that isn't learnt yet may lie in any schema.
    pub fn code(&self) -> (Arc<Code>, u64) {
        let doubted: BTreeSet<(Kind, &str)> = self.in_doubt().flat_map(Fresh::code).collect();
        let (known, generation) = (self.catalog.code(), self.catalog.generation());
        if doubted.is_empty() {
            return (Arc::clone(known), generation);
        }
        let mut code = (**known).clone();
        let mut hasher = DefaultHasher::new();
        generation.hash(&mut hasher);
        for (kind, name) in doubted {
            code.add(kind, None, name, false);
            (kind, name).hash(&mut hasher);
        }
        (Arc::new(code), hasher.finish())
    }

    fn in_doubt(&self) -> impl Iterator<Item = &Fresh> {
        std::iter::once(&self.fresh).chain(self.others.iter().map(|one| &**one))
    }

    /// Whether something sensitive was sent as a notification.
    pub fn notifications_told(&self) -> bool {
        let spread = self.known.as_ref().map(|known| known.spread());
        spread.is_some_and(|spread| spread.notifications.load(Ordering::Relaxed))
    }

    // ---- learning -----------------------------------------------------------

    /// Whether the catalog is to be learnt before the next request.
    #[inline]
    pub fn wants_to_learn(&self, viewer: Viewer<'_>) -> bool {
        let patient = || self.patient_until.is_none_or(|until| Instant::now() >= until);
        match &self.known {
            // A service in shadow isn't kept waiting for what another may learn.
            Some(known) => {
                known.is_due(true)
                    && (self.defined || patient())
                    && viewer.judge.stance(viewer.means) == Stance::Enforced
            }
            None => {
                patient() && !viewer.means.policies.is_off() && &*self.identity.database != CONSOLE
            }
        }
    }

    /// It is being learnt: of which database, as far as is known before.
    pub fn begins_to_learn(&mut self) -> Identity {
        self.defined = false;
        self.patient_until = Some(Instant::now() + AGAIN);
        self.identity.clone()
    }

    /// `whole`: there is nothing that could not be learnt.
    pub fn learnt(&mut self, known: Arc<Known>, whole: bool) {
        if whole {
            self.patient_until = Some(Instant::now() + known.patience());
        }
        let settled = known.begun();
        self.known = Some(known);
        self.renew();
        // Tables are known, and not what views and functions make of them. Where
        // nothing is known at all everything is scanned.
        if !whole && self.catalog.relations().next().is_some() {
            self.fresh = Fresh::anything();
            self.doubtful = true;
            self.settled = settled;
            self.edition += 1;
        }
    }

    /// A statement has ended that defines something.
    pub fn defined(&mut self) {
        self.defined = true;
        self.note_change();
    }

    /// Everything is answered, and no transaction open: others see what was done.
    pub fn rests(&mut self) {
        if let Some(known) = &self.known
            && self.unsettled
        {
            self.unsettled = false;
            self.settled = known.begun();
            known.doubts().settle(self.number, self.settled);
            known.note_change();
        }
    }

    /// The client is gone. `quiet`: the server had nothing left to do, and gives up what
    /// is open; else it may go on with that to its end, and nobody hears of it.
    pub fn leaves(&mut self, quiet: bool) {
        if quiet {
            return self.rests();
        }
        if let Some(known) = &self.known
            && std::mem::take(&mut self.unsettled)
        {
            known.doubts().leave(self.number);
            known.note_change();
        }
    }

    /// Something was defined, or turned up that isn't known.
    pub fn note_change(&self) {
        if let Some(known) = &self.known {
            known.note_change();
        }
    }

    // ---- what the session does ----------------------------------------------

    /// A request is let through: what it fills is known before it does.
    pub fn released(&mut self, granted: &Granted, text: &[u8]) {
        let Some(known) = self.known.clone() else { return };
        let mut shares = false;
        // What a block of code, or a function's body, says it fills.
        for statement in granted.statement.facts.running().filter(|one| holds_code(one)) {
            let own = statement
                .span
                .and_then(|span| text.get(span.start as usize..span.end as usize))
                .unwrap_or(text);
            for carried in functions::filled_by(&crate::sql::lossy(own), &self.catalog) {
                known.carry(carried);
            }
        }
        let behind = granted.behind.as_ref().map(|behind| &behind.text);
        let texts = [Some(&granted.statement), behind];
        for text in texts.into_iter().flatten() {
            for carried in filling::carried(&text.facts, &self.catalog) {
                let name = carried.relation.clone();
                let (kept, new) = (!carried.passing, known.carry(carried));
                if kept && new && self.fresh.fill(&name, &self.catalog) {
                    (shares, self.doubtful, self.unsettled) = (true, true, true);
                    self.defined = true;
                    self.edition += 1;
                }
            }
            for statement in text.facts.running() {
                let renames = text.mentions.names;
                let changes = self.fresh.follow(statement, renames, &self.catalog);
                let unsure = fresh::runs_code(statement, &self.catalog);
                if unsure {
                    known.note_change();
                }
                if changes || unsure && !self.handles_unsure {
                    self.edition += 1;
                }
                self.doubtful |= changes;
                self.unsettled |= changes;
                shares |= changes;
                self.handles_unsure |= unsure;
            }
            let Mentions { settings, notifications, large_objects, paths, .. } = text.mentions;
            if (paths || self.handles_unsure) && !self.paths_unsure {
                self.paths_unsure = true;
                self.edition += 1;
            }
            if (settings || notifications || large_objects)
                && text.facts.running().any(|one| lineage::touches(one, &self.catalog))
            {
                if settings && !self.settings_told {
                    self.settings_told = true;
                    self.edition += 1;
                }
                known.spread_to(notifications, large_objects);
            }
        }
        if shares {
            known.doubts().tell(self.number, self.fresh.shared(&self.catalog));
        }
        self.renew();
    }

    /// Columns whose content gave them away are sensitive from now on: where most
    /// of their cells did. Counts are kept, never a value.
    pub fn given_away(&self, cells: &[(usize, Class)], origins: &[(u32, u16)], rows: u64) {
        let Some(known) = &self.known else { return };
        for (column, (relation, number)) in origins.iter().enumerate() {
            let of_column = || cells.iter().filter(|(place, _)| *place == column);
            let Some((_, class)) = of_column().next() else { continue };
            let count = of_column().filter(|(_, one)| one == class).count() as u64;
            let unknown =
                self.catalog.column(*relation, *number).is_some_and(|known| known.class.is_none());
            if unknown && count >= LEAST_HITS && count * 2 >= rows.min(MOST_HITS) {
                known.update(|catalog| {
                    catalog.classify(*relation, *number, *class, Evidence::Content);
                });
            }
        }
    }
}

/// A block of code, or a function that is made.
fn holds_code(statement: &Statement) -> bool {
    matches!(statement.verb, Verb::Do | Verb::Unknown)
        || statement.verb == Verb::Create
            && statement.objects.iter().any(|object| object.kind == ObjectKind::Function)
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);
/// The database that PgBouncer's console is reached by.
const CONSOLE: &str = "pgbouncer";
/// After a failure.
const AGAIN: Duration = Duration::from_secs(60);
/// Cells that give a column away, and how many of them are counted.
const LEAST_HITS: u64 = 3;
const MOST_HITS: u64 = 16;
