//! What of a session's answers was masked and what was seen, until their ends are
//! told.

use crate::mask::{Class, Tally};

/// A statement of the session: its request, and which of its text it is.
pub type Place = (u64, u32);

/// What of an answer was masked, and what was sensitive and shown in the clear.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub masked: Tally,
    pub seen: Tally,
    /// … and of that, what only the shadow kept from being masked.
    pub would_mask: Tally,
}

impl Counts {
    /// Was shown, and those of these classes in shadow alone.
    pub fn show(&mut self, shown: &Tally, would_mask: &[Class]) {
        self.seen.merge(shown);
        let hidden = shown.iter().filter(|(class, _)| would_mask.contains(class));
        hidden.for_each(|(class, cells)| self.would_mask.add_many(class, cells));
    }
}

/// Of statements whose ends aren't told yet.
#[derive(Debug, Default)]
pub struct Counted(Vec<(Place, Counts)>);

impl Counted {
    pub fn of(&mut self, place: Place) -> &mut Counts {
        let found = self.0.iter().position(|(one, _)| *one == place);
        let found = found.unwrap_or_else(|| {
            if self.0.len() >= MOST {
                self.0.remove(0);
            }
            self.0.push((place, Counts::default()));
            self.0.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found or pushed just before")]
        &mut self.0[found].1
    }

    pub fn mask(&mut self, place: Place, masked: &Tally) {
        if !masked.is_empty() {
            self.of(place).masked.merge(masked);
        }
    }

    pub fn take(&mut self, place: Place) -> Option<Counts> {
        let found = self.0.iter().position(|(one, _)| *one == place)?;
        Some(self.0.swap_remove(found).1)
    }
}

const MOST: usize = 1_024;
