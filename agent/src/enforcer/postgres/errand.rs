//! Asks a server for a role's verifier, or for what a database's tables are, or to
//! cancel a session's statement, over a connection of our own to it.
//!
//! ```text
//! errand ⇄ End(TLS, frames) ⇄ the destination's server
//! ```
//!
//! Driven by readiness, like a session. It is to the server what the session is
//! for which it asks: the same name, the same certificate, verified by the same
//! settings.
//!
//! Never: plaintext where the session that asks has TLS upstream; our password,
//! in clear or as MD5 has it, to a server that isn't verified; a verifier in a
//! log.

use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use super::end::End;
use super::learning::IDENTITY;
use super::opening::towards;
use super::reading::Reading;
use crate::enforcer::catalogs::{Identity, Known, certificate_hash};
use crate::enforcer::means::{Destination, Means};
use crate::enforcer::relay::{Buffers, Io, Ready};
use crate::enforcer::tls::{Hello, TlsError, Verified, VerifyRefused, verify};
use crate::model::{AuthQuery, Secret, Verify};
use crate::wire::postgres::errand::{self, Errands, Most, Refused, Wish};
use crate::wire::postgres::login::{Chance, Leg};
use crate::wire::postgres::scram::{Derivation, Password, Salted, Verifier, end_point_hash};
use crate::wire::postgres::session::CancelKey;
use crate::wire::postgres::{
    Authentication, Backend, CancelRequest, Fault, Framer, Side, TLS_REQUEST, Tags, TlsAnswer,
    WireError, write_cancel, write_request,
};

/// What is wanted, and of which server. Who asks for the same gets the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The destination's name.
    pub rule: String,
    pub address: SocketAddr,
    /// The session that asks has TLS upstream.
    pub tls: bool,
    /// What its client said: a server may be another one for each name.
    pub hello: Hello,
    pub sought: Sought,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sought {
    /// A role's.
    Verifier(Box<[u8]>),
    /// A database's.
    Catalog(Box<str>),
    /// Nothing: what this session runs is to end.
    Cancel(CancelKey),
}

impl Sought {
    /// The setting that says as whom we ask.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Verifier(_) => "auth_query",
            Self::Catalog(_) => "catalog",
            Self::Cancel(_) => "upstream_tls",
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            Self::Verifier(name) => name,
            Self::Catalog(name) => name.as_bytes(),
            Self::Cancel(_) => &[],
        }
    }

    /// No server has such a name: what we say to it is UTF-8.
    pub fn is_unspeakable(&self) -> bool {
        str::from_utf8(self.name()).is_err()
    }
}

#[derive(Clone, Debug)]
pub struct Question {
    pub subject: Subject,
    pub destination: Arc<Destination>,
    /// What was known doesn't fit any more.
    pub again: bool,
}

/// A verifier as the server keeps it.
#[derive(Clone)]
pub struct Kept(Zeroizing<Vec<u8>>);

/// `None`: the role has none.
pub type Found = Option<Kept>;

#[derive(Clone, Debug)]
pub enum Brought {
    Verifier(Found),
    /// It is known now. Nothing: not all of it.
    Catalog(Option<Arc<Known>>),
    /// The server has taken it.
    Cancelled,
}

impl Brought {
    /// The answer of one that failed.
    pub fn nothing(sought: &Sought) -> Self {
        match sought {
            Sought::Verifier(_) => Self::Verifier(None),
            Sought::Catalog(_) => Self::Catalog(None),
            Sought::Cancel(_) => Self::Cancelled,
        }
    }
}

