//! COPY in every direction, and things that are large.

use std::hash::{DefaultHasher, Hasher as _};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tidegate_tests::diff::{Leg, Stage, Way, all};
use tidegate_tests::kernel::{Peak, memory_kib};
use tidegate_tests::postgres::program;
use tidegate_tests::wire::Connection;
use tidegate_tests::wire::message::{
    BINARY, TEXT, bind, copy_data, copy_done, copy_fail, execute, flush, once, parse, query, sync,
};

use super::{open_house, scenarios};

#[test]
fn copies() -> Result<()> {
    let stage = Stage::new(open_house().start()?)?;
    stage.postgres.admin("app", "CREATE TABLE c (id int, name text, at date)")?;
    scenarios(
        &stage,
        &[
            ("copies out", copies_out),
            ("copies in", copies_in),
            ("copies in that fail", failing),
            ("copies in the extended protocol", extended),
        ],
    )
}

fn copies_out(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    let rows = "SELECT n, repeat(chr(97 + n % 26), n % 2000), NULL FROM generate_series(1, 3000) n";
    for options in ["", "(FORMAT csv, HEADER)", "(FORMAT binary)", "(DELIMITER '|')"] {
        one.query(&format!("COPY ({rows}) TO STDOUT {options}"))?;
    }
    one.query("COPY (SELECT) TO STDOUT")?;
    one.query("COPY (SELECT 1/(100 - n) FROM generate_series(1, 200) n) TO STDOUT")?;
    one.query("COPY no_such_table TO STDOUT")?;
    one.query("COPY (SELECT 1) TO STDOUT; SELECT 2; COPY (SELECT 3) TO STDOUT (FORMAT binary)")?;
    one.leave()
}

fn begin(one: &mut Connection, sql: &str) -> Result<()> {
    one.send(&query(sql))?;
    one.until(b'G')?;
    Ok(())
}

fn copies_in(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("TRUNCATE c")?;
    begin(&mut one, "COPY c FROM STDIN")?;
    let text: Vec<u8> = (0..5_000).flat_map(|n| format!("{n}\tn{n}\t\\N\n").into_bytes()).collect();
    // Rows don't end where messages do.
    for (index, piece) in text.chunks(777).enumerate() {
        one.send(&copy_data(piece))?;
        if index % 50 == 0 {
            one.send(&copy_data(b""))?;
            // Both are passed over within a COPY.
            one.send(&[flush(), sync()].concat())?;
        }
    }
    one.ask(&copy_done())?;
    one.query("SELECT count(*), sum(id), md5(string_agg(name, ',' ORDER BY id)) FROM c")?;
    begin(&mut one, "COPY c FROM STDIN (FORMAT csv)")?;
    one.send(&copy_data(b"1,\"a,\"\"b\"\"\",2020-02-02\n2,,\n"))?;
    one.ask(&copy_done())?;
    begin(&mut one, "COPY c FROM STDIN (FORMAT binary)")?;
    let mut binary = b"PGCOPY\n\xff\r\n\0".to_vec();
    binary.extend([0; 8]);
    binary.extend([0, 3, 0, 0, 0, 4, 0, 0, 1, 0, 0, 0, 0, 2, b'h', b'i', 255, 255, 255, 255]);
    binary.extend([255, 255]);
    one.send(&copy_data(&binary))?;
    one.ask(&copy_done())?;
    one.query("SELECT count(*), sum(id) FROM c")?;
    // Two in one query, with a select between.
    one.send(&query("COPY c FROM STDIN; SELECT 'between'; COPY c FROM STDIN"))?;
    one.until(b'G')?;
    one.send(&[copy_data(b"7\tx\t\\N\n"), copy_done()].concat())?;
    one.until(b'G')?;
    one.send(&[copy_data(b"8\ty\t\\N\n"), copy_done()].concat())?;
    one.until(b'Z')?;
    one.query("SELECT count(*), sum(id) FROM c")?;
    one.leave()
}

