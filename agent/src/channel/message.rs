//! What is said over the channel.

use serde::{Deserialize, Serialize};

use crate::model::{
    Closing, DatabaseName, Fences, Flow, FlowId, HoldAnswer, HoldAsked, HoldEnd, Learnt, LogAnswer,
    LogAppend, LogHealth, LogNote, LogTerms, LogWelcome, Withdrawal,
};

/// keeper → enforcer.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToEnforcer {
    /// A connection, with two descriptors: the accepted client socket and the
    /// upstream socket, which is connected. Costs one credit.
    Handover { flow: Box<Flow> },
    /// No new connections will come: end when the last has ended, and those
    /// that are left after `within_ms` at once.
    Drain { within_ms: u64 },
    /// The terms from now on, with one descriptor: a sealed memory file that
    /// holds [`crate::model::Terms`]. The first message of a channel.
    Terms,
    /// The answer to [`ToKeeper::Sign`]: the leaf as DER, or why not.
    Signed { request: u64, leaf: Result<Vec<u8>, String> },
    /// The answer to [`ToKeeper::Dial`]: with one descriptor, a connected
    /// socket, unless it failed.
    Dialled { request: u64, failed: Option<String> },
    /// The answer to [`ToKeeper::Hold`].
    Held { request: u64, answer: HoldAnswer },
    /// What became of a hold that waits. Nothing is told of it afterwards.
    Decided { request: u64, end: HoldEnd },
    /// All that enforcers have learnt and the keeper keeps, with one descriptor: a sealed
    /// memory file that holds it. Comes before the first terms, and again when some of it
    /// was forgotten. `edition`: newer ones take the place of older ones.
    Kept { edition: u64 },
    /// One thing more, or one that was known as less.
    Learnt { edition: u64, database: Box<DatabaseName>, learnt: Box<Learnt> },
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
    /// A leaf is wanted for a live flow's destination.
    Sign {
        request: u64,
        flow: FlowId,
        /// Host names and addresses, as text.
        names: Vec<String>,
        /// The leaf's public key, as DER (SubjectPublicKeyInfo); the private
        /// one stays where it is.
        key: Vec<u8>,
        /// What the server showed, leaf first: names that aren't configured are
        /// signed only if this chain is good and bears them.
        chain: Vec<Vec<u8>>,
    },
    /// One more connection to a live flow's destination is wanted.
    Dial { request: u64, flow: FlowId },
    /// A statement of a live flow needs an approval. `waits`: it can wait for
    /// one, where its session lets it so for `patience_ms` at most.
    Hold {
        request: u64,
        flow: FlowId,
        asked: Box<HoldAsked>,
        waits: bool,
        patience_ms: Option<u64>,
    },
    /// It waits no longer.
    Withdraw { request: u64, why: Withdrawal },
    /// Something that is to be known after this enforcer.
    Learnt { database: Box<DatabaseName>, learnt: Box<Learnt> },
}

/// keeper → the cell of an enforcer, in which texts are parsed, over a channel of its
/// own.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToCell {
    /// A parser process for a lane, with one descriptor: the connected socket to it.
    Parser { lane: u8, pid: u32 },
}

/// The cell of an enforcer → keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromCell {
    /// Nobody waits for this process any more: it is to end, if it hasn't.
    GivenUp { pid: u32 },
}

/// keeper → the log of an enforcer, over a channel of its own.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToLog {
    /// The first message.
    Welcome(Box<LogWelcome>),
    /// The answer to [`FromLog::Append`]; one for each, in order.
    Answer(LogAnswer),
    /// The settings from now on.
    Terms(LogTerms),
    /// To be recorded.
    Note(LogNote),
}

/// The log of an enforcer → keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromLog {
    Append(LogAppend),
    /// A writer's records are all in the tree.
    Finish {
        writer: u64,
    },
    /// How the writer on this channel is doing; told when that has changed.
    Health(LogHealth),
}
