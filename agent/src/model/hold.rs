//! A statement that somebody else must approve, as the rooms tell each other of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Flow, Timestamp};

/// The schema of [`Hold`] as JSON, raised when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// Short enough to be said aloud: `lus-bab`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HoldId(pub String);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to run, as the enforcer read it. An approval is for what stands here,
/// and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldAsked {
    pub database: String,
    pub role: String,
    /// To the letter.
    pub text: String,
    /// Where its literals stand, in order.
    pub literals: Vec<HoldLiteral>,
    pub parameters: Vec<HoldParameter>,
    /// The parameters' types, as the client declared them.
    pub types: Vec<u32>,
    /// What the text means hangs on these settings of the session.
    pub settings: String,
    /// What it would do, and why that is not let through.
    pub why: String,
    /// The policies that an approval lifts.
    pub policies: Vec<String>,
    /// `approvers`, `group:NAME`: all of them are needed.
    pub approvers: Vec<String>,
}

/// A number or a string in the text: bytes from, and up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldLiteral {
    pub start: u32,
    pub end: u32,
}

/// A bound value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldParameter {
    Null,
    Text(String),
    /// In hex.
    Binary(String),
}

impl HoldAsked {
    /// About as many bytes as it takes in a message.
    pub fn weight(&self) -> usize {
        let parameters = self.parameters.iter().map(|one| match one {
            HoldParameter::Null => 1,
            HoldParameter::Text(text) | HoldParameter::Binary(text) => text.len() + 4,
        });
        let lists = self.policies.iter().chain(&self.approvers).map(|one| one.len() + 4);
        let texts = [&self.database, &self.role, &self.text, &self.settings, &self.why];
        texts.iter().map(|one| one.len() + 4).sum::<usize>()
            + parameters.sum::<usize>()
            + lists.sum::<usize>()
            + self.literals.len() * size_of::<HoldLiteral>()
            + self.types.len() * size_of::<u32>()
    }
}

/// More can't be shown whole, and isn't held.
pub const MOST_ASKED: usize = 24 * 1024;

/// A literal (`#1`) or a parameter (`$1`) that may be another one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Varying {
    Literal(u32),
    Parameter(u32),
}

impl fmt::Display for Varying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(number) => write!(f, "#{number}"),
            Self::Parameter(number) => write!(f, "${number}"),
        }
    }
}

impl FromStr for Varying {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse().ok().filter(|number| *number > 0);
        let part = match text.split_at_checked(1) {
            Some(("#", digits)) => number(digits).map(Self::Literal),
            Some(("$", digits)) => number(digits).map(Self::Parameter),
            _ => None,
        };
        part.ok_or_else(|| {
            format!("`{text}` marks nothing: `#1` is the first literal, `$1` the first parameter")
        })
    }
}

impl Serialize for Varying {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Varying {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How far an approval reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// For so long, as often as it comes; `None`: once.
    pub for_ms: Option<u64>,
    /// What may vary; nothing: the very text and parameters.
    pub vary: Vec<Varying>,
}

/// Who speaks over the control socket, by the kernel's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    /// The groups it is in, its own first.
    pub gids: Vec<u32>,
    /// Who logged in, whoever they became since; `None`: no login.
    pub login_uid: Option<u32>,
    /// Who became this user: whose the nearest process above is that is of another one.
    pub before_uid: Option<u32>,
    /// It can be told who is behind it. If not, it may look and not decide.
    pub known: bool,
}

