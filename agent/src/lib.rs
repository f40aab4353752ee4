//! tidegate: an agent for database client hosts.
//!
//! The rooms, in the order in which data goes through them; a room imports
//! only from rooms before it (`cargo xtask layering` holds that line).

pub mod approval;
pub mod audit;
pub mod channel;
pub mod cli;
pub mod config;
pub mod control;
pub mod enforcer;
pub mod host;
pub mod identity;
pub mod keeper;
pub mod ledger;
pub mod mask;
pub mod model;
pub mod policy;
pub mod sql;
pub mod wire;
