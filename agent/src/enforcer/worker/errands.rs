//! The errands of a worker: sessions that wait for a role's verifier, a database's
//! catalog or another's cancel, and the connections on which servers are asked for it.
//!
//! `session --Question--> errands --Dial--> keeper --socket--> errand --Word--> sessions`
//!
//! One errand serves all sessions that wait for the same; what it found is kept
//! for a short time (a catalog is known to all sessions anyway). Every question is
//! answered, within [`LONGEST`].
//!
//! Never: more than [`AT_ONCE`] connections; a verifier that is older than the
//! session's word that the one before doesn't fit.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Sessions;
use super::slab::Key;
use crate::channel::ToKeeper;
use crate::enforcer::cancels::Reply;
use crate::enforcer::means::Destination;
use crate::enforcer::postgres::{Brought, Errand, Moved, Question, Sought, Subject, Word};
use crate::enforcer::relay::{Io, Ready};
use crate::model::FlowId;

pub struct Errands<I> {
    jobs: HashMap<u32, Job<I>>,
    /// Those that wait for their turn.
    queue: VecDeque<u32>,
    next: u32,
    known: HashMap<Subject, Known>,
    /// Destinations that can't be asked by a setting, with the reason that was told
    /// last.
    failing: HashMap<(String, &'static str), String>,
}

struct Job<I> {
    subject: Subject,
    destination: Arc<Destination>,
    waiting: Vec<Waiting>,
    until: Instant,
    state: State<I>,
}

pub(super) struct Waiting {
    /// The session in whose name the keeper is asked.
    key: Key,
    flow: FlowId,
    /// Where it is not this session that is told.
    reply: Option<Reply>,
}

enum State<I> {
    Queued,
    /// The keeper was asked for a connection.
    Dialling {
        request: u64,
        asker: Key,
    },
    Running(Box<Errand<I>>),
}

struct Known {
    brought: Brought,
    until: Instant,
}

impl<I> Default for Errands<I> {
    fn default() -> Self {
        Self {
            jobs: HashMap::new(),
            queue: VecDeque::new(),
            next: 0,
            known: HashMap::new(),
            failing: HashMap::new(),
        }
    }
}

impl<I> Errands<I> {
    /// When the first of them has had its time.
    pub fn first_end(&self) -> Option<Instant> {
        self.jobs.values().map(|job| job.until).min()
    }

    /// New terms: what was asked by the old ones counts no more.
    pub fn forget(&mut self) {
        self.known.clear();
        self.failing.clear();
    }

    fn known(&mut self, question: &Question, now: Instant) -> Option<Brought> {
        let Question { subject, again, .. } = question;
        let known = self.known.get(subject)?;
        // A failure is one for whatever is asked anew.
        let failed = matches!(known.brought, Brought::Catalog(None));
        if *again && !failed || known.until <= now {
            self.known.remove(subject);
            return None;
        }
        Some(known.brought.clone())
    }

    fn keep(&mut self, subject: Subject, brought: Brought, lasts: Duration) {
        let now = Instant::now();
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|_, known| known.until > now);
        }
        if self.known.len() < MOST_KNOWN {
            self.known.insert(subject, Known { brought, until: now + lasts });
        }
    }

    /// One that has not been asked yet, and may as well answer this.
    fn joined(&mut self, question: &Question) -> Option<&mut Job<I>> {
        self.jobs.values_mut().find(|job| {
            job.subject == question.subject
                && Arc::ptr_eq(&job.destination, &question.destination)
                // What is being answered may be what doesn't fit any more.
                && !(question.again
                    && matches!(&job.state, State::Running(errand) if errand.has_asked()))
        })
    }

    fn insert(&mut self, question: Question, first: Waiting) {
        while self.jobs.contains_key(&self.next) {
            self.next = self.following();
        }
        let number = self.next;
        self.next = self.following();
        let Question { subject, destination, .. } = question;
        let job = Job {
            subject,
            destination,
            waiting: vec![first],
            until: Instant::now() + LONGEST,
            state: State::Queued,
        };
        self.jobs.insert(number, job);
        self.queue.push_back(number);
    }

    fn following(&self) -> u32 {
        self.next.wrapping_add(1) & (NUMBERS - 1)
    }

    fn has_room(&self) -> bool {
        self.jobs.values().filter(|job| !matches!(job.state, State::Queued)).count() < AT_ONCE
    }
}

