//! What the enforcer says of a statement and its end.

use std::borrow::Cow;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use super::beside::Beside;
use super::literals::Literals;
use super::parameters::{Place, Places};
use super::redact::{self, Grammar};
use super::render::parsed;
use super::says::Says;
use super::touched::{MOST_TOUCHED, Touched, touched_by};
use crate::mask::{Catalog, Class};
use crate::model::{Grounds, TextKept};
use crate::sql::{Facts, Strings};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $code:literal, $word:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$item_doc])* $item = $code,)+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$item,)+];

            pub fn code(self) -> u8 {
                self as u8
            }

            pub fn word(self) -> &'static str {
                match self { $(Self::$item => $word,)+ }
            }

            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$item),)+ _ => None }
            }

            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$item),)+ _ => None }
            }
        }
    };
}

codes! {
    /// How the client asked.
    Way {
        Query = 0, "query";
        Parse = 1, "parse";
        Bind = 2, "bind";
        Execute = 3, "execute";
        FunctionCall = 4, "function-call";
        Describe = 5, "describe";
        Cancel = 6, "cancel";
        Copy = 7, "copy";
        Replication = 8, "replication";
    }
}

codes! {
    /// What was decided.
    Verdict {
        /// Nobody judged it: no policy is in force.
        Unjudged = 0, "unjudged";
        Allowed = 1, "allowed";
        Refused = 2, "refused";
        /// It waits for an approval.
        Held = 3, "held";
        /// In shadow: it was let through, and would not have been.
        WouldRefuse = 4, "would_refuse";
        WouldHold = 5, "would_hold";
        /// An approval lifted the refusal.
        Approved = 6, "approved";
        /// It went through a connection that isn't read.
        Unread = 7, "unread";
        /// In shadow: its answer was shown as it is, and would have been masked. Only
        /// its outcome can tell, so no intent says it: the index does.
        WouldMask = 8, "would_mask";
    }
}

codes! {
    /// How a statement, or one of the statements in its text, ended. What a
    /// transaction's end undoes is still `complete` here.
    Ending {
        Complete = 0, "complete";
        Accepted = 1, "accepted";
        Suspended = 2, "suspended";
        Empty = 3, "empty";
        Answered = 4, "answered";
        Failed = 5, "failed";
        Refused = 6, "refused";
        Skipped = 7, "skipped";
        Lost = 8, "lost";
    }
}

codes! {
    TransactionEnd {
        Committed = 0, "committed";
        RolledBack = 1, "rolled-back";
        Prepared = 2, "prepared";
        /// The connection ended within it.
        Lost = 3, "lost";
    }
}

codes! {
    /// Which statements one record speaks of beforehand, where their workload is over
    /// its rate.
    Reach {
        /// Of one shape (their texts' fingerprints are the same), on one connection.
        Shape = 0, "shape";
        /// Of any text with the same effects, on one connection.
        Effects = 1, "effects";
        /// … on any connection of the workload.
        Workload = 2, "workload";
    }
}

/// What is recorded of a text: made once, used for each time that it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Tells it from other texts in the dictionary.
    pub(super) key: u128,
    pub(super) json: Box<str>,
    pub effects: u16,
    pub fingerprint: Box<str>,
    /// Whether it may change something; decides when the disk is awaited.
    pub writes: bool,
    /// How much of it the settings let be kept when it was made.
    pub kept_as: TextKept,
    /// It touches something of which a catalog may know more.
    pub(super) touches: bool,
    pub(super) parameters: Places,
    /// Of a text that is kept with them.
    literals: Literals,
    /// How many bytes the text had.
    length: usize,
    /// The same without its text, once it was asked for.
    less: OnceLock<Box<Self>>,
}

#[derive(Serialize)]
struct Kept<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'s str>,
    fingerprint: &'s str,
    /// How many bytes the text had, if it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_of: Option<usize>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    verbs: &'s [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    touched: &'s [Touched],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    not_understood: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    says: Option<Says>,
}

impl Subject {
    pub fn new(text: &str, strings: Strings, kept_as: TextKept, facts: Option<&Facts>) -> Self {
        Self::of_long(text, text.len(), strings, kept_as, facts)
    }

