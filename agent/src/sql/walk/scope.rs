//! Which relation a column's name means, as far as that can be told without the
//! catalog; where it can't, all that it could mean.

use std::rc::Rc;

use pg_raw_parse::nodes::CommonTableExpr;

use super::super::effect::{ColumnUse, Path, Step};
use super::super::facts::{Bound, Doubt, Source};
use super::reach::{Joins, Reach};
use super::{Role, Walk};

/// What an item of FROM gives, by column.
#[derive(Clone, Debug)]
pub(super) enum Gives<'t> {
    /// A table whose columns only the catalog knows.
    Relation(u32),
    /// A subquery or CTE.
    Known(Rc<Vec<Given<'t>>>),
    /// Functions and the like: any column is made of all of this.
    Opaque(Vec<Source>),
}

/// One column of a subquery, or a star that stands for many.
#[derive(Clone, Debug)]
pub(super) struct Given<'t> {
    pub(super) name: Name<'t>,
    pub(super) sources: Vec<Source>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'t> {
    Is(&'t str),
    /// It has one that isn't worked out here.
    Unclear,
    /// All columns of this relation.
    StarOf(u32),
    /// All columns of something unknown.
    Star,
}

#[derive(Clone, Debug)]
pub(super) struct Item<'t> {
    /// What columns are qualified with; empty: nothing.
    pub(super) alias: &'t str,
    pub(super) schema: Option<&'t str>,
    /// New names for its first columns.
    pub(super) renamed: Vec<&'t str>,
    pub(super) gives: Gives<'t>,
}

/// One query's FROM.
#[derive(Clone, Debug, Default)]
pub(super) struct Level<'t> {
    pub(super) items: Vec<Rc<Item<'t>>>,
    /// Names merged by USING: they mean columns of several items.
    pub(super) merged: Vec<&'t str>,
    /// NATURAL: any name may be merged.
    pub(super) natural: bool,
    /// Not to be seen from within (a subquery in FROM that isn't LATERAL).
    pub(super) hidden: bool,
    /// Output names that ORDER BY and GROUP BY may mean.
    pub(super) outputs: Rc<Vec<Given<'t>>>,
    /// A column that has this one value in every row: `WHERE name = 'x'`.
    pub(super) only: Option<(&'t str, &'t str)>,
    /// Where its rows come from.
    pub(super) joins: Joins<'t>,
    /// Of rows that stand in its expressions.
    pub(super) within: Bound,
    /// Its rows are made of several.
    pub(super) gathers: bool,
    /// For its rows large objects are deleted.
    pub(super) unlinks: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Cte<'t> {
    pub(super) name: &'t str,
    pub(super) gives: Rc<Vec<Given<'t>>>,
    pub(super) reach: Reach,
    /// Named further down in a WITH RECURSIVE: not read yet.
    pub(super) pending: bool,
    /// … and not begun either: it can be read where it is named first.
    pub(super) later: Option<Later<'t>>,
}

/// What a part of a WITH is, and what can be seen from it: so many levels, and so many
/// CTEs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Later<'t> {
    pub(super) of: &'t CommonTableExpr,
    pub(super) levels: usize,
    pub(super) ctes: usize,
}

/// More sources than this for one column are no longer told apart.
const MOST_SOURCES: usize = 4_096;

pub(super) fn merge(into: &mut Vec<Source>, from: &[Source], path: Path) {
    for source in from {
        let source = Source { path: source.path.union(path), ..*source };
        if !into.contains(&source) {
            into.push(source);
        }
    }
}

