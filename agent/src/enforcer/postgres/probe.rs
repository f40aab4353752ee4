//! A question of our own, put into a session while it rests: which process serves it,
//! by whose rights, for how long, and how does it look for names? And if that process
//! isn't the session's own, does it know what is prepared by the name that it was given?
//!
//! Asked only where something hangs on the answer (a temporary table was created, a
//! prepared statement is to be used again, a policy asks for the role, a statement is to
//! wait), and in a way that leaves nothing behind: named objects that no client has,
//! closed again, so that the client's unnamed ones stay as they are. One that failed may
//! have left its statement, also at a process that others use by now: so it is closed
//! before as well. The client sees none of it.

use crate::wire::limits::Limits;
use crate::wire::postgres::{Backend, Frame};

/// One that is under way.
#[derive(Debug)]
pub struct Probe {
    about: About,
    row: Option<Told>,
    /// Something of the answer has come that isn't its end.
    begun: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Process,
    /// The same, and of which server it is: a session is said to keep it.
    Kept,
    /// The question itself is prepared by a name: is it there by that name?
    Names,
    /// Has SQL prepared any statement? Code that ran may have done so under the name of
    /// one that the client has.
    Prepared,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Process(Held),
    Names { kept: bool },
    Prepared { by_sql: bool },
}

/// What a process of the server's says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub process: u32,
    pub search_path: Box<str>,
    /// `current_user`.
    pub user: Box<str>,
    pub statement_timeout: Box<str>,
    /// When its server was started, where that was asked.
    pub since: Option<Box<str>>,
}

/// What a frame of the server's is while a probe is under way.
#[derive(Debug, PartialEq, Eq)]
pub enum Probed {
    /// Part of the answer.
    Ours,
    /// It came on its own, and is the client's.
    Theirs,
    /// The answer's end, and what was told.
    Over(Option<Told>),
}

impl Probe {
    pub fn new(about: About) -> Self {
        Self { about, row: None, begun: false }
    }

    /// What is to be sent.
    pub fn question(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let name = [NAME, b"\0"].concat();
        let text = match self.about {
            About::Process => PROCESS.to_vec(),
            About::Kept => [PROCESS, SINCE].concat(),
            About::Names => NAMES.to_vec(),
            About::Prepared => PREPARED.to_vec(),
        };
        let query = [name.as_slice(), &text, b"\0", &[0, 0]].concat();
        let bind = [name.as_slice(), &name, &[0, 0], &[0, 0], &[0, 0]].concat();
        let execute = [name.as_slice(), &[0; 4]].concat();
        let (portal, statement) = ([b"P", name.as_slice()].concat(), [b"S", &*name].concat());
        let messages: [(u8, &[u8]); 7] = [
            (b'C', &statement),
            (b'P', &query),
            (b'B', &bind),
            (b'E', &execute),
            (b'C', &portal),
            (b'C', &statement),
            (b'S', &[]),
        ];
        for (tag, body) in messages {
            out.push(tag);
            let length = u32::try_from(body.len() + 4).unwrap_or_default();
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(body);
        }
        out
    }

    pub fn about(&self) -> About {
        self.about
    }

    pub fn take(&mut self, frame: &Frame<'_>, limits: &Limits) -> Probed {
        let message = || Backend::decode(frame.tag, frame.body(), limits);
        match frame.tag {
            b'A' | b'N' | b'S' => return Probed::Theirs,
            // Of a request of which nobody knew whether such an end comes.
            b'Z' if !self.begun => return Probed::Theirs,
            b'Z' => {
                return match message() {
                    Ok(Backend::ReadyForQuery(_)) => Probed::Over(self.row.take()),
                    _ => Probed::Theirs,
                };
            }
            b'D' => self.row = told(self.about, frame.body()),
            b'E' => match message() {
                // The session's end, not the answer's.
                Ok(Backend::ErrorResponse(fields)) if fields.is_fatal() => return Probed::Theirs,
                _ => self.row = None,
            },
            _ => {}
        }
        self.begun = true;
        Probed::Ours
    }
}

/// A row of texts: four, five, or one.
fn told(about: About, row: &[u8]) -> Option<Told> {
    let (count, rest) = row.split_first_chunk::<2>()?;
    let (first, rest) = value(rest)?;
    match (about, u16::from_be_bytes(*count)) {
        (About::Process, 4) | (About::Kept, 5) => {
            let (search_path, rest) = value(rest)?;
            let (user, rest) = value(rest)?;
            let (statement_timeout, rest) = value(rest)?;
            let since = match about {
                About::Kept => Some(value(rest)?.0.into()),
                _ => None,
            };
            Some(Told::Process(Held {
                process: first.parse().ok()?,
                search_path: search_path.into(),
                user: user.into(),
                statement_timeout: statement_timeout.into(),
                since,
            }))
        }
        (About::Names, 1) => Some(Told::Names { kept: first.parse().ok()? }),
        (About::Prepared, 1) => Some(Told::Prepared { by_sql: first.parse().ok()? }),
        _ => None,
    }
}

fn value(row: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = row.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((str::from_utf8(value).ok()?, rest))
}

const NAME: &[u8] = b"tidegate asks";
const PROCESS: &[u8] = b"SELECT pg_catalog.pg_backend_pid()::pg_catalog.text, \
    pg_catalog.current_setting('search_path'), CURRENT_USER::pg_catalog.text, \
    pg_catalog.current_setting('statement_timeout')";
/// In whole microseconds: a time's text hangs on the session's settings.
const SINCE: &[u8] = b", (pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) \
    OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8::pg_catalog.text";
const NAMES: &[u8] = b"SELECT (EXISTS (SELECT FROM pg_catalog.pg_prepared_statements \
    WHERE name OPERATOR(pg_catalog.=) 'tidegate asks'))::pg_catalog.text";
const PREPARED: &[u8] = b"SELECT (EXISTS (SELECT FROM pg_catalog.pg_prepared_statements \
    WHERE from_sql))::pg_catalog.text";

#[cfg(test)]
mod tests;
