//! Facts of a text → may it run: Cedar policies over the [`vocabulary`], a default
//! set, and the reasons in words.
//!
//! ```text
//! Facts + Subject + Scene + Circumstances --Set--> Ruling --Stance--> Verdict
//! ```
//!
//! INVARIANTS
//! - A [`Permit`] is made here and nowhere else; what can plan or run at a server
//!   leaves only with one.
//! - Forbid wins, order means nothing, and what could not be decided is refused.
//! - A ruling is the same in shadow and in force: only what follows from it differs.
//!
//! Never: I/O, reading SQL, waiting for an approval, knowing a database's protocol
//! beyond the words of a refusal.

mod anywhere;
mod asks;
mod cache;
pub mod catalog;
mod code;
mod context;
mod decide;
mod grounds;
mod held;
mod known;
mod lint;
mod local;
mod permit;
mod reveal;
mod scene;
pub mod set;
pub mod source;
#[cfg(test)]
pub(crate) mod testing;
pub mod trial;
pub mod values;
pub mod vocabulary;

pub use cache::Cache;
pub use catalog::{Catalog, NoCatalog, Supposed};
pub use context::{Circumstances, Transaction};
pub use decide::Question;
pub use permit::{Cause, Hold, Permit, Refusal, Ruling, Stance, Verdict, Why, Words};
pub use reveal::{RevealScope, Sight, Viewed};
pub use scene::{PRODUCTION, Role, Scene, Subject, Target};
pub use set::{Generation, Layers, Set};
pub use source::{Mistake, Mistakes, Place, Policy, Source};
