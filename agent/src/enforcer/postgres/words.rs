//! What clients are told when their session can't go on.

use crate::wire::postgres::{Field, write_error};

/// The end of a session, in the client's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Fatal {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn encode(&self) -> Vec<u8> {
        let fields = [
            Some((Field::SEVERITY, "FATAL")),
            Some((Field::PLAIN_SEVERITY, "FATAL")),
            Some((Field::SQLSTATE, self.sqlstate)),
            Some((Field::MESSAGE, self.message.as_str())),
            self.detail.as_deref().map(|detail| (Field::DETAIL, detail)),
            self.hint.as_deref().map(|hint| (Field::HINT, hint)),
        ];
        let fields =
            fields.into_iter().flatten().map(|(code, text)| Field { code, text: text.as_bytes() });
        let mut out = Vec::new();
        // Only a text of more than a gigabyte can't be written.
        let _ = write_error(fields, &mut out);
        out
    }
}

pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub const PROTOCOL_VIOLATION: &str = "08P01";
pub const CONNECTION_FAILURE: &str = "08006";
pub const ADMIN_SHUTDOWN: &str = "57P01";
