//! Code of somebody's own that a database runs where a statement names the server's: an
//! overload of a function or an operator, a cast, what a type checks.

use std::collections::HashMap;

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Function,
    Operator,
    /// One that a cast to it, or a value read as it, runs code for.
    Type,
    /// A table of whose columns one has a type that code converts without being asked to.
    Row,
}

/// One that bears the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// `None`: nobody has been told yet, or it may be any.
    pub schema: Option<Box<str>>,
    /// It came with an extension, and only a superuser can have put it there: for that
    /// extension's types it does what the server does for its own.
    pub known: bool,
}

/// All of a database, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    functions: HashMap<Box<str>, Vec<Own>>,
    operators: HashMap<Box<str>, Vec<Own>>,
    types: HashMap<Box<str>, Vec<Own>>,
    rows: HashMap<Box<str>, Vec<Own>>,
}

impl Code {
    /// Of several in one schema the stricter counts.
    pub fn add(&mut self, kind: Kind, schema: Option<&str>, name: &str, known: bool) {
        let all = match kind {
            Kind::Function => &mut self.functions,
            Kind::Operator => &mut self.operators,
            Kind::Type => &mut self.types,
            Kind::Row => &mut self.rows,
        };
        let all = all.entry(name.into()).or_default();
        match all.iter_mut().find(|one| one.schema.as_deref() == schema) {
            Some(one) => one.known &= known,
            // In order, so that what is learnt again is seen to be the same.
            None => {
                let place = all.partition_point(|one| one.schema.as_deref() < schema);
                all.insert(place, Own { schema: schema.map(Into::into), known });
            }
        }
    }

    pub fn named(&self, kind: Kind, name: &str) -> &[Own] {
        let all = match kind {
            Kind::Function => &self.functions,
            Kind::Operator => &self.operators,
            Kind::Type => &self.types,
            Kind::Row => &self.rows,
        };
        all.get(name).map_or(&[], Vec::as_slice)
    }
}
