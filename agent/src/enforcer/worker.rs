//! One thread of the enforcer: takes handovers from its channel, carries its
//! sessions, and tells the keeper what came of them.
//!
//! `keeper --handovers--> worker --ends--> keeper`
//!
//! One edge-triggered epoll set for everything. The thread waits nowhere else:
//! not for a slow client, nor for a keeper that doesn't read. A session that
//! panics ends alone. The keeper's death ends no session.

mod cancelling;
mod credits;
mod errands;
mod holds;
mod mailbox;
mod outbox;
mod patience;
mod sessions;
mod slab;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::means::{Means, Shared};
use super::relay::{Ready, Side, Socket};
use crate::channel::{
    Channel, ChannelError, Received, ToEnforcer, ToKeeper, unseal_kept, unseal_terms,
};
use crate::model::{End, Fences, Flow, Terms};
use credits::Credits;
use mailbox::Mailbox;
use outbox::Outbox;
pub use patience::Patience;
use sessions::Sessions;
use slab::Key;

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot make an epoll set: {0}; see the limit on open files")]
    Epoll(std::io::Error),
    #[error("the policies are no good: {0}")]
    Policies(String),
    #[error("cannot wait for events: {0}")]
    Wait(std::io::Error),
    #[error(
        "{0}; is the keeper of another version? Its connections were carried to their end, start \
         the enforcer again"
    )]
    Channel(ChannelError),
}

/// What a worker needs to know at its start.
#[derive(Debug)]
pub struct Start {
    pub number: u32,
    pub fences: Fences,
    /// How many sessions it may have, by its share of descriptors.
    pub capacity: u32,
    pub shared: Shared,
    pub patience: Patience,
}

pub struct Worker {
    epoll: OwnedFd,
    /// `None`: the keeper is gone.
    channel: Option<Channel<ToKeeper, ToEnforcer>>,
    channel_error: Option<ChannelError>,
    outbox: Outbox,
    credits: Credits,
    sessions: Sessions<Socket>,
    mailbox: Mailbox,
    /// Set once no more connections will come.
    drain_until: Option<Instant>,
}

