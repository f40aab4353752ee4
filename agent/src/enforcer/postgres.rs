//! One PostgreSQL connection, carried: both legs' TLS, both protocols, and what
//! stands between them.
//!
//! ```text
//! client ⇄ End(TLS, frames) ⇄ stage ⇄ End(frames, TLS) ⇄ upstream
//! ```
//!
//! Driven by readiness like [`super::relay`], and with its promises: nothing
//! waits, back-pressure is carried across, a reset stays a reset, an end comes
//! after the last byte.
//!
//! Never: a byte to a server that isn't verified as the settings ask; plaintext
//! upstream where the client asked for TLS; a frame that the session's machine
//! didn't let through.

mod admission;
mod application;
mod carrying;
mod end;
mod errand;
mod fresh;
mod gate;
mod holding;
mod judge;
mod learning;
mod login;
mod numbered;
mod opening;
mod parameters;
mod principal;
mod probe;
mod reading;
mod screening;
mod seen;
mod settings;
mod sights;
mod streams;
mod temporary;
mod words;
mod writeback;

use std::sync::Arc;

use super::cancels::{Reply, Way};
use super::means::{Destination, Means};
use super::relay::{Buffers, Io, Progress, Ready, Side};
use super::tls::{Leaf, TlsError, Wanted};
use crate::audit::Connection;
use crate::mask::Unshowable;
use crate::model::{Carried, Closing, End as Ending, Flow, Mode, Withdrawal};
use crate::sql::LexingState;
use crate::wire::postgres::scram::{Derivation, EndPoint, Salted};
use crate::wire::postgres::{Framer, Side as WireSide, Splice, WireError};
use end::End;
use errand::Kept;
pub use errand::{Brought, Errand, Moved, Question, Sought, Subject};
pub use fresh::Fresh;
pub use gate::{Known, Understood};
pub use holding::{Asking, HoldWord};
use opening::Stage;
use words::Fatal;

/// One connection.
#[derive(Debug)]
pub struct Carriage<I> {
    client: End<I>,
    upstream: End<I>,
    /// What goes to the server, and to the client, as far as it isn't written.
    up: Splice,
    down: Splice,
    stage: Stage,
    flow: Arc<Flow>,
    destination: Arc<Destination>,
    /// Why it can't go on, to be told as soon as the client can hear it.
    doomed: Option<Fatal>,
    /// The client began TLS without asking first.
    unasked: bool,
    /// The server was asked for TLS and said no. It isn't asked twice: a second request
    /// is none that it knows.
    speaks_no_tls: bool,
    /// What the certificate is bound by that the client was shown.
    end_point: Option<EndPoint>,
    carried: Box<Carried>,
    /// With which settings the session began.
    given: settings::Given,
    log: Connection,
    /// Why its opening isn't in the log.
    unrecorded: Option<String>,
    /// The disk is awaited: nothing goes to the server meanwhile.
    awaits_disk: bool,
    /// How it is carried is in the log.
    told: bool,
    /// The leg that broke first.
    broken: Option<Side>,
    /// A leg's end came in the middle of a message: that is the fault that is noted.
    cut: bool,
}

/// What a session is lent for a turn.
pub struct Turn<'t> {
    pub buffers: &'t mut Buffers,
    pub means: &'t Means,
    /// session --asks--> keeper
    pub asks: &'t mut Vec<Ask>,
}

/// What a session wants of others. Each is answered by one [`Word`], but for what
/// says otherwise.
#[derive(Debug)]
pub enum Ask {
    /// A leaf, of the keeper.
    Sign { wanted: Wanted, chain: Vec<Vec<u8>> },
    /// A password's hash.
    Derive(Derivation),
    /// Something of the server itself, over a connection of our own.
    Errand(Box<Question>),
    /// What a text means that is too long to be read here.
    Read { text: Box<[u8]>, reading: LexingState },
    /// Somebody's approval, of the keeper. Answered more than once, if it waits.
    Hold(Box<Asking>),
    /// Nobody waits for it any more. Not answered.
    Withdraw(Withdrawal),
    /// The session can be cancelled from now on, by the key that is sought. Not answered.
    List(Box<Question>),
    /// Another session is to be cancelled, at its own server.
    Cancel(Way),
    /// That the disk has a record.
    OnDisk(u64),
}

