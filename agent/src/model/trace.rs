//! How sure it is that a mask wrote something.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trace {
    #[default]
    None,
    /// It has a mask's dots. Anybody may write some.
    Likely,
    /// What it looks like nobody else writes.
    Certain,
}
