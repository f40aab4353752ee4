//! A statement's own words of where it comes from, as they are recorded: beside what
//! the kernel says of the process, never in its place.

use std::collections::BTreeMap;

use serde::Serialize;

use super::redact;
use crate::mask::content::{Demand, scan};
use crate::mask::names::{Named, classify};
use crate::model::TextKept;
use crate::sql::{Strings, Tags, TraceContext};

/// As in the JSON's `says`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Says {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Says {
    /// Where only the fingerprint is kept, nothing but the trace's numbers is.
    pub fn of(text: &str, strings: Strings, kept: TextKept) -> Option<Self> {
        let Tags { trace, others } = Tags::of(redact::cut(text, redact::LOOKED_AT), strings);
        let (trace, span) = trace.map(|it| (it.trace, it.span)).unzip();
        let others = others.into_iter().filter(|_| kept != TextKept::Fingerprint);
        let shown = |(name, value): (String, String)| {
            let value = withheld(&name, &value).unwrap_or(value);
            (name, value)
        };
        let says = Self { trace, span, tags: others.map(shown).collect() };
        (says != Self::default()).then_some(says)
    }
}

/// What is told of a tag in place of a value that is a secret or somebody's.
/// `None`: it is told itself.
pub(super) fn withheld(name: &str, value: &str) -> Option<String> {
    if redact::is_secret(name) || redact::is_secret(value) {
        return Some(HIDDEN.into());
    }
    if TraceContext::read(value).is_some() {
        return None;
    }
    let by_name = classify(&Named { column: name, ..Named::default() }).map(|(class, _)| class);
    let class = by_name.or_else(|| {
        let mut found = Vec::new();
        scan(value.as_bytes(), Demand::Check, &mut found);
        found.first().map(|found| found.class)
    });
    class.map(|class| format!("[{class}]"))
}

/// In place of a secret.
pub const HIDDEN: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "SELECT 1 /*action='show',api_key='hunter2',\
        traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',\
        url='postgres%3A%2F%2Fu%3Ahunter2%40h%2Fdb',route='%2Fcards%2F4111111111111111',\
        job='for%20ann%40shop.example',email='ann'*/ -- AND city = 'Bonn'";

    #[test]
    fn tags_are_kept_without_their_secrets_and_numbers_alone_where_no_text_is() {
        for kept in [TextKept::Full, TextKept::Redacted] {
            let says = Says::of(SAID, Strings::Standard, kept);
            let json = serde_json::to_value(&says).unwrap();
            assert_eq!(
                json,
                serde_json::json!({
                    "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
                    "span": "00f067aa0ba902b7",
                    "tags": {
                        "action": "show", "api_key": "***", "url": "***",
                        "route": "[credit_card]", "job": "[email]", "email": "[email]",
                    },
                })
            );
        }
        let says = Says::of(SAID, Strings::Standard, TextKept::Fingerprint).unwrap();
        assert_eq!(says.span.as_deref(), Some("00f067aa0ba902b7"));
        assert!(says.tags.is_empty());
        assert_eq!(Says::of("SELECT 1 -- why", Strings::Standard, TextKept::Full), None);
    }
}
