//! The ABI between tidegate's kernel programs and its userspace: fixed
//! layouts, their sizes asserted, and the names of the pinned maps.
//!
//! INVARIANT: every struct here is `repr(C)`, has no implicit padding, and any
//! bit pattern is a valid value of it. A change of layout or meaning raises
//! [`SCHEMA`], and with it the folder of pins that two versions would share.
#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

use core::mem::size_of;

/// Version of everything in this file.
pub const SCHEMA: u32 = 1;

/// Where maps and links are pinned, below the mount of bpffs.
pub const PIN_FOLDER: &str = "tidegate/v1";

/// Length of the command line kept from the connect hook.
pub const COMMAND_CAPACITY: usize = 512;

/// Longest SYN kept: an IPv4 header and a TCP header, each with all options.
pub const SYN_CAPACITY: usize = 120;

/// An address and port. IPv4 is stored v4-mapped (`::ffff:a.b.c.d`); the port
/// is in host order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Endpoint {
    pub address: [u8; 16],
    pub port: u16,
    pub reserved: [u8; 6],
}

/// What one connect(2) was: written in the connect hook, in the context of the
/// process that connects, and carried unchanged from there on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawFlow {
    /// The kernel's cookie of the client socket, unique per boot.
    pub cookie: u64,
    /// Which connect of this socket it is: the boot-time clock in nanoseconds.
    pub connected_at: u64,
    pub netns: u64,
    /// The cgroup of the process (the hook itself fires by the socket's).
    pub cgroup: u64,
    /// `task.group_leader.start_boottime`, nanoseconds; 0 when the kernel's BTF
    /// did not say where it lies.
    pub started: u64,
    /// `task.self_exec_id`: tells two programs of one process apart; 0 unknown.
    pub exec: u64,
    pub tgid: u32,
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
    /// Where the process wanted to go.
    pub destination: Endpoint,
    /// The address the client had bound before connecting, else all zero.
    pub source: Endpoint,
    /// The interface the socket was bound to (and is no longer), else 0.
    pub device: u32,
    pub mark: u32,
    /// Which protected destination matched.
    pub rule: u32,
    /// The generation of settings it was decided under.
    pub generation: u32,
    /// `FLOW_*`.
    pub flags: u32,
    /// Bytes of `command` in use; 0 when it could not be read.
    pub command_length: u32,
    pub comm: [u8; 16],
    /// The process's argument block, NUL between the arguments.
    pub command: [u8; COMMAND_CAPACITY],
}

/// The connect came through the IPv6 hook.
pub const FLOW_IPV6_SOCKET: u32 = 1;
/// The destination was a v4-mapped IPv6 address.
pub const FLOW_MAPPED: u32 = 1 << 1;
/// The destination is strict.
pub const FLOW_STRICT: u32 = 1 << 2;
/// The argument block was longer than what was kept.
pub const FLOW_COMMAND_CUT: u32 = 1 << 3;
/// The agent's own canary.
pub const FLOW_CANARY: u32 = 1 << 4;

/// A redirected socket's storage, and, byte for byte, the event that tells the
/// keeper that its SYN is held back.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// [`EVENT_ATTEMPT`].
    pub kind: u32,
    /// Bytes of `syn` in use.
    pub syn_length: u32,
    pub flow: RawFlow,
    /// The SYN as it would have left: IP header, TCP header, options. Its
    /// checksums are not filled in.
    pub syn: [u8; SYN_CAPACITY],
}

/// What binds a socket of the agent's to its one purpose. Written by the
/// keeper, by the socket's file descriptor; never by a program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// `TOKEN_*`.
    pub kind: u32,
    pub reserved: u32,
    /// For [`TOKEN_UPSTREAM`] and [`TOKEN_ADOPTED`]: the one destination.
    pub destination: Endpoint,
    /// The cookie of the flow it serves.
    pub flow: u64,
}

/// May connect to its destination, and nowhere else.
pub const TOKEN_UPSTREAM: u32 = 1;
/// May bind the listener's port.
pub const TOKEN_LISTENER: u32 = 2;
/// May send the SYNs that were held back, and resets in the listener's name.
pub const TOKEN_INJECTOR: u32 = 3;
/// Older than the agent; goes on to its peer until it ends.
pub const TOKEN_ADOPTED: u32 = 4;

/// Key of the protected destinations: longest prefix match over port, then
/// address, so that "this port anywhere" is a prefix of 16 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DestinationKey {
    /// Network byte order: prefixes are compared from the first byte on.
    pub port: [u8; 2],
    pub address: [u8; 16],
    /// Never part of a prefix.
    pub reserved: [u8; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub id: u32,
    /// `RULE_*`.
    pub flags: u32,
}

pub const RULE_STRICT: u32 = 1;
/// Leave alone: a hole in a wider rule.
pub const RULE_EXCLUDE: u32 = 1 << 1;
pub const RULE_CANARY: u32 = 1 << 2;

/// Whether the network namespace has its listeners.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `NAMESPACE_*`.
    pub state: u32,
    pub reserved: u32,
    /// When the kernel last asked for it (monotonic, ns).
    pub asked_at: u64,
}

pub const NAMESPACE_WANTED: u32 = 1;
pub const NAMESPACE_READY: u32 = 2;

/// Whose connects a quota counts: a user in a network namespace, or (with
/// `netns` = 0 and `uid` = `u32::MAX`) a cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuotaKey {
    pub netns: u64,
    pub cgroup: u64,
    pub uid: u32,
    pub reserved: u32,
}

