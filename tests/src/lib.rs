//! The harness: real cgroups, network namespaces, servers and the real agent,
//! each made for one test and gone after it, whatever happens.
//!
//! The agent is met as its user meets it: a binary, its flags, its output.
//! INVARIANT: nothing here attaches to, or moves a process out of, a cgroup
//! that the harness did not make; traffic goes to loopback or to network
//! namespaces of the harness's own.

pub mod agent;
pub mod bench;
pub mod catalog;
pub mod certificates;
pub mod cgroup;
pub mod clients;
pub mod crowd;
pub mod dialer;
pub mod diff;
pub mod drivers;
pub mod echo;
pub mod folder;
pub mod kernel;
pub mod leftovers;
pub mod matrix;
pub mod namespace;
pub mod newer;
pub mod pgbouncer;
pub mod place;
pub mod ports;
pub mod postgres;
pub mod probe;
pub mod recorded;
pub mod scene;
pub mod script;
pub mod seen;
pub mod staging;
pub mod stream;
pub mod sys;
pub mod terminal;
pub mod venv;
pub mod wait;
pub mod wire;
