//! Code of somebody's own that runs under names of the server's: what the server tells of
//! it, put together by name.
//!
//! INVARIANT: a type that holds another one runs what that one runs: an array its
//! elements', a domain its base's, a row its columns'.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Catalog, DEEPEST, TypeSort};
use crate::model::code::{Code, Kind};
use crate::sql::builtin;

/// One thing that runs code, as the server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    pub kind: Kind,
    pub schema: Box<str>,
    pub name: Box<str>,
    /// It is a widely used extension's, as far as the server tells.
    pub known: bool,
    /// Of a type; of a row's, one that is converted.
    pub oid: u32,
}

impl Catalog {
    /// What runs where a statement names the server's.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// All of it, once types and columns are known.
    pub fn set_code(&mut self, all: &[Runs]) {
        let mut code = Code::default();
        let (mut types, mut converted) = (HashMap::new(), HashMap::new());
        for one in all {
            let of_servers = match one.kind {
                Kind::Function => {
                    builtin::function(&one.name).is_some()
                        || builtin::data_type(&one.name).is_some()
                }
                Kind::Operator => builtin::operator(&one.name),
                Kind::Type => {
                    *types.entry(one.oid).or_insert(true) &= one.known;
                    true
                }
                Kind::Row => {
                    *converted.entry(one.oid).or_insert(true) &= one.known;
                    false
                }
            };
            // Any other name is somebody's own without being looked up.
            if of_servers {
                code.add(one.kind, Some(&one.schema), &one.name, one.known);
            }
        }
        self.spread(&mut types);
        self.spread(&mut converted);
        for own in self.types.values() {
            if let Some(known) = types.get(&own.oid) {
                code.add(Kind::Type, Some(&own.schema), &own.name, *known);
            }
            // Every table has a type of its rows, which bears its name.
            if let Some(known) = converted.get(&own.oid)
                && matches!(own.sort, TypeSort::Composite { .. })
            {
                code.add(Kind::Row, Some(&own.schema), &own.name, *known);
            }
        }
        if *self.code != code || self.running != types {
            (self.code, self.running) = (Arc::new(code), types);
            self.generation += 1;
        }
    }

    /// Schema and name of a type of somebody's own that runs code nobody knows when a value
    /// is read as it.
    pub fn running(&self, oid: u32) -> Option<(&str, &str)> {
        let runs = self.running.get(&oid).is_some_and(|known| !known);
        let known = self.types.get(&oid).filter(|_| runs)?;
        Some((&known.schema, &known.name))
    }

    /// Types that hold others run what those do. `types`: whether what runs is known.
    fn spread(&self, types: &mut HashMap<u32, bool>) {
        if types.is_empty() {
            return;
        }
        // Types within types go no deeper than that.
        for _ in 0..DEEPEST {
            let before = types.len();
            let unknown = types.values().filter(|known| !**known).count();
            for own in self.types.values() {
                let within = self.within(&own.sort).filter_map(|oid| types.get(&oid)).copied();
                if let Some(known) = within.reduce(|one, other| one && other) {
                    *types.entry(own.oid).or_insert(true) &= known;
                }
            }
            if types.len() == before && types.values().filter(|known| !**known).count() == unknown {
                return;
            }
        }
    }

    fn within(&self, sort: &TypeSort) -> impl Iterator<Item = u32> {
        let (one, row) = match sort {
            TypeSort::Array { of } | TypeSort::Domain { of, .. } => (Some(*of), None),
            TypeSort::Composite { relation } => (None, self.relation(*relation)),
            TypeSort::Base | TypeSort::Enum | TypeSort::Range | TypeSort::Multirange => {
                (None, None)
            }
        };
        let columns = row.into_iter().flat_map(|row| &row.columns).map(|column| column.type_oid);
        one.into_iter().chain(columns)
    }
}

#[cfg(test)]
mod tests;
