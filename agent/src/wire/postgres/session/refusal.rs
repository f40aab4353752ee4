//! Refusing a request without breaking its client.
//!
//! The request is replaced by one that must fail, so that the server itself
//! aborts the transaction, skips to Sync and reports the right state; its
//! error is rewritten into the refusal on the way back.

use super::Gate;
use super::request::Draft;
use crate::wire::postgres::error::Fault;
use crate::wire::postgres::fields::{Field, Fields, write_error};
use crate::wire::postgres::frontend::{Execute, Frontend, FunctionCall, Parse};
use crate::wire::postgres::lists::{Formats16, Types32, Values};

/// What the client is told instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Names the record, also in the server's own log: letters, digits, `-`
    /// and `_` of it are used.
    pub record: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Refusal {
    /// insufficient_privilege: what its client reads.
    pub const SQLSTATE: &str = "42501";

    /// The record, as it is told to the server.
    fn number(&self) -> String {
        self.record
            .chars()
            .filter(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_'))
            .take(LONGEST_RECORD)
            .collect()
    }
}

/// A refusal that waits for the server's error.
#[derive(Debug)]
pub(super) struct Refused {
    pub refusal: Refusal,
    pub sqlstate: &'static str,
    expected: &'static [&'static [u8]],
    /// Its request went upstream, and came to its end by another message.
    pub within: bool,
}

impl Refused {
    /// Writes what goes upstream in the request's place.
    pub fn substitute<G: Gate>(
        draft: &Draft<G>,
        refusal: Refusal,
        sqlstate: &'static str,
        replication: bool,
        out: &mut Vec<u8>,
    ) -> Result<Self, Fault> {
        let record = refusal.number();
        let expected: &[&[u8]] = match draft {
            Draft::Query { .. } => {
                let text = format!("tidegate refused this statement (record {record})");
                Frontend::Query(text.as_bytes()).encode(out)?;
                if replication { &[SYNTAX_ERROR, NOT_SUPPORTED] } else { &[SYNTAX_ERROR] }
            }
            Draft::Parse { name, .. } => {
                let text = format!("tidegate refused this statement (record {record})");
                let types = Types32::default();
                Frontend::Parse(Parse { name, query: text.as_bytes(), types }).encode(out)?;
                &[SYNTAX_ERROR]
            }
            // Within the 63 bytes that a portal's name is known by.
            Draft::Bind { .. } | Draft::Execute { .. } => {
                let portal = format!("tidegate refused (record {record})");
                Frontend::Execute(Execute { portal: portal.as_bytes(), rows: 0 }).encode(out)?;
                &[INVALID_CURSOR_NAME]
            }
            Draft::FunctionCall { .. } => {
                let call = FunctionCall {
                    function: 0,
                    formats: Formats16::default(),
                    arguments: Values::default(),
                    result_format: 0,
                };
                Frontend::FunctionCall(call).encode(out)?;
                &[UNDEFINED_FUNCTION]
            }
        };
        Ok(Self { refusal, sqlstate, expected, within: false })
    }

    /// Writes what makes the COPY fail that is under way from the client.
    pub fn end_copy(refusal: Refusal, out: &mut Vec<u8>) -> Result<Self, Fault> {
        let text = format!("tidegate refused this statement (record {})", refusal.number());
        Frontend::CopyFail(text.as_bytes()).encode(out)?;
        let (sqlstate, expected) = (Refusal::SQLSTATE, GIVEN_UP);
        Ok(Self { refusal, sqlstate, expected, within: true })
    }

    /// Whether this is the failure that the substitute had to meet.
    pub fn expects(&self, error: Fields<'_>) -> bool {
        error.sqlstate().is_some_and(|sqlstate| self.expected.contains(&sqlstate))
    }

    /// The refusal as an ErrorResponse. Of the server's own error the severity
    /// stays, in the language it speaks; position, query and file say nothing
    /// about what the client sent and are dropped.
    pub fn rewrite(&self, error: Fields<'_>, unicode: bool) -> Result<Vec<u8>, Fault> {
        let words = |text: &str| -> Vec<u8> {
            if unicode {
                text.as_bytes().to_vec()
            } else {
                text.chars().map(|sign| if sign.is_ascii() { sign as u8 } else { b'?' }).collect()
            }
        };
        let Refusal { message, detail, hint, .. } = &self.refusal;
        let mut texts = vec![(Field::MESSAGE, words(message))];
        texts.extend(detail.as_deref().map(|detail| (Field::DETAIL, words(detail))));
        texts.extend(hint.as_deref().map(|hint| (Field::HINT, words(hint))));
        let severities = error
            .iter()
            .filter(|field| matches!(field.code, Field::SEVERITY | Field::PLAIN_SEVERITY));
        let sqlstate = Field { code: Field::SQLSTATE, text: self.sqlstate.as_bytes() };
        let fields = severities
            .chain([sqlstate])
            .chain(texts.iter().map(|(code, text)| Field { code: *code, text }));
        let mut out = Vec::new();
        write_error(fields, &mut out)?;
        Ok(out)
    }
}

/// query_canceled.
pub const CANCELLED: &str = "57014";
/// What a COPY fails with whose client gives it up.
const GIVEN_UP: &[&[u8]] = &[CANCELLED.as_bytes()];
const SYNTAX_ERROR: &[u8] = b"42601";
const INVALID_CURSOR_NAME: &[u8] = b"34000";
const UNDEFINED_FUNCTION: &[u8] = b"42883";
/// A walsender of physical replication takes no SQL at all.
const NOT_SUPPORTED: &[u8] = b"0A000";
const LONGEST_RECORD: usize = 32;
