//! What is said over the channel.

use serde::{Deserialize, Serialize};

use crate::model::{Closing, Fences, Flow, FlowId};

/// keeper → enforcer.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToEnforcer {
    /// A connection, with two descriptors: the accepted client socket and the
    /// upstream socket, which is connected. Costs one credit.
    Handover { flow: Box<Flow> },
    /// No new connections will come: end when the last has ended, and those
    /// that are left after `within_ms` at once.
    Drain { within_ms: u64 },
}

/// enforcer → keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToKeeper {
    /// The first message of a worker, sent after the fences are up.
    Hello { version: String, worker: u32, fences: Fences },
    /// So many more handovers may come over this channel.
    Credit { more: u32 },
    /// A connection ended.
    Closed(Closing),
    /// The canary with this id came to this worker and is being relayed.
    Seen { flow: FlowId },
}
