//! What SQL does to a session's statements and portals.
//!
//! This room doesn't read SQL: the sql room says what each statement of a text
//! would do, and the server's command tag says that it was done.

use super::texts::Text;

/// What one SQL statement does to the session, if it succeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SqlEffect {
    /// Nothing that this room keeps.
    #[default]
    None,
    Prepare {
        name: Box<[u8]>,
        /// The statement behind AS.
        text: Text,
        declared: Box<[u32]>,
    },
    Deallocate(Box<[u8]>),
    Declare {
        name: Box<[u8]>,
        holdable: bool,
    },
    Close(Box<[u8]>),
}

/// One entry for each statement of a text, in order. Nothing given means
/// nothing known: then a command tag that tells of a change makes all names
/// uncertain, where the tag alone doesn't say enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlEffects(Box<[SqlEffect]>);

impl SqlEffects {
    pub fn new(effects: impl IntoIterator<Item = SqlEffect>) -> Self {
        let effects: Box<[SqlEffect]> = effects.into_iter().collect();
        // Most texts do nothing of this kind, and then nothing is kept.
        if effects.iter().all(|effect| *effect == SqlEffect::None) {
            return Self::default();
        }
        Self(effects)
    }

    pub(super) fn at(&self, index: usize) -> Option<&SqlEffect> {
        self.0.get(index)
    }
}
