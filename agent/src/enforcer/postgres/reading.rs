//! A catalog that is being read, question by question, whoever asks.

use std::sync::Arc;
use std::time::Instant;

use crate::enforcer::catalogs::Known;
use crate::mask::learn::{Learner, Question};

#[derive(Debug)]
pub struct Reading {
    known: Arc<Known>,
    begun: u64,
    began: Instant,
    /// Which of [`Question::ALL`] is being answered.
    place: usize,
    learner: Learner,
}

impl Reading {
    /// From now on others go on with what is there.
    pub fn begin(known: Arc<Known>) -> Self {
        let begun = known.begin();
        Self { known, begun, began: Instant::now(), place: 0, learner: Learner::default() }
    }

    fn asked(&self) -> Option<Question> {
        Question::ALL.get(self.place).copied()
    }

    /// What is to be asked; nothing more, once all is answered.
    pub fn question(&self) -> Option<&'static str> {
        self.asked().map(Question::sql)
    }

    pub fn row<'v>(&mut self, values: impl IntoIterator<Item = Option<&'v [u8]>>) {
        if let Some(question) = self.asked() {
            self.learner.row(question, values);
        }
    }

    /// The server doesn't answer this one.
    pub fn fail(&mut self, why: impl std::fmt::Display) {
        if let Some(question) = self.asked() {
            tracing::debug!("{question:?} of a catalog can't be learnt: {why}");
            self.learner.fail(question);
        }
    }

    /// The answer is over.
    pub fn answered(&mut self) {
        self.place += 1;
    }

    /// `true`: nothing is missing.
    pub fn finish(self) -> (Arc<Known>, bool) {
        let Self { known, begun, began, learner, .. } = self;
        let whole = learner.is_whole();
        known.update(|catalog| learner.finish(catalog));
        if whole {
            known.end(begun, began.elapsed());
        } else {
            known.fail();
        }
        (known, whole)
    }
}