impl<I: Io> Sessions<I> {
    pub(super) fn send_errand(&mut self, key: Key, flow: FlowId, question: Question) {
        self.send_errand_for(question, Waiting { key, flow, reply: None });
    }

    /// For somebody else than the session itself.
    pub(super) fn send_errand_of(
        &mut self,
        key: Key,
        flow: FlowId,
        question: Question,
        reply: Reply,
    ) {
        self.send_errand_for(question, Waiting { key, flow, reply: Some(reply) });
    }

    fn send_errand_for(&mut self, question: Question, waiting: Waiting) {
        let key = waiting.key;
        if let Some(brought) = self.errands.known(&question, Instant::now()) {
            return self.post.send(key, Word::Brought(brought));
        }
        if let Some(job) = self.errands.joined(&question) {
            job.waiting.push(waiting);
            return;
        }
        let sought = &question.subject.sought;
        if sought.is_unspeakable() || self.errands.jobs.len() >= MOST {
            if waiting.reply.is_none() {
                self.post.send(key, Word::Brought(Brought::nothing(sought)));
            }
            return;
        }
        self.errands.insert(question, waiting);
        self.start_errands();
    }

    /// As many as there may be at once.
    fn start_errands(&mut self) {
        while self.errands.has_room() {
            let Some(number) = self.errands.queue.pop_front() else { return };
            self.dial(number);
        }
    }

    /// Asks the keeper for a connection, in the name of one that still waits.
    fn dial(&mut self, number: u32) {
        let Some(job) = self.errands.jobs.get_mut(&number) else { return };
        let live = &mut self.live;
        job.waiting.retain(|waiting| live.get_mut(waiting.key).is_some());
        let Some(&Waiting { key: asker, flow, .. }) = job.waiting.first() else {
            self.errands.jobs.remove(&number);
            return;
        };
        if self.keeper_lost {
            return self.end_errand(number, Err("the keeper is gone".into()));
        }
        self.requests += 1;
        job.state = State::Dialling { request: self.requests, asker };
        self.told.push(ToKeeper::Dial { request: self.requests, flow });
    }

    /// The keeper has dialled, or says why it doesn't.
    pub(super) fn dialled(
        &mut self,
        request: u64,
        io: Result<I, String>,
        watch: impl FnOnce(Key, &I) -> rustix::io::Result<()>,
    ) {
        let wanted =
            |job: &Job<I>| matches!(job.state, State::Dialling { request: r, .. } if r == request);
        let found = self.errands.jobs.iter_mut().find(|(_, job)| wanted(job));
        let Some((&number, job)) = found else { return };
        let begun = io.and_then(|io| {
            watch(Key::apart(number), &io).map_err(|e| format!("it can't be watched: {e}"))?;
            let destination = Arc::clone(&job.destination);
            Errand::begin(io, job.subject.clone(), destination, &self.means)
                .map_err(|error| error.to_string())
        });
        match begun {
            Ok(errand) => job.state = State::Running(Box::new(errand)),
            Err(why) => {
                let State::Dialling { asker, .. } = job.state else { return };
                if self.live.get_mut(asker).is_some() {
                    self.end_errand(number, Err(format!("the server can't be reached: {why}")));
                } else {
                    // It was dialled for one that has gone meanwhile.
                    self.dial(number);
                }
            }
        }
        self.start_errands();
    }

    pub(super) fn notice_errand(&mut self, number: u32, ready: Ready) {
        self.drive_errand(number, |errand| {
            errand.notice(ready);
            Ok(())
        });
    }

    /// What an errand asked for is there.
    pub(super) fn tell_errand(&mut self, number: u32, word: Word) {
        let Word::Derived(salted) = word else { return };
        self.drive_errand(number, |errand| match salted {
            Some(salted) => errand.derived(&salted).map_err(|error| error.to_string()),
            None => Err("too many passwords are to be hashed at the moment".into()),
        });
    }

