//! Another root of the same source: the rooms that read foreign bytes, and
//! nothing else of the agent. `agent/fuzz` is built from it, for a sanitizer in
//! everything costs minutes.
//!
//! That they can be built alone is what the layering promises.

pub mod audit;
pub mod ledger;
pub mod mask;
pub mod model;
pub mod sql;
pub mod wire;
