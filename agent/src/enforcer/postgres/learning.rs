//! Learns a database's catalog within a client's session, between its requests:
//! with its privileges, and without the client seeing anything of it.
//!
//! What the server says meanwhile on its own goes to the client as always. A
//! question that fails leaves that part as it was, and what isn't known is scanned.

use std::sync::Arc;
use std::time::Instant;

use crate::enforcer::catalogs::{Catalogs, Identity, Known};
use crate::mask::learn::{Learner, Question};
use crate::wire::limits::Limits;
use crate::wire::postgres::{
    Backend, Bind, Close, Execute, Fault, Field, Formats16, Frame, Frontend, Object, Parse, Side,
    Types32, Values, WireError,
};

/// A catalog that is being learnt.
#[derive(Debug)]
pub struct Learning {
    /// How far: the identity, then each of [`Question::ALL`].
    asked: Asked,
    /// What is known of the identity before the server has said its own.
    identity: Identity,
    learner: Learner,
    /// The client has an unnamed statement at the server: a simple query would
    /// drop it.
    careful: bool,
    /// For somebody who mustn't go on with nothing.
    masked: bool,
    began: Instant,
    found: Option<(Arc<Known>, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Identity,
    /// All questions were sent; this one is being answered.
    Catalog(usize),
}

impl Learning {
    pub fn begin(
        identity: Identity,
        masked: bool,
        careful: bool,
        out: &mut Vec<u8>,
    ) -> Result<Self, WireError> {
        ask(IDENTITY, careful, out)?;
        Ok(Self {
            asked: Asked::Identity,
            identity,
            learner: Learner::default(),
            careful,
            masked,
            began: Instant::now(),
            found: None,
        })
    }

    /// Whether a frame is an answer to it: the server may speak on its own, or
    /// end the session.
    pub fn takes(frame: &Frame<'_>, limits: &Limits) -> bool {
        match frame.tag {
            b'A' | b'N' | b'S' => false,
            b'E' => !matches!(
                Backend::decode(frame.tag, frame.body(), limits),
                Ok(Backend::ErrorResponse(fields)) if fields.is_fatal()
            ),
            _ => true,
        }
    }

    /// Takes an answer in. `Some`: it is over, and whether nothing is missing.
    pub fn take(
        &mut self,
        frame: &Frame<'_>,
        limits: &Limits,
        catalogs: &Catalogs,
        out: &mut Vec<u8>,
    ) -> Result<Option<(Arc<Known>, bool)>, WireError> {
        let message = Backend::decode(frame.tag, frame.body(), limits).map_err(of_server)?;
        match message {
            Backend::DataRow(values) => match self.asked {
                Asked::Identity => {
                    if let Some(Some(system)) = values.iter().next() {
                        self.identity.system = String::from_utf8_lossy(system).into();
                    }
                }
                Asked::Catalog(place) => {
                    if let Some(question) = Question::ALL.get(place) {
                        self.learner.row(*question, values.iter());
                    }
                }
            },
            Backend::ErrorResponse(fields) => {
                let why = String::from_utf8_lossy(fields.field(Field::MESSAGE).unwrap_or_default());
                tracing::debug!("a catalog can't be learnt: {why}");
                // Who doesn't know the server's number is told by the rest.
                if let Asked::Catalog(place) = self.asked
                    && let Some(question) = Question::ALL.get(place)
                {
                    self.learner.fail(*question);
                }
            }
            Backend::ReadyForQuery(_) => return self.next(catalogs, out),
            _ => {}
        }
        Ok(None)
    }

    fn next(
        &mut self,
        catalogs: &Catalogs,
        out: &mut Vec<u8>,
    ) -> Result<Option<(Arc<Known>, bool)>, WireError> {
        match self.asked {
            Asked::Identity => {
                let known = catalogs.of(self.identity.clone());
                if !known.is_due(self.masked) {
                    return Ok(Some((known, true)));
                }
                let begun = known.begin();
                self.found = Some((known, begun));
                for question in Question::ALL {
                    ask(question.sql(), self.careful, out)?;
                }
                self.asked = Asked::Catalog(0);
                Ok(None)
            }
            Asked::Catalog(place) if place + 1 < Question::ALL.len() => {
                self.asked = Asked::Catalog(place + 1);
                Ok(None)
            }
            Asked::Catalog(_) => {
                let (known, begun) = self.found.take().unwrap_or_default();
                let learner = std::mem::take(&mut self.learner);
                let whole = learner.is_whole();
                known.update(|catalog| learner.finish(catalog));
                if whole {
                    known.end(begun, self.began.elapsed());
                } else {
                    known.fail();
                }
                Ok(Some((known, whole)))
            }
        }
    }
}

/// One question, with an answer that ends in ReadyForQuery.
fn ask(text: &str, careful: bool, out: &mut Vec<u8>) -> Result<(), WireError> {
    let all: &[Frontend<'_>] = if careful {
        let parse = Parse { name: OURS, query: text.as_bytes(), types: Types32::default() };
        let bind = Bind {
            portal: OURS,
            statement: OURS,
            formats: Formats16::default(),
            parameters: Values::default(),
            result_formats: Formats16::default(),
        };
        &[
            Frontend::Parse(parse),
            Frontend::Bind(bind),
            Frontend::Execute(Execute { portal: OURS, rows: 0 }),
            Frontend::Close(Close(Object::Portal(OURS))),
            Frontend::Close(Close(Object::Statement(OURS))),
            Frontend::Sync,
        ]
    } else {
        &[Frontend::Query(text.as_bytes())]
    };
    for message in all {
        message.encode(out).map_err(|fault| WireError::new(Side::Inside, fault))?;
    }
    Ok(())
}

fn of_server(fault: Fault) -> WireError {
    WireError::new(Side::Server, fault)
}

/// The name of our statement and portal, for as long as a question takes.
const OURS: &[u8] = b"tidegate";
const IDENTITY: &str = "SELECT c.system_identifier, d.oid FROM pg_catalog.pg_control_system() AS c, \
     pg_catalog.pg_database AS d \
     WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";