/// What it asked for.
#[derive(Debug)]
pub enum Word {
    Leaf(Result<Arc<Leaf>, String>),
    /// Nothing: there are too many at the moment.
    Derived(Option<Salted>),
    /// Nothing in it: there is none, or it can't be asked for.
    Brought(Brought),
    Understood(Arc<Understood>),
    Hold(HoldWord),
    /// For the session's worker: it is to be cancelled.
    Cancel(Box<Question>, Reply),
    /// For who wanted another one cancelled: whether its server has taken that.
    Cancelled(bool),
    /// Or why it hasn't.
    OnDisk(Result<(), String>),
}

/// What can go wrong between the two.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Wire(#[from] WireError),
    /// What came first was no packet of this protocol.
    #[error("{0}")]
    NoPacket(WireError),
    #[error("TLS with the client failed: {0}")]
    ClientTls(TlsError),
    #[error("TLS with the server failed: {0}")]
    UpstreamTls(TlsError),
    /// What can't be masked isn't shown.
    #[error("{0}")]
    Unshowable(#[from] Unshowable),
    /// Told to the client, on our own account.
    #[error("{}", .0.message)]
    Fatal(Fatal),
}

impl<I: Io> Carriage<I> {
    pub fn new(client: I, upstream: I, flow: Arc<Flow>, means: &Means) -> Self {
        let limits = &means.shared.common.limits;
        let destination = Arc::clone(means.destination(&flow));
        let log = means.shared.log.connection(Arc::clone(&flow));
        // Told to the client once it can hear it.
        let unrecorded = match log.opened() {
            Err(error) if flow.mode == Mode::Strict && means.shared.log.is_on() => {
                Some(error.to_string())
            }
            _ => None,
        };
        Self {
            client: End::new(client, Framer::new(WireSide::Client, Arc::clone(limits))),
            upstream: End::new(upstream, Framer::new(WireSide::Server, Arc::clone(limits))),
            up: Splice::default(),
            down: Splice::default(),
            stage: Stage::start(means.shared.common.clone()),
            flow,
            destination,
            doomed: None,
            unasked: false,
            speaks_no_tls: false,
            end_point: None,
            carried: Box::default(),
            given: settings::Given::default(),
            log,
            unrecorded,
            awaits_disk: false,
            told: false,
            broken: None,
            cut: false,
        }
    }

    pub fn notice(&mut self, side: Side, ready: Ready) {
        match side {
            Side::Client => self.client.leg.notice(ready),
            Side::Upstream => self.upstream.leg.notice(ready),
        }
        self.note_broken();
    }

    /// One turn.
    pub fn advance(&mut self, turn: &mut Turn<'_>) -> Progress {
        if self.broken.is_none() {
            let progress = self.go(turn);
            self.note_broken();
            match progress {
                Ok(progress) if self.broken.is_none() => return progress,
                Ok(_) => {}
                Err(fault) => return self.fail(fault),
            }
        }
        self.wind_up(turn)
    }

    fn go(&mut self, turn: &mut Turn<'_>) -> Result<Progress, Fault> {
        loop {
            if self.stage.is_session() {
                return self.carry(turn);
            }
            if matches!(self.stage, Stage::Over) {
                let flushed = self.client.flush();
                return Ok(if flushed { self.over() } else { Progress::Wait });
            }
            if !self.open(turn)? {
                return Ok(Progress::Wait);
            }
        }
    }

    /// The answer to an [`Ask`]. Takes effect with the next turn.
    pub fn tell(&mut self, word: Word, turn: &mut Turn<'_>) {
        let taken = match word {
            Word::Leaf(leaf) => self.take_leaf(leaf, turn.means),
            Word::Derived(salted) => self.take_derived(salted, turn),
            Word::Brought(Brought::Verifier(found)) => {
                self.take_verifier(found.as_ref().map(Kept::bytes), turn)
            }
            Word::Brought(Brought::Catalog(known)) => self.take_catalog(known),
            Word::Cancelled(done) => {
                self.cancelled(done);
                Ok(())
            }
            Word::Brought(Brought::Cancelled) | Word::Cancel(..) => Ok(()),
            Word::Understood(understood) => {
                self.take_understood(understood);
                Ok(())
            }
            Word::Hold(word) => {
                self.take_hold(word, turn.asks);
                Ok(())
            }
            Word::OnDisk(done) => self.take_on_disk(done),
        };
        if let Err(fault) = taken {
            // Nothing is lost by the progress: it is over, and says so again.
            let _ = self.fail(fault);
        }
    }

