//! One connection of one process to one database.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, OriginalDestination, Peer, Process, Timestamp};

/// The kernel's cookie of the client socket, and which connect of that socket
/// it was. Unique on a host until it reboots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    pub cookie: u64,
    /// Boot-time nanoseconds.
    pub connected_at: u64,
}

/// Everything known of a connection at the moment it was made. Never changed
/// afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub id: FlowId,
    pub opened: Timestamp,
    /// The process that called connect(2). A descriptor that was inherited or
    /// passed on keeps its connector.
    pub process: Process,
    /// Who that is, as far as it could be found out while the connect waited.
    /// Shared between the connections of one program.
    pub actor: Arc<Actor>,
    pub client: Peer,
    pub destination: OriginalDestination,
    /// The network namespace's cookie.
    pub netns: u64,
    /// The name of the protected destination that matched, as configured.
    pub rule: String,
    pub mode: Mode,
    pub socket: SocketKind,
    /// The generation of settings it was decided under.
    pub generation: u32,
}

/// The rule of the agent's own canary: keeper and enforcer know it by this name.
pub const CANARY_RULE: &str = "canary";

/// What happens to a destination's connections when the agent isn't there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They are refused.
    #[default]
    Strict,
    /// They go direct, and that is counted.
    Permissive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketKind {
    Ipv4,
    Ipv6,
    /// An IPv6 socket that speaks IPv4.
    V4Mapped,
    /// `getpeername` on it shows the listener, not the destination.
    Mptcp,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.cookie, self.connected_at)
    }
}

impl FromStr for FlowId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| u64::from_str_radix(part, 16).ok();
        text.split_once('-')
            .and_then(|(cookie, at)| {
                Some(Self { cookie: parse(cookie)?, connected_at: parse(at)? })
            })
            .ok_or_else(|| {
                format!("`{text}` is not a connection's id (two hex numbers joined by `-`)")
            })
    }
}

// Text for people, numbers for the channel.
impl Serialize for FlowId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.cookie, self.connected_at).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for FlowId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            let (cookie, connected_at) = Deserialize::deserialize(deserializer)?;
            Ok(Self { cookie, connected_at })
        }
    }
}
