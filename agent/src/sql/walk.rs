//! The grammar's tree → facts. Knows PostgreSQL's nodes; nothing of them leaves.
//!
//! INVARIANTS
//! - Every kind of statement and expression is named; what isn't named is a doubt.
//! - Depth and work are bounded: past the bound the statement is a doubt.
//! - Every expression of a statement is visited: a function call anywhere in it is
//!   found.

mod alter;
mod body;
mod bound;
mod calls;
mod catalogs;
mod define;
mod dml;
mod expr;
mod from;
mod grant;
mod manage;
mod names;
mod procedure;
mod reach;
mod scope;
mod select;
mod statement;
mod unlink;
mod with;

use std::collections::HashMap;

use pg_raw_parse::Node;
use pg_raw_parse::nodes::RawStmt;

use self::reach::Reach;
use self::scope::{Cte, Level};
use super::effect::{ColumnUse, Effect, Path, Uses};
use super::facts::{
    Bound, Column, Doubt, Facts, Object, ObjectKind, Source, Span, Statement, Verb, Way,
};
use super::lexer;
use super::state::{LexingState, Strings};

/// How deep and how much.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub depth: u32,
    pub work: u32,
}

/// Facts of all statements of a tree. `in_place`: the tree's positions are the
/// original text's.
pub fn facts<'t>(
    tree: impl Iterator<Item = &'t RawStmt>,
    text: &str,
    state: &LexingState,
    budget: Budget,
    in_place: bool,
) -> Facts {
    let mut facts = Facts::default();
    let mut work = budget.work;
    bound::steps::begin(work.saturating_mul(CONDITIONS));
    for raw in tree {
        let mut walk = Walk::new(state, Budget { work, ..budget }, Way::Text);
        walk.long = text.len() > LONG;
        walk.top(raw.stmt());
        work = walk.work;
        if bound::steps::ran_out() {
            walk.out.doubt(Doubt::TooComplex);
        }
        if in_place {
            walk.out.span = span(raw.stmt_location, raw.stmt_len, text.len());
        }
        let parent = u32::try_from(facts.statements.len()).unwrap_or(u32::MAX);
        let later = std::mem::take(&mut walk.later);
        let mut statement = walk.finish();
        if statement.verb == Verb::Unknown {
            // A kind that isn't known here: at least what it begins with.
            let own = span(raw.stmt_location, raw.stmt_len, text.len())
                .and_then(|span| text.get(span.start as usize..span.end as usize));
            statement.effects.extend(lexer::hints(own.unwrap_or(text), Strings::Standard, false));
        }
        facts.statements.push(statement);
        for mut statement in later {
            statement.later_of = Some(parent);
            facts.statements.push(statement);
        }
    }
    facts
}

fn span(start: i32, len: i32, text: usize) -> Option<Span> {
    let start = u32::try_from(start).ok()?;
    let end = match u32::try_from(len).ok()? {
        0 => u32::try_from(text).ok()?,
        len => start.checked_add(len)?,
    };
    Some(Span { start, end })
}

/// An object's kind, schema and name, and whether it is temporary: what is made as such
/// may be made of what everybody has under the same name.
type Named = (ObjectKind, Option<Box<str>>, Box<str>, bool);

fn key(of: &Object) -> Named {
    (of.kind, of.schema.clone(), of.name.clone(), of.temporary)
}

/// The walk through one statement and everything that runs with it.
struct Walk<'t, 's> {
    state: &'s LexingState,
    out: Statement,
    /// What this statement defines without running it.
    later: Vec<Statement>,
    /// Each of its calls runs, once, in the order in which they are written.
    straight: bool,
    objects: HashMap<Named, u32>,
    columns: HashMap<(u32, Option<Box<str>>), u32>,
    levels: Vec<Level<'t>>,
    ctes: Vec<Cte<'t>>,
    /// Of the query that was walked last.
    reach: Reach,
    /// The part that stands for calls of `lo_unlink`.
    unlinks: Option<usize>,
    /// It stands in a text that is too long to look at anything more than once.
    long: bool,
    /// The part whose effects are being found; `None`: the statement itself.
    part: Option<usize>,
    depth: u32,
    max_depth: u32,
    work: u32,
    exhausted: bool,
}

