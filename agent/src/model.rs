//! The vocabulary that every room speaks. Plain data: no I/O, no decisions.

mod actor;
mod address;
mod carried;
pub mod code;
mod enriched;
mod event;
mod flow;
mod grounds;
mod hold;
mod leaf;
mod learnt;
mod log;
mod percent;
mod principal;
mod process;
mod report;
#[cfg(test)]
pub(crate) mod samples;
mod secrets;
mod terms;
mod time;
mod trace;

pub use actor::{
    Actor, Ancestor, Attribute, Confidence, ENVIRONMENT, Kind, LONGEST_COMMAND, LONGEST_NAME,
    LONGEST_PATH, LONGEST_VALUE, MOST_ANCESTORS, MOST_ATTRIBUTES, MOST_GROUPS, MOST_LOOKED_AT,
    MOST_SWITCHES, Origin, Person, Program, ProgramFile, Provenance, Relation, SERVICE_ACCOUNT,
    Sourced, Switch, Via, cut, cut_front,
};
pub use address::{Listener, OriginalDestination, Peer};
pub use carried::{Admission, Carried, TlsCarried};
pub use enriched::Enriched;
pub use event::{Closing, End, Event, EventKind, RefusedWhy, SCHEMA as EVENT_SCHEMA};
pub use flow::{CANARY_RULE, Flow, FlowId, Mode, SocketKind};
pub use grounds::Grounds;
pub use hold::{
    Approver, Caller, Hold, HoldAnswer, HoldApproval, HoldAsked, HoldEnd, HoldEvent, HoldGrant,
    HoldId, HoldLiteral, HoldParameter, HoldPass, HoldState, HoldStep, MOST_ASKED, Reach,
    SCHEMA as HOLD_SCHEMA, Varying, Withdrawal,
};
pub use leaf::{LeafName, MOST_CHAIN, MOST_CHAIN_BYTES, MOST_LEAF_NAME_BYTES, MOST_LEAF_NAMES};
pub use learnt::{
    DatabaseName, Filled, LONGEST as LONGEST_LEARNT, Learnt, MOST_COLUMNS, MOST_THERE, OPAQUE,
};
pub use log::{
    Durability, LogAnswer, LogAppend, LogCaller, LogHealth, LogNote, LogTerms, LogWelcome,
    LogWriter, TextKept,
};
pub use percent::decoded;
pub use principal::{ActorKind, Group, GroupKind, Principal};
pub use process::{Process, ProcessKey, Qos, Source, Workload, command_line, without_tag};
pub use report::{
    Adopted, CanaryReport, DestinationReport, EnforcerReport, Fences, HookReport, LogReport,
    Losses, NamespaceReport, ParsersReport, PolicyReport, SCHEMA as STATUS_SCHEMA, StatusReport,
    Verdict,
};
pub use secrets::{CONNECTING, KEYED};
pub use terms::{
    Account, AuthMode, AuthQuery, AuthTerms, ClientCertificate, ColumnWord, Der, DestinationTerms,
    Login, PACKS, Passthrough, PolicyMode, PolicyTerms, Pooling, Protocol, RoleVerifier, Secret,
    Terms, TlsTerms, Verify, Who,
};
pub use time::Timestamp;
pub use trace::Trace;
