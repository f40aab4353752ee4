//! A client of our own: logs in with a password, asks a few questions, reads
//! bounded answers, and says goodbye. For auth_query and catalogs.
//!
//! Invariants: nothing of the question's parameters stands in its text; rows
//! and their bytes are bounded; a server that was to prove itself is believed
//! only when it has.
//!
//! Never: I/O, somebody else's session, more than one question at a time.

use super::backend::{Authentication, Backend};
use super::error::{Fault, Side, WireError};
use super::fields::{Field, Fields};
use super::framer::Frame;
use super::frontend::{Bind, Execute, Frontend, Parse};
use super::lists::{Formats16, Types32, Values};
use super::login::{Answering, Denial, Leg, Method, Needs, Unanswered};
use super::opening::{Startup, Version};
use super::read::Reader;
use super::scram::{Derivation, Nonce, Password, Salted, Verifier};
use crate::wire::limits::Limits;

/// As whom, and where to.
#[derive(Debug)]
pub struct Wish<'w> {
    pub role: &'w str,
    pub password: Password,
    pub database: &'w str,
    /// The connection's own.
    pub leg: Leg,
    pub nonce: Nonce,
    pub most: Most,
}

/// A session of our own.
#[derive(Debug)]
pub struct Errand {
    answering: Option<Answering>,
    limits: Limits,
    most: Most,
    state: State,
    method: Method,
    verifier: Option<Verifier>,
}

/// The most that an answer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    pub rows: usize,
    pub bytes: usize,
}

#[derive(Debug)]
enum State {
    Login,
    /// A password is being hashed.
    Deriving,
    /// Let in, and not ready yet.
    Accepted,
    Idle,
    Asked {
        rows: Rows,
        bytes: usize,
        failed: Option<Refused>,
    },
    Over,
}

/// Text values.
pub type Rows = Vec<Vec<Option<Box<[u8]>>>>;

/// What is next.
#[derive(Debug)]
#[must_use]
pub enum Errands {
    Going,
    /// It is to be run, and [`Errand::derived`] to be called.
    Derive(Derivation),
    /// Logged in: [`Errand::ask`], or [`Errand::end`].
    Ready,
    /// The answer, or the server's error. It may be asked again.
    Answered(Result<Rows, Refused>),
    /// No login.
    Refused(Refused),
    Denied(Denial),
}

/// The server's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({sqlstate})")]
pub struct Refused {
    pub sqlstate: String,
    pub message: String,
}

impl Refused {
    fn of(fields: Fields<'_>) -> Self {
        let text =
            |code| String::from_utf8_lossy(fields.field(code).unwrap_or_default()).into_owned();
        Self { sqlstate: text(Field::SQLSTATE), message: text(Field::MESSAGE) }
    }
}

impl Errand {
    /// Begins on a fresh connection, behind TLS where there is any.
    pub fn begin(wish: Wish<'_>, limits: &Limits, out: &mut Vec<u8>) -> Result<Self, WireError> {
        let Wish { role, password, database, leg, nonce, most } = wish;
        let parameters = [
            ("user", role),
            ("database", database),
            ("application_name", "tidegate"),
            ("client_encoding", "UTF8"),
        ];
        let parameters = parameters.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Startup::write(Version { major: 3, minor: 0 }, parameters, out).map_err(inside)?;
        let answering = Answering::new(role.as_bytes(), password, leg, nonce, limits.iterations);
        Ok(Self {
            answering: Some(answering),
            limits: limits.clone(),
            most,
            state: State::Login,
            method: Method::None,
            verifier: None,
        })
    }

    /// How the server had it proven.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What the server keeps of the password, where it took SCRAM and has
    /// proven itself.
    pub fn take_verifier(&mut self) -> Option<Verifier> {
        self.verifier.take()
    }