/// A text that is longer is rare, and mostly made of values.
const LONG: usize = 16 * 1024;

/// Steps through conditions are small ones: so many to one of the walk.
const CONDITIONS: u32 = 4;

/// Up to so many columns need no index.
const FEW: usize = 32;

/// In which role an expression is visited.
#[derive(Clone, Copy)]
struct Role {
    used: ColumnUse,
    path: Path,
}

impl Role {
    const READ: Self = Self { used: ColumnUse::Read, path: Path::NONE };
    const FILTER: Self = Self { used: ColumnUse::Filtered, path: Path::NONE };

    fn through(self, step: super::effect::Step) -> Self {
        Self { path: self.path.with(step), ..self }
    }
}

impl<'t, 's> Walk<'t, 's> {
    fn new(state: &'s LexingState, budget: Budget, way: Way) -> Self {
        Self {
            state,
            out: Statement::new(Verb::Unknown, way),
            later: Vec::new(),
            straight: false,
            objects: HashMap::new(),
            columns: HashMap::new(),
            levels: Vec::new(),
            ctes: Vec::new(),
            reach: Reach::default(),
            unlinks: None,
            long: false,
            part: None,
            depth: 0,
            max_depth: budget.depth,
            work: budget.work,
            exhausted: false,
        }
    }

    /// A walk of its own for what is only defined, under the same bounds.
    fn aside(&mut self, way: Way, visit: impl FnOnce(&mut Walk<'t, 's>)) {
        let budget = Budget { depth: self.max_depth.saturating_sub(self.depth), work: self.work };
        let mut walk = Walk::new(self.state, budget, way);
        walk.long = self.long;
        visit(&mut walk);
        self.work = walk.work;
        if walk.exhausted {
            self.exhausted = true;
        }
        let later = std::mem::take(&mut walk.later);
        self.later.push(walk.finish());
        self.later.extend(later);
    }

    fn top(&mut self, node: Node<'t>) {
        self.straight = calls::straight(node);
        self.statement(node);
    }

    fn finish(mut self) -> Statement {
        let own = self.out.effects;
        self.out.effects = self.out.parts.iter().fold(own, |all, part| all.union(part.effects));
        self.out
    }

