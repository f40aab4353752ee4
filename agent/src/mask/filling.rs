//! What a statement fills with sensitive values: the tables and views that it makes
//! of sensitive columns, or writes them into.

use super::catalog::{Catalog, Relation};
use super::class::Class;
use super::lineage::{calls_out, classes, is_count, same_paths, same_value};
use crate::model::{Filled, LONGEST_LEARNT, MOST_COLUMNS};
use crate::sql::facts::{self, Facts, Fill, Object, ObjectKind, Statement, Verb};
use crate::sql::{Cell, ColumnUse, LexingState, Path, Step, Use};

#[cfg(test)]
mod tests;

/// What a statement fills a table with: the classes of what goes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub schema: Option<Box<str>>,
    pub relation: Box<str>,
    /// By the name that the column has there.
    pub named: Vec<(Box<str>, Class)>,
    /// For every other column: where it goes can't be told.
    pub others: Option<Class>,
    /// By code that nobody followed: then only what can hold a text counts.
    pub guessed: bool,
    /// It needn't be kept: a temporary table goes with its session, and a view's
    /// definition tells it again.
    pub passing: bool,
}

impl Carried {
    /// As it is told to who keeps it. Nothing where that is no name of a table.
    pub fn told(&self) -> Option<Filled> {
        let fits = |name: &str| (1..=LONGEST_LEARNT).contains(&name.len()) && !name.contains('\0');
        let Self { schema, relation, named, others, guessed, .. } = self;
        if !fits(relation) || !schema.as_deref().is_none_or(fits) {
            return None;
        }
        let mut others = *others;
        // Columns that are too many are one class for the whole table.
        let whole = named.len() > MOST_COLUMNS || !named.iter().all(|(name, _)| fits(name));
        if whole {
            let merge = |one: Option<Class>, class| match one {
                Some(one) if one != class => Some(Class::Opaque),
                _ => Some(class),
            };
            others = named.iter().map(|(_, class)| *class).fold(others, merge);
        }
        let columns = match whole {
            true => Vec::new(),
            false => {
                named.iter().map(|(name, class)| (name.to_string(), class.to_string())).collect()
            }
        };
        let others = others.map(|class| class.to_string());
        if columns.is_empty() && others.is_none() {
            return None;
        }
        let (schema, relation) = (schema.as_deref().map(Into::into), relation.to_string());
        Some(Filled { schema, relation, columns, others, guessed: *guessed })
    }
}

impl From<&Filled> for Carried {
    fn from(told: &Filled) -> Self {
        // A class that another version knows.
        let class = |name: &String| name.parse().unwrap_or(Class::Opaque);
        let Filled { schema, relation, columns, others, guessed } = told;
        Self {
            schema: schema.as_deref().map(Into::into),
            relation: relation.as_str().into(),
            named: columns.iter().map(|(name, of)| (name.as_str().into(), class(of))).collect(),
            others: others.as_ref().map(class),
            guessed: *guessed,
            passing: false,
        }
    }
}

/// What a text makes of sensitive columns: CREATE TABLE AS, SELECT INTO, INSERT,
/// UPDATE, MERGE, CREATE VIEW.
pub fn carried(facts: &Facts, catalog: &Catalog) -> Vec<Carried> {
    let mut all: Vec<Carried> = Vec::new();
    for statement in &facts.statements {
        let mut filling = Filling { catalog, into: &mut all, view: statement.later_of.is_some() };
        if statement.later_of.is_none() {
            let unread = statement.verb == Verb::CreateTableAs && statement.handle.is_some();
            if unread || calls_out(statement, catalog) {
                filling.all_of(statement);
            }
            for fill in &statement.fills {
                if let Some(object) = statement.objects.get(fill.object as usize) {
                    filling.fill(statement, object, fill);
                }
            }
            continue;
        }
        // A view's query stands behind the statement that makes the view.
        let maker = statement.later_of.and_then(|maker| facts.statements.get(maker as usize));
        let view = maker.filter(|_| statement.way == facts::Way::View).and_then(|maker| {
            maker.objects.iter().find(|object| object.uses.contains(Use::Defined))
        });
        let Some(view) = view else { continue };
        for (place, output) in statement.returns.iter().flatten().enumerate() {
            filling.fill(
                statement,
                view,
                &Fill {
                    object: 0,
                    place: u32::try_from(place).ok().filter(|_| !output.star),
                    column: output.name.clone(),
                    sources: output.sources.clone(),
                },
            );
        }
    }
    beneath_views(&mut all, catalog);
    all
}

