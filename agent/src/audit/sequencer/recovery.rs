//! What a process that died has left: its records are brought into the tree,
//! its torn tail is cut and told, its segments are sealed.

use std::path::Path;

use serde_json::json;

use super::Work;
use crate::audit::frame::{self, Found, Start};
use crate::audit::log::LogError;
use crate::audit::record::Body;
use crate::audit::store::{Segment, Segments, StoreError, sealed, segments};
use crate::ledger::merkle::{self, Hash};
use crate::ledger::{MOST_AT_ONCE, note};
use crate::model::LogWriter;

impl Work {
    pub(super) fn recover_others(&mut self) -> Result<(), LogError> {
        let mut result = Ok(());
        for mut left in std::mem::take(&mut self.unfinished) {
            if left.writer == self.shared.writer {
                continue;
            }
            // What fails is tried again from where it stands.
            if result.is_ok() && !self.may_live(left.writer) {
                result = self.recover(&mut left);
                if result.is_ok() {
                    continue;
                }
            }
            self.unfinished.push(left);
        }
        result
    }

    /// Whether the process that writes under this number may still be there: its
    /// lock ends with it, however it ends. One that has no lock may be about to
    /// make it; a minute later it won't.
    fn may_live(&mut self, writer: u64) -> bool {
        match std::fs::File::open(self.shared.folder.lock(writer)) {
            Ok(lock) => lock.try_lock().is_err(),
            Err(_) => self.without_lock.insert(writer),
        }
    }

    /// Afterwards nothing of it is left to do.
    fn recover(&mut self, left: &mut LogWriter) -> Result<(), LogError> {
        let writer = left.writer;
        self.tidy(writer)?;
        let files = Segments::written_by(&self.shared.folder, writer)?;
        self.learn(left)?;
        self.catch_up(left, &files)?;
        let before = left.sequenced;
        let mut torn = Vec::new();
        let mut damaged = Vec::new();
        for segment in files.of_writer(writer) {
            let mut leaves: Vec<Hash> = Vec::new();
            let first = left.sequenced;
            if segment.start().first > first {
                damaged.push(format!("records {first} to {}", segment.start().first));
                break;
            }
            if let Err(error) = segment.each(first, |_, payload| leaves.push(merkle::leaf(payload)))
            {
                damaged.push(error.to_string());
                break;
            }
            let mut rest = leaves.as_slice();
            while !rest.is_empty() {
                let most = rest.get(..MOST_AT_ONCE).unwrap_or(rest);
                let taken = self.sequence(writer, left.sequenced, most)?;
                left.sequenced += taken as u64;
                rest = rest.get(taken..).unwrap_or_default();
            }
            if let Segment::Live { path, start, places, torn: true, .. } = segment {
                torn.push(json!({
                    "segment": path.file_name().map(|name| name.to_string_lossy()),
                    "behind": format!("{writer}-{}", start.first + places.len() as u64),
                }));
            }
            tracing::debug!("{} records of writer {writer} were left", left.sequenced - first);
        }
        let missing = left.sequenced.saturating_sub(
            files.of_writer(writer).last().map_or(0, |segment| segment.positions().end),
        );
        for segment in files.of_writer(writer) {
            if let Segment::Live { path, .. } = segment {
                let bytes = std::fs::read(path).map_err(StoreError::io("read", path))?;
                sealed::seal(&self.shared.folder, path, &bytes)?;
            }
        }
        let wrong = !torn.is_empty() || missing > 0 || !damaged.is_empty();
        if wrong {
            tracing::error!(
                "writer {writer} died: {} torn tails were cut, {missing} records that were in the \
                 tree are missing, {} segments can't be read",
                torn.len(),
                damaged.len()
            );
        }
        self.pay()?;
        let lock = self.shared.folder.lock(writer);
        if !wrong && left.sequenced == before && !lock.exists() {
            // It has ended in order since.
            return self.signer.finish(writer).map_err(LogError::Unwritable);
        }
        self.log.tell(
            Body::Recovered,
            &json!({
                "writer": writer,
                "records": left.sequenced,
                "brought_in": left.sequenced.saturating_sub(before),
                "torn": torn,
                "missing": missing,
                "damaged": damaged,
            }),
        )?;
        self.signer.finish(writer).map_err(LogError::Unwritable)?;
        let _ = std::fs::remove_file(lock);
        Ok(())
    }

    /// What it has brought in since this process was told of it: it went on for as long
    /// as it had connections.
    fn learn(&self, left: &mut LogWriter) -> Result<(), LogError> {
        for note in self.tree.notes()? {
            let Some(batch) = note::peek(&note).map(|head| head.batch) else { continue };
            let end = batch.first.saturating_add(batch.count);
            if batch.writer == left.writer && end > left.sequenced {
                (left.sequenced, left.note) = (end, Some(note));
            }
        }
        Ok(())
    }

    /// The last head that it was given may not have been written down.
    fn catch_up(&mut self, left: &LogWriter, files: &Segments) -> Result<(), LogError> {
        let Some(note) = &left.note else { return Ok(()) };
        let Some(checkpoint) = note::peek(note) else { return Ok(()) };
        let batch = checkpoint.batch;
        let mut leaves: Vec<Hash> = Vec::new();
        for segment in files.of_writer(left.writer) {
            let _ = segment.each(batch.first, |position, payload| {
                if position < batch.first + batch.count {
                    leaves.push(merkle::leaf(payload));
                }
            });
        }
        if leaves.len() as u64 == batch.count {
            self.tree.write(checkpoint.size - batch.count, &leaves)?;
        }
        if !self.tree.notes()?.iter().any(|known| known == note) {
            self.tree.note(note)?;
        }
        Ok(())
    }

    /// Half-made files of a dead process, and live ones that are sealed already.
    fn tidy(&self, writer: u64) -> Result<(), LogError> {
        let folder = self.shared.folder.segments();
        let prefix = format!("{writer:06}-");
        for entry in std::fs::read_dir(&folder).map_err(StoreError::io("read", &folder))? {
            let path = entry.map_err(StoreError::io("read", &folder))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if !name.is_some_and(|name| name.starts_with(&prefix)) {
                continue;
            }
            let is = |wanted: &str| path.extension().is_some_and(|extension| extension == wanted);
            if is("spare") && self.is_nameless(writer, &path)? {
                continue;
            }
            let sealed_too = is("live") && {
                let sealed = path.with_extension("sealed");
                sealed.exists() && Segment::open(&sealed).is_ok()
            };
            let empty = is("live")
                && std::fs::read(&path)
                    .is_ok_and(|bytes| frame::at(&bytes, frame::SEGMENT_HEAD) == Found::End);
            if is("spare") || is("new") || sealed_too || empty {
                std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        // The list is read anew by whoever asks next.
        segments::paths(&self.shared.folder).map(drop).map_err(Into::into)
    }

    /// Gives a segment its name back that a loss of power took: it has records, and
    /// is called as it was before it had any.
    fn is_nameless(&self, writer: u64, spare: &Path) -> Result<bool, LogError> {
        let Ok(bytes) = std::fs::read(spare) else { return Ok(false) };
        let start = Start::from_bytes(&bytes).filter(|start| start.writer == writer);
        let written = frame::at(&bytes, frame::SEGMENT_HEAD) != Found::End;
        let Some(start) = start.filter(|_| written) else { return Ok(false) };
        let live = self.shared.folder.live(writer, start.first);
        if live.exists() || self.shared.folder.sealed(writer, start.first).exists() {
            return Ok(false);
        }
        std::fs::rename(spare, &live).map_err(StoreError::io("rename", spare))?;
        Ok(true)
    }
}
