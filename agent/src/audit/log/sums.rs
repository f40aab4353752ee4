//! Statements that are told together, because their workload is over its rate.
//!
//! One record says beforehand that any number of statements that are alike may run
//! until a time; while it holds, each of them refers to it. When it ends (the time is
//! over, the connection closes, the agent stops), another record says how many there
//! were and what came of them. What ends later yet is told by itself.
//!
//! INVARIANT: nothing joins a sum whose record isn't in the log, or doesn't hold any
//! more.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::connection::Party;
use super::flood::Payer;
use crate::audit::record::{Back, Head, Summed};
use crate::audit::statement::{Outcome, Reach, Statement, TransactionEnd};
use crate::audit::{Ending, Verdict};

#[derive(Debug, Default)]
pub struct Sums {
    open: HashMap<Name, Sum>,
    likes: HashMap<(Owner, Like), u64>,
    owned: HashMap<Owner, HashSet<Name>>,
}

/// Whose it is: with a connection its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Connection(u64),
    Workload(Payer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// The position of the record that was written beforehand.
    Of(u64),
    Transactions(Owner),
}

/// Statements in which this is the same are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Like {
    /// Of a fingerprint; 0 where texts don't matter.
    shape: u64,
    pub reach: Reach,
    way: u8,
    effects: u16,
    verdict: u8,
    flags: u8,
    grounds: u128,
}

#[derive(Debug)]
pub struct Sum {
    pub party: Arc<Party>,
    owner: Owner,
    like: Option<Like>,
    begun: u64,
    until: u64,
    tally: Tally,
}

/// What came of them.
#[derive(Debug, Default)]
struct Tally {
    times: u64,
    endings: BTreeMap<u8, u64>,
    failures: BTreeMap<Box<str>, u64>,
    rows: u64,
    bytes: u64,
    latency_us: u64,
    masked: Cells,
    seen: Cells,
    would_mask: Cells,
    transactions: BTreeMap<u8, u64>,
}

type Cells = BTreeMap<Box<str>, u64>;

pub enum Joined {
    /// It counts to what was told at this position.
    At(u64),
    /// That one no longer holds, and is to be ended first.
    Over(Name),
    /// Nothing was told of such statements yet.
    New,
}

impl Like {
    /// How a statement is told with others, if it is, when a workload's statements are
    /// told together so far.
    pub fn of(statement: &Statement<'_>, reach: Reach, flags: u8) -> Option<Self> {
        let reach = match reach {
            _ if statement.approver.is_some() => return None,
            Reach::Shape if is_special(statement) => return None,
            Reach::Effects if is_special(statement) => Reach::Shape,
            reach => reach,
        };
        let shape = statement.subject.filter(|_| reach == Reach::Shape);
        Some(Self {
            shape: shape.map_or(0, |it| u64::from_str_radix(&it.fingerprint, 16).unwrap_or(0)),
            reach,
            way: statement.way.code(),
            effects: statement.subject.map_or(0, |subject| subject.effects),
            verdict: statement.verdict.code(),
            flags,
            grounds: statement.grounds.map_or(0, |grounds| grounds.key),
        })
    }

    pub fn of_workload(self) -> Self {
        Self { reach: Reach::Workload, shape: 0, ..self }
    }
}

/// What somebody will want to see by itself: refused, held, or let through with a word.
fn is_special(statement: &Statement<'_>) -> bool {
    let usual = matches!(statement.verdict, Verdict::Allowed | Verdict::Unjudged | Verdict::Unread);
    !usual || statement.grounds.is_some_and(|grounds| grounds.json.contains(FLAGS))
}

impl Sums {
    /// One more of these.
    pub fn join(&mut self, owner: Owner, like: Like, now: u64) -> Joined {
        let Some(position) = self.likes.get(&(owner, like)).copied() else { return Joined::New };
        let name = Name::Of(position);
        match self.open.get_mut(&name) {
            Some(sum) if sum.is_over(now) => Joined::Over(name),
            Some(sum) => {
                sum.tally.times += 1;
                Joined::At(position)
            }
            None => Joined::New,
        }
    }

    /// Whether no more are kept.
    pub fn is_full(&self) -> bool {
        self.open.len() >= MOST
    }

    /// The first of those that are alike is in the log.
    pub fn begin(
        &mut self,
        (party, owner, like): (&Arc<Party>, Owner, Like),
        position: u64,
        (now, until): (u64, u64),
    ) {
        let tally = Tally { times: 1, ..Tally::default() };
        let party = Arc::clone(party);
        let sum = Sum { party, owner, like: Some(like), begun: now, until, tally };
        self.put(Name::Of(position), sum);
    }

    /// What an end is counted to, if its statement's sum is still open.
    pub fn of(&mut self, position: u64) -> Option<&mut Sum> {
        self.open.get_mut(&Name::Of(position))
    }