    pub fn server(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<Errands, WireError> {
        let message = Backend::decode(frame.tag, frame.body(), &self.limits).map_err(of_server)?;
        let unexpected = || {
            of_server(Fault::UnexpectedAnswer {
                answer: super::backend::name(frame.tag),
                request: "an errand",
            })
        };
        // What may come at any time.
        match message {
            Backend::NoticeResponse(_)
            | Backend::ParameterStatus(_)
            | Backend::NotificationResponse(_) => return Ok(Errands::Going),
            Backend::ErrorResponse(fields) if fields.is_fatal() => {
                self.state = State::Over;
                return Ok(Errands::Refused(Refused::of(fields)));
            }
            _ => {}
        }
        match (&mut self.state, message) {
            (State::Login, Backend::Authentication(Authentication::Ok)) => {
                let Some(answering) = self.answering.take() else { return Err(unexpected()) };
                if !answering.may_be_accepted() {
                    return Err(of_server(Fault::Unasked));
                }
                self.method = answering.method();
                self.verifier = answering.into_verifier();
                self.state = State::Accepted;
                Ok(Errands::Going)
            }
            (State::Login, Backend::Authentication(asked)) => self.asked(asked, out),
            (State::Login, Backend::NegotiateProtocolVersion(_)) => Ok(Errands::Going),
            (State::Login | State::Accepted, Backend::ErrorResponse(fields)) => {
                self.state = State::Over;
                Ok(Errands::Refused(Refused::of(fields)))
            }
            (State::Accepted, Backend::BackendKeyData(_)) => Ok(Errands::Going),
            (State::Accepted, Backend::ReadyForQuery(_)) => {
                self.state = State::Idle;
                Ok(Errands::Ready)
            }
            (
                State::Asked { .. },
                Backend::ParseComplete
                | Backend::BindComplete
                | Backend::CommandComplete(_)
                | Backend::EmptyQueryResponse,
            ) => Ok(Errands::Going),
            (State::Asked { rows, bytes, .. }, Backend::DataRow(values)) => {
                *bytes = bytes.saturating_add(frame.bytes.len());
                let limit = |what, limit| of_server(Fault::Limit { what, limit });
                if *bytes > self.most.bytes {
                    return Err(limit("an errand's answer is too long", self.most.bytes));
                }
                if rows.len() >= self.most.rows {
                    return Err(limit("an errand's answer has too many rows", self.most.rows));
                }
                rows.push(values.iter().map(|value| value.map(Box::from)).collect());
                Ok(Errands::Going)
            }
            (State::Asked { failed, .. }, Backend::ErrorResponse(fields)) => {
                *failed = Some(Refused::of(fields));
                Ok(Errands::Going)
            }
            (State::Asked { rows, failed, .. }, Backend::ReadyForQuery(_)) => {
                let answer = match failed.take() {
                    Some(refused) => Err(refused),
                    None => Ok(std::mem::take(rows)),
                };
                self.state = State::Idle;
                Ok(Errands::Answered(answer))
            }
            _ => Err(unexpected()),
        }
    }

    fn asked(
        &mut self,
        asked: Authentication<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Errands, WireError> {
        let Some(answering) = &mut self.answering else {
            return Err(of_server(Fault::Unasked));
        };
        match answering.asked(asked, out) {
            Ok(Needs::Nothing) => Ok(Errands::Going),
            Ok(Needs::Derived(derivation)) => {
                self.state = State::Deriving;
                Ok(Errands::Derive(derivation))
            }
            Err(Unanswered::Wire(fault)) => Err(of_server(fault)),
            Err(Unanswered::Denied(denial)) => {
                self.state = State::Over;
                Ok(Errands::Denied(denial))
            }
        }
    }

    pub fn derived(&mut self, salted: &Salted, out: &mut Vec<u8>) -> Result<(), WireError> {
        let (State::Deriving, Some(answering)) = (&self.state, &mut self.answering) else {
            return Err(inside(Fault::Undecided));
        };
        answering.derived(salted, out).map_err(inside)?;
        self.state = State::Login;
        Ok(())
    }

    /// Asks one question with text parameters, whose types the server finds.
    pub fn ask(
        &mut self,
        query: &str,
        parameters: &[Option<&[u8]>],
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        if !matches!(self.state, State::Idle) {
            return Err(inside(Fault::Undecided));
        }
        let types = Types32::default();
        let parse = Parse { name: b"", query: query.as_bytes(), types };
        Frontend::Parse(parse).encode(out).map_err(inside)?;
        let values = values(parameters).map_err(inside)?;
        let bind = Bind {
            portal: b"",
            statement: b"",
            formats: Formats16::default(),
            parameters: Values::read(&mut Reader::new("Bind", &values), &self.limits)
                .map_err(inside)?,
            result_formats: Formats16::default(),
        };
        Frontend::Bind(bind).encode(out).map_err(inside)?;
        Frontend::Execute(Execute { portal: b"", rows: 0 }).encode(out).map_err(inside)?;
        Frontend::Sync.encode(out).map_err(inside)?;
        self.state = State::Asked { rows: Vec::new(), bytes: 0, failed: None };
        Ok(())
    }

    /// Says goodbye; the connection can be closed when it is written.
    pub fn end(mut self, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.state = State::Over;
        Frontend::Terminate.encode(out).map_err(inside)
    }
}

/// As a Bind has them.
fn values(parameters: &[Option<&[u8]>]) -> Result<Vec<u8>, Fault> {
    let long = |_| Fault::Unencodable { message: "Bind", what: "it is too long" };
    let mut values = u16::try_from(parameters.len()).map_err(long)?.to_be_bytes().to_vec();
    for parameter in parameters {
        match parameter {
            None => values.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                let length = i32::try_from(value.len()).map_err(long)?;
                values.extend_from_slice(&length.to_be_bytes());
                values.extend_from_slice(value);
            }
        }
    }
    Ok(values)
}

fn of_server(fault: Fault) -> WireError {
    fault.at(Side::Server)
}

fn inside(fault: Fault) -> WireError {
    fault.at(Side::Inside)
}

#[cfg(test)]
mod tests;
