//! The tools that come with PostgreSQL.

use std::process::Command;

use anyhow::{Result, ensure};
use tidegate_tests::diff::{Stage, Way};
use tidegate_tests::postgres::program;

use super::{open_house, scenarios};

#[test]
fn dumps_benches_and_replicas() -> Result<()> {
    let settings = ["wal_level=logical", "max_wal_senders=4", "max_replication_slots=4"];
    let setup = settings.into_iter().fold(open_house(), |setup, line| setup.setting(line));
    let stage = Stage::new(setup.start()?)?;
    stage.postgres.admin("app", SCHEMA)?;
    scenarios(
        &stage,
        &[
            ("psql", psql),
            ("pg_dump and pg_restore", dump),
            ("pgbench", pgbench),
            ("pg_recvlogical", logical),
            ("pg_basebackup", backup),
            ("pg_receivewal", receive),
        ],
    )
}

/// A little of everything that a schema has.
const SCHEMA: &str = r#"
CREATE TYPE mood AS ENUM ('calm', 'rough');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE numbers START 100;
CREATE TABLE ports (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
    at point, weather mood DEFAULT 'calm', depth positive, tags text[], extra jsonb);
CREATE TABLE tides (port int REFERENCES ports, at timestamptz, height numeric(6, 2), raw bytea)
    PARTITION BY RANGE (at);
CREATE TABLE tides_old PARTITION OF tides FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE tides_new PARTITION OF tides FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE INDEX ON tides (port, at DESC);
CREATE VIEW high AS SELECT p.name, t.at, t.height FROM tides t JOIN ports p ON p.id = t.port
    WHERE t.height > 3;
CREATE MATERIALIZED VIEW per_port AS SELECT port, count(*), avg(height) FROM tides GROUP BY port;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.extra := coalesce(NEW.extra, '{}') || '{"noted": true}'; RETURN NEW; END $$;
CREATE TRIGGER noting BEFORE INSERT ON ports FOR EACH ROW EXECUTE FUNCTION noted();
ALTER TABLE ports ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON ports USING (true);
COMMENT ON TABLE ports IS 'where ships lie; it''s tidal';
INSERT INTO ports (name, at, depth, tags)
    SELECT 'port ' || n, point(n, -n), n, ARRAY['a', NULL, E'tab\there'] FROM generate_series(1, 200) n;
INSERT INTO tides SELECT 1 + n % 200, '2019-01-01'::timestamptz + n * interval '1 hour',
    (n % 700) / 100.0, decode(md5(n::text), 'hex') FROM generate_series(1, 20000) n;
REFRESH MATERIALIZED VIEW per_port;
SELECT lo_from_bytea(7777, '\x00ff10');
"#;

const SCRIPT: &str = r"
\x on
SELECT * FROM high ORDER BY at LIMIT 3;
\x off
\encoding LATIN1
\echo :ENCODING
SELECT 1 AS a \gset
\echo :a
SELECT 'x', 1.5 \gdesc
SELECT n, n % 3, n FROM generate_series(1, 5) n \crosstabview
SELECT 1/0;
\errverbose
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT nonsense;
SELECT 'goes on';
COMMIT;
\set FETCH_COUNT 100
SELECT n FROM generate_series(1, 250) n;
";

fn tool(way: &Way<'_>, name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = way.command(program(name)?)?;
    command.args(arguments);
    Ok(command)
}

