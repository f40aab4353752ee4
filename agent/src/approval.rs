//! Holds and approvals: what waits for somebody's word, who may give it, and how
//! far it reaches.
//!
//! ```text
//! ask ──▶ waiting ──▶ approved ──▶ used, or used up
//!            ├──▶ denied            └──▶ denied (taken back)
//!            ├──▶ expired
//!            └──▶ withdrawn
//! ```
//!
//! A [`Book`] is all of it, without clock, sockets or names: the moment and what is
//! known of a caller are handed in.
//!
//! INVARIANTS
//! - Nobody approves what is his own, also under another user than he logged in as;
//!   who can't be told decides nothing.
//! - An approval covers the text, the parameters, the actor, the place and the
//!   policies that were shown, to the letter but for what was marked as varying.
//! - Where several must approve, the narrowest of their words holds.
//! - Once is once: an approval that was used is gone before the statement runs.
//!
//! Never: reads SQL, decides what needs an approval, keeps anything on a disk.

mod book;
mod cover;
mod name;
mod rights;

use std::time::Duration;

pub use book::{Asked, Book, Change, Decided, Verdict};
pub use cover::check as check_asked;
pub use rights::{Admitted, is_own};

use crate::model::HoldId;

/// How long things stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long a statement waits on a terminal.
    pub wait: Duration,
    /// How long what was refused can be approved, and an approval for once used.
    pub open: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    #[error("there is no hold `{0}`: `tidegate approvals ls` lists those that wait")]
    Unknown(String),
    #[error("hold {id} is {state} already: nothing is left to decide")]
    Over { id: HoldId, state: &'static str },
    #[error(
        "hold {0} is your own, and nobody approves his own: ask somebody else to (`tidegate \
         approvals deny` withdraws it)"
    )]
    Own(HoldId),
    #[error(
        "who is behind this command can't be told (its process has ended, or /proc can't be \
         read): run it again, in the foreground"
    )]
    Nobody,
    #[error("hold {id} needs {needs}, and you are not: ask one of them")]
    NotYours { id: HoldId, needs: String },
    #[error("you have approved hold {id} already, and {needs} must as well")]
    Said { id: HoldId, needs: String },
    #[error("a reason is needed, and goes into the log: name it with `--reason`")]
    NoReason,
    #[error("a reason has at most {0} bytes and no line breaks")]
    Reason(usize),
    #[error(
        "`{part}` marks nothing in this statement: it has {literals} literals and {parameters} parameters"
    )]
    Mark { part: String, literals: usize, parameters: usize },
    #[error("an approval is for 1 s at least and for {0} days at most")]
    Lasts(u64),
}

#[cfg(test)]
mod tests;
