//! Code of somebody's own that runs under a name of the server's: a function or an
//! operator that fits its arguments better, a cast, what a type checks. A text alone
//! can't tell it; the catalog knows whether there is any.
//!
//! INVARIANTS
//! - Arguments aren't weighed: of a name that a call may find, each that is there counts.
//! - What lies in a schema that the session's path surely doesn't name is not found by a
//!   bare name.
//! - Where no catalog is known, a name of the server's means the server's.

use super::asks::{Ask, Asks, Thing};
use super::catalog::Catalog;
use super::scene::Scene;
use crate::model::code::{Kind, Own};
use crate::sql::effect::Use;
use crate::sql::facts::{ObjectKind, Origin, Through};
use crate::sql::{Bound, Effect, Statement};

/// Asks for what a statement may run so.
pub(super) fn ask(statement: &Statement, scene: &Scene, catalog: &dyn Catalog, asks: &mut Asks) {
    let mut found = |kind: Kind, schema: Option<&str>, name: &str| {
        for own in catalog.own(kind, name) {
            let met = met(own, kind, schema, scene);
            if met == Met::Never {
                continue;
            }
            asks.hangs_on_path |= met == Met::Perhaps;
            asks.meets_code |= !own.known;
            let kind = match kind {
                Kind::Type | Kind::Row => ObjectKind::Type,
                // What runs of an operator is its function.
                Kind::Function | Kind::Operator => ObjectKind::Function,
            };
            let (schema, name) = (own.schema.clone(), name.into());
            let thing = Thing::Object { schema, name, kind, known: own.known };
            let bound = Bound::NotApplicable;
            asks.push(Ask { effect: Effect::Execute, thing, bound });
        }
    };
    // One that isn't the server's by its name is asked for as it is.
    for call in statement.calls.iter().filter(|call| call.origin != Origin::Foreign) {
        found(Kind::Function, call.schema.as_deref(), &call.name);
    }
    for one in &statement.meets {
        let kind = match one.through {
            Through::Operator => Kind::Operator,
            Through::Cast => Kind::Type,
        };
        found(kind, one.qualified.then_some("pg_catalog"), &one.name);
    }
    for object in statement.objects.iter().filter(|object| object.uses.contains(Use::Read)) {
        let kind = match object.kind {
            ObjectKind::Type => Kind::Type,
            ObjectKind::Relation | ObjectKind::View | ObjectKind::MaterializedView => Kind::Row,
            _ => continue,
        };
        found(kind, object.schema.as_deref(), &object.name);
    }
}

/// Whether a name finds one that bears it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Met {
    Never,
    /// Nobody knows the path.
    Perhaps,
    Surely,
}

fn met(own: &Own, kind: Kind, schema: Option<&str>, scene: &Scene) -> Met {
    let Some(lies) = &own.schema else {
        return if schema.is_none() { Met::Surely } else { Met::Never };
    };
    let temporary = lies.starts_with("pg_temp");
    let on_path = match schema {
        Some("pg_temp") => temporary,
        Some(schema) => **lies == *schema,
        // Functions and operators are never looked for among what is temporary.
        None if temporary => matches!(kind, Kind::Type | Kind::Row),
        None => &**lies == "pg_catalog" || scene.schemas().contains(lies),
    };
    match schema.is_none() && !temporary && scene.target().anywhere {
        _ if on_path => Met::Surely,
        true => Met::Perhaps,
        false => Met::Never,
    }
}

#[cfg(test)]
mod tests;
