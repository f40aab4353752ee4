use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::audit::log::tests::{Keeper, Scratch, flow, key, small};
use crate::audit::sequencer::Work;
use crate::audit::{Log, Outcome, Statement};
use crate::ledger::merkle::{Range, node};
use crate::model::Mode;

/// A log that grows by as many records as it is told to.
struct Growing {
    scratch: Scratch,
    log: Log,
    work: Work,
    connection: crate::audit::Connection,
}

impl Growing {
    fn new() -> Self {
        let (scratch, keeper) = (Scratch::new(), Keeper::new());
        let welcome = keeper.welcome(small());
        let log = Log::open(&scratch.0, &welcome).unwrap();
        let shared = Arc::clone(log.shared().unwrap());
        let work = Work::new(log.clone(), shared, &welcome, Box::new(keeper)).unwrap();
        let connection = log.connection(flow(7, Mode::Strict));
        Self { scratch, log, work, connection }
    }

    fn grow(&mut self, statements: u64) {
        for serial in 0..statements {
            let way = crate::audit::Way::Query;
            let statement = Statement::new(serial, way, None, crate::audit::Verdict::Allowed);
            let sealed = self.connection.intent(&statement).unwrap();
            self.connection.outcome(&sealed, &Outcome::new(crate::audit::Ending::Complete));
            if serial % 300 == 299 {
                self.work.turn().unwrap();
            }
        }
        self.work.turn().unwrap();
        assert_eq!(self.log.health().lost, 0);
    }

    fn folder(&self) -> Folder {
        Folder::new(&self.scratch.0)
    }

    fn publish(&self, to: &Path) -> Published {
        publish(&self.folder(), key().verifier(), to).unwrap()
    }
}

/// As the specification says, by nothing but what was published.
fn root(of: &Path, size: u64) -> Option<Hash> {
    let hashes = |level: u32| -> Option<Vec<Hash>> {
        let count = size >> (8 * level);
        let mut all = Vec::new();
        for tile in 0..count.div_ceil(256) {
            let path = match (tile, count - tile * 256) {
                (tile, 256..) => format!("tile/{level}/{tile:03}"),
                (tile, width) => format!("tile/{level}/{tile:03}.p/{width}"),
            };
            let bytes = fs::read(of.join(path)).ok()?;
            all.extend_from_slice(bytes.as_chunks::<32>().0);
        }
        (all.len() as u64 == count).then_some(all)
    };
    let (leaves, above) = (hashes(0)?, hashes(1)?);
    for (tile, hash) in leaves.as_chunks::<256>().0.iter().zip(&above) {
        let mut row = tile.to_vec();
        while row.len() > 1 {
            row = row.as_chunks::<2>().0.iter().map(|[left, right]| node(left, right)).collect();
        }
        assert_eq!(row, [*hash]);
    }
    let mut range = Range::empty(0);
    leaves.iter().for_each(|leaf| range.push(*leaf));
    range.root()
}

fn head(of: &Path) -> note::Checkpoint {
    key().verifier().open(&fs::read_to_string(of.join("checkpoint")).unwrap()).unwrap()
}

#[test]
fn what_is_published_comes_to_the_signed_root_as_the_log_grows() {
    let (mut growing, to) = (Growing::new(), Scratch::new());
    let mut before = 0;
    for more in [1, 100, 30, 400, 700] {
        growing.grow(more);
        let published = growing.publish(&to.0);
        assert!(published.size > before && published.written > 0 && published.from == 0);
        before = published.size;
        let head = head(&to.0);
        assert_eq!((head.size, Some(head.root)), (published.size, root(&to.0, head.size)));
        // Again: nothing is new.
        assert_eq!(growing.publish(&to.0), Published { written: 0, ..published });
    }
    assert!(before > 2_000);
}

#[test]
fn a_whole_tile_is_never_written_again_and_an_altered_log_not_published() {
    let (mut growing, to) = (Growing::new(), Scratch::new());
    growing.grow(300);
    growing.publish(&to.0);
    let first = to.0.join("tile/0/000");
    let written = fs::metadata(&first).unwrap().modified().unwrap();
    growing.grow(300);
    growing.publish(&to.0);
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
    let published = fs::read(to.0.join("checkpoint")).unwrap();
    growing.grow(1);
    let leaves = growing.scratch.0.join("tree/leaves-00000000");
    let mut bytes = fs::read(&leaves).unwrap();
    bytes[40] ^= 1;
    fs::write(&leaves, bytes).unwrap();
    let error = publish(&growing.folder(), key().verifier(), &to.0).unwrap_err();
    assert!(matches!(error, TilesError::Altered), "{error}");
    assert_eq!(fs::read(to.0.join("checkpoint")).unwrap(), published);
}

#[test]
fn tiles_are_called_as_the_specification_says() {
    let called = |level, number, width| name(level, number, width).display().to_string();
    assert_eq!(called(0, 0, 256), "tile/0/000");
    assert_eq!(called(2, 67, 12), "tile/2/067.p/12");
    assert_eq!(called(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(called(1, 1_000, 1), "tile/1/x001/000.p/1");
}

#[test]
fn what_was_published_is_never_taken_back_or_mixed_with_another_log() {
    let (mut growing, to) = (Growing::new(), Scratch::new());
    growing.grow(300);
    growing.publish(&to.0);
    let heads = growing.scratch.0.join("tree/checkpoints");
    let shorter = fs::read_to_string(&heads).unwrap();
    growing.grow(300);
    growing.publish(&to.0);
    let published = fs::read(to.0.join("checkpoint")).unwrap();
    fs::write(&heads, shorter).unwrap();
    let error = publish(&growing.folder(), key().verifier(), &to.0).unwrap_err();
    assert!(matches!(error, TilesError::Shorter { .. }), "{error}");
    assert_eq!(fs::read(to.0.join("checkpoint")).unwrap(), published);
    // Another history under the same key, and another log.
    let mut fork = Growing::new();
    fork.grow(800);
    let error = publish(&fork.folder(), key().verifier(), &to.0).unwrap_err();
    assert!(matches!(error, TilesError::Altered), "{error}");
    let foreign = crate::ledger::SigningKey::from_seed("tidegate/host-2", &[1; 32]).unwrap();
    let (head, other) = (head(&to.0), Scratch::new());
    fs::write(other.0.join("checkpoint"), foreign.sign(&head)).unwrap();
    let error = publish(&fork.folder(), key().verifier(), &other.0).unwrap_err();
    assert!(matches!(error, TilesError::Another(_)), "{error}");
    assert!(!other.0.join("tile").exists());
}
