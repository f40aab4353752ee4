//! How a catalog is learnt: what to ask a server, and how to read its answers.
//! Asks nothing itself.
//!
//! Every name in the questions is qualified, so that nobody's function or table
//! answers in the server's place; every answer is text. What can't be read is
//! left out: then it isn't known, and is scanned.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::catalog::{Catalog, Column, Follows, Reference, Relation, Runs, Type, TypeSort};
use super::functions::{self, Body, Hidden};
use crate::model::code::Kind;

#[cfg(test)]
mod tests;

/// Who reads definitions waits for whoever changes a table: not for long, since
/// somebody else waits for us. It holds for this statement alone.
macro_rules! patience {
    () => {
        "(SELECT pg_catalog.set_config('lock_timeout', '200ms', true) OFFSET 0) AS patience"
    };
}

/// One thing to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    Types,
    Columns,
    Views,
    Parents,
    Functions,
    /// What runs by itself: expressions of columns, triggers, casts; and which columns
    /// refer to others.
    Hidden,
    /// What runs where a statement names the server's own.
    Code,
}

impl Question {
    /// In the order in which they are best asked.
    pub const ALL: &[Self] = &[
        Self::Types,
        Self::Columns,
        Self::Views,
        Self::Parents,
        Self::Functions,
        Self::Hidden,
        Self::Code,
    ];

    /// The statement for all tables and types outside the server's own schemas.
    pub fn sql(self) -> &'static str {
        match self {
            // Types of the server's own are known without asking.
            Self::Types => {
                "SELECT t.oid, n.nspname, t.typname, t.typtype, t.typcategory, t.typelem, \
                 t.typbasetype, t.typtypmod, t.typrelid \
                 FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
                 WHERE t.oid OPERATOR(pg_catalog.>=) 16384 \
                 LIMIT 100000"
            }
            Self::Columns => {
                "SELECT c.oid, n.nspname, c.relname, c.relkind, a.attnum, a.attname, a.atttypid, \
                 a.atttypmod, pg_catalog.col_description(c.oid, a.attnum) \
                 FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid \
                 WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v,m,f,p,c,S}') \
                 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped \
                 AND (c.oid OPERATOR(pg_catalog.>=) 16384 \
                 OR n.nspname OPERATOR(pg_catalog.=) \
                 ANY ('{pg_catalog,information_schema}')) \
                 ORDER BY c.oid, a.attnum \
                 LIMIT 500000"
            }
            Self::Views => {
                concat!(
                    "SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) FROM ",
                    patience!(),
                    ", pg_catalog.pg_class c \
                     WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}') \
                     AND c.oid OPERATOR(pg_catalog.>=) 16384 \
                     LIMIT 20000"
                )
            }
            Self::Functions => {
                // An aggregate is its functions; a rule has no name that is called. What is
                // kept parsed (BEGIN ATOMIC) is written out.
                concat!(
                    "SELECT n.nspname, p.proname, \
                 CASE WHEN a.aggfnoid IS NULL THEN l.lanname ELSE 'sql' END, \
                 CASE WHEN a.aggfnoid IS NOT NULL \
                 THEN pg_catalog.concat_ws(' ', a.aggtransfn, a.aggfinalfn) \
                 WHEN p.prosrc OPERATOR(pg_catalog.=) '' \
                 THEN pg_catalog.substr(pg_catalog.pg_get_functiondef(p.oid), 1, 65536) \
                 ELSE pg_catalog.substr(p.prosrc, 1, 65536) END \
                 FROM pg_catalog.pg_proc p \
                 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
                 JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang \
                 LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid OPERATOR(pg_catalog.=) p.oid \
                 WHERE p.oid OPERATOR(pg_catalog.>=) 16384 \
                 UNION ALL \
                 SELECT n.nspname, '', 'sql', \
                 pg_catalog.substr(pg_catalog.pg_get_ruledef(r.oid), 1, 65536) FROM ",
                    patience!(),
                    ", pg_catalog.pg_rewrite r \
                 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.ev_class \
                 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                 WHERE r.oid OPERATOR(pg_catalog.>=) 16384 \
                 AND r.rulename OPERATOR(pg_catalog.<>) '_RETURN' \
                 LIMIT 20000"
                )
            }
            Self::Hidden => {
                concat!(
                    "SELECT 'default', d.adrelid, d.adnum, d.said \
                 FROM (SELECT adrelid, adnum, pg_catalog.pg_get_expr(adbin, adrelid) AS said FROM ",
                    patience!(),
                    ", pg_catalog.pg_attrdef \
                 WHERE adrelid OPERATOR(pg_catalog.>=) 16384 OFFSET 0) d \
                 WHERE pg_catalog.strpos(d.said, 'nextval(') OPERATOR(pg_catalog.<>) 1 \
                 UNION ALL \
                 SELECT 'trigger', t.tgrelid, 0, p.proname FROM pg_catalog.pg_trigger t \
                 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid \
                 WHERE NOT t.tgisinternal \
                 UNION ALL \
                 SELECT 'reference', c.confrelid, k.own, pg_catalog.concat_ws(' ', c.conrelid, k.theirs) \
                 FROM pg_catalog.pg_constraint c, \
                 ROWS FROM (pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conkey)) k(own, theirs) \
                 WHERE c.contype OPERATOR(pg_catalog.=) 'f' \
                 UNION ALL \
                 SELECT 'event trigger', 0, 0, p.proname FROM pg_catalog.pg_event_trigger e \
                 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) e.evtfoid \
                 UNION ALL \
                 SELECT 'cast', 0, 0, p.proname FROM pg_catalog.pg_cast c \
                 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.castfunc \
                 WHERE c.oid OPERATOR(pg_catalog.>=) 16384 \
                 LIMIT 50000"
                )
            }
            // The last column: whether it is an extension's own. Only a superuser can have
            // put it there, or anybody's function would be one's whose extension it is.
            Self::Code => include_str!("learn/code.sql"),
            Self::Parents => {
                "SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i \
                 ORDER BY i.inhseqno LIMIT 100000"
            }
        }
    }
}

