//! What keeper and enforcer say to each other about the log. The keeper sees
//! hashes of records and never a record.

use serde::{Deserialize, Serialize};

use super::Verdict;

/// The settings of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTerms {
    pub text: TextKept,
    pub durability: Durability,
    /// Bytes of a segment, before it is compressed.
    pub segment: u64,
    /// Sealed segments older than this are removed; 0: none is.
    pub keep_ms: u64,
    /// … and the oldest, once all take up more than this.
    pub keep_bytes: u64,
    /// Bytes of records that one workload may write a second, over time; never more than
    /// a share of all that is kept.
    pub flood_rate: u64,
    /// … and how many at once.
    pub flood_burst: u64,
}

/// How much of a statement's text is kept. What is a secret by its nature
/// (passwords, keys) never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextKept {
    /// As it was written.
    Full,
    /// With `?` for its literals.
    #[default]
    Redacted,
    /// A hash of its form, nothing else.
    Fingerprint,
}

impl TextKept {
    pub fn tells_more_than(self, other: Self) -> bool {
        (self as u8) < other as u8
    }
}

/// What a record survives before its statement is let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The death of every process.
    #[default]
    Process,
    /// Also the loss of power, for statements that may change something.
    PowerForWrites,
    /// Also the loss of power.
    Power,
}

impl Default for LogTerms {
    fn default() -> Self {
        Self {
            text: TextKept::default(),
            durability: Durability::default(),
            segment: 16 << 20,
            keep_ms: 90 * 86_400_000,
            keep_bytes: 20 << 30,
            flood_rate: 256 << 10,
            flood_burst: 2 << 30,
        }
    }
}

/// The first word on a log's channel: which log it is, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogWelcome {
    pub origin: String,
    /// The number under which this process writes; nobody had it before.
    pub writer: u64,
    /// The tree's size.
    pub size: u64,
    /// Writers whose records haven't all come in, this one among them.
    pub unfinished: Vec<LogWriter>,
    pub terms: LogTerms,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogWriter {
    pub writer: u64,
    /// How many of its records are in the tree.
    pub sequenced: u64,
    /// The last note that it was given, in case it died before it wrote that
    /// down.
    pub note: Option<String>,
}

/// `count` records of a writer, from its number `first`, want to be the tree's
/// next leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAppend {
    pub writer: u64,
    pub first: u64,
    pub count: u64,
    /// The tree's size, as far as the writer knows.
    pub at: u64,
    /// The subtrees that the records make up from there on.
    pub hashes: Vec<[u8; 32]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogAnswer {
    /// They are in the tree; here is its signed head.
    Signed { note: String },
    /// Another writer was quicker: this is the size now, ask again.
    Moved { size: u64 },
    /// This can't be: it would change what is in the tree.
    Refused { why: String },
}

/// How a writer is doing, by its own account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHealth {
    /// Records that it has written.
    pub records: u64,
    /// Records that are missing: what they tell of went through without.
    pub lost: u64,
    /// Why it can't write, or can't have its records signed.
    pub trouble: Option<String>,
}

/// Who asked the agent for something, by the kernel's word: names are the host's for
/// the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogCaller {
    pub uid: u32,
    pub user: Option<String>,
    /// Who logged in, whoever they became since.
    pub login_uid: Option<u32>,
    pub login_user: Option<String>,
    /// Who became the caller (by `sudo`, say): whose the nearest process above is that
    /// is of another user.
    pub before_uid: Option<u32>,
    pub before_user: Option<String>,
}

/// What the keeper wants to have in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogNote {
    /// The agent has started, or an enforcer has.
    Started { version: String },
    /// It ends in order. Nothing more comes from this keeper.
    Stopping { by: Option<LogCaller> },
    /// Not everything holds any more, or less of it does.
    Degraded { verdict: Verdict, why: String },
    /// Everything holds again.
    Whole,
    /// Settings or policies are others from now on.
    Changed {
        /// Which: `policies`, `classes` …
        what: Vec<String>,
        generation: u32,
        /// The hash of the policies that hold now.
        policies: Option<String>,
        /// `None`: a signal asked for it.
        by: Option<LogCaller>,
    },
    /// Somebody has read the log.
    Read { by: LogCaller, command: String },
    /// The kernel or the keeper refused it, or let it go: an event as JSON.
    Observed { event: String },
}

impl LogNote {
    /// Of others' doing, who may do much of it: it pushes out nothing of the agent's own.
    pub fn is_observed(&self) -> bool {
        matches!(self, Self::Observed { .. })
    }
}
