//! Statements of a workload that is over its rate: those that are alike are told
//! together ([`Sums`](crate::audit::log::sums::Sums)).

use super::{Connection, Over, flags};
use crate::audit::log::flood::Allowance;
use crate::audit::log::sums::{Joined, Like, Name, Owner};
use crate::audit::log::{Group, LogError, Sealed, Shared, State, micros};
use crate::audit::record::{Body, Head};
use crate::audit::statement::{Outcome, Reach, Statement, TransactionEnd};

impl Connection {
    /// Where a statement stands in the log, and whether others stand there too.
    pub(super) fn tell_together(
        &self,
        shared: &Shared,
        state: &mut State,
        statement: &Statement<'_>,
        (reach, window): (Reach, u64),
        at: u64,
    ) -> Result<(u64, bool), LogError> {
        let Some(like) = Like::of(statement, reach, flags(statement, true)) else {
            let over = Over { standing: None, texts: true };
            return Ok((self.tell(shared, state, statement, at, Some(over))?, false));
        };
        // Where no more of them can be kept, those of all connections are one.
        let full = state.sums.is_full();
        let like = if full { like.of_workload() } else { like };
        let owner = self.owner(like.reach);
        match state.sums.join(owner, like, at) {
            Joined::At(position) => {
                state.floods.sum(self.party.payer);
                return Ok((position, true));
            }
            Joined::Over(name) => state.end_sum(shared, name, at)?,
            Joined::New => {}
        }
        let until = at.saturating_add(window);
        let texts = like.reach == Reach::Shape;
        let over = Over { standing: Some((like.reach, until)), texts };
        let position = self.tell(shared, state, statement, at, Some(over))?;
        state.sums.begin((&self.party, owner, like), position, (at, until));
        Ok((position, true))
    }

    fn owner(&self, reach: Reach) -> Owner {
        match reach {
            Reach::Shape | Reach::Effects => Owner::Connection(self.party.number),
            Reach::Workload => Owner::Workload(self.party.payer),
        }
    }

    /// Whether an end was counted to others; else it is told by itself: that of a
    /// statement that was, or whose sum has ended.
    pub(super) fn counts(
        &self,
        shared: &Shared,
        state: &mut State,
        (sealed, outcome): (&Sealed, &Outcome<'_>),
        at: u64,
    ) -> bool {
        let Some(position) = sealed.position else { return false };
        if sealed.summed {
            let sum = state.sums.of(position);
            return sum.map(|sum| sum.count(outcome)).is_some();
        }
        // A text may hold any number of statements.
        if outcome.index == 0 {
            return false;
        }
        match self.allowance(shared, state, at) {
            Ok(Allowance::Together { window, .. }) => {
                let span = (at, at.saturating_add(window));
                state.sums.open(Name::Of(position), &self.party, span).count(outcome);
                true
            }
            _ => false,
        }
    }

    pub(super) fn counts_transaction(
        &self,
        shared: &Shared,
        state: &mut State,
        (ending, statements): (TransactionEnd, u64),
        at: u64,
    ) -> bool {
        let Ok(Allowance::Together { reach, window }) = self.allowance(shared, state, at) else {
            return false;
        };
        let name = Name::Transactions(self.owner(reach));
        let span = (at, at.saturating_add(window));
        state.sums.open(name, &self.party, span).count_transaction(ending, statements);
        true
    }

    /// The connection closes, and with it what is told of it alone.
    pub(super) fn end_sums(&self, shared: &Shared) {
        let at = micros();
        let mut state = shared.lock();
        for name in state.sums.of_connection(self.party.number) {
            // What can't be written now is tried again until it can.
            if state.end_sum(shared, name, at).is_err() {
                return;
            }
        }
    }
}

impl Shared {
    /// Tells the ends of those whose time is over; `now` is `None`: of all.
    pub fn end_sums(&self, now: Option<u64>) -> Result<(), LogError> {
        let over = self.lock().sums.over(now);
        for some in over.chunks(AT_ONCE) {
            let mut state = self.lock();
            for name in some {
                state.end_sum(self, *name, micros())?;
            }
        }
        let at = micros();
        let mut state = self.lock();
        while let Some(told) = state.floods.overdue(at) {
            state.tell_flood(self, &told, at)?;
        }
        Ok(())
    }
}

impl State {
    fn end_sum(&mut self, shared: &Shared, name: Name, at: u64) -> Result<(), LogError> {
        let Some(sum) = self.sums.take(name) else { return Ok(()) };
        let of = match name {
            Name::Of(position) => Some(position),
            Name::Transactions(_) => None,
        };
        let written = sum.party.append(shared, self, &mut |group, flow, sequence| {
            let places: Vec<(&str, u64)> =
                sum.classes().map(|class| (class, group.words(class))).collect();
            group.put(|here| {
                let head = Head { at, flow: here - flow, sequence };
                let mut word = |class: &str| {
                    let place = places.iter().find(|(known, _)| *known == class);
                    here - place.map_or(here, |(_, at)| *at)
                };
                Body::Summed(sum.summed(head, Group::back(here, of), &mut word))
            });
        });
        if written.is_err() {
            self.sums.put(name, sum);
        }
        written.map(drop)
    }
}

/// Ends that are told before others get the lock.
const AT_ONCE: usize = 256;
