//! From one segment to the next.

use std::sync::Arc;

use super::{LogError, Shared, State, micros};
use crate::audit::frame::Start;
use crate::audit::store::Live;
use crate::audit::store::live::Spare;
use crate::model::Durability;

impl State {
    /// Leaves the segment for the next, which knows nothing yet.
    pub(super) fn rotate(&mut self, shared: &Shared) -> Result<(), LogError> {
        let spare = match self.spare.take() {
            Some(spare) => spare,
            None => Spare::make(&shared.folder, shared.writer, self.segment_size())?,
        };
        let start = Start { writer: shared.writer, first: self.position, created: micros() };
        let live = Arc::new(spare.into_live(&shared.folder, start)?);
        // INVARIANT: closed only once there is another: whoever finds it closed seals it
        // and lets it go.
        if let Some(old) = self.live.replace(Arc::clone(&live)) {
            old.close();
            if self.terms.durability != Durability::Process {
                // The sequencer may have brought some there.
                self.left.retain(|live| !live.is_on_disk());
                self.left.push(old);
            }
        }
        self.handed.push(live);
        self.known.clear();
        self.words.clear();
        self.recovered();
        Ok(())
    }

    fn segment_size(&self) -> usize {
        usize::try_from(self.terms.segment).unwrap_or(usize::MAX).max(SMALLEST)
    }

    /// Whether the next segment should be made ready now.
    pub fn wants_spare(&self) -> Option<usize> {
        let half = self.live.as_ref().is_none_or(|live| live.used() >= 50);
        (half && self.spare.is_none()).then(|| self.segment_size())
    }

    pub fn take_spare(&mut self, spare: Spare) {
        self.spare.get_or_insert(spare);
        // Nobody may be writing at the moment who would find out.
        self.recovered();
    }

    /// Why there is no next segment.
    pub fn no_spare(&mut self, error: &LogError) {
        self.complain(error);
    }

    /// Segments that are new to the sequencer; it is about to read all there is.
    pub fn hand_over(&mut self) -> Vec<Arc<Live>> {
        self.waiting = 0;
        std::mem::take(&mut self.handed)
    }

    /// Ends the segment in use, so that it can be sealed.
    pub fn end(&mut self) {
        if let Some(live) = self.live.take() {
            live.close();
        }
        if let Some(spare) = self.spare.take() {
            spare.remove();
        }
    }
}

/// Room for the longest record with all that it refers to.
const SMALLEST: usize = 4 << 20;
