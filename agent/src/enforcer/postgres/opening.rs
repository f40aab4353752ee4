//! From a connection's first byte to its first request: what is asked for,
//! TLS on both legs, the login.
//!
//! Upstream first: the client's request for TLS is answered as the server
//! answers it, and the certificate that the client is shown is made after the
//! server's was seen and verified.

mod securing;

use super::carrying::Carrying;
use super::login::LoggingIn;
use super::settings::Given;
use super::words::{CONNECTION_FAILURE, Fatal};
use super::{Ask, Carriage, Fault, Turn};
use crate::enforcer::means::Means;
use crate::enforcer::relay::{Io, Side};
use crate::enforcer::tls::Wanted;
use crate::wire::postgres::session::{Authenticating, Common, Greeted, Greeting};
use crate::wire::postgres::{Fault as WireFault, Opening, Side as WireSide, Startup, WireError};
use securing::tls_version;
pub use securing::towards;

#[derive(Debug)]
pub enum Stage {
    /// What the client opens with.
    Greeting(Greeting),
    /// Its request for TLS was passed on.
    Asked(Greeting),
    /// TLS was asked for on our own account, for what the client opened with.
    AskedForUs(Opened),
    /// The client's handshake begins.
    Hello {
        greeting: Greeting,
        hello: Vec<u8>,
    },
    /// The upstream's handshake is under way.
    Upstream(Then),
    /// The keeper was asked for a leaf.
    Leaf {
        greeting: Greeting,
        hello: Vec<u8>,
        wanted: Wanted,
    },
    /// The client's handshake is under way.
    Client(Greeting),
    Login(Box<LoggingIn>),
    Session(Box<Carrying>),
    /// A cancel was passed on, or the server said no before a session: what it
    /// says goes through until it ends.
    Ending,
    /// A cancel is brought to another server than this one, or by another way.
    Elsewhere,
    Over,
    /// Between two stages.
    Moving,
}

/// What stands behind the upstream's handshake.
#[derive(Debug)]
pub enum Then {
    /// The client's own.
    Client { greeting: Greeting, hello: Vec<u8> },
    /// The client has no TLS.
    Open(Opened),
}

/// A startup or a cancel, kept while the upstream is made ready for it.
#[derive(Debug)]
pub struct Opened {
    packet: Vec<u8>,
    login: Option<Box<Authenticating>>,
}

impl Stage {
    pub fn start(common: Common) -> Self {
        Self::Greeting(Greeting::new(common))
    }

    pub fn is_session(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// Whether an ErrorResponse is something that the client can read now.
    pub fn client_hears(&self) -> bool {
        match self {
            Self::Hello { .. }
            | Self::Upstream(Then::Client { .. })
            | Self::Leaf { .. }
            | Self::Client(_) => false,
            Self::Session(carrying) => carrying.hears(),
            _ => true,
        }
    }
}

impl<I: Io> Carriage<I> {
    /// Goes on with the opening. `false`: it waits for one of the legs.
    pub(super) fn open(&mut self, turn: &mut Turn<'_>) -> Result<bool, Fault> {
        if !self.client.flush() || !self.upstream.flush() {
            return Ok(false);
        }
        if self.step(turn)? {
            return Ok(true);
        }
        let mut read = 0;
        // A client that runs ahead waits until there is a session.
        if self.client.leg.readable
            && !self.client.has_ended()
            && self.client.framer.unframed() < AHEAD
        {
            let secret = matches!(self.stage, Stage::Login(_));
            let taken = match secret {
                true => self.client.read_secret(turn.buffers),
                false => self.client.read(turn.buffers),
            };
            read += taken.map_err(|e| self.client_tls(e))?;
        }
        if self.upstream.leg.readable && !self.upstream.has_ended() {
            match self.upstream.read(turn.buffers) {
                Ok(bytes) => read += bytes,
                Err(error) => self.upstream_tls_failed(error, turn.means)?,
            }
        }
        if read > 0 || self.stage.is_session() {
            return Ok(true);
        }
        self.ended(turn.means)
    }