fn psql(way: &mut Way<'_>) -> Result<()> {
    let dsn = way.dsn("app");
    let script = way.file("script.sql");
    std::fs::write(&script, SCRIPT)?;
    let mut listing = tool(way, "psql", &["-X", "-d", &dsn])?;
    for line in ["\\d ports", "\\d+ tides", "\\df noted", "\\dT+ mood", "\\l app", "\\lo_list"] {
        listing.args(["-c", line]);
    }
    way.tool("catalogs", &mut listing)?;
    let input = std::fs::File::open(&script)?;
    std::fs::remove_file(&script)?;
    way.tool("a script", tool(way, "psql", &["-X", "-a", "-d", &dsn])?.stdin(input))?;
    // \copy goes by the client's files.
    let file = way.file("copy");
    let copy = format!("\\copy (SELECT * FROM tides ORDER BY at) TO '{}'", file.display());
    way.tool("copied out", tool(way, "psql", &["-X", "-d", &dsn, "-c", &copy])?.arg("-q"))?;
    way.said("the file", format!("{:x?}", digest(&std::fs::read(&file)?)));
    let into = format!("\\copy pg_temp.t FROM '{}'", file.display());
    let count = "SELECT count(*), sum(height) FROM pg_temp.t";
    let make = "CREATE TEMP TABLE t (LIKE tides)";
    way.tool(
        "copied in",
        &mut tool(way, "psql", &["-X", "-d", &dsn, "-c", make, "-c", &into, "-c", count])?,
    )?;
    std::fs::remove_file(&file)?;
    Ok(())
}

fn digest(bytes: &[u8]) -> (usize, String) {
    (bytes.len(), tidegate_tests::wire::scram::md5_hex(bytes))
}

fn dump(way: &mut Way<'_>) -> Result<()> {
    let dsn = way.dsn("app");
    let key = "--restrict-key=thekey";
    let plain = way.tool("as SQL", &mut tool(way, "pg_dump", &[key, "-d", &dsn])?)?;
    ensure!(plain.contains("CREATE POLICY everything") && plain.contains("port 200"));
    let file = way.file("dump");
    tool_done(tool(way, "pg_dump", &["-Fc", "-d", &dsn])?.arg("-f").arg(&file))?;
    let folder = way.file("dump-folder");
    tool_done(tool(way, "pg_dump", &["-Fd", "-j", "3", "-d", &dsn])?.arg("-f").arg(&folder))?;
    for (label, from, jobs) in [("one job", &file, "1"), ("three jobs", &folder, "3")] {
        way.stage.postgres.admin("postgres", "DROP DATABASE IF EXISTS restored WITH (FORCE)")?;
        way.stage.postgres.admin("postgres", "CREATE DATABASE restored")?;
        let restored = way.dsn("restored");
        let mut restore = tool(way, "pg_restore", &["-j", jobs, "-d", &restored])?;
        way.tool(label, restore.arg(from))?;
        let again = way.tool(
            &format!("{label}, dumped again"),
            &mut tool(way, "pg_dump", &[key, "-d", &restored])?,
        )?;
        ensure!(again == plain, "what was restored is another schema");
    }
    std::fs::remove_file(&file)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn tool_done(command: &mut Command) -> Result<()> {
    tidegate_tests::postgres::run(command).map(drop)
}

/// pgbench's own scripts; the seed makes both runs the same one.
fn pgbench(way: &mut Way<'_>) -> Result<()> {
    let dsn = way.dsn("app");
    tool_done(&mut tool(way, "pgbench", &["-i", "-q", "-s", "1", &dsn])?)?;
    for mode in ["simple", "extended", "prepared"] {
        for script in ["select-only", "simple-update", "tpcb-like"] {
            let mut bench = tool(way, "pgbench", &["-n", "-M", mode, "-b", script])?;
            bench.args(["-c", "4", "-j", "2", "-t", "150", "--random-seed=42", &dsn]);
            let output = bench.output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            let counts: Vec<&str> = said
                .lines()
                .filter(|line| line.contains("processed") || line.contains("failed"))
                .collect();
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(counts.iter().any(|it| it.ends_with("600/600")), "{said}{errors}");
            way.said(&format!("{script} {mode}"), counts.join("\n"));
        }
    }
    // A pipeline of pgbench's own words.
    let script = way.file("pipeline.sql");
    let words = "\\startpipeline\nSELECT 1;\nBEGIN;\nSELECT abalance FROM pgbench_accounts WHERE aid = 7;\nCOMMIT;\n\\endpipeline\n";
    std::fs::write(&script, words)?;
    for mode in ["extended", "prepared"] {
        let mut bench = tool(way, "pgbench", &["-n", "-M", mode, "-c", "3", "-t", "100", "-f"])?;
        tool_done(bench.arg(&script).arg(&dsn))?;
    }
    std::fs::remove_file(&script)?;
    let churn = &mut tool(way, "pgbench", &["-n", "-C", "-S", "-c", "4", "-t", "50", &dsn])?;
    tool_done(churn)?;
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts), \
                (SELECT sum(bbalance) FROM pgbench_branches), (SELECT count(*) FROM pgbench_history)";
    let sums = way.admin(sums)?;
    way.said("what it comes to", sums);
    Ok(())
}