    /// What further ends of one statement, and of transactions, are counted to.
    pub fn open(&mut self, name: Name, party: &Arc<Party>, (now, until): (u64, u64)) -> &mut Sum {
        let owner = match name {
            Name::Of(_) => Owner::Connection(party.number),
            Name::Transactions(owner) => owner,
        };
        self.owned.entry(owner).or_default().insert(name);
        self.open.entry(name).or_insert_with(|| Sum {
            party: Arc::clone(party),
            owner,
            like: None,
            begun: now,
            until,
            tally: Tally::default(),
        })
    }

    pub fn put(&mut self, name: Name, sum: Sum) {
        if let (Some(like), Name::Of(position)) = (sum.like, name) {
            self.likes.insert((sum.owner, like), position);
        }
        self.owned.entry(sum.owner).or_default().insert(name);
        self.open.insert(name, sum);
    }

    /// Takes one out: it has ended.
    pub fn take(&mut self, name: Name) -> Option<Sum> {
        let sum = self.open.remove(&name)?;
        if let (Some(like), Name::Of(position)) = (sum.like, name) {
            let key = (sum.owner, like);
            if self.likes.get(&key) == Some(&position) {
                self.likes.remove(&key);
            }
        }
        if let Some(names) = self.owned.get_mut(&sum.owner) {
            names.remove(&name);
            if names.is_empty() {
                self.owned.remove(&sum.owner);
            }
        }
        Some(sum)
    }

    /// Those that end with their connection.
    pub fn of_connection(&self, number: u64) -> Vec<Name> {
        let names = self.owned.get(&Owner::Connection(number));
        names.into_iter().flatten().copied().collect()
    }

    /// Those whose time is over; `now` is `None`: all.
    pub fn over(&self, now: Option<u64>) -> Vec<Name> {
        let over = self.open.iter().filter(|(_, sum)| now.is_none_or(|now| sum.is_over(now)));
        over.map(|(name, _)| *name).collect()
    }
}

impl Sum {
    fn is_over(&self, now: u64) -> bool {
        // A clock that was set back ends it too.
        now >= self.until || now.saturating_add(LATE) < self.begun
    }

    pub fn count(&mut self, outcome: &Outcome<'_>) {
        let Tally { endings, failures, masked, seen, would_mask, .. } = &mut self.tally;
        *endings.entry(outcome.ending.code()).or_default() += 1;
        if let Some(state) = outcome.sqlstate
            && matches!(outcome.ending, Ending::Failed | Ending::Refused)
        {
            let known = failures.len() < MOST_STATES || failures.contains_key(state);
            let state = if known { state } else { OTHERS };
            *failures.entry(state.into()).or_default() += 1;
        }
        for (cells, of) in
            [(masked, outcome.masked), (seen, outcome.seen), (would_mask, outcome.would_mask)]
        {
            for (class, count) in of {
                match cells.get_mut(*class) {
                    Some(cells) => *cells += count,
                    None => drop(cells.insert((*class).into(), *count)),
                }
            }
        }
        self.tally.rows = self.tally.rows.saturating_add(outcome.rows);
        self.tally.bytes = self.tally.bytes.saturating_add(outcome.bytes);
        self.tally.latency_us = self.tally.latency_us.saturating_add(outcome.latency_us);
    }

    pub fn count_transaction(&mut self, ending: TransactionEnd, statements: u64) {
        *self.tally.transactions.entry(ending.code()).or_default() += 1;
        self.tally.times = self.tally.times.saturating_add(statements);
    }

    /// The record of its end. `word`: where the name of a class stands.
    pub fn summed(&self, head: Head, intent: Back, word: &mut dyn FnMut(&str) -> Back) -> Summed {
        let tally = &self.tally;
        let pairs = |counts: &BTreeMap<u8, u64>| counts.iter().map(|(k, n)| (*k, *n)).collect();
        let mut cells = |cells: &Cells| -> Vec<(Back, u64)> {
            cells.iter().map(|(class, count)| (word(class), *count)).collect()
        };
        Summed {
            head,
            intent,
            times: tally.times,
            endings: pairs(&tally.endings),
            failures: tally.failures.iter().map(|(state, n)| (state.clone(), *n)).collect(),
            rows: tally.rows,
            bytes: tally.bytes,
            latency_us: tally.latency_us,
            masked: cells(&tally.masked),
            seen: cells(&tally.seen),
            would_mask: cells(&tally.would_mask),
            transactions: pairs(&tally.transactions),
        }
    }

    /// All names of classes that it speaks of.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        let Tally { masked, seen, would_mask, .. } = &self.tally;
        [masked, seen, would_mask].into_iter().flat_map(|cells| cells.keys().map(|class| &**class))
    }
}

/// As grounds tell that a policy that allowed it has something to say.
const FLAGS: &str = "\"flags\":[{";
/// Sums that are open at once.
const MOST: usize = 100_000;
/// SQLSTATEs that are counted each for itself: a server's functions may make up more.
const MOST_STATES: usize = 32;
const OTHERS: &str = "other";
const LATE: u64 = 1_000_000;

#[cfg(test)]
mod tests;