    /// One step down; false when it has gone too deep or on for too long.
    fn enter(&mut self) -> bool {
        if self.exhausted || self.depth >= self.max_depth {
            if !self.exhausted {
                self.exhausted = true;
                self.out.doubt(Doubt::TooDeep);
            }
            return false;
        }
        self.depth += 1;
        self.spend(1)
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn spend(&mut self, steps: usize) -> bool {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        if self.work < steps {
            if !self.exhausted {
                self.exhausted = true;
                self.out.doubt(Doubt::TooComplex);
            }
            return false;
        }
        self.work -= steps;
        true
    }

    fn effect(&mut self, effect: Effect) {
        let part = self.part.and_then(|part| self.out.parts.get_mut(part));
        match part {
            Some(part) => part.effects.insert(effect),
            None => self.out.effects.insert(effect),
        }
    }

    fn verb(&mut self, verb: Verb) {
        match self.part.and_then(|part| self.out.parts.get_mut(part)) {
            Some(part) => part.verb = verb,
            None => self.out.verb = verb,
        }
    }

    fn bound(&mut self, bound: Bound) {
        match self.part.and_then(|part| self.out.parts.get_mut(part)) {
            Some(part) => part.bound = part.bound.max(bound),
            None => self.out.bound = self.out.bound.max(bound),
        }
    }

    fn target(&mut self, object: u32) {
        if let Some(part) = self.part.and_then(|part| self.out.parts.get_mut(part)) {
            part.target = Some(object);
        }
    }

    fn unknown_kind(&mut self, node: Node<'t>) {
        // The variant's name only: never the tree.
        let name = names::kind(node);
        self.out.doubt(Doubt::Kind(name.into()));
    }

    fn object(&mut self, object: Object) -> u32 {
        let few = self.out.objects.len() <= FEW;
        let found = if few {
            let same = |one: &Object| {
                one.kind == object.kind
                    && one.name == object.name
                    && one.schema == object.schema
                    && one.temporary == object.temporary
            };
            self.out.objects.iter().position(same).and_then(|index| u32::try_from(index).ok())
        } else {
            if self.objects.is_empty() {
                let keys = self.out.objects.iter().zip(0..);
                self.objects = keys.map(|(one, at)| (key(one), at)).collect();
            }
            self.objects.get(&key(&object)).copied()
        };
        if let Some(index) = found {
            if let Some(known) = self.out.objects.get_mut(index as usize) {
                known.uses.extend(object.uses);
            }
            return index;
        }
        let index = u32::try_from(self.out.objects.len()).unwrap_or(u32::MAX);
        if !few {
            self.objects.insert(key(&object), index);
        }
        self.out.objects.push(object);
        index
    }

    fn named(&mut self, kind: ObjectKind, schema: Option<&str>, name: &str, uses: Uses) -> u32 {
        self.object(Object {
            kind,
            catalog: None,
            schema: schema.map(Into::into),
            name: name.into(),
            uses,
            temporary: schema == Some("pg_temp"),
        })
    }

    /// One of a relation's columns, or all; a single one of a `*` by its place.
    fn column(&mut self, relation: u32, name: Option<&str>, used: ColumnUse, certain: bool) -> u32 {
        // Few are found quicker by looking at each than by a key made for it.
        let few = self.out.columns.len() <= FEW;
        let found = if few {
            let same = |one: &Column| {
                one.relation == relation && one.name.as_deref() == name && one.place.is_none()
            };
            self.out.columns.iter().position(same).and_then(|index| u32::try_from(index).ok())
        } else {
            if self.columns.is_empty() {
                let keys = self.out.columns.iter().zip(0..).filter(|(one, _)| one.place.is_none());
                self.columns =
                    keys.map(|(one, index)| ((one.relation, one.name.clone()), index)).collect();
            }
            self.columns.get(&(relation, name.map(Into::into))).copied()
        };
        if let Some(index) = found {
            if let Some(known) = self.out.columns.get_mut(index as usize) {
                known.uses.insert(used);
                known.certain |= certain;
            }
            return index;
        }
        let index = u32::try_from(self.out.columns.len()).unwrap_or(u32::MAX);
        self.out.columns.push(Column {
            relation,
            name: name.map(Into::into),
            uses: super::effect::ColumnUses::of(used),
            certain,
            qualified: false,
            row: false,
            place: None,
        });
        if !few {
            self.columns.insert((relation, name.map(Into::into)), index);
        }
        index
    }

    /// The column of a relation in this place, from 0; what it is called only the catalog
    /// knows.
    fn column_at(&mut self, relation: u32, place: usize, used: ColumnUse) -> u32 {
        let place = u32::try_from(place).ok();
        let same = |one: &Column| one.relation == relation && one.place == place;
        if place.is_none() || !self.spend(1 + self.out.columns.len() / 16) {
            return self.column(relation, None, used, true);
        }
        let found = self.out.columns.iter().position(same);
        let index = found.unwrap_or(self.out.columns.len());
        let uses = super::effect::ColumnUses::of(used);
        match self.out.columns.get_mut(index) {
            Some(known) => known.uses.insert(used),
            None => {
                let (name, certain, qualified, row) = (None, true, false, false);
                let column = Column { relation, name, uses, certain, qualified, row, place };
                self.out.columns.push(column);
            }
        }
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn used(&mut self, sources: &[Source], used: ColumnUse) {
        for source in sources {
            if let Some(column) = self.out.columns.get_mut(source.column as usize) {
                column.uses.insert(used);
            }
        }
    }
}