fn failing(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("TRUNCATE c")?;
    begin(&mut one, "COPY c FROM STDIN")?;
    one.send(&copy_data(b"1\tone\t\\N\n"))?;
    one.ask(&copy_fail("the client has thought better of it"))?;
    // The server's error comes while data still flows; what flows is passed
    // over up to the client's own end.
    begin(&mut one, "COPY c FROM STDIN")?;
    one.send(&copy_data(b"not a number\tx\t\\N\n"))?;
    for _ in 0..200 {
        one.send(&copy_data(&[b'y'; 5_000]))?;
    }
    one.send(&copy_done())?;
    one.until(b'Z')?;
    one.query("SELECT 'usable'")?;
    one.mark("Syncs behind the error, each of which is answered");
    begin(&mut one, "COPY c FROM STDIN")?;
    one.send(&[copy_data(b"not a number\tx\t\\N\n"), sync(), sync(), copy_done()].concat())?;
    for _ in 0..3 {
        one.until(b'Z')?;
    }
    one.query("SELECT 'usable'")?;
    begin(&mut one, "COPY c FROM STDIN")?;
    one.send(&copy_data(b"1\tone"))?;
    one.ask(&copy_done())?;
    // Another message than COPY's own ends it.
    begin(&mut one, "COPY c FROM STDIN")?;
    one.send(&query("SELECT 1"))?;
    one.until(b'E')?;
    one.rest()?;
    let mut two = way.open("two")?;
    two.query("COPY c (no_such_column) FROM STDIN")?;
    two.query("SELECT count(*) FROM c")?;
    two.leave()
}

fn extended(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("TRUNCATE c")?;
    one.ask(
        &[once("COPY (SELECT generate_series(1, 100)) TO STDOUT", &[], TEXT), sync()].concat(),
    )?;
    let copy = [parse("", "COPY c FROM STDIN", &[]), bind("", "", TEXT, &[], TEXT), execute("", 0)]
        .concat();
    one.send(&[copy.clone(), flush()].concat())?;
    one.until(b'G')?;
    one.ask(&[copy_data(b"1\ta\t\\N\n"), copy_done(), sync()].concat())?;
    one.mark("it fails, and all up to the Sync is skipped");
    one.send(&[copy.clone(), flush()].concat())?;
    one.until(b'G')?;
    one.ask(&[copy_fail("no"), once("SELECT 'skipped'", &[], TEXT), sync()].concat())?;
    one.mark("the data fail, and the first Sync ends it");
    one.send(&[copy.clone(), flush()].concat())?;
    one.until(b'G')?;
    one.send(&[copy_data(b"not a number\tx\t\\N\n"), copy_done(), sync(), sync()].concat())?;
    one.until(b'Z')?;
    one.until(b'Z')?;
    one.mark("data in the same go as the statement");
    one.ask(&[copy, copy_data(b"2\tb\t\\N\n"), copy_done(), sync()].concat())?;
    one.query("SELECT count(*) FROM c")?;
    one.leave()
}

/// 64 MiB, or 1 GiB with the long suites, in and out again by psql, with TLS and
/// without. However much it is, the enforcer's memory stays as it was.
#[test]
fn large_copies_by_a_real_client() -> Result<()> {
    let stage = Stage::new(open_house().setting("max_wal_size=4GB").start()?)?;
    // A row is 1,024 bytes.
    let rows: u64 = if all() { 1024 * 1024 } else { 64 * 1024 };
    stage.postgres.admin("app", "CREATE UNLOGGED TABLE big (line text)")?;
    for leg in Leg::BOTH {
        // What is taken once is taken now.
        stage.compare("a small copy", leg, |way| copied(way, 64))?;
        let enforcer = stage.agent.enforcer()?;
        let before = memory_kib(enforcer)?;
        let watch = Peak::of(enforcer);
        stage.compare("large copies", leg, |way| copied(way, rows))?;
        let most = watch.most()?;
        eprintln!("{leg:?}: from {before} to {most} KiB at most");
        ensure!(most < before + MOST_KIB, "the enforcer went from {before} to {most} KiB");
        ensure!(stage.agent.enforcer()? == enforcer, "it is another enforcer now");
    }
    Ok(())
}

