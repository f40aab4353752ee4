//! Retention: sealed segments that are too old, or the oldest once all take up
//! too much. What goes is first told in the log, and the tree keeps what it came
//! to, so that the rest is still proven.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::Work;
use crate::audit::log::{LogError, micros};
use crate::audit::record::Body;
use crate::audit::store::sealed::Sealed;
use crate::audit::store::{StoreError, segments};
use crate::ledger::note::{self, Checkpoint};

/// Told in the log at a position; done once that is in the tree.
#[derive(Debug)]
pub struct Removal {
    told_at: u64,
    before: u64,
    files: Vec<PathBuf>,
}

impl Work {
    /// Looks for what may go.
    pub(super) fn let_go(&mut self) -> Result<(), LogError> {
        if self.removing.is_some() {
            return Ok(());
        }
        let terms = self.shared.lock().terms.clone();
        let now = micros();
        let mut sealed = Vec::new();
        let mut total = 0;
        for path in segments::files(&self.shared.folder)?.into_values() {
            if path.extension().is_none_or(|extension| extension != "sealed") {
                continue;
            }
            // What can't be read isn't let go either.
            let Ok(one) = Sealed::open(&path) else { continue };
            let size = std::fs::metadata(&path).map_or(0, |file| file.len());
            total += size;
            let positions = one.start.first..one.start.first + one.count;
            sealed.push((one.latest, one.start.writer, positions, path, size));
        }
        sealed.sort_by_key(|(latest, writer, positions, ..)| (*latest, *writer, positions.start));
        // Up to where each writer's records may go.
        let mut until: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut aged, mut crowded) = (0_u64, 0_u64);
        for (latest, writer, positions, _, size) in &sealed {
            let old = terms.keep_ms > 0 && latest.saturating_add(terms.keep_ms * 1_000) < now;
            if !old && total <= terms.keep_bytes {
                break;
            }
            if old {
                aged += 1
            } else {
                crowded += 1
            }
            total = total.saturating_sub(*size);
            until.insert(*writer, positions.end);
        }
        let (before, gone) = self.whole_batches(&until)?;
        if before <= self.tree.base().end() {
            return Ok(());
        }
        let files: Vec<PathBuf> = sealed
            .into_iter()
            .filter(|(_, writer, positions, ..)| {
                gone.get(writer).is_some_and(|end| positions.end <= *end)
            })
            .map(|(.., path, _)| path)
            .collect();
        if files.is_empty() {
            return Ok(());
        }
        let told = self.log.tell(
            Body::Removed,
            &json!({
                "before": before,
                "records": before - self.tree.base().end(),
                "segments": files.len(),
                "for_age": aged,
                "for_size": crowded,
            }),
        )?;
        self.removing = Some(Removal { told_at: told.position, before, files });
        Ok(())
    }

    /// The largest beginning of the tree that consists of what may go, and how
    /// far that is for each writer.
    fn whole_batches(
        &self,
        until: &BTreeMap<u64, u64>,
    ) -> Result<(u64, BTreeMap<u64, u64>), LogError> {
        let mut heads: Vec<Checkpoint> =
            self.tree.notes()?.iter().filter_map(|note| note::peek(note)).collect();
        heads.sort_by_key(|head| head.size);
        let mut before = self.tree.base().end();
        let mut gone = BTreeMap::new();
        for head in heads {
            let batch = head.batch;
            if head.size <= before {
                gone.insert(batch.writer, batch.first + batch.count);
                continue;
            }
            let end = batch.first + batch.count;
            let follows = head.size - batch.count == before;
            if !follows || until.get(&batch.writer).is_none_or(|until| end > *until) {
                break;
            }
            before = head.size;
            gone.insert(batch.writer, end);
        }
        Ok((before, gone))
    }

    /// Removes what was told to go.
    pub(super) fn removed(&mut self) -> Result<(), LogError> {
        let Some(removal) = self.removing.take_if(|removal| removal.told_at < self.sequenced)
        else {
            return Ok(());
        };
        self.tree.cut(removal.before)?;
        for path in removal.files {
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
        self.tree.drop_notes(removal.before)?;
        Ok(())
    }
}