/// What goes into a view goes into the tables that it shows.
fn beneath_views(all: &mut Vec<Carried>, catalog: &Catalog) {
    let mut place = 0;
    while let Some(one) = all.get(place).filter(|_| place < MOST_BENEATH).cloned() {
        place += 1;
        let views = catalog.named(one.schema.as_deref(), &one.relation);
        for view in views.filter(|_| !one.passing) {
            for under in beneath(view, &one) {
                if !all.contains(&under) {
                    all.push(under);
                }
            }
        }
    }
}

fn beneath(view: &Relation, carried: &Carried) -> Vec<Carried> {
    let Some(text) = view.definition.as_deref().filter(|_| view.kind == 'v') else {
        return Vec::new();
    };
    let Some(facts) = Cell::quick(text.as_bytes(), &LexingState::default()) else {
        return Vec::new();
    };
    let Some(statement) = facts.statements.first() else { return Vec::new() };
    let mut under = Vec::new();
    for (known, output) in view.columns.iter().zip(statement.returns.iter().flatten()) {
        let named = carried.named.iter().find(|(name, _)| *name == known.name);
        let Some(class) = named.map(|(_, class)| *class).or(carried.others) else { continue };
        for source in &output.sources {
            let Some(column) = statement.columns.get(source.column as usize) else { continue };
            let Some(object) = statement.objects.get(column.relation as usize) else { continue };
            under.push(Carried {
                schema: object.schema.clone(),
                relation: object.name.clone(),
                named: column.name.iter().map(|name| (name.clone(), class)).collect(),
                others: column.name.is_none().then_some(class),
                guessed: carried.guessed,
                passing: false,
            });
        }
    }
    under
}

struct Filling<'a> {
    catalog: &'a Catalog,
    into: &'a mut Vec<Carried>,
    /// It is a view that is made.
    view: bool,
}