/// What a COPY of any size may take of the enforcer's own memory (no page of a file's
/// counts): with TLS less than 2.5 MiB were seen over a minute of copies.
const MOST_KIB: u64 = 4 * 1024;

fn copied(way: &Way<'_>, rows: u64) -> Result<()> {
    let psql = |sql: &str| -> Result<std::process::Command> {
        let mut command = way.command(program("psql")?)?;
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(way.dsn("app"));
        Ok(command)
    };
    let began = Instant::now();
    let mut into = psql("COPY big FROM STDIN")?.stdin(Stdio::piped()).spawn()?;
    let mut pipe = into.stdin.take().context("no pipe")?;
    let mut hasher = DefaultHasher::new();
    // Each line is like no other in each of its parts.
    for row in 0..rows {
        let mut line = format!("{row:016}").repeat(64).into_bytes();
        line[1023] = b'\n';
        hasher.write(&line);
        pipe.write_all(&line)?;
    }
    drop(pipe);
    ensure!(into.wait()?.success(), "the copy in failed");
    let in_at = began.elapsed();
    let sums = "SELECT count(*), sum(length(line)), sum(hashtextextended(line, 7)) FROM big";
    let arrived = way.tool("what arrived", &mut psql(sums)?)?;
    ensure!(arrived.starts_with(&format!("{rows}|{}|", rows * 1023)), "{arrived}");
    let began = Instant::now();
    let mut out = psql("COPY big TO STDOUT")?.stdout(Stdio::piped()).spawn()?;
    let mut from = out.stdout.take().context("no pipe")?;
    let (bytes, hash) = sum(&mut from)?;
    ensure!(out.wait()?.success() && bytes == rows * 1024, "{bytes} bytes came");
    ensure!(hash == hasher.finish(), "what came out is not what went in");
    way.said("what came back", format!("{bytes} {hash:016x}"));
    way.tool("emptied", &mut psql("TRUNCATE big")?)?;
    if rows > 1024 {
        let by = if way.led { "through" } else { "directly" };
        eprintln!("{:?}, {by}: in {in_at:.1?}, out {:.1?}", way.leg, began.elapsed());
    }
    Ok(())
}

fn sum(from: &mut impl std::io::Read) -> Result<(u64, u64)> {
    let mut hasher = DefaultHasher::new();
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok((total, hasher.finish())),
            read => {
                hasher.write(&buffer[..read]);
                total += read as u64;
            }
        }
    }
}

#[test]
fn fields_of_a_hundred_megabytes() -> Result<()> {
    let stage = Stage::new(open_house().start()?)?;
    for leg in Leg::BOTH {
        stage.compare("large fields", leg, |way| {
            let mut one = way.open("one")?;
            let large = vec![b'v'; 100_000_000];
            for (format, kind) in [(TEXT, "text"), (BINARY, "bytea")] {
                one.mark(kind);
                let messages = one.ask(
                    &[
                        parse("", &format!("SELECT $1::{kind}, 'after'"), &[]),
                        bind("", "", format, &[Some(&large)], format),
                        execute("", 0),
                        sync(),
                    ]
                    .concat(),
                )?;
                let row = messages.iter().find(|message| message.kind == b'D');
                let columns = row.context("no row")?.columns()?;
                ensure!(columns[0].as_deref() == Some(large.as_slice()), "{kind} is another one");
            }
            // A statement of 20 MB.
            let sql = format!("SELECT length('{}')", "q".repeat(20_000_000));
            one.ask(&query(&sql))?;
            one.leave()
        })?;
    }
    Ok(())
}
