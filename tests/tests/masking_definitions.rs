//! What is defined and filled on by-ways – by another session, within a transaction that
//! is still open, by one that was prepared, by ALTER TABLE – is masked from the first
//! request that could see it on.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::postgres::Postgres;
use tidegate_tests::staging::{Staging, statements};
use tidegate_tests::wait::until_true;
use tidegate_tests::wire::{Connection, Message, message};

/// Sessions and what they say, in order. `direct` goes past the agent, `prepares` and
/// `again` run a prepared statement that was described once, and `begins` doesn't wait
/// for the answer.
type Scene<'s> = &'s [(&'s str, &'s str)];

fn start() -> Result<Staging> {
    let setting = "max_prepared_transactions=4";
    let postgres = Postgres::setup().auth("trust").setting(setting).start()?;
    for statement in statements("leaks/seed.sql")? {
        postgres.psql("app", &statement)?;
    }
    Staging::before(postgres, "")
}

fn play(ground: &Staging, scene: Scene<'_>) -> Result<()> {
    let mut sessions: HashMap<&str, Connection> = HashMap::new();
    let mut rows = 0;
    for (who, what) in scene {
        let (name, how) = who.split_once(' ').unwrap_or((*who, ""));
        if name == "direct" {
            ground.postgres.psql("app", what)?;
            continue;
        }
        if !sessions.contains_key(name) {
            sessions.insert(name, ground.connect()?);
        }
        let session = sessions.get_mut(name).context("no session")?;
        let described = || [message::parse("again", what, &[]), message::describe(b'S', "again")];
        let run = || {
            [message::bind("", "again", message::TEXT, &[], message::TEXT), message::execute("", 0)]
        };
        let answered = match how {
            "" => session.query(what)?,
            "prepares" => session.ask(&[described().concat(), message::sync()].concat())?,
            "again" => session.ask(&[run().concat(), message::sync()].concat())?,
            "begins" => {
                session.send(&message::query(what))?;
                let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
                until_true("it to sleep", Duration::from_secs(20), || {
                    ground.postgres.psql("app", sleeps).is_ok_and(|count| count.trim() == "1")
                })?;
                continue;
            }
            other => bail!("`{other}` is nothing that a session does"),
        };
        if let Some(error) = answered.iter().find(|one| one.kind == b'E') {
            bail!("{who}: {what}: {:?}", error.field(b'M'));
        }
        rows += answered.iter().filter(|one| one.kind == b'D').count();
        ensure!(!shows(&answered), "{who}: {what}\nshown: {answered:?}{}", ground.agent.tail());
    }
    ensure!(rows > 0, "nobody was shown anything");
    Ok(())
}

/// The name that is in the seed, in either direction.
fn shows(answered: &[Message]) -> bool {
    let text = |one: &Message| String::from_utf8_lossy(&one.body).to_lowercase();
    let shown = answered.iter().filter(|one| one.kind == b'D').map(text);
    shown.into_iter().any(|text| text.contains("canarybird") || text.contains("dribyranac"))
}