fn logical(way: &mut Way<'_>) -> Result<()> {
    let dsn = way.dsn("app");
    way.admin(
        "DROP TABLE IF EXISTS changes; CREATE TABLE changes (id int PRIMARY KEY, name text)",
    )?;
    let slot = ["-d", &dsn, "--slot=tide"];
    let recv = |more: &[&str]| tool(way, "pg_recvlogical", &[&slot[..], more].concat());
    tool_done(&mut recv(&["--create-slot", "-P", "test_decoding"])?)?;
    way.admin("INSERT INTO changes SELECT n, repeat('c', n) FROM generate_series(1, 500) n")?;
    way.admin("BEGIN; UPDATE changes SET name = 'x' WHERE id < 5; DELETE FROM changes WHERE id = 500; COMMIT")?;
    way.admin(
        "INSERT INTO changes SELECT n, repeat('big', 300000) FROM generate_series(1001, 1003) n",
    )?;
    let end = way.admin("SELECT pg_current_wal_lsn()")?;
    // A record at the very end, so that it is reached.
    way.admin("SELECT pg_logical_emit_message(false, 'end', '')")?;
    let mut start = recv(&["--start", "-n", "-f", "-", "--endpos", &end])?;
    start.args(["-o", "include-xids=0", "-o", "skip-empty-xacts=1"]);
    let changes = way.tool("changes", &mut start)?;
    ensure!(changes.matches("INSERT").count() == 503, "{}", changes.matches("INSERT").count());
    tool_done(&mut recv(&["--drop-slot"])?)
}

fn backup(way: &mut Way<'_>) -> Result<()> {
    let folder = way.file("backup");
    let dsn = way.dsn("app");
    for (format, method) in [("p", "stream"), ("t", "fetch")] {
        let mut base = tool(way, "pg_basebackup", &["-c", "fast", "--no-sync", "-d", &dsn])?;
        base.args(["-F", format, "-X", method]).arg("-D").arg(&folder);
        tool_done(&mut base)?;
        if format == "p" {
            // Every file by its checksum, and the log that it needs.
            let mut verify = Command::new(program("pg_verifybackup")?);
            let verified = tidegate_tests::postgres::run(verify.arg(&folder))?;
            way.said("verified", verified);
        } else {
            ensure!(folder.join("base.tar").metadata()?.len() > 20_000_000);
        }
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// What was received is what the server wrote.
fn receive(way: &mut Way<'_>) -> Result<()> {
    let folder = way.file("received");
    std::fs::create_dir(&folder)?;
    let dsn = way.dsn("app");
    way.admin("SELECT pg_create_physical_replication_slot('wal', true)")?;
    let name = way.admin("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")?;
    way.admin("CREATE TABLE w AS SELECT n, repeat('w', 200) FROM generate_series(1, 50000) n; DROP TABLE w")?;
    way.admin("SELECT pg_switch_wal()")?;
    way.admin("SELECT txid_current(); SELECT pg_switch_wal(); SELECT txid_current()")?;
    // Past the segment's end, or it would stay a partial one.
    let end = way.admin("SELECT pg_current_wal_lsn()")?;
    way.admin("SELECT pg_logical_emit_message(false, 'end', '')")?;
    let mut received = tool(way, "pg_receivewal", &["-n", "--slot=wal", "-d", &dsn])?;
    received.args(["--endpos", &end]).arg("-D").arg(&folder);
    tool_done(&mut received)?;
    way.admin("SELECT pg_drop_replication_slot('wal')")?;
    let ours = std::fs::read(folder.join(&name))?;
    let theirs = std::fs::read(way.stage.postgres.data().join("pg_wal").join(&name))?;
    ensure!(ours == theirs, "the log that was received is another one");
    way.said("received", format!("{} bytes", ours.len()));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
