//! What is known of a database: its tables, columns, types and views.
//!
//! Whoever has a connection feeds it ([`learn`](super::learn) has the questions);
//! here it is only kept and asked. What isn't in it counts as unclassified.
//!
//! INVARIANT: nothing that the server says lowers a class that policy or an
//! earlier sight of the same column has given.

mod code;
mod follows;
mod made;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::content::Demand;
use super::corrections::{Corrections, Key, Overruled};
use super::filling::Carried;
use super::names::{self, Evidence, Named};
use super::postgres::form::{Field, Form};
use super::postgres::plan::{ColumnName, Reveal, Treatment};
use super::style::Mask;
use crate::model::code::Code;
pub use code::Runs;
pub use follows::{Follows, Reference};
use made::Made;

/// Cheap to clone: what two of them share is there once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    relations: HashMap<u32, Arc<Relation>>,
    types: HashMap<u32, Type>,
    /// By name, in whichever schema.
    by_name: HashMap<Box<str>, Vec<u32>>,
    /// What was made of sensitive columns, by the table's name: also of tables
    /// that nobody has described yet.
    made: HashMap<Box<str>, Made>,
    /// How many names were put there.
    made_ever: u64,
    /// Columns with a class that are called otherwise since: nobody else will know it.
    renamed: Vec<Carried>,
    /// What the server does by itself when rows are written, by table.
    follows: HashMap<u32, Arc<Follows>>,
    /// Functions that somebody wrote, by name; nothing while they aren't known.
    functions: Option<HashMap<Box<str>, Vec<Function>>>,
    /// What runs under names of the server's; empty while it isn't known.
    code: Arc<Code>,
    /// Types that run code when a value is made one of theirs, with whether that is known.
    running: HashMap<u32, bool>,
    /// What operators say.
    corrections: Arc<Corrections>,
    /// The columns that they speak of, by table and number.
    overruled: HashMap<(u32, u16), Overruled>,
    /// A cast that somebody wrote may give what is sensitive.
    casts_tell: bool,
    /// Somebody's code that may tell what is sensitive runs by itself when tables
    /// are written …
    triggers_tell: bool,
    /// … when something is defined.
    events_tell: bool,
    /// Changes with every change of a class, a table or a type.
    generation: u64,
}