fn all(scenes: &[Scene<'_>]) -> Result<()> {
    let ground = start()?;
    for scene in scenes {
        play(&ground, scene)?;
    }
    Ok(())
}

#[test]
fn what_another_session_defines_is_doubted_until_it_is_learnt() -> Result<()> {
    all(&[
        &[
            (
                "direct",
                "CREATE FUNCTION f1() RETURNS text LANGUAGE sql AS 'SELECT ''plain''::text'",
            ),
            ("a", "SELECT 1"),
            // Who has just learnt it learns it no sooner than in a second.
            ("b", "CREATE TABLE mine (x int)"),
            ("b", "SELECT f1()"),
            (
                "a",
                "CREATE OR REPLACE FUNCTION f1() RETURNS text LANGUAGE sql AS 'SELECT reverse(full_name) FROM customers LIMIT 1'",
            ),
            ("b", "SELECT f1()"),
            ("b", "SELECT lower(f1())"),
        ],
        // It holds before anybody has heard so.
        &[
            (
                "direct",
                "CREATE FUNCTION f2() RETURNS text LANGUAGE sql AS 'SELECT ''plain''::text'",
            ),
            ("b", "SELECT f2()"),
            (
                "a begins",
                "CREATE OR REPLACE FUNCTION f2() RETURNS text LANGUAGE sql AS 'SELECT reverse(full_name) FROM customers LIMIT 1'; COMMIT; SELECT pg_sleep(3)",
            ),
            ("b", "SELECT f2()"),
            ("c", "SELECT f2()"),
        ],
        // Names change places.
        &[
            ("a", "CREATE TABLE r (a text, b text)"),
            ("a", "INSERT INTO r (a) SELECT reverse(full_name) FROM customers"),
            ("a", "UPDATE r SET b = 'plain'"),
            ("b prepares", "SELECT b FROM r"),
            ("b again", ""),
            ("b", "CREATE TABLE mine2 (x int)"),
            ("b", "SELECT 1"),
            (
                "a",
                "ALTER TABLE r RENAME a TO c; ALTER TABLE r RENAME b TO a; ALTER TABLE r RENAME c TO b",
            ),
            ("b again", ""),
            ("b", "SELECT lower(b) FROM r"),
        ],
        &[
            ("a", "CREATE TABLE s1 (a text)"),
            ("a", "INSERT INTO s1 SELECT reverse(full_name) FROM customers"),
            ("a", "CREATE TABLE s2 (a text)"),
            ("a", "INSERT INTO s2 VALUES ('plain')"),
            ("b prepares", "SELECT a FROM s2"),
            ("b again", ""),
            ("b", "CREATE TABLE mine3 (x int)"),
            ("b", "SELECT 1"),
            ("a", "ALTER TABLE s2 RENAME TO s3; ALTER TABLE s1 RENAME TO s2"),
            ("b again", ""),
            ("b", "SELECT lower(a) FROM s2"),
        ],
    ])
}

#[test]
fn what_was_prepared_and_comes_true_later_is_doubted() -> Result<()> {
    all(&[&[
        ("direct", "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''plain''::text'"),
        ("b", "SELECT f()"),
        ("a", "BEGIN"),
        (
            "a",
            "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT reverse(full_name) FROM customers LIMIT 1'",
        ),
        ("a", "PREPARE TRANSACTION 'later'"),
        ("a", "SELECT 1"),
        ("c", "CREATE TABLE mine (x int)"),
        ("c", "SELECT f()"),
        ("b", "COMMIT PREPARED 'later'"),
        ("b", "SELECT f()"),
        ("b", "SELECT lower(f())"),
        ("d", "SELECT f()"),
    ]])
}

#[test]
fn within_a_transaction_bodies_and_views_follow_what_is_defined() -> Result<()> {
    all(&[
        &[
            ("direct", "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''plain''::text'"),
            ("direct", "CREATE FUNCTION g() RETURNS text LANGUAGE sql AS 'SELECT f()'"),
            ("direct", "CREATE VIEW v AS SELECT f() AS word"),
            ("a", "SELECT g(), word FROM v"),
            ("a", "BEGIN"),
            (
                "a",
                "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT reverse(full_name) FROM customers LIMIT 1'",
            ),
            ("a", "SELECT word FROM v"),
            ("a", "SELECT lower(word) FROM v"),
            ("a", "SELECT g()"),
            ("a", "COMMIT"),
            ("a", "SELECT word, g() FROM v"),
        ],
        // A table that is filled after views over it were learnt.
        &[
            ("a", "CREATE TABLE t (z text)"),
            ("a", "INSERT INTO t VALUES ('plain')"),
            ("a", "CREATE VIEW tv AS SELECT z FROM t"),
            ("a", "CREATE MATERIALIZED VIEW tm AS SELECT z FROM t"),
            ("a", "SELECT tv.z, tm.z FROM tv, tm"),
            ("a", "BEGIN"),
            ("a", "UPDATE t SET z = (SELECT reverse(full_name) FROM customers LIMIT 1)"),
            ("a", "SELECT z FROM tv"),
            ("a", "REFRESH MATERIALIZED VIEW tm"),
            ("a", "SELECT z FROM tm"),
            ("a", "COMMIT"),
            ("a", "SELECT lower(z) FROM tm"),
            ("b", "SELECT z FROM tv"),
        ],
    ])
}

#[test]
fn what_alter_table_puts_into_a_table_is_known() -> Result<()> {
    all(&[
        &[
            ("a", "CREATE TABLE u1 AS SELECT id, full_name FROM customers"),
            ("a", "ALTER TABLE u1 ALTER id TYPE text USING reverse(full_name)"),
            ("a", "SELECT id FROM u1"),
            ("a", "SELECT lower(id) FROM u1"),
        ],
        &[
            ("a", "CREATE TABLE u2 AS SELECT 1 AS id"),
            (
                "a",
                "CREATE FUNCTION h(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT reverse(full_name) FROM customers LIMIT 1'",
            ),
            ("a", "ALTER TABLE u2 ALTER id TYPE text USING h(id)"),
            ("a", "SELECT id FROM u2"),
        ],
        &[
            ("a", "CREATE TABLE u3 AS SELECT 1 AS id"),
            ("a", "ALTER TABLE u3 ADD z text DEFAULT h(1)"),
            ("a", "SELECT z FROM u3"),
            ("a", "ALTER TABLE u3 ALTER z DROP DEFAULT"),
            ("a", "SELECT lower(z) FROM u3"),
        ],
        // A part's rows are the whole's, and stay what they were when it is taken out.
        &[
            ("a", "CREATE TABLE whole (k int, q text) PARTITION BY RANGE (k)"),
            ("a", "CREATE TABLE part (k int, q text)"),
            ("a", "INSERT INTO part SELECT id, reverse(full_name) FROM customers"),
            ("b prepares", "SELECT q FROM whole"),
            ("b again", ""),
            ("a", "BEGIN"),
            ("a", "ALTER TABLE whole ATTACH PARTITION part FOR VALUES FROM (0) TO (100)"),
            ("a", "SELECT q FROM whole"),
            ("a", "COMMIT"),
            ("b again", ""),
            ("b", "SELECT q FROM whole"),
        ],
        &[
            ("a", "CREATE TABLE whole2 (k int, q text) PARTITION BY RANGE (k)"),
            ("a", "CREATE TABLE part2 PARTITION OF whole2 FOR VALUES FROM (0) TO (100)"),
            ("a", "INSERT INTO whole2 SELECT id, reverse(full_name) FROM customers"),
            ("a", "ALTER TABLE whole2 DETACH PARTITION part2"),
            ("a", "SELECT q FROM part2"),
            ("a", "SELECT lower(q) FROM part2"),
        ],
        &[
            ("a", "CREATE TABLE parent (k int, q text)"),
            ("a", "CREATE TABLE heir (k int, q text)"),
            ("a", "INSERT INTO heir SELECT id, reverse(full_name) FROM customers"),
            ("a", "SELECT q FROM parent"),
            ("a", "BEGIN; ALTER TABLE heir INHERIT parent"),
            ("a", "SELECT q FROM parent"),
            ("a", "COMMIT"),
        ],
    ])
}

#[test]
fn what_goes_into_a_view_is_known_of_its_table() -> Result<()> {
    all(&[&[
        ("a", "CREATE TABLE under (k int, q text)"),
        ("a", "CREATE VIEW between AS SELECT k AS n, q AS r FROM under"),
        ("a", "CREATE VIEW above AS SELECT n, r AS s FROM between"),
        ("a", "SELECT q FROM under"),
        ("a", "INSERT INTO above SELECT id, reverse(full_name) FROM customers"),
        ("a", "SELECT q FROM under"),
        ("a", "SELECT r FROM between"),
        ("b", "SELECT lower(q) FROM under"),
    ]])
}

#[test]
fn a_prepared_statement_that_reads_another_table_now_is_masked() -> Result<()> {
    all(&[&[
        ("a", "CREATE SCHEMA hidden"),
        ("a", "CREATE TABLE zoo AS SELECT 'plain'::text AS q"),
        ("a", "CREATE TABLE hidden.zoo AS SELECT reverse(full_name) AS q FROM customers"),
        ("a prepares", "SELECT q FROM zoo"),
        ("a again", ""),
        ("a", "SET search_path = hidden, public"),
        ("a again", ""),
    ]])
}

#[test]
fn who_defines_more_than_names_are_kept_of_has_others_doubt_it() -> Result<()> {
    let others: Vec<_> = (0..1_100).map(|n| format!("g{n}")).collect();
    // Others see it before the session that did it has heard so.
    let many = format!(
        "CREATE OR REPLACE FUNCTION f1() RETURNS text LANGUAGE sql AS 'SELECT reverse(full_name) FROM customers LIMIT 1'; \
         DROP FUNCTION IF EXISTS {}; COMMIT; SELECT pg_sleep(3)",
        others.join(", ")
    );
    let plain = "CREATE FUNCTION f1() RETURNS text LANGUAGE sql AS 'SELECT ''plain''::text'";
    all(&[&[("direct", plain), ("b", "SELECT f1()"), ("a begins", &many), ("b", "SELECT f1()")]])
}

#[test]
fn a_function_that_bears_a_built_in_ones_name_makes_no_keys() -> Result<()> {
    let own = "CREATE FUNCTION json_build_object(text, text) RETURNS json LANGUAGE sql AS \
               'SELECT pg_catalog.json_build_object(reverse($2), 1)'";
    let asked = "SELECT json_build_object('a', full_name) FROM customers";
    all(&[&[("b", asked), ("a", own), ("a", asked), ("b", asked), ("c", asked)]])
}
