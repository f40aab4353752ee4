//! How many cells of which class a statement's answers held, as its row says it.

use std::collections::BTreeMap;

use super::rows::Told;
use super::{Taker, definitions};
use crate::audit::record::{Back, Outcome, RecordId};

/// What a row says of cells: masked, shown, and shown in shadow only.
pub(super) type Said = (Option<String>, Option<String>, Option<String>);

struct AllCells {
    masked: Cells,
    seen: Cells,
    would: Cells,
}

/// By class.
type Cells = BTreeMap<String, u64>;

fn written(cells: &Cells) -> String {
    let counts = cells.iter().map(|(class, count)| format!("{class} {count}"));
    counts.collect::<Vec<_>>().join(" ")
}

/// `email 12 phone 3`
pub fn counts(cells: &str) -> Cells {
    let words: Vec<&str> = cells.split_whitespace().collect();
    let pairs = words.as_chunks().0.iter();
    pairs.filter_map(|[class, count]| Some(((*class).to_owned(), count.parse().ok()?))).collect()
}

impl Taker<'_> {
    /// With what the row that it belongs to says of cells already.
    pub(super) fn told<'o>(
        &mut self,
        id: RecordId,
        row: Option<Said>,
        outcome: &'o Outcome,
    ) -> rusqlite::Result<Told<'o>> {
        let mut told = Told { sqlstate: outcome.sqlstate.as_deref(), ..Told::default() };
        if !outcome.masked.is_empty() || !outcome.seen.is_empty() {
            let cells = self.cells(id, row, outcome);
            let names = |cells: &Cells| -> Vec<String> { cells.keys().cloned().collect() };
            let (hidden, clear) = (names(&cells.masked), names(&cells.seen));
            let phrase = format!("masked {} seen {}", hidden.join(" "), clear.join(" "));
            told.classes = Some(match self.phrases.get(&phrase) {
                Some(known) => *known,
                None => {
                    let row = definitions::phrase(self.database, &phrase, (&hidden, &clear))?;
                    self.phrases.insert(phrase, row);
                    row
                }
            });
            (told.masked, told.seen) = (Some(written(&cells.masked)), Some(written(&cells.seen)));
            told.would = Some(written(&cells.would)).filter(|would| !would.is_empty());
        }
        Ok(told)
    }

    /// How many cells of each class were masked and shown, those of earlier
    /// statements of the same text among them.
    fn cells(&self, id: RecordId, row: Option<Said>, outcome: &Outcome) -> AllCells {
        let known = row.unwrap_or_default();
        let add = |known: Option<String>, told: &[(Back, u64)]| {
            let mut cells = counts(known.as_deref().unwrap_or_default());
            for (class, count) in told {
                if let Some(class) = self.rows.word(id, *class) {
                    *cells.entry(class.to_owned()).or_default() += count;
                }
            }
            cells
        };
        AllCells {
            masked: add(known.0, &outcome.masked),
            seen: add(known.1, &outcome.seen),
            would: add(known.2, &outcome.would_mask),
        }
    }
}
