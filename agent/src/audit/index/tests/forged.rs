use super::*;
use crate::audit::frame::{self, Found};

/// Who may write in the log's folder puts files beside those that `verify` reads.
#[test]
fn a_search_finds_nothing_that_verify_does_not_read() {
    let Filled { scratch, log } = filled();
    drop(log);
    let folder = Folder::new(&scratch.0);
    let live = segments::paths(&folder).unwrap().remove(0);
    let whole = std::fs::read(&live).unwrap();
    crate::audit::store::sealed::seal(&folder, &live, &whole).unwrap();
    let forged: Vec<u8> = {
        let mut bytes = whole[..frame::SEGMENT_HEAD].to_vec();
        let (places, _) = segments::places(&whole, bytes.len());
        for place in places {
            let found = frame::at(&whole, place);
            let Found::Record { payload, .. } = found else { panic!() };
            let mut payload = payload.to_vec();
            if let Some(at) = payload.windows(4).position(|word| word == b"DROP") {
                payload[at..at + 4].copy_from_slice(b"LOCK");
            }
            frame::push(&payload, &mut bytes);
        }
        bytes
    };
    let kept = || {
        let found = |word: &str| -> i64 {
            let mut index = Index::aside(&folder).unwrap().unwrap();
            index.catch_up(&mut || true).unwrap();
            let count = "SELECT count(*) FROM texts_told WHERE json LIKE ?1";
            let word = format!("%{word}%");
            index.database.query_row(count, [word], |row| row.get(0)).unwrap()
        };
        (found("DROP TABLE"), found("LOCK TABLE"))
    };
    assert_eq!(kept(), (1, 0));
    // Under the name that a segment had while it was written, and under odd ones.
    for name in ["000001-000000000000.live", "1-0.live", "00001-0.live"] {
        let path = folder.segments().join(name);
        std::fs::write(&path, &forged).unwrap();
        assert_eq!(kept(), (1, 0), "{name}");
        std::fs::remove_file(path).unwrap();
    }
    // Under another's, its records are in another's place.
    std::fs::write(folder.live(0, 0), &forged).unwrap();
    assert_eq!(kept(), (1, 0));
}