    fn drive_errand(
        &mut self,
        number: u32,
        turn: impl FnOnce(&mut Errand<I>) -> Result<(), String>,
    ) {
        let Self { errands, means, buffers, .. } = self;
        let Some(Job { state: State::Running(errand), .. }) = errands.jobs.get_mut(&number) else {
            return;
        };
        // One that panicked is dropped whole, like a session.
        let moved = catch_unwind(AssertUnwindSafe(|| {
            turn(errand)?;
            errand.advance(means, buffers).map_err(|error| error.to_string())
        }));
        match moved.unwrap_or_else(|_| Err("tidegate failed inside; please report it".into())) {
            Ok(Moved::Wait) => {}
            Ok(Moved::Derive(derivation)) => {
                let post = self.post.clone();
                let key = Key::apart(number);
                let reply = Box::new(move |salted| post.send(key, Word::Derived(salted)));
                self.means.shared.hashing.submit(derivation, reply);
            }
            Ok(Moved::Found(brought)) => self.end_errand(number, Ok(brought)),
            Err(why) => self.end_errand(number, Err(why)),
        }
        self.start_errands();
    }

    /// All that wait for it are answered.
    fn end_errand(&mut self, number: u32, outcome: Result<Brought, String>) {
        let Some(job) = self.errands.jobs.remove(&number) else { return };
        let sought = &job.subject.sought;
        let about = (job.subject.rule.clone(), sought.setting());
        let mut done = true;
        let (brought, lasts) = match outcome {
            Ok(brought) => {
                self.errands.failing.remove(&about);
                let lasts = match &brought {
                    Brought::Verifier(Some(_)) => Some(KEPT),
                    Brought::Verifier(None) => Some(NONE_KEPT),
                    Brought::Catalog(_) | Brought::Cancelled => None,
                };
                (brought, lasts)
            }
            Err(why) => {
                // Whoever fails to log in again and again must not fill the log.
                if self.errands.failing.get(&about) != Some(&why) {
                    let (destination, server) = (&about.0, job.subject.address);
                    match sought {
                        Sought::Verifier(_) => tracing::warn!(
                            %destination, %server,
                            "`auth_query` found no verifier, and logins go on without: {why}"
                        ),
                        Sought::Catalog(database) => tracing::warn!(
                            %destination, %server,
                            "`catalog` could not read `{database}`, and sessions do so themselves: {why}"
                        ),
                        Sought::Cancel(_) => tracing::warn!(
                            %destination, %server,
                            "a statement could not be cancelled: {why}"
                        ),
                    }
                    self.errands.failing.insert(about, why);
                }
                let lasts = match sought {
                    Sought::Verifier(_) => Some(FAILURE_KEPT),
                    Sought::Catalog(_) => Some(CATALOG_FAILURE_KEPT),
                    Sought::Cancel(_) => None,
                };
                done = false;
                (Brought::nothing(sought), lasts)
            }
        };
        for Waiting { key, reply, .. } in job.waiting {
            match reply {
                Some(reply) => reply.tell(done),
                None => self.post.send(key, Word::Brought(brought.clone())),
            }
        }
        // By other terms than those in force it is of no use to the next.
        let current = self.means.destination_named(&job.subject.rule);
        if let Some(lasts) = lasts
            && current.is_some_and(|current| Arc::ptr_eq(current, &job.destination))
        {
            self.errands.keep(job.subject, brought, lasts);
        }
    }

    pub(super) fn end_late_errands(&mut self) {
        if self.errands.jobs.is_empty() {
            return;
        }
        let now = Instant::now();
        let why = format!("the server took longer than {} s", LONGEST.as_secs());
        self.end_errands(|job| job.until <= now, &why);
    }

    /// The keeper is gone: no connection will come.
    pub(super) fn end_undialled_errands(&mut self) {
        self.end_errands(|job| !matches!(job.state, State::Running(_)), "the keeper is gone");
    }

    fn end_errands(&mut self, which: impl Fn(&Job<I>) -> bool, why: &str) {
        let ended: Vec<u32> = self
            .errands
            .jobs
            .iter()
            .filter(|(_, job)| which(job))
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            self.end_errand(number, Err(why.into()));
        }
        self.start_errands();
    }
}

/// From the question to the answer.
const LONGEST: Duration = Duration::from_secs(10);
/// Connections of one worker's errands.
const AT_ONCE: usize = 16;
/// Different questions that wait.
const MOST: usize = 1024;
/// How long a verifier is kept, the word that there is none, and a failure.
const KEPT: Duration = Duration::from_secs(60);
const NONE_KEPT: Duration = Duration::from_secs(5);
const FAILURE_KEPT: Duration = Duration::from_secs(2);
const CATALOG_FAILURE_KEPT: Duration = Duration::from_secs(60);
const MOST_KNOWN: usize = 4096;
/// As many as [`Key::apart`] tells from each other.
const NUMBERS: u32 = 1 << 30;