    /// It was brought to its server, or couldn't be: nobody is told which, as
    /// with a server's own.
    pub(super) fn cancelled(&mut self, done: bool) {
        if matches!(self.stage, Stage::Elsewhere) {
            if !done && self.carried.fault.is_none() {
                self.carried.fault = Some("the session's server could not be told".into());
            }
            self.upstream.finish();
            self.client.finish();
            self.stage = Stage::Over;
        }
    }

    /// Neither leg has more to say for now; is one of them at its end?
    fn ended(&mut self, means: &Means) -> Result<bool, Fault> {
        if matches!(self.stage, Stage::Elsewhere) {
            // The server that it isn't for has no part in it.
            if self.client.has_ended() {
                self.upstream.finish();
                self.client.finish();
                self.stage = Stage::Over;
                return Ok(true);
            }
            return Ok(false);
        }
        if self.upstream.has_ended() {
            if matches!(self.stage, Stage::Login(_)) {
                self.note_cut(Side::Upstream);
            }
            if let Stage::Upstream(Then::Client { .. }) = &self.stage
                && !self.unasked
            {
                let why = Fatal::new(
                    CONNECTION_FAILURE,
                    "the server closed the connection while TLS was being set up",
                );
                self.doom(why, means)?;
                return Ok(true);
            }
            if self.doomed.is_none() {
                self.client.finish();
                self.stage = Stage::Over;
                return Ok(true);
            }
        }
        if self.client.has_ended() {
            if matches!(self.stage, Stage::Login(_)) {
                self.note_cut(Side::Client);
            }
            self.note_leaving(means);
            // It has gone before there was a session: nothing is left to say.
            self.upstream.finish();
            if self.doomed.is_some() || !matches!(self.stage, Stage::Ending | Stage::Login(_)) {
                self.client.finish();
                self.stage = Stage::Over;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One step of the opening with what lies in the buffers.
    fn step(&mut self, turn: &mut Turn<'_>) -> Result<bool, Fault> {
        match std::mem::replace(&mut self.stage, Stage::Moving) {
            Stage::Greeting(greeting) => self.greet(greeting, turn),
            Stage::Asked(greeting) => self.answer(greeting),
            Stage::AskedForUs(opened) => self.answer_us(opened),
            Stage::Hello { greeting, mut hello } => {
                hello.extend_from_slice(&self.client.framer.take_unframed());
                self.hello(greeting, hello)
            }
            Stage::Upstream(then) => self.upstream_shaken(then, turn),
            Stage::Client(greeting) => {
                if !self.client.tls.as_ref().is_some_and(|tls| tls.is_ready()) {
                    self.stage = Stage::Client(greeting);
                    return Ok(false);
                }
                self.carried.client_tls = self.client.tls.as_deref().map(tls_version);
                self.stage = Stage::Greeting(greeting.encrypted());
                Ok(true)
            }
            Stage::Login(login) => self.login(login, turn),
            Stage::Ending => {
                self.stage = Stage::Ending;
                self.pass_on()
            }
            other => {
                self.stage = other;
                Ok(false)
            }
        }
    }

    fn greet(&mut self, greeting: Greeting, turn: &mut Turn<'_>) -> Result<bool, Fault> {
        let means = turn.means;
        let (opening, span) = match self.client.framer.opening() {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.stage = Stage::Greeting(greeting);
                return Ok(false);
            }
            Err(error) => return self.unspoken(error),
        };
        if opening == Opening::DirectTls {
            let Greeted::DirectTls(greeting) = greeting.packet(opening, 0)? else {
                return Ok(false);
            };
            self.unasked = true;
            self.stage = Stage::Hello { greeting, hello: Vec::new() };
            return Ok(true);
        }
        let packet = self.client.framer.bytes(span).to_vec();
        let behind = self.client.framer.unframed();
        let limits = &means.shared.common.limits;
        let opening = Opening::decode(packet.get(4..).unwrap_or_default(), limits)
            .map_err(|fault| WireError::new(WireSide::Client, fault))?;
        self.client.framer.consume_framed();
        match greeting.packet(opening, behind)? {
            Greeted::DirectTls(_) => Ok(false),
            Greeted::TlsRequest(greeting) => {
                self.ask_for_tls()?;
                self.stage = Stage::Asked(greeting);
                Ok(true)
            }
            // No server of ours is reached by GSS encryption: clients go on to
            // TLS, or without.
            Greeted::GssRequest(greeting) => {
                self.say_client(b"N")?;
                self.stage = Stage::Greeting(greeting);
                Ok(true)
            }
            Greeted::Cancel(cancel) => {
                // What is held never reached the server, which will ignore this.
                let cancels = &means.shared.cancels;
                cancels.cancel(cancel.process, cancel.secret);
                let (rule, at) = (&self.flow.rule, self.flow.destination.0);
                let key = (cancel.process, cancel.secret);
                let way = cancels.way(rule, at, self.upstream.tls.is_some(), key);
                if let Some(way) =
                    way.filter(|_| self.doomed.is_none() && self.unrecorded.is_none())
                {
                    self.carried.cancel = true;
                    turn.asks.push(Ask::Cancel(way));
                    self.stage = Stage::Elsewhere;
                    return Ok(true);
                }
                self.opened(Opened { packet, login: None }, means)
            }
            Greeted::Startup(startup, login) => {
                self.note_startup(&startup);
                self.opened(Opened { packet, login: Some(Box::new(login)) }, means)
            }
        }
    }

    /// A version or a packet that isn't understood: the server may say so in its
    /// own words. From
    /// here on nothing of the client's is passed on.
    fn unspoken(&mut self, error: WireError) -> Result<bool, Fault> {
        let span = self.client.framer.framed();
        let packet = self.client.framer.bytes(span).to_vec();
        // What has no length that could be is answered by nothing but the end, as
        // the server does: who knows what speaks there.
        if let WireFault::Length { .. } = error.fault {
            return Err(Fault::NoPacket(error));
        }
        let theirs =
            matches!(error.fault, WireFault::UnknownVersion { .. } | WireFault::Malformed { .. });
        if !theirs || packet.is_empty() {
            return Err(error.into());
        }
        self.note(&Fault::Wire(error));
        self.say_upstream(&packet)?;
        self.stage = Stage::Ending;
        Ok(true)
    }

    fn note_startup(&mut self, startup: &Startup<'_>) {
        let text = |value: &[u8]| {
            let text = String::from_utf8_lossy(value);
            text.chars().filter(|sign| !sign.is_control()).take(LONGEST_NAME).collect()
        };
        let carried = &mut self.carried;
        carried.version = Some(startup.version.to_string());
        carried.role = startup.parameter(b"user").map(|_| text(startup.user()));
        carried.database = (!startup.database().is_empty()).then(|| text(startup.database()));
        carried.application = startup.parameter(b"application_name").map(text);
        carried.replication = startup.replication();
        self.given = Given::of(startup);
    }

    /// The client has opened: its packet goes upstream, behind TLS where that
    /// is due.
    fn opened(&mut self, opened: Opened, means: &Means) -> Result<bool, Fault> {
        if let Some(fatal) = self.doomed.take() {
            return Err(Fault::fatal(fatal));
        }
        if let Some(why) = self.unrecorded.take() {
            return Err(Fault::fatal(
                Fatal::new("58030", format!("tidegate takes no connection: {why}"))
                    .detail("what can't be recorded is not run on a strict destination")
                    .hint("free space for the log, or see `tidegate status` on the host"),
            ));
        }
        if self.destination.terms.tls.upstream_always && self.upstream.tls.is_none() {
            return self.ask_for_us(opened);
        }
        let Opened { packet, login } = opened;
        match login {
            Some(login) => self.begin_login(*login, &packet, means)?,
            None => {
                self.say_upstream(&packet)?;
                self.carried.cancel = true;
                self.stage = Stage::Ending;
            }
        }
        Ok(true)
    }

    /// No session will come of it: what the server says goes to the client.
    fn pass_on(&mut self) -> Result<bool, Fault> {
        let bytes = self.upstream.framer.take_unframed();
        self.say_client(&bytes)?;
        Ok(!bytes.is_empty())
    }

    pub(super) fn say_client(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.client.say(bytes).map_err(Fault::ClientTls)
    }

    pub(super) fn say_upstream(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.upstream.say(bytes).map_err(Fault::UpstreamTls)
    }
}

/// What a client may send before its session is there, unread.
const AHEAD: usize = 64 * 1024;
const LONGEST_NAME: usize = 128;