    /// What was recorded is on the disk, or will never be.
    fn take_on_disk(&mut self, done: Result<(), String>) -> Result<(), Fault> {
        self.awaits_disk = false;
        match done {
            Err(why) if !self.log.goes_on_without_disk() => Err(Fault::fatal(
                Fatal::new("58030", format!("tidegate: this statement is not run: {why}"))
                    .detail("what can't be recorded is not run on a strict destination")
                    .hint("see `tidegate status` on the host"),
            )),
            _ => Ok(()),
        }
    }

    /// No more time is given. An idle session ends in order.
    pub fn drain(&mut self) {
        let idle = match &self.stage {
            Stage::Session(carrying) => carrying.session.is_quiet() && !carrying.session.is_over(),
            _ => false,
        };
        let within = self.client.framer.is_within();
        if idle && !within && self.up.is_empty() && self.down.is_empty() {
            let fatal = Fatal::new(
                words::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            )
            .detail("tidegate was upgraded, and the time for this session is over");
            // What fails here ends with the reset that follows.
            let told = self.client.say(&fatal.encode());
            let bade = self.upstream.say(TERMINATE);
            if told.is_ok() && bade.is_ok() && self.client.flush() {
                self.client.finish();
                self.upstream.finish();
                self.stage = Stage::Over;
            }
        }
        if !matches!(self.stage, Stage::Over) {
            self.abort();
        }
    }

    /// Whether its session is still to come.
    pub fn opens(&self) -> bool {
        !self.stage.is_session() && !matches!(self.stage, Stage::Over)
    }

    /// Whether that hangs on the server's word.
    pub fn waits_for_server(&self) -> bool {
        self.doomed.is_none()
            && matches!(&self.stage, Stage::Login(login) if !login.awaits_client())
    }

    /// Whether it is the server that hasn't answered a request for TLS, or goes on with it.
    pub fn awaits_tls_of_server(&self) -> bool {
        self.doomed.is_none()
            && matches!(&self.stage, Stage::Asked(_) | Stage::AskedForUs(_) | Stage::Upstream(_))
    }

    /// Whether it is over but for what somebody is still to take.
    #[inline]
    pub fn is_ending(&self) -> bool {
        self.broken.is_some() || self.doomed.is_some() || matches!(self.stage, Stage::Over)
    }

    /// Bytes that its legs took.
    pub fn given(&self) -> u64 {
        self.client.leg.given + self.upstream.leg.given
    }

    /// It took too long, and is to be dropped: both legs learn it as a reset.
    pub fn late(&mut self, why: String) -> Ending {
        if self.carried.fault.is_none() {
            self.carried.fault = Some(why);
        }
        self.abort();
        match self.broken {
            Some(Side::Client) => Ending::ClientReset,
            Some(Side::Upstream) => Ending::UpstreamReset,
            None => Ending::Fault,
        }
    }

    /// Makes the coming drop a reset of both legs.
    pub fn abort(&mut self) {
        self.client.leg.io.abort();
        self.upstream.leg.io.abort();
    }

    pub fn bytes_up(&self) -> u64 {
        self.client.moved
    }

    pub fn bytes_down(&self) -> u64 {
        self.upstream.moved
    }

    /// What became of it, for the record.
    pub fn carried(&mut self) -> Box<Carried> {
        std::mem::take(&mut self.carried)
    }

    /// The connection's last words, for the log.
    pub fn close(&mut self, closing: &Closing) {
        if let Stage::Session(carrying) = &mut self.stage {
            carrying.close(&self.log);
        }
        // It never came to a login: a certificate turned down, a server that isn't
        // who it should be, a cancel.
        if let (false, Some(carried)) = (self.told, &closing.carried) {
            let _ = self.log.session(carried);
        }
        // Nobody is left to be told that it can't be recorded; the log itself
        // shouts.
        let _ = self.log.closed(closing);
    }

