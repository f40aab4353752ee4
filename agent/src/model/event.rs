//! What observers are told, one event a line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Flow, FlowId, HoldEvent, Mode, OriginalDestination, Process, Timestamp};

/// The schema of [`Event`] as JSON, raised when a field changes its meaning.
pub const SCHEMA: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub schema: u32,
    pub at: Timestamp,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A connection was handed to the enforcer.
    Opened { flow: Arc<Flow> },
    /// It ended.
    Closed { flow: Arc<Flow>, closing: Closing },
    /// The destination could not be reached; the client was told so.
    Failed { flow: Arc<Flow>, error: String },
    /// A connect, bind or packet was refused in the kernel.
    Refused { why: RefusedWhy, process: Box<Process>, destination: OriginalDestination, netns: u64 },
    /// A permissive destination was reached without the agent.
    Direct { process: Box<Process>, destination: OriginalDestination, netns: u64 },
    /// A connection older than the agent.
    Existing {
        process: Box<Process>,
        destination: OriginalDestination,
        client: super::Peer,
        mode: Mode,
        /// It goes on, bound to its peer; else it was ended.
        adopted: bool,
    },
    /// Something became of a statement that needs an approval.
    Hold { flow: Arc<Flow>, hold: Box<HoldEvent> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusedWhy {
    DirectDial,
    TokenMisused,
    OverQuota,
    BoundToDevice,
    ListenerBind,
    NotLedHere,
    /// The agent wasn't running; the destination is strict.
    AgentAbsent,
    Fault,
}

/// How a connection ended, as the enforcer saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    pub flow: FlowId,
    /// Bytes from the client to the database.
    pub bytes_up: u64,
    /// Bytes from the database to the client.
    pub bytes_down: u64,
    pub duration_us: u64,
    pub end: End,
    /// Absent when the enforcer could not tell.
    pub carried: Option<Box<super::Carried>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Both sides closed in order.
    Closed,
    ClientReset,
    UpstreamReset,
    /// The enforcer drained past its deadline.
    Drained,
    /// The enforcer ended while it held the connection.
    EnforcerLost,
    /// The enforcer could not go on with it, and told the client why.
    Fault,
    /// An error inside the agent.
    Inside,
}