/// A function that isn't the server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub schema: Box<str>,
    /// What it gives may be sensitive, whatever goes into it.
    pub tells: bool,
    /// Where it may write what it is given.
    pub writes: Arc<[Carried]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    pub oid: u32,
    pub schema: Box<str>,
    pub name: Box<str>,
    /// As in `pg_class.relkind`.
    pub kind: char,
    /// By attribute number, without those that were dropped.
    pub columns: Vec<Column>,
    /// The text of a view.
    pub definition: Option<Box<str>>,
    /// Partitions' and children's parents.
    pub parents: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub number: u16,
    pub name: Box<str>,
    pub type_oid: u32,
    pub modifier: i32,
    pub comment: Option<Box<str>>,
    pub class: Option<(Class, Evidence)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Type {
    pub oid: u32,
    pub schema: Box<str>,
    pub name: Box<str>,
    pub sort: TypeSort,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeSort {
    Base,
    Array {
        of: u32,
    },
    Domain {
        of: u32,
        modifier: i32,
    },
    Enum,
    Range,
    Multirange,
    /// The relation that has its fields.
    Composite {
        relation: u32,
    },
}

/// Below are the server's own.
pub const FIRST_OWN: u32 = 16_384;
/// The type of the names that its own tables give to what is in a database.
const NAME: u32 = 19;
/// Types within types go no deeper.
const DEEPEST: u32 = 16;
/// Partitions of partitions, as far as words follow them.
const DEEPEST_PARTITION: usize = 8;

impl Catalog {
    /// Takes a table in, and finds its columns' classes.
    pub fn learn(&mut self, mut relation: Relation) {
        for column in &mut relation.columns {
            // Under another name it is the same column.
            let known = self.found(relation.oid, column.number);
            column.class = known.or(column.class).or_else(|| {
                // The server's own words about structure: `ordinal_position`, `collname`.
                let own = relation.oid < FIRST_OWN
                    && match &*relation.schema {
                        "information_schema" => true,
                        "pg_catalog" => column.type_oid == NAME,
                        _ => false,
                    };
                self.told_by_name(&relation.name, column).filter(|_| !own)
            });
            if column.class.is_none() {
                let form =
                    self.form(column.type_oid, column.modifier, &super::postgres::plan::Unrevealed);
                let texts = can_hold_text(&form);
                let made =
                    self.filled_with(Some(&relation.schema), &relation.name, &column.name, texts);
                column.class = made.map(|class| (class, Evidence::Lineage));
            } else if self.holds_others((&relation.schema, &relation.name), column) {
                column.class = Some((Class::Opaque, Evidence::Lineage));
            }
        }
        // A part of a table has what the whole has.
        for parent in relation.parents.clone() {
            let Some(parent) = self.relations.get(&parent) else { continue };
            for column in &mut relation.columns {
                let of_parent = parent.columns.iter().find(|one| one.name == column.name);
                let found = of_parent.and_then(|one| self.found(parent.oid, one.number));
                column.class = column.class.or(found);
            }
        }
        self.note_names(&relation);
        self.overrule(&mut relation);
        self.generation += 1;
        self.forget_name(relation.oid);
        self.by_name.entry(relation.name.clone()).or_default().push(relation.oid);
        self.relations.insert(relation.oid, Arc::new(relation));
    }

    fn told_by_name(&self, table: &str, column: &Column) -> Option<(Class, Evidence)> {
        let unrevealed = &super::postgres::plan::Unrevealed;
        let type_name = self.types.get(&column.type_oid).map_or("", |one| &one.name);
        names::classify(&Named {
            table,
            column: &column.name,
            type_name,
            comment: column.comment.as_deref().unwrap_or_default(),
            kind: self.form(column.type_oid, column.modifier, unrevealed).kind(),
        })
    }

    pub fn learn_type(&mut self, one: Type) {
        if self.types.get(&one.oid) != Some(&one) {
            self.generation += 1;
            self.types.insert(one.oid, one);
        }
    }

    /// Gives a column a class. Never takes one away: what operators say is
    /// [`Self::correct`]'s.
    pub fn classify(&mut self, relation: u32, number: u16, class: Class, evidence: Evidence) {
        let Some(relation) = self.relations.get_mut(&relation) else { return };
        let Some(place) = relation.columns.iter().position(|column| column.number == number) else {
            return;
        };
        if let Some(overruled) = self.overruled.get_mut(&(relation.oid, number)) {
            overruled.found = overruled.found.or(Some((class, evidence)));
            return;
        }
        let known = relation.columns.get(place).and_then(|column| column.class);
        if (known.is_none() || evidence == Evidence::Policy) && known != Some((class, evidence)) {
            if let Some(column) = Arc::make_mut(relation).columns.get_mut(place) {
                column.class = Some((class, evidence));
            }
            self.generation += 1;
        }
    }

    /// What a column is made of has another class than its name says.
    pub fn classify_made(&mut self, relation: u32, number: u16, class: Class) {
        match self.column(relation, number) {
            Some(known) if known.class.is_some_and(|(own, _)| own != class) => {
                if self.shows_parts(known) {
                    self.worsen(relation, number);
                }
            }
            _ => self.classify(relation, number, class, Evidence::Lineage),
        }
    }

    /// Whatever a column is known for, anything may be in it.
    fn worsen(&mut self, relation: u32, number: u16) {
        let Some(relation) = self.relations.get_mut(&relation) else { return };
        let spoken = self.overruled.contains_key(&(relation.oid, number));
        let place = relation.columns.iter().position(|column| column.number == number);
        let Some(place) = place.filter(|_| !spoken) else { return };
        if let Some(column) = Arc::make_mut(relation).columns.get_mut(place)
            && column.class.map(|(class, _)| class) != Some(Class::Opaque)
        {
            column.class = Some((Class::Opaque, Evidence::Lineage));
            self.generation += 1;
        }
    }

    /// What one part of a table holds its whole shows, and the other way round.
    pub fn share(&mut self) {
        let parts: Vec<Arc<Relation>> =
            self.relations.values().filter(|one| !one.parents.is_empty()).cloned().collect();
        for _ in 0..DEEPEST {
            let before = self.generation;
            for part in &parts {
                for whole in &part.parents {
                    self.share_between(part.oid, *whole);
                    self.share_between(*whole, part.oid);
                }
            }
            self.share_with_references();
            if self.generation == before {
                return;
            }
        }
    }

    fn share_between(&mut self, from: u32, to: u32) {
        let (Some(from), Some(to)) = (self.relation(from), self.relation(to)) else { return };
        let found: Vec<(u16, Class)> = to
            .columns
            .iter()
            .filter(|column| column.class.is_none())
            .filter_map(|column| {
                let same = from.columns.iter().find(|one| one.name == column.name)?;
                Some((column.number, same.class?.0))
            })
            .collect();
        let to = to.oid;
        for (number, class) in found {
            self.classify(to, number, class, Evidence::Lineage);
        }
    }

    pub fn set_tellers(&mut self, casts: bool, triggers: bool, events: bool) {
        let known = (self.casts_tell, self.triggers_tell, self.events_tell);
        if known != (casts, triggers, events) {
            (self.casts_tell, self.triggers_tell, self.events_tell) = (casts, triggers, events);
            self.generation += 1;
        }
    }

    pub fn casts_tell(&self) -> bool {
        self.casts_tell
    }

    pub fn triggers_tell(&self) -> bool {
        self.triggers_tell
    }

    pub fn events_tell(&self) -> bool {
        self.events_tell
    }

    pub fn set_functions(&mut self, functions: HashMap<Box<str>, Vec<Function>>) {
        if self.functions.as_ref() != Some(&functions) {
            self.functions = Some(functions);
            self.generation += 1;
        }
    }

    /// Whether somebody has a function of a name, in any schema, or may have.
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.as_ref().is_none_or(|functions| functions.contains_key(name))
    }

    /// Whether it is known that somebody has one.
    pub fn knows_function(&self, name: &str) -> bool {
        self.functions.as_ref().is_some_and(|functions| functions.contains_key(name))
    }

    /// Whether a call may give what is sensitive, whatever goes into it. `foreign`:
    /// the server has none of that name.
    pub fn tells(&self, schema: Option<&str>, name: &str, foreign: bool) -> bool {
        // Where nothing is known everything is scanned.
        let Some(functions) = &self.functions else { return false };
        let mut all = functions
            .get(name)
            .into_iter()
            .flatten()
            .filter(|one| schema.is_none_or(|schema| *one.schema == *schema))
            .peekable();
        // One that was made since they were learnt.
        (foreign && all.peek().is_none()) || all.any(|one| one.tells)
    }

    // ---- what operators say -------------------------------------------------

    /// Takes the words of operators, also on what is known already. `true`: they say
    /// something else than those before.
    pub fn correct(&mut self, corrections: &Arc<Corrections>) -> bool {
        if corrections.generation < self.corrections.generation {
            return false;
        }
        let before = std::mem::replace(&mut self.corrections, Arc::clone(corrections));
        if before.same_words(corrections) {
            return false;
        }
        for oid in self.parents_first() {
            let Some(mut relation) = self.relations.get(&oid).map(|one| (**one).clone()) else {
                continue;
            };
            for column in &mut relation.columns {
                column.class = self.found(oid, column.number);
                // What a view is made of may be something else now.
                if relation.definition.is_some()
                    && column.class.is_some_and(|(_, evidence)| evidence == Evidence::Lineage)
                {
                    let made = self.made_of(Some(&relation.schema), &relation.name, &column.name);
                    column.class = made.map(|class| (class, Evidence::Lineage));
                }
            }
            self.overrule(&mut relation);
            self.relations.insert(oid, Arc::new(relation));
        }
        // What functions read is known when they are learnt again.
        if corrections.gives_more_than(&before) {
            for function in self.functions.iter_mut().flat_map(HashMap::values_mut).flatten() {
                function.tells = true;
            }
        }
        self.generation += 1;
        super::views::classify(self);
        true
    }

    /// Whether an operator has said that nothing sensitive is in a column.
    pub fn is_exempt(&self, relation: u32, number: u16) -> bool {
        self.overruled.contains_key(&(relation, number))
            && self.column(relation, number).is_some_and(|column| column.class.is_none())
    }

    /// Whether nothing is known of a column, and its content speaks.
    pub fn is_scanned(&self, relation: &Relation, column: &Column) -> bool {
        let unrevealed = &super::postgres::plan::Unrevealed;
        column.class.is_none()
            && !self.is_exempt(relation.oid, column.number)
            && can_hold_text(&self.form(column.type_oid, column.modifier, unrevealed))
    }

    /// What was found of a column, whatever operators say.
    pub fn found(&self, relation: u32, number: u16) -> Option<(Class, Evidence)> {
        match self.overruled.get(&(relation, number)) {
            Some(overruled) => overruled.found,
            None => self.column(relation, number)?.class,
        }
    }

    /// The class that operators give to a column of which only its name is known.
    pub fn said(&self, schema: Option<&str>, table: &str, column: &str) -> Option<Class> {
        match self.corrections.is_empty() {
            true => None,
            false => self.corrections.given(schema, table, column),
        }
    }

    /// Puts the words' classes in the place of what was found.
    fn overrule(&mut self, relation: &mut Relation) {
        for column in &mut relation.columns {
            let place = (relation.oid, column.number);
            let before = self.overruled.remove(&place);
            let own: Key = [relation.schema.clone(), relation.name.clone(), column.name.clone()];
            let word = self
                .corrections
                .on(&own)
                .map(|class| (own, class))
                // It was called otherwise when the word was on it.
                .or_else(|| {
                    let key = before?.key;
                    let class = self.corrections.on(&key)?;
                    class.is_some().then_some((key, class))
                })
                .or_else(|| self.word_on_whole(&relation.parents, &column.name));
            if let Some((key, class)) = word {
                self.overruled.insert(place, Overruled { found: column.class, key });
                column.class = class.map(|class| (class, Evidence::Policy));
            }
        }
    }

    /// The word on the table that one is a part of.
    fn word_on_whole(&self, parents: &[u32], column: &str) -> Option<(Key, Option<Class>)> {
        parents.iter().find_map(|oid| {
            let parent = self.relations.get(oid)?;
            let column = parent.columns.iter().find(|one| *one.name == *column)?;
            let overruled = self.overruled.get(&(*oid, column.number))?;
            Some((overruled.key.clone(), column.class.map(|(class, _)| class)))
        })
    }

    fn parents_first(&self) -> Vec<u32> {
        let mut all: Vec<(usize, u32)> =
            self.relations.keys().map(|oid| (self.depth(*oid, 0), *oid)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, oid)| oid).collect()
    }

    fn depth(&self, relation: u32, from: usize) -> usize {
        let parents = self.relations.get(&relation).map_or(&[][..], |one| &one.parents);
        match from {
            DEEPEST_PARTITION => from,
            _ => parents.iter().map(|one| self.depth(*one, from + 1)).max().unwrap_or(from),
        }
    }

    /// Where a function may write what it is given.
    pub fn writes<'c>(
        &'c self,
        schema: Option<&'c str>,
        name: &str,
    ) -> impl Iterator<Item = &'c Carried> {
        let all = self.functions.iter().flat_map(|all| all.get(name)).flatten();
        all.filter(move |one| schema.is_none_or(|schema| *one.schema == *schema))
            .flat_map(|one| one.writes.iter())
    }

    /// Functions that may give something sensitive, whatever goes into them: schema
    /// and name.
    pub fn telling(&self) -> impl Iterator<Item = (&str, &str)> {
        self.functions.iter().flatten().flat_map(|(name, all)| {
            let telling = all.iter().filter(|one| one.tells);
            telling.map(move |one| (&*one.schema, &**name))
        })
    }

    /// The names of functions whose results may be sensitive.
    pub fn telling_names(&self) -> HashSet<Box<str>> {
        let all = self.functions.iter().flatten();
        all.filter(|(_, all)| all.iter().any(|one| one.tells))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// A table is gone or changed: it is learnt anew.
    pub fn forget(&mut self, relation: u32) {
        self.forget_name(relation);
        if let Some(known) = self.relations.remove(&relation) {
            for column in &known.columns {
                self.overruled.remove(&(relation, column.number));
            }
            self.generation += 1;
        }
    }

    fn forget_name(&mut self, relation: u32) {
        let Some(known) = self.relations.get(&relation) else { return };
        if let Some(all) = self.by_name.get_mut(&known.name) {
            all.retain(|oid| *oid != relation);
            if all.is_empty() {
                self.by_name.remove(&known.name);
            }
        }
    }

    /// Forgets the tables that aren't there any more.
    pub fn keep_only(&mut self, there: impl Fn(u32) -> bool) {
        let gone: Vec<u32> = self.relations.keys().copied().filter(|oid| !there(*oid)).collect();
        for oid in gone {
            self.forget(oid);
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    pub fn relation(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.relations.get(&oid)
    }

    pub fn column(&self, relation: u32, number: u16) -> Option<&Column> {
        self.relation(relation)?.columns.iter().find(|column| column.number == number)
    }

    pub fn name_of(&self, relation: u32, number: u16) -> Option<ColumnName<'_>> {
        let relation = self.relation(relation)?;
        let column = relation.columns.iter().find(|column| column.number == number)?;
        Some(ColumnName { schema: &relation.schema, table: &relation.name, column: &column.name })
    }

    /// All that a name may mean. Without a schema the session's search path
    /// decides, which nobody knows for certain: it is each of that name.
    pub fn named<'c>(
        &'c self,
        schema: Option<&'c str>,
        name: &str,
    ) -> impl Iterator<Item = &'c Arc<Relation>> {
        let all = self.by_name.get(name).into_iter().flatten();
        let temporary = schema == Some("pg_temp");
        all.filter_map(|oid| self.relation(*oid)).filter(move |one| match schema {
            Some(_) if temporary => one.schema.starts_with("pg_temp"),
            Some(schema) => *one.schema == *schema,
            // On nobody's search path.
            None => &*one.schema != "information_schema",
        })
    }

    /// How values of a type are written.
    pub fn form(&self, oid: u32, modifier: i32, reveal: &dyn Reveal) -> Form {
        self.form_within(oid, modifier, reveal, 0)
    }

    fn form_within(&self, oid: u32, modifier: i32, reveal: &dyn Reveal, depth: u32) -> Form {
        if let Some(form) = Form::of_base(oid, modifier) {
            return form;
        }
        let Some(known) = self.types.get(&oid).filter(|_| depth < DEEPEST) else {
            return Form::Unknown;
        };
        let inner = |oid, modifier| self.form_within(oid, modifier, reveal, depth + 1);
        match (&known.sort, &*known.name) {
            (TypeSort::Base, "citext") => Form::Text { most: None, padded: false },
            (TypeSort::Base, "hstore") => Form::Hstore,
            (TypeSort::Base, "ltree") => Form::Unknown,
            (TypeSort::Base, _) => Form::Unknown,
            (TypeSort::Array { of }, _) => Form::array(inner(*of, modifier), *of),
            (TypeSort::Domain { of, modifier }, _) => inner(*of, *modifier),
            (TypeSort::Enum, _) => Form::Enum,
            (TypeSort::Range, _) => Form::Range,
            (TypeSort::Multirange, _) => Form::Multirange,
            (TypeSort::Composite { relation }, _) => match self.relation(*relation) {
                Some(relation) => Form::Composite(self.fields(relation, reveal, depth)),
                None => Form::Record,
            },
        }
    }

    fn fields(&self, relation: &Relation, reveal: &dyn Reveal, depth: u32) -> Arc<[Field]> {
        relation
            .columns
            .iter()
            .map(|column| {
                let form = self.form_within(column.type_oid, column.modifier, reveal, depth + 1);
                let mask = column.class.map(|(class, _)| {
                    (class, reveal.mask(class, self.name_of(relation.oid, column.number)))
                });
                let treatment = match mask {
                    None if self.is_exempt(relation.oid, column.number) => Treatment::Pass,
                    Some((_, Mask::Keep)) => Treatment::Pass,
                    Some((class, mask)) => Treatment::Mask { class, mask, derived: false },
                    None if !form.can_be_scanned() => Treatment::Pass,
                    None if names::innocent(&column.name) => Treatment::Scan(Demand::Form),
                    None => Treatment::Scan(Demand::Check),
                };
                Field { form, treatment }
            })
            .collect()
    }
}

/// Whether a column can hold what code was given elsewhere, whatever that was.
fn can_hold_text(form: &Form) -> bool {
    matches!(
        form.kind(),
        names::Kind::Text | names::Kind::Json | names::Kind::Bytes | names::Kind::Other
    )
}
