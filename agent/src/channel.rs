//! The one socket between keeper and enforcer: whole messages over SEQPACKET,
//! descriptors beside them, credits against being flooded.
//!
//! Never blocks the keeper: it sends only what it has a credit for, and a full
//! socket is an error that it handles. Each side checks what it gets: a
//! message that can't be read, or with the wrong number of descriptors, ends
//! the channel, never the process.

mod message;
mod socket;
mod terms;

pub use message::{FromCell, FromLog, ToCell, ToEnforcer, ToKeeper, ToLog};
pub use socket::{Channel, ChannelError, Received, pair};
pub use terms::{Kept, seal_kept, seal_terms, unseal_kept, unseal_terms};