/// Somebody who has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    pub uid: u32,
    pub user: Option<String>,
    pub login_uid: Option<u32>,
    /// The login's name, where it is another user's.
    pub login: Option<String>,
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |user: &Option<String>, uid: u32| match user {
            Some(user) => user.clone(),
            None => format!("uid {uid}"),
        };
        f.write_str(&name(&self.user, self.uid))?;
        match self.login_uid {
            Some(login) if login != self.uid => {
                write!(f, " ({} by login)", name(&self.login, login))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldApproval {
    pub at: Timestamp,
    pub by: Approver,
    pub reason: String,
    /// Whose word it was: of the hold's approvers.
    pub covers: Vec<String>,
    pub reach: Reach,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum HoldState {
    Waiting,
    Approved { at: Timestamp },
    Denied { at: Timestamp, by: Approver, reason: String },
    Expired { at: Timestamp },
    Withdrawn { at: Timestamp, why: Withdrawal },
}

impl HoldState {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved { .. } => "approved",
            Self::Denied { .. } => "denied",
            Self::Expired { .. } => "expired",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// Why nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withdrawal {
    /// The client cancelled the statement.
    Cancelled,
    /// The connection ended.
    Disconnected,
    /// The enforcer that had it was replaced.
    Drained,
    /// The enforcer that had it ended, or the keeper did.
    Lost,
    /// As long as the session lets a statement take.
    TimedOut,
}

impl Withdrawal {
    pub fn word(self) -> &'static str {
        match self {
            Self::Cancelled => "the client cancelled it",
            Self::Disconnected => "the connection ended",
            Self::Drained => "the agent was upgraded",
            Self::Lost => "the agent was restarted",
            Self::TimedOut => "its statement_timeout is over",
        }
    }
}

/// What is left of an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldGrant {
    pub until: Timestamp,
    /// Good for one statement.
    pub once: bool,
    pub vary: Vec<Varying>,
    pub used: u64,
}

/// A hold, with all that became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub schema: u32,
    pub id: HoldId,
    pub state: HoldState,
    pub since: Timestamp,
    /// It can be decided up to then.
    pub until: Timestamp,
    /// A statement waits for it on a terminal. Else it was refused, and is let
    /// through when it comes again.
    pub waits: bool,
    /// How often it was asked for.
    pub times: u64,
    pub flow: Arc<Flow>,
    pub asked: Arc<HoldAsked>,
    pub approvals: Vec<HoldApproval>,
    pub grant: Option<HoldGrant>,
}

impl Hold {
    /// Whose word is still missing.
    pub fn missing(&self) -> Vec<&str> {
        let said = |one: &&str| {
            self.approvals.iter().any(|approval| approval.covers.iter().any(|word| word == one))
        };
        self.asked.approvers.iter().map(String::as_str).filter(|one| !said(one)).collect()
    }
}

/// That a statement passes, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPass {
    pub id: HoldId,
    /// Names, for the record.
    pub by: String,
    /// The policies that are lifted for it.
    pub policies: Vec<String>,
}

/// keeper → enforcer: the first answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldAnswer {
    /// It was approved before.
    Passes(HoldPass),
    /// Whether it passes is told later.
    Waits { id: HoldId, until: Timestamp },
    /// To be refused: it passes when it comes again, once it is approved.
    Noted { id: HoldId, until: Timestamp },
    /// To be refused: it can't be held.
    Full { why: String },
}

/// keeper → enforcer: what became of one that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldEnd {
    Approved(HoldPass),
    Denied { by: String, reason: String },
    Expired,
}

/// Something that became of a hold, for observers and the log: without the text,
/// which stands redacted in the statement's own record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldEvent {
    pub id: HoldId,
    pub step: HoldStep,
    pub policies: Vec<String>,
    pub approvers: Vec<String>,
    pub database: String,
    pub role: String,
    pub waits: bool,
    pub by: Option<Approver>,
    pub reason: Option<String>,
    pub reach: Option<Reach>,
    pub why: Option<Withdrawal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldStep {
    Asked,
    /// Somebody has approved; others must as well.
    Seconded,
    Approved,
    /// A statement went through by an approval that was there.
    Used,
    Denied,
    /// An approval was taken back.
    Revoked,
    Expired,
    Withdrawn,
}

impl HoldStep {
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::Seconded => "approved in part",
            Self::Approved => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}