impl<'t> Walk<'t, '_> {
    /// Adds sources, each once, within the budget.
    pub(super) fn add(&mut self, into: &mut Vec<Source>, from: &[Source], role: Role) {
        if !self.spend(1 + from.len().saturating_mul(1 + into.len() / 16)) {
            return;
        }
        self.used(from, role.used);
        if into.len() + from.len() > MOST_SOURCES {
            self.out.doubt(Doubt::TooComplex);
            return;
        }
        merge(into, from, role.path);
    }

    fn base(&mut self, relation: u32, name: Option<&str>, certain: bool, role: Role) -> Source {
        let column = self.column(relation, name, role.used, certain);
        Source { column, path: Path::NONE }
    }

    /// A column of one item, by name. `None`: it surely has none of that name.
    pub(super) fn of_item(
        &mut self,
        item: &Item<'t>,
        name: &'t str,
        certain: bool,
        role: Role,
    ) -> Option<Vec<Source>> {
        let renamed = item.renamed.iter().position(|new| *new == name);
        match &item.gives {
            Gives::Relation(relation) => Some(match renamed {
                // Which of the table's columns it is only the catalog knows.
                Some(place) => vec![Source {
                    column: self.column_at(*relation, place, role.used),
                    path: Path::of(Step::Unknown),
                }],
                None => vec![self.base(*relation, Some(name), certain, role)],
            }),
            Gives::Opaque(sources) => Some(sources.clone()),
            Gives::Known(given) => {
                let given = Rc::clone(given);
                if !self.spend(given.len()) {
                    return Some(Vec::new());
                }
                let star = |name: Name<'_>| matches!(name, Name::Star | Name::StarOf(_));
                if let Some(position) = renamed {
                    let clear = !given.iter().take(position + 1).any(|one| star(one.name));
                    let mut sources = Vec::new();
                    match given.get(position).filter(|_| clear) {
                        Some(one) => sources.clone_from(&one.sources),
                        None => {
                            for one in given.iter() {
                                merge(&mut sources, &one.sources, Path::of(Step::Unknown));
                            }
                        }
                    }
                    return Some(sources);
                }
                let shown = given.iter().skip(if given.iter().any(|one| star(one.name)) {
                    0
                } else {
                    item.renamed.len()
                });
                let mut found = None::<Vec<Source>>;
                for one in shown.clone().filter(|one| one.name == Name::Is(name)) {
                    merge(found.get_or_insert_default(), &one.sources, Path::NONE);
                }
                if found.is_some() {
                    return found;
                }
                for one in shown {
                    match one.name {
                        Name::Is(_) => {}
                        Name::StarOf(relation) => {
                            let source = self.base(relation, Some(name), false, role);
                            let path = one.sources.iter().fold(Path::NONE, |p, s| p.union(s.path));
                            merge(
                                found.get_or_insert_default(),
                                &[source],
                                path.without(Step::WholeRow),
                            );
                        }
                        Name::Star | Name::Unclear => {
                            merge(found.get_or_insert_default(), &one.sources, Path::NONE);
                        }
                    }
                }
                found
            }
        }
    }

    /// All columns of an item, as `alias.*` gives them.
    pub(super) fn all_of(&mut self, item: &Item<'t>, role: Role) -> Vec<Given<'t>> {
        if !self.spend(1) {
            return Vec::new();
        }
        match &item.gives {
            Gives::Relation(relation) => {
                let source = self.base(*relation, None, true, role);
                let name =
                    if item.renamed.is_empty() { Name::StarOf(*relation) } else { Name::Star };
                vec![Given { name, sources: vec![source] }]
            }
            Gives::Opaque(sources) => {
                if !self.spend(sources.len()) {
                    return Vec::new();
                }
                vec![Given { name: Name::Star, sources: sources.clone() }]
            }
            Gives::Known(given) => {
                if !self.spend(given.iter().map(|one| 1 + one.sources.len()).sum()) {
                    return Vec::new();
                }
                let mut given: Vec<_> = given.iter().cloned().collect();
                let clear =
                    !given.iter().any(|one| matches!(one.name, Name::Star | Name::StarOf(_)));
                for (one, new) in given.iter_mut().zip(&item.renamed) {
                    one.name = if clear { Name::Is(new) } else { Name::Star };
                }
                given
            }
        }
    }

    /// The items that a qualifier means, from the innermost query outwards.
    fn qualified_items(&self, schema: Option<&str>, alias: &str) -> Vec<Rc<Item<'t>>> {
        for level in self.levels.iter().rev().filter(|level| !level.hidden) {
            let items: Vec<_> = level
                .items
                .iter()
                .filter(|item| item.alias == alias && (schema.is_none() || item.schema == schema))
                .cloned()
                .collect();
            if !items.is_empty() {
                return items;
            }
        }
        Vec::new()
    }

    /// `alias.name`, `schema.alias.name`.
    pub(super) fn qualified_column(
        &mut self,
        schema: Option<&'t str>,
        alias: &'t str,
        name: &'t str,
        role: Role,
        out: &mut Vec<Source>,
    ) {
        let items = self.qualified_items(schema, alias);
        if items.is_empty() {
            self.everything(role, out);
            return;
        }
        let certain = items.len() == 1;
        for item in items {
            match self.of_item(&item, name, certain, role) {
                Some(sources) => {
                    for source in &sources {
                        if let Some(column) = self.out.columns.get_mut(source.column as usize)
                            && (matches!(item.gives, Gives::Relation(_)) || !column.certain)
                        {
                            column.qualified = true;
                        }
                    }
                    self.add(out, &sources, role);
                }
                // `item.f`: also the way to write f(item).
                None => self.whole_row(&item, role, out),
            }
        }
    }

    pub(super) fn qualified_star(
        &mut self,
        schema: Option<&'t str>,
        alias: &'t str,
        role: Role,
    ) -> Vec<Given<'t>> {
        let items = self.qualified_items(schema, alias);
        let mut given = Vec::new();
        for item in &items {
            given.extend(self.all_of(item, role));
        }
        if items.is_empty() {
            let mut sources = Vec::new();
            self.everything(role, &mut sources);
            given.push(Given { name: Name::Star, sources });
        }
        given
    }

    pub(super) fn whole_row(&mut self, item: &Item<'t>, role: Role, out: &mut Vec<Source>) {
        let whole = role.through(Step::WholeRow);
        let role_of_row = if item.renamed.is_empty() { whole } else { whole.through(Step::Part) };
        for one in self.all_of(item, role) {
            self.add(out, &one.sources, role_of_row);
        }
    }

    /// A whole row by its alias, if the table has no column of that name: rows that are
    /// picked by it are picked by the one or by the other.
    fn row_called(&mut self, item: &Item<'t>, name: &'t str, role: Role, out: &mut Vec<Source>) {
        let mut role = role;
        if role.used == ColumnUse::Filtered
            && item.renamed.is_empty()
            && let Gives::Relation(relation) = item.gives
        {
            let column = self.column(relation, Some(name), role.used, false);
            if let Some(column) = self.out.columns.get_mut(column as usize) {
                column.row = true;
            }
            role.used = ColumnUse::Read;
        }
        self.whole_row(item, role, out);
    }

    /// A bare name: a column of this query's FROM, else of an outer one; or a whole
    /// row by its alias.
    pub(super) fn bare_column(&mut self, name: &'t str, role: Role, out: &mut Vec<Source>) {
        let mut open = false;
        let depth = self.levels.len();
        for back in (0..depth).rev() {
            let Some(level) = self.levels.get(back) else { break };
            if level.hidden || level.items.is_empty() {
                continue;
            }
            // EXCLUDED and the like are reached by their qualifier only.
            let items: Vec<_> = level
                .items
                .iter()
                .filter(|item| item.schema != Some(super::dml::PSEUDO))
                .cloned()
                .collect();
            let merged = level.natural || level.merged.contains(&name);
            if !self.spend(items.len()) {
                return;
            }
            let maybe = |item: &Rc<Item<'t>>| match &item.gives {
                Gives::Relation(_) | Gives::Opaque(_) => true,
                Gives::Known(given) => given
                    .iter()
                    .any(|one| matches!(one.name, Name::Star | Name::StarOf(_) | Name::Unclear)),
            };
            let mut sure = false;
            let candidates = items.iter().filter(|item| maybe(item)).count();
            // First those that say they have it.
            for item in &items {
                let says = match &item.gives {
                    Gives::Known(given) => {
                        given.iter().any(|one| one.name == Name::Is(name))
                            || item.renamed.contains(&name)
                    }
                    Gives::Relation(_) | Gives::Opaque(_) => item.renamed.contains(&name),
                };
                if says && let Some(sources) = self.of_item(item, name, true, role) {
                    self.add(out, &sources, role);
                    sure = true;
                }
            }
            if !sure || merged {
                let only = candidates == 1 && !open && (back == 0 || sure || self.alone(back));
                for item in items.iter().filter(|item| maybe(item)) {
                    if let Some(sources) = self.of_item(item, name, only, role) {
                        self.add(out, &sources, role);
                        open = true;
                    }
                }
            }
            if !sure && let Some(item) = items.iter().find(|item| item.alias == name) {
                self.row_called(item, name, role, out);
            }
            if sure {
                return;
            }
        }
        if !open && depth > 0 {
            self.everything(role, out);
        }
    }

    /// No outer query could have the name instead.
    fn alone(&self, back: usize) -> bool {
        self.levels.iter().take(back).all(|level| level.hidden || level.items.is_empty())
    }

    /// A name that nothing has: the server would refuse it, or it is in some way
    /// not seen here. So it may be all.
    fn everything(&mut self, role: Role, out: &mut Vec<Source>) {
        let items: Vec<_> = self.levels.iter().flat_map(|level| level.items.clone()).collect();
        for item in &items {
            for one in self.all_of(item, role) {
                self.add(out, &one.sources, role.through(Step::Unknown));
            }
        }
    }
}
