//! What a statement may do to the temporary tables of its session: a name of which one
//! is gone means another table.

use super::effect::{Effect, Use};
use super::facts::{Note, ObjectKind, Statement, Verb};

/// Any of them may be gone behind it.
pub fn may_take_all(statement: &Statement) -> bool {
    let drops = statement.effects.contains(Effect::Drop);
    is_opaque(statement)
        || statement.verb == Verb::Discard
        || drops && statement.notes.contains(&Note::Cascade)
}

/// Those that were made since may be gone behind it.
pub fn ends_transaction(statement: &Statement) -> bool {
    let ends = [Verb::Commit, Verb::Rollback, Verb::RollbackTo, Verb::PrepareTransaction];
    ends.contains(&statement.verb)
}

/// Names of which another may be meant behind it.
pub fn taken(statement: &Statement) -> impl Iterator<Item = &str> {
    let effects = statement.effects;
    let defines = effects.contains(Effect::Drop)
        || effects.contains(Effect::Alter)
        || effects.contains(Effect::Create) && !indexes(statement);
    let written = statement.objects.iter().filter(|one| one.uses.iter().any(|of| of != Use::Read));
    written.filter(move |_| defines).map(|object| &*object.name)
}

/// Whether it may do what its text doesn't say.
pub fn is_opaque(statement: &Statement) -> bool {
    !statement.doubts.is_empty()
        || statement.effects.contains(Effect::Execute)
        || statement.effects.contains(Effect::Unknown)
}

/// Whether it only makes an index: its table stays what it is.
fn indexes(statement: &Statement) -> bool {
    statement.verb == Verb::Create
        && statement
            .objects
            .iter()
            .any(|object| object.kind == ObjectKind::Index && object.uses.contains(Use::Defined))
}
