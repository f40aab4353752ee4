//! Who did what, provably: records, the log they lie in, and what can be asked
//! of it.
//!
//! ```text
//! enforcer --intents, outcomes--> Log (mapped segments, one set a process)
//!            sequencer --hashes--> signer (keeper) --signed heads--> tree/
//! ```
//!
//! How the enforcer uses it:
//!
//! ```text
//! let log = Log::open(folder, welcome)?;                 // once, after the fences
//! let sequencer = Sequencer::start(log.clone(), signer)?; // its thread
//! let connection = log.connection(flow);                 // one for each session
//! connection.opened()?;
//! connection.session(&carried)?;                         // who it logged in as
//! let subject = subjects.of(&log, text, strings, &facts); // once a text; keep it
//! let sealed = connection.intent(&Statement { … })?;     // before the release
//! upstream.release(permit, &sealed, bytes);
//! connection.outcome(&sealed, &Outcome { … });           // each ending
//! connection.transaction(…); connection.closed(&closing);
//! ```
//!
//! INVARIANTS
//! - A statement is let through only with a [`Sealed`], which only this room
//!   makes, and it makes one only when the intent lies in a mapped segment: the
//!   death of every process doesn't lose it. Where a destination is permissive
//!   and the log can't be written, the token says so and the loss is counted.
//! - A record is never changed. A tail that isn't whole is cut and told.
//! - Passwords and keys never come in, whatever the settings are.
//!
//! Never decides whether a statement may run.
//!
//! What isn't sealed can't be let through, and nobody else can make a seal:
//!
//! ```
//! fn release(_sealed: &tidegate::audit::Sealed) {}
//! ```
//!
//! ```compile_fail,E0451
//! fn release(_sealed: &tidegate::audit::Sealed) {}
//! release(&tidegate::audit::Sealed { writer: 1, position: Some(1), summed: false });
//! ```
//!
//! ```compile_fail,E0599
//! fn twice(sealed: &tidegate::audit::Sealed) -> tidegate::audit::Sealed {
//!     tidegate::audit::Sealed::clone(sealed)
//! }
//! ```

mod beside;
mod columns;
#[cfg(test)]
mod documented;
pub mod export;
pub mod frame;
pub mod index;
mod literals;
mod log;
pub mod parameters;
pub mod record;
pub mod redact;
pub mod render;
mod says;
pub mod search;
pub mod sequencer;
pub mod statement;
pub mod store;
mod subjects;
pub mod tiles;
mod touched;
pub mod verify;

pub use log::{Connection, Log, LogError, Sealed};
pub use record::RecordId;
pub use sequencer::{Heard, Sequencer, Signer};
pub use statement::{
    Ending, Outcome, Parameter, Reach, Statement, Subject, TransactionEnd, Verdict, Way,
};
pub use store::{Folder, StoreError};
pub use subjects::Subjects;
pub use touched::Touched;
pub use verify::{Proof, Verified, prove, verify};
