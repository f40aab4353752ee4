//! The simple protocol, and what comes unasked.

use anyhow::{Result, ensure};
use tidegate_tests::diff::{Stage, Way};
use tidegate_tests::wire::message::{self, function_call};

use super::{Scenario, open_house, scenarios};

#[test]
fn simple_queries() -> Result<()> {
    scenarios(&Stage::new(open_house().start()?)?, SCENARIOS)
}

pub(super) const SCENARIOS: &[(&str, Scenario)] = &[
    ("queries", queries),
    ("transactions", transactions),
    ("settings that the server reports", settings),
    ("notices", notices),
    ("notifications", notifications),
    ("cursors", cursors),
    ("function calls", functions),
    ("messages in pieces", pieces),
];

fn queries(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    for sql in [
        "SELECT 1",
        "",
        " ; ;; ",
        "-- nothing",
        "SELECT 1; SELECT 'two', NULL; SELECT 3 WHERE false",
        "SELECT 1; SELECT 1/0; SELECT 3",
        "SELECT n, repeat('x', n) FROM generate_series(0, 3000, 7) n",
        "SELECT",
        "SELEC 1",
        "SELECT no_such_column",
        "SELECT 'ä€𐍈', U&'\\0041', E'\\t', '\\x00ff'::bytea",
        "SELECT pg_sleep(0)",
        "VALUES (1.5::float4, 'NaN'::float8, '-infinity'::timestamptz, interval '1 mon -2 days')",
        "CREATE TEMP TABLE t (id int PRIMARY KEY, name text, at timestamptz DEFAULT '2020-01-01')",
        "INSERT INTO t SELECT n, n::text FROM generate_series(1, 100) n",
        "INSERT INTO t VALUES (1, 'again')",
        "UPDATE t SET name = upper(name) WHERE id < 10 RETURNING id, name",
        "DELETE FROM t WHERE id > 50",
        "SELECT * FROM t ORDER BY id LIMIT 5",
        "SELECT t FROM t ORDER BY id LIMIT 2",
        "SELECT count(*) AS n, max(id) FROM t",
        "EXPLAIN (COSTS off) SELECT * FROM t WHERE id = 3",
        "SHOW server_version",
        "PREPARE p AS SELECT $1::int + 1 AS next",
        "EXECUTE p(41)",
        "EXECUTE p('no number')",
        "DEALLOCATE p",
        "EXECUTE p(1)",
        "DO $$ BEGIN PERFORM 1; END $$",
        "DISCARD ALL",
        "SELECT set_config('search_path', 'pg_catalog', false), current_setting('search_path')",
    ] {
        one.query(sql)?;
    }
    one.leave()
}

fn transactions(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    for sql in [
        "BEGIN",
        "CREATE TEMP TABLE t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO t VALUES (1)",
        "SAVEPOINT a",
        "SELECT 1/0",
        "SELECT 1",
        "ROLLBACK TO a",
        "SELECT * FROM t",
        "INSERT INTO t VALUES (1)",
        // The error is COMMIT's own.
        "COMMIT",
        "COMMIT",
        "ROLLBACK",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "CREATE TABLE never ()",
        "COMMIT",
        "BEGIN; SELECT 1; COMMIT; SELECT 2",
        "BEGIN; SELECT 1/0; COMMIT",
        "SELECT 'still aborted'",
        "ROLLBACK",
        "START TRANSACTION; SAVEPOINT s; RELEASE s; COMMIT AND CHAIN; ROLLBACK",
    ] {
        one.query(sql)?;
    }
    one.leave()
}

fn settings(way: &mut Way<'_>) -> Result<()> {
    let mut one =
        way.open_with("one", &[("application_name", "first"), ("options", "-c TimeZone=UTC")])?;
    for sql in [
        "SET application_name = 'zweite'",
        "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SELECT now()::date < '1.1.1999'",
        "SET client_encoding = 'LATIN1'",
        "SELECT convert_from('\\xc3a4', 'UTF8')",
        "SELECT U&'\\20ac' || 'x'",
        "SET standard_conforming_strings = off",
        "SELECT 'a\\nb'",
        "BEGIN; SET LOCAL IntervalStyle = 'iso_8601'; SELECT interval '1 day'; ROLLBACK",
        "SET SESSION AUTHORIZATION pg_monitor",
        "RESET ALL",
        "SELECT set_config('application_name', repeat('long', 100), false)",
    ] {
        one.query(sql)?;
    }
    one.leave()
}