/// One value, written by the keeper, read by every program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub schema: u32,
    pub generation: u32,
    /// The port of the listeners, the same in every network namespace.
    pub listen_port: u32,
    /// Unsettled attempts that one user (in one namespace) may have.
    pub quota_user: u32,
    /// … and one cgroup.
    pub quota_cgroup: u32,
    /// The keeper's process: its end is seen at once.
    pub keeper: u32,
    /// Nanoseconds after which a heartbeat is stale.
    pub stale_after: u64,
    /// The id and depth of the cgroup attached to.
    pub cgroup: u64,
    pub cgroup_level: u32,
    /// The programs' own debug lines are wanted.
    pub debug: u32,
}

/// Written by the keeper: `beat` only when a canary crossed the enforcer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Monotonic nanoseconds of the last canary that came through.
    pub beat: u64,
    /// Monotonic nanoseconds at which the keeper's loop was last seen turning;
    /// 0 once its process has ended.
    pub keeper: u64,
}

// ---- events -----------------------------------------------------------------

pub const EVENT_ATTEMPT: u32 = 1;
pub const EVENT_GONE: u32 = 2;
pub const EVENT_REFUSED: u32 = 3;
pub const EVENT_DIRECT: u32 = 4;
pub const EVENT_NAMESPACE: u32 = 5;
pub const EVENT_EXEC: u32 = 6;
pub const EVENT_EXIT: u32 = 7;

/// A connect, bind or packet that was refused, or let through directly. `why`
/// is one of `REFUSED_*`, or 0 for [`EVENT_DIRECT`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub kind: u32,
    pub why: u32,
    pub at: u64,
    pub netns: u64,
    pub cgroup: u64,
    pub tgid: u32,
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
    /// As in [`RawFlow`].
    pub started: u64,
    pub exec: u64,
    pub destination: Endpoint,
    pub rule: u32,
    pub reserved: u32,
    pub comm: [u8; 16],
}

/// Who made a raw socket: its packets are judged where nobody's process can be
/// asked any more.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Maker {
    pub netns: u64,
    pub cgroup: u64,
    pub tgid: u32,
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
    pub started: u64,
    pub exec: u64,
    pub comm: [u8; 16],
}

/// What one cgroup has been told about in the second that began at `since`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub since: u64,
    pub verdicts: u64,
    pub processes: u64,
}

/// A dial of the listener itself.
pub const REFUSED_DIRECT_DIAL: u32 = 1;
/// A token socket that aimed elsewhere.
pub const REFUSED_TOKEN: u32 = 2;
/// Too many unsettled connects of this user or cgroup.
pub const REFUSED_QUOTA: u32 = 3;
/// Bound to a device and not permitted to be unbound.
pub const REFUSED_DEVICE: u32 = 4;
/// A bind of the listener's port.
pub const REFUSED_BIND: u32 = 5;
/// A packet to a strict destination from a socket that was not led here.
pub const REFUSED_PACKET: u32 = 6;
/// The hook itself could not do its work (no storage, for want of memory).
pub const REFUSED_FAULT: u32 = 7;

/// The client's socket went from SYN_SENT to CLOSE.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    pub kind: u32,
    pub reserved: u32,
    pub cookie: u64,
}

/// A network namespace without listeners has a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NamespaceSeen {
    pub kind: u32,
    pub tgid: u32,
    pub tid: u32,
    pub reserved: u32,
    pub netns: u64,
}

/// exec and exit of a process under the cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProcessSeen {
    pub kind: u32,
    pub tgid: u32,
    pub started: u64,
    pub exec: u64,
}

// ---- counters (per CPU) -------------------------------------------------------

/// Indexes of the per-CPU counters.
pub mod counter {
    /// Events for which the ring had no room.
    pub const LOST: u32 = 0;
    /// Connects to protected destinations that were redirected.
    pub const REDIRECTED: u32 = 1;
    /// Connects that went direct because a permissive heartbeat was stale.
    pub const DIRECT: u32 = 2;
    /// Refusals of every kind.
    pub const REFUSED: u32 = 3;
    /// SYNs held back (retransmissions included).
    pub const HELD: u32 = 4;
    /// Packets dropped because their socket was not led here.
    pub const DROPPED: u32 = 5;
    /// Connects that the quota refused.
    pub const OVER_QUOTA: u32 = 6;
    /// Refusals and execs beyond what one cgroup may have told in a second.
    pub const UNTOLD: u32 = 7;
    pub const COUNT: u32 = 8;
}

const _: () = {
    assert!(size_of::<Endpoint>() == 24);
    assert!(size_of::<RawFlow>() == 6 * 8 + 4 * 4 + 2 * 24 + 6 * 4 + 16 + COMMAND_CAPACITY);
    assert!(size_of::<Attempt>() == 8 + size_of::<RawFlow>() + SYN_CAPACITY);
    assert!(size_of::<Token>() == 40);
    assert!(size_of::<DestinationKey>() == 20);
    assert!(size_of::<Rule>() == 8);
    assert!(size_of::<Namespace>() == 16);
    assert!(size_of::<QuotaKey>() == 24);
    assert!(size_of::<Settings>() == 48);
    assert!(size_of::<Heartbeat>() == 16);
    assert!(size_of::<Verdict>() == 112);
    assert!(size_of::<Gone>() == 16);
    assert!(size_of::<Maker>() == 64);
    assert!(size_of::<NamespaceSeen>() == 24);
    assert!(size_of::<ProcessSeen>() == 24);
};

impl Endpoint {
    pub const UNSPECIFIED: Self = Self { address: [0; 16], port: 0, reserved: [0; 6] };
}