/// Reads the answers; [`Learner::finish`] puts them into a catalog.
#[derive(Debug, Default)]
pub struct Learner {
    types: Vec<Type>,
    relations: HashMap<u32, Relation>,
    views: HashMap<u32, Box<str>>,
    parents: HashMap<u32, Vec<u32>>,
    functions: Vec<Body>,
    hidden: Vec<Hidden>,
    code: Vec<Runs>,
    /// What follows from a written row, by table.
    follows: HashMap<u32, Follows>,
    columns: usize,
    /// What the server didn't answer.
    failed: Vec<Question>,
    /// Rows that could not be read.
    unread: u64,
}

impl Learner {
    /// One row of an answer, in text format.
    pub fn row<'v>(
        &mut self,
        question: Question,
        values: impl IntoIterator<Item = Option<&'v [u8]>>,
    ) {
        let values: Vec<Option<&str>> = values
            .into_iter()
            .map(|value| value.and_then(|value| str::from_utf8(value).ok()))
            .collect();
        if self.read(question, &values).is_none() {
            self.unread += 1;
        }
    }

    /// The server has not answered all of it.
    pub fn fail(&mut self, question: Question) {
        self.failed.push(question);
    }

    /// Whether there is nothing that could not be learnt.
    pub fn is_whole(&self) -> bool {
        self.failed.is_empty()
    }

    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn read(&mut self, question: Question, values: &[Option<&str>]) -> Option<()> {
        let text = |place: usize| values.get(place).copied().flatten();
        match question {
            Question::Types => {
                let number = |place: usize| text(place)?.parse::<u32>().ok();
                let sort = match (text(3)?, text(4)?) {
                    ("b", "A") if number(5)? != 0 => TypeSort::Array { of: number(5)? },
                    ("d", _) => {
                        TypeSort::Domain { of: number(6)?, modifier: text(7)?.parse().ok()? }
                    }
                    ("e", _) => TypeSort::Enum,
                    ("r", _) => TypeSort::Range,
                    ("m", _) => TypeSort::Multirange,
                    ("c", _) => TypeSort::Composite { relation: number(8)? },
                    _ => TypeSort::Base,
                };
                let (oid, schema, name) = (number(0)?, text(1)?.into(), text(2)?.into());
                self.types.push(Type { oid, schema, name, sort });
            }
            Question::Columns => {
                self.columns += 1;
                let oid = text(0)?.parse().ok()?;
                let column = Column {
                    number: text(4)?.parse().ok()?,
                    name: text(5)?.into(),
                    type_oid: text(6)?.parse().ok()?,
                    modifier: text(7)?.parse().ok()?,
                    comment: text(8).map(Into::into),
                    class: None,
                };
                let (schema, name) = (text(1)?, text(2)?);
                let kind = text(3)?.chars().next()?;
                self.relations
                    .entry(oid)
                    .or_insert_with(|| Relation {
                        oid,
                        schema: schema.into(),
                        name: name.into(),
                        kind,
                        columns: Vec::new(),
                        definition: None,
                        parents: Vec::new(),
                    })
                    .columns
                    .push(column);
            }
            Question::Functions => {
                self.functions.push(Body {
                    schema: text(0)?.into(),
                    name: text(1)?.into(),
                    language: text(2)?.into(),
                    source: text(3).unwrap_or_default().into(),
                });
            }
            Question::Hidden => {
                let relation = text(1)?.parse().ok()?;
                let said: Box<str> = text(3)?.into();
                match text(0)? {
                    "default" => {
                        let expression = (text(2)?.parse().ok()?, said);
                        self.follows.entry(relation).or_default().expressions.push(expression);
                    }
                    "reference" => {
                        let (by, column) = said.split_once(' ')?;
                        let reference = Reference {
                            of: text(2)?.parse().ok()?,
                            relation: by.parse().ok()?,
                            column: column.parse().ok()?,
                        };
                        self.follows.entry(relation).or_default().references.push(reference);
                    }
                    "trigger" => self.hidden.push(Hidden::Trigger { relation, function: said }),
                    "event trigger" => self.hidden.push(Hidden::EventTrigger { function: said }),
                    "cast" => self.hidden.push(Hidden::Cast { function: said }),
                    _ => return None,
                }
            }
            Question::Code => {
                let kind = match text(0)? {
                    "function" => Kind::Function,
                    "operator" => Kind::Operator,
                    "type" => Kind::Type,
                    "implicit" => Kind::Row,
                    _ => return None,
                };
                let (oid, schema, name) =
                    (text(1)?.parse().ok()?, text(2)?.into(), text(3)?.into());
                self.code.push(Runs { kind, schema, name, known: text(4) == Some("t"), oid });
            }
            Question::Views => {
                self.views.insert(text(0)?.parse().ok()?, text(1)?.into());
            }
            Question::Parents => {
                self.parents
                    .entry(text(0)?.parse().ok()?)
                    .or_default()
                    .push(text(1)?.parse().ok()?);
            }
        }
        Some(())
    }

    /// Puts what was read into the catalog; classes that were known stay, and so
    /// does what was known of what isn't answered this time.
    pub fn finish(mut self, catalog: &mut Catalog) {
        for one in std::mem::take(&mut self.types) {
            catalog.learn_type(one);
        }
        let answered = |question| !self.failed.contains(&question);
        if !answered(Question::Columns) {
            return;
        }
        for relation in self.relations.values_mut() {
            let known = catalog.relation(relation.oid);
            relation.definition = match answered(Question::Views) {
                true => self.views.get(&relation.oid).cloned(),
                false => known.and_then(|known| known.definition.clone()),
            };
            relation.parents = match answered(Question::Parents) {
                true => self.parents.get(&relation.oid).cloned().unwrap_or_default(),
                false => known.map(|known| known.parents.clone()).unwrap_or_default(),
            };
        }
        // Of a list that was cut nothing follows from what isn't on it.
        if self.columns < MOST_COLUMNS {
            catalog.keep_only(|oid| self.relations.contains_key(&oid));
        }
        // Parents first: parts take their classes over. Their depth is bounded.
        let mut waiting: Vec<u32> = self.relations.keys().copied().collect();
        waiting.sort_unstable();
        for _ in 0..DEEPEST_PARTITION {
            let (ready, later): (Vec<u32>, Vec<u32>) = waiting.iter().partition(|oid| {
                let parents = self.parents.get(oid).into_iter().flatten();
                parents.clone().all(|parent| !waiting.contains(parent))
            });
            for oid in ready {
                self.relations.remove(&oid).into_iter().for_each(|one| catalog.learn(one));
            }
            waiting = later;
            if waiting.is_empty() {
                break;
            }
        }
        for oid in waiting {
            self.relations.remove(&oid).into_iter().for_each(|one| catalog.learn(one));
        }
        if answered(Question::Code) {
            catalog.set_code(&self.code);
        }
        super::views::classify(catalog);
        if !answered(Question::Functions) || !answered(Question::Hidden) {
            catalog.share();
            return;
        }
        // Of a list that was cut, a name that isn't on it is still one that tells.
        functions::read(&self.functions, &self.hidden, catalog);
        for (relation, follows) in &self.follows {
            super::views::expressions(*relation, &follows.expressions, catalog);
        }
        let run: HashSet<&str> = self
            .hidden
            .iter()
            .filter_map(|one| match one {
                Hidden::Trigger { function, .. } => Some(&**function),
                _ => None,
            })
            .collect();
        let mut bodies: HashMap<&str, Vec<Arc<Body>>> = HashMap::new();
        for body in self.functions.iter().filter(|body| run.contains(&*body.name)) {
            bodies.entry(&body.name).or_default().push(Arc::new(body.clone()));
        }
        for hidden in &self.hidden {
            let Hidden::Trigger { relation, function } = hidden else { continue };
            let run = bodies.get(&**function).into_iter().flatten().cloned();
            self.follows.entry(*relation).or_default().triggers.extend(run);
        }
        catalog.set_follows(self.follows);
        // What is called was not known before.
        super::views::classify(catalog);
        catalog.share();
    }
}

const DEEPEST_PARTITION: usize = 8;
/// As the question asks for.
const MOST_COLUMNS: usize = 500_000;
