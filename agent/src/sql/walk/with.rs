//! WITH: each part once, in its turn; in a recursive one also where an earlier part names
//! it.

use std::rc::Rc;

use pg_raw_parse::Node;
use pg_raw_parse::nodes::{CommonTableExpr, SelectStmt, WithClause};

use super::super::effect::{ColumnUse, Path, Step};
use super::super::facts::{Verb, Way};
use super::reach::Reach;
use super::scope::{Cte, Given, Later, Level, Name, merge};
use super::{Role, Walk};

impl<'t> Walk<'t, '_> {
    pub(super) fn with(&mut self, with: &'t WithClause) {
        let first = self.ctes.len();
        if with.recursive {
            let (levels, ctes) = (self.levels.len(), first + with.ctes().len());
            for of in with.ctes() {
                let name = of.ctename().unwrap_or_default();
                let (gives, reach) = (Rc::default(), Reach::default());
                let later = Some(Later { of, levels, ctes });
                self.ctes.push(Cte { name, gives, reach, pending: true, later });
            }
        }
        for (position, cte) in with.ctes().iter().enumerate() {
            if with.recursive {
                self.read_named(first + position);
            } else {
                let given = self.cte(cte, None);
                let name = cte.ctename().unwrap_or_default();
                let (gives, reach) = (Rc::new(given), self.reach);
                self.ctes.push(Cte { name, gives, reach, pending: false, later: None });
            }
        }
    }

    /// A part of a WITH RECURSIVE, in its turn or where an earlier one names it; once.
    fn read_named(&mut self, slot: usize) {
        let later = self.ctes.get_mut(slot).and_then(|cte| cte.later.take());
        let Some(Later { of, levels, ctes }) = later else { return };
        let inner = self.levels.split_off(levels.min(self.levels.len()));
        let nested = self.ctes.split_off(ctes.min(self.ctes.len()));
        let given = self.cte(of, Some(slot));
        self.levels.extend(inner);
        self.ctes.extend(nested);
        if let Some(slot) = self.ctes.get_mut(slot) {
            slot.gives = Rc::new(given);
            slot.reach = self.reach;
            slot.pending = false;
        }
    }

    /// One that is named before its turn. Only in a query: the bound of a statement that
    /// writes is found by reading its WITH in order.
    pub(super) fn read_ahead(&mut self, slot: usize) {
        let part = self.part.and_then(|part| self.out.parts.get(part));
        let verb = part.map_or(self.out.verb, |part| part.verb);
        let query = self
            .ctes
            .get(slot)
            .and_then(|cte| cte.later)
            .is_some_and(|later| matches!(later.of.ctequery(), Node::SelectStmt(_)));
        if query && matches!(verb, Verb::Select | Verb::Values) {
            self.read_named(slot);
        }
    }

    fn cte(&mut self, cte: &'t CommonTableExpr, recursive: Option<usize>) -> Vec<Given<'t>> {
        let names: Vec<&'t str> = cte.aliascolnames().iter().filter_map(Node::as_str).collect();
        let given = match cte.ctequery() {
            Node::SelectStmt(query) => match (recursive, query.larg(), query.rarg()) {
                (Some(slot), Some(left), Some(right)) => {
                    self.recursive(query, (left, right), slot, &names)
                }
                _ => self.query(query, ColumnUse::Read),
            },
            other => {
                let given = self.nested_outputs(other, Way::Cte);
                // How many rows it gives back, its own bound says.
                self.reach = Reach::default();
                given
            }
        };
        let mut given = rename(given, &names);
        // SEARCH and CYCLE add columns made of what they name.
        let extra = |name: Option<&'t str>, given: &mut Vec<Given<'t>>| {
            if let Some(name) = name {
                let mut sources = Vec::new();
                for one in given.iter() {
                    merge(&mut sources, &one.sources, Path::of(Step::Composite));
                }
                given.push(Given { name: Name::Is(name), sources });
            }
        };
        if let Some(search) = cte.search_clause() {
            extra(search.search_seq_column(), &mut given);
        }
        if let Some(cycle) = cte.cycle_clause() {
            extra(cycle.cycle_mark_column(), &mut given);
            extra(cycle.cycle_path_column(), &mut given);
            self.read(cycle.cycle_mark_value());
            self.read(cycle.cycle_mark_default());
        }
        given
    }

    /// The first arm says what the CTE gives; the second may mix that up. If it
    /// does, each column may be made of all.
    fn recursive(
        &mut self,
        query: &'t SelectStmt,
        (left, right): (&'t SelectStmt, &'t SelectStmt),
        slot: usize,
        names: &[&'t str],
    ) -> Vec<Given<'t>> {
        let depth = self.ctes.len();
        if let Some(with) = query.with_clause() {
            self.with(with);
        }
        let before = rename(self.query(left, ColumnUse::Read), names);
        let reach = self.reach;
        if let Some(cte) = self.ctes.get_mut(slot) {
            cte.gives = Rc::new(before.clone());
            cte.reach = reach;
            cte.pending = false;
        }
        let after = self.query(right, ColumnUse::Read);
        if !query.all {
            for one in before.iter().chain(&after) {
                self.used(&one.sources, ColumnUse::Filtered);
            }
        }
        let reach = reach.both(self.reach);
        let same = before.len() == after.len()
            && before.iter().zip(&after).all(|(one, other)| {
                other
                    .sources
                    .iter()
                    .all(|new| one.sources.iter().any(|old| old.column == new.column))
            });
        let given = if same {
            let mut given = self.unite(before, after);
            for source in given.iter_mut().flat_map(|one| &mut one.sources) {
                source.path.insert(Step::SetOperation);
            }
            given
        } else {
            // What the second arm filtered on may have been any of these.
            for one in before.iter().chain(&after) {
                self.used(&one.sources, ColumnUse::Filtered);
            }
            let named: Vec<Name<'t>> = before.iter().map(|one| one.name).collect();
            let mut all = Vec::new();
            let role = Role { used: ColumnUse::Read, path: Path::of(Step::SetOperation) };
            for one in before.iter().chain(&after) {
                self.add(&mut all, &one.sources, role);
            }
            if self.spend(named.len().saturating_mul(all.len())) {
                named.into_iter().map(|name| Given { name, sources: all.clone() }).collect()
            } else {
                before
            }
        };
        self.levels.push(Level { outputs: Rc::new(given.clone()), ..Level::default() });
        self.tail(query);
        self.close_arms(query, reach);
        self.ctes.truncate(depth);
        given
    }
}

fn rename<'t>(mut given: Vec<Given<'t>>, names: &[&'t str]) -> Vec<Given<'t>> {
    let star = given.iter().any(|one| matches!(one.name, Name::Star | Name::StarOf(_)));
    if star && !names.is_empty() {
        let mut all = Vec::new();
        for one in &given {
            merge(&mut all, &one.sources, Path::of(Step::Unknown));
        }
        let mut renamed: Vec<Given<'t>> =
            names.iter().map(|name| Given { name: Name::Is(name), sources: all.clone() }).collect();
        // There may be more columns than names: these keep theirs.
        renamed.extend(given);
        return renamed;
    }
    for (one, name) in given.iter_mut().zip(names) {
        one.name = Name::Is(name);
    }
    given
}