impl Kept {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

/// One that is under way.
#[derive(Debug)]
pub struct Errand<I> {
    end: End<I>,
    subject: Subject,
    destination: Arc<Destination>,
    stage: Stage,
    /// For a catalog, once we are logged in.
    asked: Option<Asked>,
    /// Why our password isn't shown to this server.
    unverified: Option<String>,
    /// Bytes that were read from it.
    received: usize,
}

/// What a server is being asked about a database.
#[derive(Debug)]
enum Asked {
    /// Which it is.
    Identity,
    Catalog(Box<Reading>),
}

#[derive(Debug)]
enum Stage {
    /// TLS was asked for.
    Asked,
    /// Its handshake is under way.
    Shaking,
    Speaking(Box<errand::Errand>),
    /// Our password is being hashed.
    Deriving(Box<errand::Errand>),
    /// The server ends the connection when it has done what it was told.
    Told,
    Over,
}

/// What came of a turn.
#[derive(Debug)]
#[must_use]
pub enum Moved {
    /// To be told when the server is ready.
    Wait,
    /// It is to be run, and [`Errand::derived`] to be called.
    Derive(Derivation),
    /// The server has said goodbye, or was told so.
    Found(Brought),
}

#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("its TLS failed: {0}")]
    Tls(TlsError),
    #[error("the server closed the connection; its own log says why")]
    Closed,
    #[error(
        "the server speaks no TLS with us; it did with the client, so look at what stands between"
    )]
    NoTls,
    #[error("the server is not talked to: {0}")]
    Unverified(String),
    #[error(
        "the server asks for our password itself, and is not verified: {why}; or let it take \
         scram-sha-256 from `{setting}.role`"
    )]
    InClear { why: String, setting: &'static str },
    #[error(
        "the server does not let `{role}` into `{database}`: {refused}; see `{setting}.role` and \
         `{setting}.password_file`"
    )]
    Login { role: String, database: String, refused: Refused, setting: &'static str },
    #[error("{why}; see `{setting}.role`")]
    Denied { why: String, setting: &'static str },
    #[error("`auth_query.query` failed: {0}; may `auth_query.role` run it?")]
    Query(Refused),
    #[error(
        "the last column of what `auth_query.query` gives is no verifier as `pg_authid.rolpassword` \
         has it"
    )]
    NoVerifier,
    #[error("the terms have no `{0}` any more")]
    NoAccount(&'static str),
    #[error("the system has no randomness for a login")]
    NoRandomness,
}

impl<I> Errand<I> {
    /// Whether the server may have answered already: what changed since is missing.
    pub fn has_asked(&self) -> bool {
        match self.subject.sought {
            Sought::Verifier(_) => true,
            Sought::Catalog(_) => matches!(self.asked, Some(Asked::Catalog(_))),
            Sought::Cancel(_) => matches!(self.stage, Stage::Told),
        }
    }
}

impl<I: Io> Errand<I> {
    /// Begins on a connected socket.
    pub fn begin(
        io: I,
        subject: Subject,
        destination: Arc<Destination>,
        means: &Means,
    ) -> Result<Self, ErrandError> {
        let mut framer = Framer::new(Side::Server, Arc::clone(&means.shared.common.limits));
        // Rows are read whole; how long they are is bounded here.
        framer.allow_pieces(Tags::default());
        let mut errand = Self {
            end: End::new(io, framer),
            subject,
            destination,
            stage: Stage::Asked,
            asked: None,
            unverified: None,
            received: 0,
        };
        if errand.subject.tls || !matches!(errand.subject.sought, Sought::Cancel(_)) {
            let mut request = Vec::new();
            write_request(TLS_REQUEST, &mut request).map_err(inside)?;
            errand.end.say(&request).map_err(ErrandError::Tls)?;
        } else {
            errand.cancel()?;
        }
        Ok(errand)
    }

    /// Says that the session's statement is to be cancelled, if that is what is sought.
    fn cancel(&mut self) -> Result<bool, ErrandError> {
        let Sought::Cancel(key) = &self.subject.sought else { return Ok(false) };
        let cancel = CancelRequest { process: key.process, secret: &key.secret };
        let mut request = Vec::new();
        write_cancel(&cancel, &mut request).map_err(inside)?;
        self.end.say(&request).map_err(ErrandError::Tls)?;
        self.stage = Stage::Told;
        Ok(true)
    }

    pub fn notice(&mut self, ready: Ready) {
        self.end.leg.notice(ready);
    }

    /// One turn. After [`Moved::Found`] or an error it is to be dropped.
    pub fn advance(&mut self, means: &Means, buffers: &mut Buffers) -> Result<Moved, ErrandError> {
        let moved = self.go(means, buffers);
        self.end.rest(buffers);
        moved
    }