impl Filling<'_> {
    fn fill(&mut self, statement: &Statement, object: &Object, fill: &Fill) {
        if object.kind == ObjectKind::Function {
            self.give(statement, object, fill);
            return;
        }
        for source in &fill.sources {
            let same = match same_value(statement, self.catalog) {
                true => same_paths().with(Step::Function),
                false => same_paths(),
            };
            let derived = !source.path.within(same);
            let (found, _) = classes(statement, self.catalog, source.column as usize);
            if found.is_empty() || is_count(statement, self.catalog, source.path) {
                continue;
            }
            let whole_row = statement
                .columns
                .get(source.column as usize)
                .is_some_and(|column| column.name.is_none());
            for one in found {
                let own = one.relation.and_then(|of| self.catalog.name_of(of, one.number));
                let itself = || {
                    own.is_some_and(|own| {
                        own.table == &*object.name && Some(own.column) == fill.column.as_deref()
                    })
                };
                let other = derived && !(itself() && changes_values(statement, source.path));
                let class = if other { Class::Opaque } else { one.class };
                match (&fill.column, fill.place) {
                    (Some(name), _) => self.put(object, Some(name), class),
                    (None, Some(place)) => {
                        let name = self.nth(object, place);
                        self.put(object, name.as_deref(), class);
                    }
                    // `SELECT *`: what is made of it has the same names.
                    (None, None) => match own.filter(|_| whole_row && !derived) {
                        Some(own) if self.has(object, own.column) => {
                            self.put(object, Some(own.column), class);
                        }
                        _ => self.put(object, None, class),
                    },
                }
            }
        }
    }

    /// A function of somebody's own is given something, and may write it.
    fn give(&mut self, statement: &Statement, function: &Object, fill: &Fill) {
        let sensitive = |source: &facts::Source| {
            !classes(statement, self.catalog, source.column as usize).0.is_empty()
        };
        if !fill.sources.iter().any(sensitive) {
            return;
        }
        for one in self.catalog.writes(function.schema.as_deref(), &function.name) {
            if !self.into.contains(one) {
                self.into.push(one.clone());
            }
        }
    }

    /// What code that isn't followed gives may go anywhere.
    fn all_of(&mut self, statement: &Statement) {
        for (place, object) in (0..).zip(&statement.objects) {
            let fills = || statement.fills.iter().filter(move |fill| fill.object == place);
            // ALTER TABLE writes what it works out anew, and nothing else.
            let altered = statement.verb == Verb::Alter && fills().next().is_some();
            if !(object.uses.contains(Use::Written) || altered) || !is_relation(object) {
                continue;
            }
            let written = |column: &&facts::Column| {
                column.relation == place && column.uses.contains(ColumnUse::Written)
            };
            let named: Vec<_> = statement
                .columns
                .iter()
                .filter(written)
                .filter_map(|column| column.name.clone())
                .chain(fills().filter(|_| altered).filter_map(|fill| fill.column.clone()))
                .map(|name| (name, Class::Opaque))
                .collect();
            self.into.push(Carried {
                schema: object.schema.clone().filter(|_| !object.temporary),
                relation: object.name.clone(),
                others: named.is_empty().then_some(Class::Opaque),
                named,
                guessed: true,
                passing: object.temporary,
            });
        }
    }

    /// The name of a table's column by its place.
    fn nth(&self, object: &Object, place: u32) -> Option<Box<str>> {
        let mut all = self.catalog.named(object.schema.as_deref(), &object.name);
        let relation = all.next().filter(|_| all.next().is_none())?;
        relation.columns.get(place as usize).map(|column| column.name.clone())
    }

    /// Whether the table has such a column: one that is only being made has.
    fn has(&self, object: &Object, column: &str) -> bool {
        let mut all = self.catalog.named(object.schema.as_deref(), &object.name).peekable();
        object.uses.contains(Use::Defined)
            || all.peek().is_none()
            || all.any(|one| one.columns.iter().any(|known| *known.name == *column))
    }

    fn put(&mut self, object: &Object, column: Option<&str>, class: Class) {
        if !is_relation(object) {
            return;
        }
        let known = self.into.iter().position(|one| {
            !one.guessed
                && *one.relation == *object.name
                && one.schema.as_deref() == object.schema.as_deref()
        });
        let place = known.unwrap_or_else(|| {
            self.into.push(Carried {
                schema: object.schema.clone().filter(|_| !object.temporary),
                relation: object.name.clone(),
                named: Vec::new(),
                others: None,
                guessed: false,
                passing: object.temporary || self.view,
            });
            self.into.len() - 1
        });
        let Some(carried) = self.into.get_mut(place) else { return };
        let merge = |old: Class| if old == class { old } else { Class::Opaque };
        match column {
            None => carried.others = Some(carried.others.map_or(class, merge)),
            Some(name) => match carried.named.iter_mut().find(|(known, _)| **known == *name) {
                Some((_, old)) => *old = merge(*old),
                None => carried.named.push((name.into(), class)),
            },
        }
    }
}

/// A document is given back with other values, and no key that is one.
fn changes_values(statement: &Statement, path: Path) -> bool {
    let plain = |call: &facts::Call| {
        call.origin != facts::Origin::Foreign
            && matches!(
                &*call.name,
                "jsonb_set" | "jsonb_insert" | "jsonb_strip_nulls" | "coalesce" | "now"
            )
    };
    path.within(Path::of(Step::Operator))
        || path.within(Path::of(Step::Function)) && statement.calls.iter().all(plain)
}

fn is_relation(object: &Object) -> bool {
    matches!(object.kind, ObjectKind::Relation | ObjectKind::View | ObjectKind::MaterializedView)
}

/// Tables of one text that are filled, those beneath views among them.
const MOST_BENEATH: usize = 256;
