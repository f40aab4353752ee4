//! The sessions of a worker: each is lent its turn, and what it asks for meanwhile is
//! taken to who can answer.
//!
//! INVARIANT: a session that panics ends alone, and is told of as every other.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errands::Errands;
use super::holds::Holds;
use super::mailbox::Post;
use super::patience::Deadlines;
use super::slab::{Key, Slab};
use crate::channel::ToKeeper;
use crate::enforcer::cancels::Listed;
use crate::enforcer::carriage::Carriage;
use crate::enforcer::means::{Means, Shared};
use crate::enforcer::postgres::{Ask, Known, Turn, Understood, Word};
use crate::enforcer::relay::{Buffers, Io, Progress, Ready, Side};
use crate::enforcer::tls::Wanted;
use crate::model::{CANARY_RULE, Carried, Closing, End, Flow, FlowId, Terms, Withdrawal};

/// The sessions of a worker.
pub(super) struct Sessions<I> {
    pub(super) live: Slab<Live<I>>,
    /// Those that want another turn without being told anything.
    pub(super) again: VecDeque<Key>,
    pub(super) buffers: Buffers,
    pub(super) means: Means,
    /// What the session whose turn it is wants of the keeper.
    pub(super) asks: Vec<Ask>,
    /// The keeper's answers that are awaited.
    pub(super) awaited: HashMap<u64, Awaited>,
    pub(super) requests: u64,
    pub(super) keeper_lost: bool,
    pub(super) post: Post,
    pub(super) errands: Errands<I>,
    pub(super) holds: Holds,
    pub(super) deadlines: Deadlines,
    /// For the keeper.
    pub(super) told: Vec<ToKeeper>,
}

pub(super) struct Awaited {
    pub(super) key: Key,
    pub(super) wanted: Wanted,
}

pub(super) struct Live<I> {
    pub(super) carriage: Carriage<I>,
    pub(super) flow: FlowId,
    pub(super) began: Instant,
    /// It is the canary's, and wasn't yet reported as seen.
    pub(super) unseen_canary: bool,
    /// It stands in `again`.
    pub(super) queued: bool,
    /// It is over but for what somebody is still to take.
    pub(super) ending: bool,
    /// By its key, for who wants it cancelled.
    pub(super) listed: Option<Listed>,
}

impl<I: Io> Sessions<I> {
    pub(super) fn new(means: Means, post: Post) -> Self {
        Self {
            live: Slab::new(),
            again: VecDeque::new(),
            buffers: Buffers::new(),
            means,
            asks: Vec::new(),
            awaited: HashMap::new(),
            requests: 0,
            keeper_lost: false,
            post,
            errands: Errands::default(),
            holds: Holds::default(),
            deadlines: Deadlines::default(),
            told: Vec::new(),
        }
    }

    /// Starts a session, if `watch` can register its legs under its key.
    pub(super) fn begin(
        &mut self,
        flow: Box<Flow>,
        client: I,
        upstream: I,
        watch: impl FnOnce(Key, &I, &I) -> rustix::io::Result<()>,
    ) -> Result<(), String> {
        let means = &self.means;
        let made = self.live.insert(|key| {
            watch(key, &client, &upstream)?;
            Ok(Live {
                flow: flow.id,
                unseen_canary: flow.rule == CANARY_RULE,
                carriage: Carriage::new(client, upstream, flow, means),
                began: Instant::now(),
                queued: false,
                ending: false,
                listed: None,
            })
        });
        let cannot = |error: rustix::io::Errno| format!("its sockets can't be watched: {error}");
        self.deadlines.opens(made.map_err(cannot)?);
        Ok(())
    }

    /// Gives a session a turn because the kernel said something.
    pub(super) fn notice(&mut self, key: Key, side: Side, ready: Ready) {
        if let Some(number) = key.number_apart() {
            return self.notice_errand(number, ready);
        }
        self.drive(key, |carriage, turn| {
            carriage.notice(side, ready);
            carriage.advance(turn)
        });
    }

    /// One more turn for each of those that want it.
    pub(super) fn turn(&mut self) {
        for _ in 0..self.again.len() {
            let Some(key) = self.again.pop_front() else { return };
            if let Some(live) = self.live.get_mut(key) {
                live.queued = false;
                self.drive(key, Carriage::advance);
            }
        }
    }

    /// New terms, for the connections that come from now on.
    pub(super) fn agree(&mut self, terms: &Terms) {
        let before = Some(&self.means.policies);
        match Means::new(self.means.shared.clone(), terms, before) {
            Ok(means) => {
                self.means = means;
                self.errands.forget();
            }
            Err(why) => tracing::error!("new terms are not taken: {why}"),
        }
    }

    /// The keeper has signed a leaf, or says why it doesn't.
    pub(super) fn signed(&mut self, request: u64, leaf: Result<Vec<u8>, String>) {
        let Some(Awaited { key, wanted }) = self.awaited.remove(&request) else { return };
        let leaves = &self.means.shared.leaves;
        let leaf =
            leaf.and_then(|leaf| leaves.signed(wanted, leaf).map_err(|error| error.to_string()));
        if let Err(why) = &leaf {
            tracing::warn!("a certificate was not signed: {why}");
        }
        self.tell(key, Word::Leaf(leaf));
    }

    /// Gives a session a turn because what it asked for is there.
    pub(super) fn tell(&mut self, key: Key, word: Word) {
        if let Some(number) = key.number_apart() {
            return self.tell_errand(number, word);
        }
        if let Word::Cancel(question, reply) = word {
            return self.cancel_session(key, *question, reply);
        }
        self.drive(key, |carriage, turn| {
            carriage.tell(word, turn);
            carriage.advance(turn)
        });
    }

