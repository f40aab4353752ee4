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
    DeallocateAll,
    CloseAll,
    DiscardAll,
    /// Code of its own ran, which can give names to others and not tell, also where it
    /// fails.
    Anything,
}

/// What the statements of a text do, one entry for each, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlEffects(Effects);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Effects {
    #[default]
    Unknown,
    Nothing,
    Each(Box<[SqlEffect]>),
}

impl SqlEffects {
    pub fn new(effects: impl IntoIterator<Item = SqlEffect>) -> Self {
        let effects: Box<[SqlEffect]> = effects.into_iter().collect();
        if effects.iter().all(|effect| *effect == SqlEffect::None) {
            return Self::nothing();
        }
        Self(Effects::Each(effects))
    }

    /// The text was understood, and touches no statement and no portal.
    pub fn nothing() -> Self {
        Self(Effects::Nothing)
    }

    /// The text wasn't understood. While it runs, no name is certain; and when
    /// the server says that it changed one, none is any more.
    pub fn unknown() -> Self {
        Self(Effects::Unknown)
    }

    /// Whether a name can mean something else once it has run.
    pub(super) fn renames(&self) -> bool {
        self.0 != Effects::Nothing
    }

    /// Whether names that were given before may be others' behind it, whatever its tag.
    pub(super) fn runs_code(&self) -> bool {
        match &self.0 {
            Effects::Unknown => true,
            Effects::Nothing => false,
            Effects::Each(effects) => effects.contains(&SqlEffect::Anything),
        }
    }

    pub(super) fn at(&self, index: usize) -> Option<&SqlEffect> {
        match &self.0 {
            Effects::Each(effects) => effects.get(index),
            Effects::Unknown | Effects::Nothing => None,
        }
    }
}
