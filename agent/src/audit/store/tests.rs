use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::audit::frame::Start;
use crate::audit::log::tests::Scratch;
use crate::audit::store::live::Spare;

thread_local! {
    /// Files whose names were brought to the disk, in order.
    pub(super) static NAMED: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
    /// What the disk has of files that were brought to it.
    static DISK: RefCell<BTreeMap<PathBuf, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

pub fn brought(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    DISK.with_borrow_mut(|disk| disk.insert(path.to_owned(), bytes));
}

/// What is left of the tree's files by a loss of power that spares nothing.
pub fn lose_power(folder: &Folder) {
    let named = NAMED.with_borrow(Clone::clone);
    for entry in std::fs::read_dir(folder.tree()).unwrap() {
        let path = entry.unwrap().path();
        match DISK.with_borrow(|disk| disk.get(&path).cloned()) {
            Some(bytes) if named.contains(&path) => std::fs::write(&path, bytes).unwrap(),
            _ => std::fs::remove_file(&path).unwrap(),
        }
    }
}

/// Else a loss of power leaves its records in a file by the name of a spare one.
#[test]
fn what_lies_on_the_disk_lies_there_by_its_name() {
    let scratch = Scratch::new();
    let folder = Folder::new(&scratch.0);
    folder.prepare().unwrap();
    let named = || NAMED.with_borrow_mut(std::mem::take);
    let start = Start { writer: 3, first: 7, created: 1 };
    let live = Spare::make(&folder, 3, 4 << 20).unwrap().into_live(&folder, start).unwrap();
    live.append([b"one".as_slice()].into_iter());
    assert_eq!(named(), [] as [PathBuf; 0]);
    live.sync().unwrap();
    assert_eq!(named(), [folder.live(3, 7)]);
    live.append([b"two".as_slice()].into_iter());
    live.close();
    assert!(!live.is_on_disk());
    live.sync().unwrap();
    assert!(live.is_on_disk());
    assert_eq!(named(), [] as [PathBuf; 0], "it has its name already");
    // What is made of it is there before it goes.
    let sealed = sealed::seal(&folder, live.path(), live.written()).unwrap();
    assert_eq!(named(), [sealed]);
    let base = folder.tree().join("base");
    replace(&base, b"x").unwrap();
    assert_eq!(named(), [base]);
}