    fn go(&mut self, means: &Means, buffers: &mut Buffers) -> Result<Moved, ErrandError> {
        loop {
            self.end.flush();
            match self.step(means)? {
                Some(Moved::Wait) => continue,
                Some(moved) => return Ok(moved),
                None => {}
            }
            if matches!(self.stage, Stage::Deriving(_)) {
                return Ok(Moved::Wait);
            }
            if self.received > self.longest() {
                return Err(too_long(self.longest()).into());
            }
            let read = if self.end.leg.readable && !self.end.has_ended() {
                match (self.end.read(buffers), &self.stage) {
                    (Ok(read), _) => read,
                    // However it ends the connection.
                    (Err(_), Stage::Told) => return Ok(Moved::Found(Brought::Cancelled)),
                    (Err(error), _) => return Err(ErrandError::Tls(error)),
                }
            } else {
                0
            };
            self.received = self.received.saturating_add(read);
            if read == 0 {
                let gone = self.end.has_ended() || self.end.leg.broken;
                return match self.stage {
                    _ if !gone => Ok(Moved::Wait),
                    Stage::Told if self.end.flush() => Ok(Moved::Found(Brought::Cancelled)),
                    _ => Err(ErrandError::Closed),
                };
            }
        }
    }

    /// The password is hashed. To be followed by a turn.
    pub fn derived(&mut self, salted: &Salted) -> Result<(), ErrandError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Deriving(mut errand) => {
                let mut out = Zeroizing::new(Vec::new());
                errand.derived(salted, &mut out)?;
                self.stage = Stage::Speaking(errand);
                self.end.say(&out).map_err(ErrandError::Tls)
            }
            other => {
                self.stage = other;
                Ok(())
            }
        }
    }

    /// One step with what lies in the buffer; `Some(Wait)`: there may be more.
    fn step(&mut self, means: &Means) -> Result<Option<Moved>, ErrandError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asked => self.answered(means),
            Stage::Shaking => {
                if !self.end.tls.as_ref().is_some_and(|tls| tls.is_ready()) {
                    self.stage = Stage::Shaking;
                    return Ok(None);
                }
                self.verify()?;
                if self.cancel()? {
                    return Ok(Some(Moved::Wait));
                }
                self.log_in(means).map(Some)
            }
            Stage::Speaking(errand) => self.speak(errand, means),
            other => {
                self.stage = other;
                Ok(None)
            }
        }
    }

    /// The answer to our request for TLS.
    fn answered(&mut self, means: &Means) -> Result<Option<Moved>, ErrandError> {
        match self.end.framer.tls_answer()? {
            None => {
                self.stage = Stage::Asked;
                Ok(None)
            }
            Some(TlsAnswer::Tls) => {
                self.end.framer.consume_framed();
                let address = self.subject.address.ip();
                let tls = towards(&self.destination, address, &self.subject.hello)
                    .map_err(ErrandError::Tls)?;
                self.end.secure(tls).map_err(ErrandError::Tls)?;
                self.stage = Stage::Shaking;
                Ok(Some(Moved::Wait))
            }
            Some(TlsAnswer::No) if !self.subject.tls => {
                self.end.framer.consume_framed();
                self.unverified = Some("it speaks no TLS".into());
                self.log_in(means).map(Some)
            }
            Some(_) => Err(ErrandError::NoTls),
        }
    }

    fn verify(&mut self) -> Result<(), ErrandError> {
        let chain = self.end.tls.as_ref().and_then(|tls| tls.peer_chain()).unwrap_or_default();
        let mode = self.destination.verify();
        let configured = self.destination.terms.tls.server_name.as_deref();
        let asked = self.subject.hello.name.as_deref();
        match verify(chain, &self.destination.roots, mode, configured, asked) {
            Ok(Verified::Not(why)) if mode != Verify::None => self.unverified = Some(why),
            Ok(_) => {}
            Err(VerifyRefused(why)) => return Err(ErrandError::Unverified(why)),
        }
        Ok(())
    }

    /// All that the server may say.
    fn longest(&self) -> usize {
        match self.subject.sought {
            Sought::Verifier(_) | Sought::Cancel(_) => LONGEST,
            Sought::Catalog(_) => LONGEST_CATALOG,
        }
    }

    fn query(&self) -> Result<&AuthQuery, ErrandError> {
        self.destination.terms.auth.query.as_ref().ok_or(ErrandError::NoAccount("auth_query"))
    }

    /// Who we are, with what password, in which database.
    fn account(&self) -> Result<(&str, &Secret, &str), ErrandError> {
        match &self.subject.sought {
            Sought::Verifier(_) => {
                let query = self.query()?;
                Ok((&query.role, &query.password, &query.database))
            }
            Sought::Catalog(database) => {
                let account = self.destination.terms.catalog.as_ref();
                let account = account.ok_or(ErrandError::NoAccount("catalog"))?;
                Ok((&account.role, &account.password, database))
            }
            Sought::Cancel(_) => Err(ErrandError::NoAccount("account for a cancel")),
        }
    }

    /// Which database it is, as far as is known before it says more.
    fn identity(&self, system: &[u8]) -> Identity {
        let chain = self.end.tls.as_ref().and_then(|tls| tls.peer_chain());
        Identity {
            destination: self.destination.terms.name.as_str().into(),
            certificate: certificate_hash(chain),
            system: String::from_utf8_lossy(system).into(),
            database: String::from_utf8_lossy(self.subject.sought.name()).into(),
        }
    }

    fn log_in(&mut self, means: &Means) -> Result<Moved, ErrandError> {
        let (role, password, database) = self.account()?;
        let leg = match self.end.tls.as_ref() {
            None => Leg::Plain,
            Some(tls) => Leg::Tls(
                tls.peer_chain().and_then(<[_]>::first).and_then(|der| end_point_hash(der)),
            ),
        };
        let wish = Wish {
            role,
            password: Password::new(password.0.clone()),
            database,
            leg,
            nonce: Chance::draw().ok_or(ErrandError::NoRandomness)?.to_server,
            most: Most { rows: MOST_ROWS, bytes: LONGEST },
        };
        let mut out = Vec::new();
        let errand = errand::Errand::begin(wish, &means.shared.common.limits, &mut out)?;
        self.end.say(&out).map_err(ErrandError::Tls)?;
        self.stage = Stage::Speaking(Box::new(errand));
        Ok(Moved::Wait)
    }

    fn speak(
        &mut self,
        mut errand: Box<errand::Errand>,
        means: &Means,
    ) -> Result<Option<Moved>, ErrandError> {
        let Some(frame) = self.end.framer.frame()? else {
            self.stage = Stage::Speaking(errand);
            return Ok(None);
        };
        if let Some(why) = &self.unverified {
            let message = Backend::decode(frame.tag, frame.body(), &means.shared.common.limits)
                .map_err(|fault| WireError::new(Side::Server, fault))?;
            if let Backend::Authentication(Authentication::Cleartext | Authentication::Md5 { .. }) =
                message
            {
                let setting = self.subject.sought.setting();
                return Err(ErrandError::InClear { why: why.clone(), setting });
            }
        }
        // A catalog's rows are read as they come: there may be many.
        if let Some(Asked::Catalog(reading)) = &mut self.asked
            && frame.tag == b'D'
        {
            let message = Backend::decode(frame.tag, frame.body(), &means.shared.common.limits)
                .map_err(|fault| WireError::new(Side::Server, fault))?;
            if let Backend::DataRow(values) = message {
                reading.row(values.iter());
            }
            self.end.framer.consume_framed();
            self.stage = Stage::Speaking(errand);
            return Ok(Some(Moved::Wait));
        }
        let mut out = Zeroizing::new(Vec::new());
        let next = errand.server(&frame, &mut out)?;
        self.end.framer.consume_framed();
        self.end.say(&out).map_err(ErrandError::Tls)?;
        let moved = match next {
            Errands::Going => Moved::Wait,
            Errands::Derive(derivation) => {
                self.stage = Stage::Deriving(errand);
                return Ok(Some(Moved::Derive(derivation)));
            }
            Errands::Ready => {
                let mut question = Vec::new();
                match &self.subject.sought {
                    Sought::Verifier(role) => {
                        errand.ask(&self.query()?.query, &[Some(role)], &mut question)?;
                    }
                    Sought::Catalog(_) => {
                        errand.ask(IDENTITY, &[], &mut question)?;
                        self.asked = Some(Asked::Identity);
                    }
                    Sought::Cancel(_) => {}
                }
                self.end.say(&question).map_err(ErrandError::Tls)?;
                Moved::Wait
            }
            Errands::Answered(answer) => {
                if let Some(question) = self.answered_of_database(&answer, means) {
                    let mut out = Vec::new();
                    errand.ask(question, &[], &mut out)?;
                    self.end.say(&out).map_err(ErrandError::Tls)?;
                    self.stage = Stage::Speaking(errand);
                    return Ok(Some(Moved::Wait));
                }
                let mut goodbye = Vec::new();
                errand.end(&mut goodbye)?;
                self.end.say(&goodbye).map_err(ErrandError::Tls)?;
                self.end.finish();
                let brought = match self.asked.take() {
                    Some(Asked::Catalog(reading)) => {
                        let (known, whole) = reading.finish();
                        Brought::Catalog(whole.then_some(known))
                    }
                    Some(Asked::Identity) => Brought::Catalog(None),
                    None => Brought::Verifier(found(answer.map_err(ErrandError::Query)?)?),
                };
                return Ok(Some(Moved::Found(brought)));
            }
            Errands::Refused(refused) => {
                let (role, _, database) = self.account()?;
                let (role, database) = (role.to_owned(), database.to_owned());
                let setting = self.subject.sought.setting();
                return Err(ErrandError::Login { role, database, refused, setting });
            }
            Errands::Denied(denial) => {
                let why = denial.message(self.account()?.0);
                return Err(ErrandError::Denied { why, setting: self.subject.sought.setting() });
            }
        };
        self.stage = Stage::Speaking(errand);
        Ok(Some(moved))
    }

    /// An answer about a database; the next question, if there is one.
    fn answered_of_database(
        &mut self,
        answer: &Result<errand::Rows, Refused>,
        means: &Means,
    ) -> Option<&'static str> {
        // Who doesn't know the server's number is told by the rest.
        let first = answer.as_ref().ok().and_then(|rows| rows.first()?.first()?.as_deref());
        let identity = self.identity(first.unwrap_or_default());
        let asked = self.asked.as_mut()?;
        match asked {
            Asked::Identity => {
                let known = means.shared.catalogs.of(identity);
                *asked = Asked::Catalog(Box::new(Reading::begin(known)));
            }
            Asked::Catalog(reading) => {
                if let Err(refused) = answer {
                    reading.fail(refused);
                }
                reading.answered();
            }
        }
        match asked {
            Asked::Catalog(reading) => reading.question(),
            Asked::Identity => None,
        }
    }
}

/// The last column of the first row. A role whose password is kept in another
/// way has no verifier.
fn found(rows: errand::Rows) -> Result<Found, ErrandError> {
    let mut rows = rows;
    let first = if rows.is_empty() { None } else { rows.swap_remove(0).pop() };
    for value in rows.iter_mut().flatten().flatten() {
        value.zeroize();
    }
    match first {
        None | Some(None) => Ok(None),
        Some(Some(value)) => {
            let value = Zeroizing::new(value.into_vec());
            if Verifier::parse(&value).is_ok() {
                Ok(Some(Kept(value)))
            } else if value.is_empty() || value.starts_with(b"md5") {
                Ok(None)
            } else {
                Err(ErrandError::NoVerifier)
            }
        }
    }
}

fn inside(fault: Fault) -> WireError {
    WireError::new(Side::Inside, fault)
}

fn too_long(limit: usize) -> WireError {
    let fault = Fault::Limit { what: "an errand's answer is too long", limit };
    WireError::new(Side::Server, fault)
}

/// The first is the one that counts.
const MOST_ROWS: usize = 16;
/// All that a server may say: of a verifier, and of a catalog.
const LONGEST: usize = 256 * 1024;
const LONGEST_CATALOG: usize = 256 * 1024 * 1024;