    /// Nobody will answer any more.
    pub(super) fn lose_keeper(&mut self) {
        self.keeper_lost = true;
        let requests: Vec<u64> = self.awaited.keys().copied().collect();
        for request in requests {
            self.signed(request, Err("the keeper is gone".into()));
        }
        self.end_undialled_errands();
        self.end_holds(Withdrawal::Lost);
    }

    pub(super) fn drive(
        &mut self,
        key: Key,
        turn: impl FnOnce(&mut Carriage<I>, &mut Turn<'_>) -> Progress,
    ) {
        let Self { live, buffers, means, asks, .. } = self;
        let Some(live) = live.get_mut(key) else { return };
        let mut lent = Turn { buffers, means, asks };
        // A session that panicked is dropped whole; the buffers' content has
        // no meaning between turns.
        let progress = catch_unwind(AssertUnwindSafe(|| turn(&mut live.carriage, &mut lent)))
            .unwrap_or(Progress::Over(End::Inside));
        if live.unseen_canary && (live.carriage.bytes_up() > 0 || live.carriage.bytes_down() > 0) {
            live.unseen_canary = false;
            self.told.push(ToKeeper::Seen { flow: live.flow });
        }
        let flow = live.flow;
        if !live.ending && live.carriage.is_ending() {
            live.ending = true;
            self.deadlines.ends(key, live.carriage.given());
        }
        match progress {
            Progress::Wait => {}
            Progress::More if live.queued => {}
            Progress::More => {
                live.queued = true;
                self.again.push_back(key);
            }
            Progress::Over(end) => self.end(key, end),
        }
        if !self.asks.is_empty() {
            self.ask(key, flow);
        }
    }

    fn ask(&mut self, key: Key, flow: FlowId) {
        for ask in std::mem::take(&mut self.asks) {
            match ask {
                Ask::Sign { wanted, chain } => self.ask_for_leaf(key, flow, wanted, chain),
                Ask::Read { text, reading } => {
                    let post = self.post.clone();
                    let Shared { alike, subjects, log, .. } = self.means.shared.clone();
                    let (of_text, marks) = (reading.clone(), self.means.marks.clone());
                    let reply = Box::new(move |text: &[u8], facts| {
                        // On the reader's thread: the worker has others to serve.
                        let known = Known { alike: &alike, subjects: &subjects, log: &log };
                        let understand = || Understood::new(text, &of_text, facts, known, &marks);
                        let understood = catch_unwind(AssertUnwindSafe(understand))
                            .unwrap_or_else(|_| Understood::unknown("its facts failed"));
                        post.send(key, Word::Understood(Arc::new(understood)));
                    });
                    self.means.shared.cell.submit(text, &reading, reply);
                }
                Ask::Errand(question) => self.send_errand(key, flow, *question),
                Ask::Hold(asking) => self.ask_to_hold(key, flow, *asking),
                Ask::Withdraw(why) => self.withdraw(key, why),
                Ask::List(question) => self.list(key, *question),
                Ask::Cancel(way) => self.cancel_elsewhere(key, way),
                Ask::OnDisk(position) => {
                    let post = self.post.clone();
                    let reply = Box::new(move |done| post.send(key, Word::OnDisk(done)));
                    self.means.shared.log.on_disk(position, reply);
                }
                Ask::Derive(derivation) => {
                    let post = self.post.clone();
                    let reply = Box::new(move |salted| post.send(key, Word::Derived(salted)));
                    self.means.shared.hashing.submit(derivation, reply);
                }
            }
        }
    }

    fn ask_for_leaf(&mut self, key: Key, flow: FlowId, wanted: Wanted, chain: Vec<Vec<u8>>) {
        self.requests += 1;
        let request = self.requests;
        self.told.push(ToKeeper::Sign {
            request,
            flow,
            names: wanted.names.clone(),
            key: self.means.shared.leaves.public().to_vec(),
            chain,
        });
        self.awaited.insert(request, Awaited { key, wanted });
        if self.keeper_lost {
            self.signed(request, Err("the keeper is gone".into()));
        }
    }

    pub(super) fn end(&mut self, key: Key, end: End) {
        let Some(mut live) = self.live.remove(key) else { return };
        self.forget_hold(key);
        if !matches!(end, End::Closed | End::Fault) && live.carriage.ends_by_reset() {
            live.carriage.abort();
        }
        let bytes = (live.carriage.bytes_up(), live.carriage.bytes_down());
        let carried = live.carriage.carried();
        let closing = closing(live.flow, bytes, live.began.elapsed(), end, carried);
        live.carriage.close(&closing);
        self.told.push(ToKeeper::Closed(closing));
    }

    pub(super) fn end_all(&mut self, end: End) {
        for key in self.live.keys() {
            if let Some(live) = self.live.get_mut(key) {
                live.carriage.drain();
            }
            self.end(key, end);
        }
    }

    /// Of a connection that never became a session.
    pub(super) fn tell_dropped(&mut self, flow: FlowId) {
        self.told.push(ToKeeper::Closed(closing(flow, (0, 0), Duration::ZERO, End::Inside, None)));
    }

    pub(super) fn wants_more(&self) -> bool {
        !self.again.is_empty()
    }

    pub(super) fn len(&self) -> u32 {
        self.live.len()
    }
}

fn closing(
    flow: FlowId,
    (up, down): (u64, u64),
    lasted: Duration,
    end: End,
    carried: Option<Box<Carried>>,
) -> Closing {
    Closing {
        flow,
        bytes_up: up,
        bytes_down: down,
        duration_us: u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX),
        end,
        carried,
    }
}
