//! What a client is told when tidegate, and not the server, ends a login.

use super::super::error::Fault;
use super::super::fields::{Field, write_error};
use super::super::scram::server::Rejection;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// GSS, SSPI and what else is bound to the server in its own way.
    Method(&'static str),
    /// A login is given, and the server wants what a password can't answer.
    Unanswerable(&'static str),
    /// The server would have the password in clear over a leg without TLS.
    PlainPassword,
    /// The client binds to its TLS session with us: the server would refuse it.
    /// Only the client's own proof may pass.
    Bound,
    /// … and a password in clear is forbidden.
    ClearForbidden,
    NoVerifier,
    BrokenVerifier,
    StaleVerifier,
    /// The server offers nothing that could be passed on.
    NothingOffered,
    /// In PostgreSQL's own words.
    Rejected(Rejection),
    WrongPassword,
}

impl Denial {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.sqlstate,
            Self::WrongPassword => "28P01",
            _ => "28000",
        }
    }

    /// The message as the client sees it, for this role.
    pub fn message(&self, role: &str) -> String {
        match self {
            Self::Rejected(rejection) => rejection.message.into(),
            Self::WrongPassword => format!("password authentication failed for user \"{role}\""),
            Self::Method(method) => {
                format!("tidegate can't carry a login by {method} for user \"{role}\"")
            }
            Self::Unanswerable(method) => {
                format!("tidegate can't log in user \"{role}\": the server asks for {method}")
            }
            Self::PlainPassword => format!(
                "tidegate can't log in user \"{role}\": the server asks for the password in \
                 clear, without TLS"
            ),
            Self::NothingOffered => format!(
                "tidegate can't log in user \"{role}\": the server offers nothing that works \
                 without TLS at the client"
            ),
            Self::NoVerifier => format!("tidegate has no verifier for user \"{role}\""),
            Self::BrokenVerifier => {
                format!("tidegate can't read its verifier for user \"{role}\"")
            }
            Self::StaleVerifier => format!(
                "tidegate's verifier for user \"{role}\" doesn't fit any more: the password was \
                 changed at the server"
            ),
            Self::Bound | Self::ClearForbidden => format!(
                "tidegate can't log in user \"{role}\": the server binds the login to its own TLS \
                 session (SCRAM-SHA-256-PLUS)"
            ),
        }
    }

    pub fn hint(&self, role: &str) -> Option<String> {
        let add = format!("tidegate login add SERVER {role}");
        Some(match self {
            Self::Rejected(_) | Self::WrongPassword => return None,
            Self::Method(_) => "Let the server take scram-sha-256 from this host, or name the \
                                program in `passthrough` in tidegate.toml."
                .into(),
            Self::Unanswerable(_) | Self::PlainPassword => {
                "Let the server take scram-sha-256 from this host (pg_hba.conf), or take out \
                 `login` in tidegate.toml."
                    .into()
            }
            Self::NothingOffered => "Connect with sslmode=require or above.".into(),
            Self::NoVerifier => {
                format!("Run `{add}` on this host, or set `auth = \"auto\"` in tidegate.toml.")
            }
            Self::BrokenVerifier | Self::StaleVerifier => {
                format!("Run `{add}` on this host again.")
            }
            Self::Bound => format!(
                "Run `{add}` on this host, set `auth = \"auto\"` in tidegate.toml, or connect \
                 with channel_binding=disable."
            ),
            Self::ClearForbidden => format!(
                "Run `{add}` on this host, take out `cleartext = \"forbid\"` in tidegate.toml, or \
                 connect with channel_binding=disable."
            ),
        })
    }

    pub(super) fn write(&self, role: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let role = String::from_utf8_lossy(role);
        let message = self.message(&role);
        let hint = self.hint(&role);
        let detail = match self {
            Self::Rejected(rejection) => rejection.detail,
            _ => None,
        };
        let texts = [
            (Field::SEVERITY, Some("FATAL")),
            (Field::PLAIN_SEVERITY, Some("FATAL")),
            (Field::SQLSTATE, Some(self.sqlstate())),
            (Field::MESSAGE, Some(message.as_str())),
            (Field::DETAIL, detail),
            (Field::HINT, hint.as_deref()),
        ];
        let fields = texts.iter().filter_map(|(code, text)| {
            Some(Field { code: *code, text: text.as_ref()?.as_bytes() })
        });
        write_error(fields, out)
    }
}
