use super::*;
use crate::audit::index::SCHEMA;

fn asked(row: i64) -> Asked {
    Asked { row, flow: Some(1), text: Some(2), verdict: 1, policies: None }
}

#[test]
fn statements_whose_places_are_taken_go_to_the_next_and_none_is_written_twice() {
    let database = Connection::open_in_memory().unwrap();
    database.execute_batch(SCHEMA).unwrap();
    // Another writer's, at the same moments.
    for row in [100_i64, 101, 140] {
        let id = RecordId { writer: 9, position: row.unsigned_abs() };
        write(&database, id, &asked(row), None, &Told::default()).unwrap();
    }
    let mut blocks = Blocks::default();
    let mut usual = Usual::new(&database, 3).unwrap();
    // Two whole groups and a rest, the last come first.
    for position in (0..70).rev() {
        let ended = Ended { after: 1, rows: position, ..Ended::default() };
        let row = 100 + i64::try_from(position).unwrap();
        usual.put(position, asked(row), ended, &mut blocks).unwrap();
    }
    usual.flush(&mut blocks).unwrap();
    usual.flush(&mut blocks).unwrap();
    let mut read = database
        .prepare("SELECT position, ended FROM records WHERE writer = 3 ORDER BY position")
        .unwrap();
    let rows: Vec<(u64, u64)> = read
        .query_map([], |row| {
            let ended: Vec<u8> = row.get(1)?;
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), Ended::from_bytes(&ended).unwrap().rows))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(rows, (0..70).map(|position| (position, position)).collect::<Vec<_>>());
    let others: i64 = database
        .query_row("SELECT count(*) FROM records WHERE writer = 9", [], |row| row.get(0))
        .unwrap();
    assert_eq!(others, 3);
}

#[test]
fn the_longest_end_fits() {
    let most = u64::MAX;
    for times in [0, 1, most] {
        let ended =
            Ended { after: most, ending: 255, rows: most, bytes: most, latency_us: most, times };
        let (bytes, length) = ended.to_bytes();
        assert_eq!(Ended::from_bytes(&bytes[..length]), Some(ended));
    }
}