    /// Whether its end is one to be passed on as a reset.
    pub fn ends_by_reset(&self) -> bool {
        !matches!(self.stage, Stage::Over)
    }

    fn over(&mut self) -> Progress {
        let ours = self.carried.fault.is_some() && !self.cut;
        Progress::Over(if ours { Ending::Fault } else { Ending::Closed })
    }

    /// A leg has come to its end: in the middle of a message?
    fn note_cut(&mut self, side: Side) {
        let framer = match side {
            Side::Client => &self.client.framer,
            Side::Upstream => &self.upstream.framer,
        };
        if let (Err(error), None) = (framer.finish(), &self.carried.fault) {
            self.carried.fault = Some(error.to_string());
            self.cut = true;
        }
    }

    fn note(&mut self, fault: &Fault) {
        if self.carried.fault.is_none() {
            self.carried.fault = Some(fault.to_string());
        }
    }

    /// The session can't go on: both sides are told so, as far as they can hear
    /// it.
    fn fail(&mut self, fault: Fault) -> Progress {
        self.note(&fault);
        self.cut = false;
        let fatal = match fault {
            Fault::Fatal(fatal) => Some(fatal),
            Fault::Wire(error) => Some(
                Fatal::new(
                    words::PROTOCOL_VIOLATION,
                    format!("tidegate ended this session: {error}"),
                )
                .hint("tidegate passes on only what it understands; see `tidegate observe`"),
            ),
            Fault::Unshowable(error) => Some(
                Fatal::new(words::PROTOCOL_VIOLATION, format!("tidegate ended this session: {error}"))
                    .hint("what this actor may not see in the clear is masked; see `reveal` in the policies"),
            ),
            Fault::UpstreamTls(error) => Some(Fatal::new(
                words::CONNECTION_FAILURE,
                format!("tidegate lost the server: its TLS failed: {error}"),
            )),
            // It has had its alert.
            Fault::ClientTls(_) | Fault::NoPacket(_) => None,
        };
        // What was let through before goes out before the words of ours, to the end of
        // its last message: within one they would be what lies in the database.
        if let Some(fatal) = fatal.filter(|_| self.stage.client_hears() && self.down.is_empty()) {
            let _ = self.client.say(&fatal.encode());
        }
        self.client.finish();
        self.upstream.finish();
        self.stage = Stage::Over;
        if self.client.flush() { self.over() } else { Progress::Wait }
    }

    fn note_broken(&mut self) {
        if self.broken.is_none() {
            self.broken = match (self.client.leg.broken, self.upstream.leg.broken) {
                (true, _) => Some(Side::Client),
                (_, true) => Some(Side::Upstream),
                _ => None,
            };
        }
    }

    /// A leg is broken: what the server had sent goes to the client, then the
    /// other leg is to be reset.
    fn wind_up(&mut self, turn: &mut Turn<'_>) -> Progress {
        if self.broken == Some(Side::Client) {
            // What it had asked for before is still asked.
            if self.stage.is_session() && !self.upstream.leg.broken {
                match self.carry_up(turn) {
                    // Blocked by the server's slowness, not by its silence: what
                    // waits for an answer is asked for by nobody any more.
                    Ok(carrying::Pumped::Blocked)
                        if !self.upstream.leg.broken && !self.up.is_empty() =>
                    {
                        return Progress::Wait;
                    }
                    Ok(carrying::Pumped::More) => return Progress::More,
                    _ => {}
                }
            }
            if !self.upstream.leg.broken && (!self.upstream.flush() || !self.upstream.leg.io.sent())
            {
                return Progress::Wait;
            }
            return Progress::Over(Ending::ClientReset);
        }
        if self.stage.is_session() && !self.client.leg.broken {
            match self.carry_down(turn) {
                Ok(carrying::Pumped::Blocked) if !self.client.leg.broken => return Progress::Wait,
                Ok(carrying::Pumped::More) => return Progress::More,
                _ => {}
            }
        }
        if !self.client.leg.broken && (!self.client.flush() || !self.client.leg.io.sent()) {
            return Progress::Wait;
        }
        Progress::Over(Ending::UpstreamReset)
    }
}

impl Fault {
    fn fatal(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// A client's goodbye.
const TERMINATE: &[u8] = &[b'X', 0, 0, 0, 4];

#[cfg(test)]
mod tests;
