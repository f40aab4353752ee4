//! The cancels of a worker: those for its own sessions, and those that its sessions
//! want brought to another's.

use super::Sessions;
use super::slab::Key;
use crate::enforcer::cancels::{Reply, Way};
use crate::enforcer::postgres::{Question, Sought, Word};
use crate::enforcer::relay::Io;

impl<I: Io> Sessions<I> {
    /// A session can be cancelled from now on.
    pub(super) fn list(&mut self, key: Key, question: Question) {
        let Some(live) = self.live.get_mut(key) else { return };
        let Sought::Cancel(cancel) = &question.subject.sought else { return };
        let (cancel, post) = (cancel.clone(), self.post.clone());
        let send = move |question, reply| post.send(key, Word::Cancel(Box::new(question), reply));
        live.listed = Some(self.means.shared.cancels.list(cancel, question, send));
    }

    /// Whichever worker has that session, it is asked.
    pub(super) fn cancel_elsewhere(&self, key: Key, way: Way) {
        let post = self.post.clone();
        way.go(Reply::new(move |done| post.send(key, Word::Cancelled(done))));
    }

    /// Asks the session's server. One that has ended meanwhile has nothing to be
    /// cancelled.
    pub(super) fn cancel_session(&mut self, key: Key, question: Question, reply: Reply) {
        let Some(flow) = self.live.get_mut(key).map(|live| live.flow) else { return };
        self.send_errand_of(key, flow, question, reply);
    }
}