fn notices(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("SET client_min_messages = debug1")?;
    for level in ["DEBUG", "LOG", "INFO", "NOTICE", "WARNING", "EXCEPTION"] {
        one.query(&format!(
            "DO $$ BEGIN RAISE {level} 'said at %', '{level}' USING DETAIL = 'a detail', \
             HINT = 'a hint', ERRCODE = 'U0001', TABLE = 't', COLUMN = 'c'; END $$"
        ))?;
    }
    one.query("SET client_min_messages = notice")?;
    one.query("DROP TABLE IF EXISTS nothing_like_that; ROLLBACK")?;
    // Many, between rows.
    one.query(
        "CREATE FUNCTION pg_temp.talk(n int) RETURNS int LANGUAGE plpgsql AS \
         $$ BEGIN RAISE NOTICE '%', repeat('.', n); RETURN n; END $$",
    )?;
    one.query("SELECT pg_temp.talk(n) FROM generate_series(1, 500) n")?;
    one.leave()
}

fn notifications(way: &mut Way<'_>) -> Result<()> {
    let mut listener = way.open("listener")?;
    let mut speaker = way.open("speaker")?;
    listener.query("LISTEN tide")?;
    speaker
        .query("NOTIFY tide; NOTIFY tide, 'rises'; SELECT pg_notify('tide', repeat('x', 7999))")?;
    // Nothing is asked meanwhile: they come by themselves.
    for _ in 0..3 {
        let message = listener.receive()?;
        ensure!(message.as_ref().is_some_and(|it| it.kind == b'A'), "{message:?}");
    }
    speaker.query("BEGIN; NOTIFY tide, 'never'; ROLLBACK")?;
    listener.query("NOTIFY tide, 'to myself'")?;
    listener.query("UNLISTEN *")?;
    speaker.query("NOTIFY tide, 'unheard'")?;
    listener.query("SELECT 1")?;
    listener.leave()?;
    speaker.leave()
}

fn cursors(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    for sql in [
        "DECLARE c CURSOR FOR SELECT 1",
        "BEGIN",
        "DECLARE c SCROLL CURSOR FOR SELECT n, n::text FROM generate_series(1, 100) n",
        "FETCH 3 FROM c",
        "MOVE 50 IN c",
        "FETCH BACKWARD 2 FROM c",
        "FETCH LAST FROM c",
        "FETCH FROM c",
        "DECLARE h CURSOR WITH HOLD FOR SELECT * FROM generate_series(1, 5)",
        "DECLARE b BINARY CURSOR FOR SELECT 1::int4, 'x'::text, 1.5::numeric",
        "FETCH ALL FROM b",
        "CLOSE c",
        "COMMIT",
        "FETCH 2 FROM h",
        "FETCH ALL FROM h",
        "CLOSE h",
        "CLOSE h",
    ] {
        one.query(sql)?;
    }
    one.leave()
}

/// Large objects as libpq makes and reads them: by fast-path calls.
fn functions(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("SELECT lo_unlink(4711) FROM pg_largeobject_metadata WHERE oid = 4711")?;
    one.query("BEGIN")?;
    one.query("SELECT lo_create(4711)")?;
    let number = |number: u32| number.to_be_bytes().to_vec();
    let (oid, both) = (number(4711), number(0x2_0000 | 0x4_0000));
    let opened = one.ask(&function_call(952, &[Some(&oid), Some(&both)]))?;
    let fd = opened.first().map(|message| message.body[4..].to_vec()).unwrap_or_default();
    ensure!(fd.len() == 4, "lo_open: {opened:?}");
    for size in [0, 1, 2_048, 70_000, 3_000_000] {
        let bytes: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        one.ask(&function_call(955, &[Some(&fd), Some(&bytes)]))?;
    }
    one.ask(&function_call(956, &[Some(&fd), Some(&number(0)), Some(&number(0))]))?;
    one.ask(&function_call(954, &[Some(&fd), Some(&number(2_500_000))]))?;
    one.ask(&function_call(953, &[Some(&fd)]))?;
    one.query("COMMIT")?;
    // NULL to a strict function; no such function; a wrong number of arguments.
    one.ask(&function_call(952, &[None, None]))?;
    one.ask(&function_call(0, &[]))?;
    one.ask(&function_call(952, &[Some(&oid)]))?;
    one.query("SELECT lo_get(4711, 2999990, 10), length(lo_get(4711)), lo_unlink(4711)")?;
    one.leave()
}

/// Cut anywhere, it is the same request.
fn pieces(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    let bytes = [
        message::query("SELECT 1"),
        message::once("SELECT $1::text, $2::int", &[Some(b"abc"), Some(b"7")], message::TEXT),
        message::sync(),
        message::query("SELECT repeat('y', 5000)"),
    ]
    .concat();
    for step in [1, 2, 3, 5, 7, 64] {
        for piece in bytes.chunks(step) {
            one.send(piece)?;
        }
        for _ in 0..3 {
            one.until(b'Z')?;
        }
    }
    // Ten thousand at once.
    for _ in 0..20 {
        one.send(&message::query("SELECT 1").repeat(500))?;
        for _ in 0..500 {
            one.until(b'Z')?;
        }
    }
    one.leave()
}
