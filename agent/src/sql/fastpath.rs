//! A function called by its number (PostgreSQL's FunctionCall), without any text.
//! Drivers use it for large objects; what else is called so is not understood.

use super::builtin;
use super::effect::{Effect, Use, Uses};
use super::facts::{
    Call, CallClass, Doubt, Facts, Object, ObjectKind, Origin, Output, Statement, Verb, Way,
};

/// The facts of one such call.
pub fn function_call(oid: u32) -> Facts {
    let mut statement = Statement::new(Verb::Call, Way::Text);
    statement.effects.insert(Effect::Read);
    statement.returns = Some(vec![Output::default()]);
    let known = LARGE_OBJECTS.iter().find(|(number, _)| *number == oid).map(|(_, name)| *name);
    let name: Box<str> = known.map_or_else(|| format!("oid {oid}").into(), Into::into);
    let (origin, class) = match known {
        Some(name) => (Origin::BuiltIn, builtin::class(name)),
        None => (Origin::Foreign, CallClass::Foreign),
    };
    match class {
        CallClass::Writes => statement.effects.insert(Effect::Update),
        CallClass::UnsafeIo => statement.effects.insert(Effect::UnsafeIo),
        CallClass::Foreign => {
            statement.effects.insert(Effect::Execute);
            statement.objects.push(Object {
                kind: ObjectKind::Function,
                catalog: None,
                schema: None,
                name: name.clone(),
                uses: Uses::of(Use::Read),
                temporary: false,
            });
            // One of the server's own can do anything too, and has no name here.
            if oid < FIRST_OF_USERS {
                statement.doubt(Doubt::Kind(name.clone()));
            }
        }
        _ => {}
    }
    statement.calls.push(Call { schema: None, name, origin, volatile: true, class });
    Facts::new(vec![statement])
}

/// `pg_proc`'s numbers, the same in all versions.
const LARGE_OBJECTS: &[(u32, &str)] = &[
    (715, "lo_create"),
    (764, "lo_import"),
    (765, "lo_export"),
    (767, "lo_import"),
    (952, "lo_open"),
    (953, "lo_close"),
    (954, "loread"),
    (955, "lowrite"),
    (956, "lo_lseek"),
    (957, "lo_creat"),
    (958, "lo_tell"),
    (964, "lo_unlink"),
    (1004, "lo_truncate"),
    (3170, "lo_lseek64"),
    (3171, "lo_tell64"),
    (3172, "lo_truncate64"),
    (3457, "lo_from_bytea"),
    (3458, "lo_get"),
    (3459, "lo_get"),
    (3460, "lo_put"),
];

/// Below it are the server's own objects.
const FIRST_OF_USERS: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::function_call;
    use crate::sql::{Effect, Effects};

    #[test]
    fn a_number_says_what_is_called() {
        let read = Effects::of(Effect::Read);
        for (oid, effects) in [
            (954, read),
            (953, read),
            (955, read.with(Effect::Update)),
            (964, read.with(Effect::Update)),
            (764, read.with(Effect::UnsafeIo)),
            (765, read.with(Effect::UnsafeIo)),
            (0, read.with(Effect::Execute).with(Effect::Unknown)),
            // pg_read_file: not by name, so not at all.
            (2624, read.with(Effect::Execute).with(Effect::Unknown)),
            (16_384, read.with(Effect::Execute)),
        ] {
            let facts = function_call(oid);
            assert_eq!(facts.effects(), effects, "{oid}");
            assert_eq!(facts.understood(), !effects.contains(Effect::Unknown), "{oid}");
        }
    }
}