impl Worker {
    pub fn new(channel: OwnedFd, start: Start) -> Result<Self, WorkerError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|error| WorkerError::Epoll(error.into()))?;
        let channel = Channel::new(channel);
        watch(&epoll, &channel, CHANNEL).map_err(|error| WorkerError::Epoll(error.into()))?;
        let mailbox = Mailbox::new().map_err(WorkerError::Epoll)?;
        watch(&epoll, &mailbox, MAILBOX).map_err(|error| WorkerError::Epoll(error.into()))?;
        let means =
            Means::new(start.shared, &Terms::default(), None).map_err(WorkerError::Policies)?;
        let mut sessions = Sessions::new(means, mailbox.post());
        sessions.deadlines.patience = start.patience;
        let mut outbox = Outbox::default();
        outbox.push(ToKeeper::Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            worker: start.number,
            fences: start.fences,
        });
        Ok(Self {
            epoll,
            channel: Some(channel),
            channel_error: None,
            outbox,
            credits: Credits::new(start.capacity),
            sessions,
            mailbox,
            drain_until: None,
        })
    }

    /// Carries until it is drained, or the keeper and all sessions are gone.
    pub fn run(mut self) -> Result<(), WorkerError> {
        let nothing =
            epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [nothing; EVENTS];
        loop {
            self.speak();
            if self.is_done() {
                return self.channel_error.map_or(Ok(()), |e| Err(WorkerError::Channel(e)));
            }
            let timeout = self.timeout();
            let seen = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok(seen) => seen,
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => return Err(WorkerError::Wait(error.into())),
            };
            for event in events.iter().take(seen) {
                let (flags, data) = (event.flags, event.data);
                if data.u64() == CHANNEL {
                    self.listen();
                } else if data.u64() == MAILBOX {
                    for (key, word) in self.mailbox.take() {
                        self.sessions.tell(key, word);
                    }
                } else {
                    let (key, upstream) = Key::unpack(data.u64());
                    let side = if upstream { Side::Upstream } else { Side::Client };
                    self.sessions.notice(key, side, ready(flags));
                }
            }
            self.sessions.end_late_holds();
            self.sessions.turn();
            self.sessions.end_late_errands();
            self.sessions.end_late();
            if self.drain_until.is_some_and(|until| until <= Instant::now()) {
                self.sessions.end_all(End::Drained);
            }
        }
    }

    /// Tells the keeper what there is to tell.
    fn speak(&mut self) {
        let Some(channel) = &self.channel else {
            self.sessions.told.clear();
            return;
        };
        for (database, learnt) in self.sessions.means.shared.catalogs.take_news() {
            let (database, learnt) = (Box::new(database), Box::new(learnt));
            self.outbox.push(ToKeeper::Learnt { database, learnt });
        }
        for told in self.sessions.told.drain(..) {
            self.outbox.push(told);
        }
        if self.drain_until.is_none()
            && let Some(more) = self.credits.grant(self.sessions.len())
        {
            self.outbox.push(ToKeeper::Credit { more });
        }
        if let Err(error) = self.outbox.flush(channel) {
            self.lose_channel(error);
        }
    }

    /// Takes all that the channel has.
    fn listen(&mut self) {
        while let Some(channel) = &self.channel {
            match channel.receive() {
                Ok(Received { message: ToEnforcer::Handover { flow }, descriptors }) => {
                    self.take(flow, descriptors);
                }
                Ok(Received { message: ToEnforcer::Drain { within_ms }, .. }) => {
                    let now = Instant::now();
                    let until = now + Duration::from_millis(within_ms).min(LONGEST_DRAIN);
                    self.drain_until =
                        Some(self.drain_until.map_or(until, |earlier| earlier.min(until)));
                    self.sessions.drain_holds();
                }
                Ok(Received { message: ToEnforcer::Terms, descriptors }) => {
                    if let Err(error) = self.agree(&descriptors) {
                        self.lose_channel(error);
                    }
                }
                Ok(Received { message: ToEnforcer::Kept { edition }, descriptors }) => {
                    if let Err(error) = self.recall(edition, &descriptors) {
                        self.lose_channel(error);
                    }
                }
                Ok(Received {
                    message: ToEnforcer::Learnt { edition, database, learnt }, ..
                }) => {
                    let catalogs = &self.sessions.means.shared.catalogs;
                    catalogs.recall_one(edition, *database, *learnt);
                }
                Ok(Received { message: ToEnforcer::Signed { request, leaf }, .. }) => {
                    self.sessions.signed(request, leaf);
                }
                Ok(Received { message: ToEnforcer::Dialled { request, failed }, descriptors }) => {
                    self.dialled(request, failed, descriptors);
                }
                Ok(Received { message: ToEnforcer::Held { request, answer }, .. }) => {
                    self.sessions.hold_answered(request, answer);
                }
                Ok(Received { message: ToEnforcer::Decided { request, end }, .. }) => {
                    self.sessions.hold_ended(request, end);
                }
                Err(ChannelError::WouldBlock) => return,
                Err(error) => self.lose_channel(error),
            }
        }
    }

    /// New terms, for the connections that come from now on.
    fn agree(&mut self, descriptors: &[OwnedFd]) -> Result<(), ChannelError> {
        let [file] = descriptors else {
            let count = descriptors.len();
            return Err(ChannelError::Malformed(format!("terms came with {count} files, not 1")));
        };
        self.sessions.agree(&unseal_terms(file)?);
        Ok(())
    }

    /// What enforcers have learnt before, and elsewhere.
    fn recall(&mut self, edition: u64, descriptors: &[OwnedFd]) -> Result<(), ChannelError> {
        let [file] = descriptors else {
            let count = descriptors.len();
            return Err(ChannelError::Malformed(format!("what is kept came with {count} files")));
        };
        self.sessions.means.shared.catalogs.recall(edition, unseal_kept(file)?);
        Ok(())
    }

    fn take(&mut self, flow: Box<Flow>, descriptors: Vec<OwnedFd>) {
        let id = flow.id;
        let taken = if self.credits.spend() {
            self.begin(flow, descriptors)
        } else {
            Err("it had no credit".into())
        };
        if let Err(why) = taken {
            tracing::warn!(flow = %id, "a connection was handed over and is dropped: {why}");
            self.sessions.tell_dropped(id);
        }
    }

    /// Starts a session on what was handed over, if that is what it must be.
    fn begin(&mut self, flow: Box<Flow>, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let [client, upstream] = <[OwnedFd; 2]>::try_from(descriptors)
            .map_err(|got| format!("{} descriptors came with it, not 2", got.len()))?;
        let client = Socket::checked(client).ok_or("the client's is no TCP socket")?;
        let upstream = Socket::checked(upstream).ok_or("the upstream's is no TCP socket")?;
        self.sessions.begin(flow, client, upstream, |key, client, upstream| {
            watch(&self.epoll, client, key.pack(false))?;
            watch(&self.epoll, upstream, key.pack(true))
        })
    }

    /// One more connection to a session's destination, or why there is none.
    fn dialled(&mut self, request: u64, failed: Option<String>, descriptors: Vec<OwnedFd>) {
        let socket = match (failed, <[OwnedFd; 1]>::try_from(descriptors)) {
            (Some(why), _) => Err(why),
            (None, Ok([socket])) => Socket::checked(socket).ok_or_else(|| "it is no socket".into()),
            (None, Err(got)) => Err(format!("{} descriptors came with it, not 1", got.len())),
        };
        let watch = |key: Key, socket: &Socket| watch(&self.epoll, socket, key.pack(false));
        self.sessions.dialled(request, socket, watch);
    }

    /// The sessions go on without a keeper.
    fn lose_channel(&mut self, error: ChannelError) {
        self.channel = None;
        self.outbox = Outbox::default();
        self.sessions.lose_keeper();
        if !matches!(error, ChannelError::Closed) {
            tracing::error!("the channel to the keeper is given up: {error}");
            self.channel_error = Some(error);
        }
    }

    fn is_done(&self) -> bool {
        if self.sessions.len() > 0 {
            return false;
        }
        match (&self.channel, self.drain_until) {
            (None, _) => true,
            // A keeper that doesn't read isn't waited for much longer.
            (Some(_), Some(until)) => self.outbox.is_empty() || until + GRACE <= Instant::now(),
            (Some(_), None) => false,
        }
    }

    fn timeout(&mut self) -> Option<Timespec> {
        if self.sessions.wants_more() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let grace = if self.sessions.len() > 0 { Duration::ZERO } else { GRACE };
        let drained = self.drain_until.map(|until| until + grace);
        let waiting = [
            drained,
            self.sessions.errands.first_end(),
            self.sessions.first_deadline(),
            self.sessions.holds.next(),
        ];
        let until = waiting.into_iter().flatten().min()?;
        let left = until.saturating_duration_since(Instant::now());
        // Whole milliseconds upwards, or the last one would be spun away.
        Timespec::try_from(left + Duration::from_millis(1)).ok()
    }
}

fn watch(epoll: &OwnedFd, what: &impl AsFd, number: u64) -> rustix::io::Result<()> {
    use epoll::EventFlags;
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(epoll, what, epoll::EventData::new_u64(number), flags)
}

fn ready(flags: epoll::EventFlags) -> Ready {
    use epoll::EventFlags;
    Ready {
        read: flags.contains(EventFlags::IN),
        write: flags.contains(EventFlags::OUT),
        hung_up: flags.intersects(EventFlags::RDHUP | EventFlags::HUP),
        failed: flags.contains(EventFlags::ERR),
    }
}

/// The channel's number among the events; no session's key packs to it.
const CHANNEL: u64 = u64::MAX;
const MAILBOX: u64 = u64::MAX - 1;
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long the last words may take after a drain's deadline.
const GRACE: Duration = Duration::from_secs(1);
/// Taken from the kernel at once.
const EVENTS: usize = 128;

#[cfg(test)]
mod tests;