    /// Of a text of `length` bytes that begins with `head`.
    pub fn of_long(
        head: &str,
        length: usize,
        strings: Strings,
        kept_as: TextKept,
        facts: Option<&Facts>,
    ) -> Self {
        let text = head;
        let touched = facts.map(|facts| touched_by(facts, &Catalog::default()));
        let touched = touched.unwrap_or_default();
        let redacted = redact::text(text, strings, Grammar::of(facts), kept_as);
        let verbs: Vec<String> = facts
            .iter()
            .flat_map(|facts| facts.running())
            .filter_map(|statement| serde_json::to_value(statement.verb).ok())
            .filter_map(|verb| verb.as_str().map(ToOwned::to_owned))
            .take(MOST_VERBS)
            .collect();
        let effects = facts.map(Facts::effects);
        let kept = Kept {
            text: redacted.text.as_deref(),
            fingerprint: &redacted.fingerprint,
            cut_of: (redacted.cut || length > text.len()).then_some(length),
            verbs: &verbs,
            touched: &touched,
            not_understood: facts.is_some_and(|facts| !facts.understood()),
            says: Says::of(text, strings, kept_as),
        };
        let json: Box<str> = serde_json::to_string(&kept).unwrap_or_default().into();
        Self {
            key: key_of(TEXT, json.as_bytes()),
            json,
            effects: effects.map_or(0, |effects| {
                effects.iter().fold(0, |bits, effect| bits | 1 << effect as u16)
            }),
            fingerprint: redacted.fingerprint.into(),
            writes: effects.is_none_or(|effects| !effects.is_pure_read() && !effects.is_empty()),
            kept_as,
            touches: !touched.is_empty(),
            parameters: Places::read(text, strings),
            literals: redacted
                .text
                .filter(|_| kept_as == TextKept::Full)
                .map_or_else(Literals::default, |text| Literals::read(&text, strings)),
            length,
            less: OnceLock::new(),
        }
    }

    /// The text as it is kept, without the literals that are of a class.
    pub(super) fn text_without(
        &self,
        class: &dyn Fn(&Beside<'_>) -> Option<Class>,
    ) -> Option<String> {
        let kept = || Some(parsed(&self.json).get("text")?.as_str()?.to_owned());
        self.literals.without(kept, class)
    }

    /// Whether values of parameters are kept at all.
    pub fn keeps_values(&self) -> bool {
        self.kept_as == TextKept::Full
    }

    /// It, or as much of it as the settings let be kept by now.
    pub(super) fn within(&self, kept: TextKept) -> &Self {
        match self.kept_as.tells_more_than(kept) {
            true => self.less.get_or_init(|| Box::new(self.by_fingerprint())),
            false => self,
        }
    }

    fn by_fingerprint(&self) -> Self {
        let mut kept = parsed(&self.json);
        if let Some(fields) = kept.as_object_mut() {
            for told in ["text", "cut_of", "says"] {
                fields.remove(told);
            }
        }
        let json: Box<str> = kept.to_string().into();
        let key = key_of(TEXT, json.as_bytes());
        let less = OnceLock::new();
        Self { key, json, kept_as: TextKept::Fingerprint, less, ..self.clone() }
    }

    /// The same where what it touches is known better.
    pub fn touching(&self, touched: Vec<Touched>) -> Self {
        self.knowing(&touched, None, None)
    }

    /// The same where what it touches is known better, and what of its parameters and
    /// its text is of a class.
    pub(super) fn knowing(
        &self,
        touched: &[Touched],
        parameters: Option<Places>,
        text: Option<String>,
    ) -> Self {
        let mut kept = parsed(&self.json);
        if let Some(fields) = kept.as_object_mut() {
            let few = touched.get(..MOST_TOUCHED.min(touched.len())).unwrap_or_default();
            fields.insert("touched".into(), serde_json::to_value(few).unwrap_or_default());
            if let Some(text) = text {
                let short = redact::cut(&text, redact::LONGEST);
                if short.len() < text.len() {
                    fields.insert("cut_of".into(), self.length.into());
                }
                fields.insert("text".into(), short.into());
            }
        }
        let json: Box<str> = kept.to_string().into();
        let parameters = parameters.unwrap_or_else(|| self.parameters.clone());
        let (key, less) = (key_of(TEXT, json.as_bytes()), OnceLock::new());
        Self { key, json, parameters, less, ..self.clone() }
    }
}

/// One statement, before it is let through, refused or held.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'s> {
    /// Its number on this connection.
    pub serial: u64,
    pub way: Way,
    /// `None`: a text that isn't known (a statement prepared elsewhere).
    pub subject: Option<&'s Subject>,
    pub verdict: Verdict,
    /// By what it was judged, where it was.
    pub grounds: Option<&'s Grounds>,
    pub in_transaction: bool,
    /// The hold's id, and who approved it.
    pub hold: Option<&'s str>,
    pub approver: Option<&'s str>,
    /// What was bound, by number.
    pub parameters: &'s [Parameter<'s>],
}

