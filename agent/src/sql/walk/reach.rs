//! How many rows a query reads to give them away, with what stands around it and in it.
//!
//! A condition or a limit picks among the rows that come to it: from a table, a subquery
//! or a CTE. It doesn't pick among those that an aggregate or `ARRAY(SELECT …)` has put
//! into a single one before.
//!
//! Errs to the strict side: what can't be followed reads all rows. What only a condition
//! looks at (`WHERE id IN (SELECT …)`, EXISTS) gives nothing away and doesn't count.

mod joins;

use pg_raw_parse::nodes::SelectStmt;
use pg_raw_parse::raw;

pub(super) use self::joins::Joins;
use super::super::effect::ColumnUse;
use super::super::facts::Bound;
use super::Walk;
use super::bound::limited;

/// Of one query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// The rows that it gives: who asks it may pick among them.
    pub(super) rows: Bound,
    /// What stands within any single one of them.
    pub(super) within: Bound,
}

impl Reach {
    pub(super) const TABLE: Self = Self { rows: Bound::Unbounded, within: Bound::NotApplicable };

    pub(super) fn both(self, other: Self) -> Self {
        Self { rows: self.rows.max(other.rows), within: self.within.max(other.within) }
    }

    pub(super) fn all(self) -> Bound {
        self.rows.max(self.within)
    }

    /// Nobody picks among them any more.
    fn whole(self) -> Self {
        Self { within: self.all(), ..self }
    }

    fn limited(self) -> Self {
        Self { rows: self.rows.min(Bound::Bounded), ..self }
    }
}

impl<'t> Walk<'t, '_> {
    /// Rows come to the query that is being read.
    pub(super) fn comes(&mut self, alias: &'t str, relation: &'t str, reach: Reach) {
        if let Some(level) = self.levels.last_mut() {
            level.joins.comes(alias, relation, reach, self.long);
        }
    }

    /// A subquery's rows stand in an expression. `whole`: all of them, not one.
    pub(super) fn stands_within(&mut self, used: ColumnUse, whole: bool) {
        if used == ColumnUse::Filtered {
            return;
        }
        let reach = if whole { self.reach } else { self.reach.limited() };
        match self.levels.last_mut() {
            Some(level) => level.within = level.within.max(reach.all()),
            None => self.reads(reach.all()),
        }
    }

    /// An aggregate, or what may be one, puts many rows into one.
    pub(super) fn gathers(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.gathers = true;
        }
    }

    /// So much of what is read is given away.
    pub(super) fn reads(&mut self, bound: Bound) {
        self.out.reads = self.out.reads.max(bound);
    }

    /// The end of a statement that writes: its own bound says how many rows.
    pub(super) fn close_written(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        let froms = level.joins.froms.iter().map(|from| from.reach.within);
        self.reads(froms.fold(level.within, Bound::max));
        if level.unlinks {
            let part = self.part.and_then(|part| self.out.parts.get(part));
            self.unlinked(part.map_or(self.out.bound, |part| part.bound));
        }
    }

    /// The end of a query without set operations.
    pub(super) fn close_query(&mut self, of: &'t SelectStmt) {
        let Some(level) = self.levels.pop() else { return };
        let cut = limited(of) && !level.gathers;
        // Each is looked at once more by those around it.
        let deep = self.levels.len() > MOST_WITHIN;
        let mut reach = Reach { within: level.within, ..Reach::default() };
        let (picked, whole) = match cut || deep {
            true => (Vec::new(), false),
            false => level.joins.picked(of.where_clause()),
        };
        for (at, from) in level.joins.froms.iter().enumerate() {
            let picked = picked.get(at).copied().unwrap_or(Bound::Unbounded);
            let picked = if cut { Bound::Bounded } else { picked };
            let Reach { rows, within } = from.reach;
            reach = reach.both(Reach { rows: rows.min(picked), within });
        }
        if level.gathers || whole {
            reach = reach.whole();
        }
        if level.unlinks {
            let all = cut && !of.distinct_clause().is_empty();
            self.unlinked(if all { Bound::Unbounded } else { reach.all() });
        }
        self.reach = reach;
    }

    /// The end of a set operation, whose arms reach this far together.
    pub(super) fn close_arms(&mut self, of: &'t SelectStmt, arms: Reach) {
        let within = self.levels.pop().map_or(Bound::NotApplicable, |level| level.within);
        let arms = if limited(of) { arms.limited() } else { arms };
        self.reach = arms.both(Reach { within, ..Reach::default() });
    }
}

/// Whether a subquery in an expression gives rows away, and all of them.
pub(super) fn shows(kind: raw::SubLinkType::Type) -> Option<bool> {
    use raw::SubLinkType as S;
    match kind {
        // No more than whether there is one.
        S::EXISTS_SUBLINK | S::ANY_SUBLINK | S::ALL_SUBLINK | S::ROWCOMPARE_SUBLINK => None,
        // The server wants a single row.
        S::EXPR_SUBLINK | S::MULTIEXPR_SUBLINK => Some(false),
        _ => Some(true),
    }
}

/// Queries within queries: of what lies deeper all rows are read.
const MOST_WITHIN: usize = 6;

#[cfg(test)]
mod tests;