#[derive(Clone, Debug)]
pub enum Parameter<'s> {
    Null,
    /// As text; asked for only where [`Subject::keeps_values`].
    Value(Cow<'s, str>),
    /// There is a value, and nobody has looked at it.
    Unread,
}

impl<'s> Statement<'s> {
    pub fn new(serial: u64, way: Way, subject: Option<&'s Subject>, verdict: Verdict) -> Self {
        Self {
            serial,
            way,
            subject,
            verdict,
            grounds: None,
            in_transaction: false,
            hold: None,
            approver: None,
            parameters: &[],
        }
    }
}

/// How one ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'s> {
    /// Which statement of its text, from 0.
    pub index: u32,
    pub ending: Ending,
    pub sqlstate: Option<&'s str>,
    /// The command tag, without its numbers.
    pub tag: Option<&'s str>,
    pub rows: u64,
    pub bytes: u64,
    pub latency_us: u64,
    /// Cells masked, by class.
    pub masked: &'s [(&'s str, u64)],
    /// Cells of a sensitive class that were shown in the clear.
    pub seen: &'s [(&'s str, u64)],
    /// … and those of them that only the shadow kept from being masked.
    pub would_mask: &'s [(&'s str, u64)],
}

impl Outcome<'_> {
    pub fn new(ending: Ending) -> Self {
        Self {
            index: 0,
            ending,
            sqlstate: None,
            tag: None,
            rows: 0,
            bytes: 0,
            latency_us: 0,
            masked: &[],
            seen: &[],
            would_mask: &[],
        }
    }
}

/// Parameters as they are recorded: `?`, or what they are.
pub(super) fn shown(
    parameters: &[Parameter<'_>],
    subject: Option<&Subject>,
    kept: TextKept,
) -> Vec<Option<Box<str>>> {
    let mut left = LONGEST_PARAMETERS;
    parameters
        .iter()
        .take(MOST_PARAMETERS)
        .enumerate()
        .map(|(index, parameter)| {
            let value = match parameter {
                Parameter::Null => return None,
                Parameter::Value(value) => Some(&**value),
                Parameter::Unread => None,
            };
            let place = subject.map(|subject| subject.parameters.of(index));
            Some(match (place, value) {
                (Some(Place::Class(class)), _) => format!("[{}]", class.as_str()).into(),
                (Some(Place::Plain), Some(value)) if kept == TextKept::Full => {
                    if redact::is_secret(value) {
                        return Some(SECRET.into());
                    }
                    let short = redact::cut(value, LONGEST_PARAMETER.min(left));
                    left -= short.len();
                    let mark = if short.len() < value.len() { "…" } else { "" };
                    format!("{short}{mark}").into()
                }
                (Some(Place::Secret), _) if kept == TextKept::Full => SECRET.into(),
                _ => "?".into(),
            })
        })
        .collect()
}

/// Of an entry in the dictionary.
pub(super) fn key_of(kind: u8, content: &[u8]) -> u128 {
    let mut bytes = Vec::with_capacity(content.len() + 1);
    bytes.push(kind);
    bytes.extend_from_slice(content);
    let hash = digest(&SHA256, &bytes);
    hash.as_ref().first_chunk().map_or(0, |half| u128::from_le_bytes(*half))
}

pub(super) const TEXT: u8 = 3;
pub(super) const PROCESS: u8 = 1;
const MOST_VERBS: usize = 64;
const MOST_PARAMETERS: usize = 256;
const LONGEST_PARAMETER: usize = 1024;
/// Of one statement, together.
const LONGEST_PARAMETERS: usize = 32 * 1024;
const SECRET: &str = "[secret]";
