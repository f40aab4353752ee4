//! What a decision hangs on beside the text: what the session has made, set and
//! prepared, and the policies of the moment.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::Postgres;
use tidegate_tests::venv;
use tidegate_tests::wire::Message;
use tidegate_tests::wire::message::{self, TEXT, sync};

use super::{Guarded, opened};

/// The victim bears the same name each time: what is meant for a table of the
/// session's own must never reach the one that everybody has.
#[test]
fn temporary_tables_of_ones_own_are_ones_own() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    guarded
        .postgres
        .psql("app", "CREATE FUNCTION away() RETURNS void LANGUAGE sql AS 'SELECT 1'")?;
    let said = guarded.python(
        r#"
import sys, psycopg
dsn = sys.argv[1]
def ask(c, text):
    try:
        cursor = c.execute(text)
        return cursor.fetchone()[0] if cursor.description else "ok"
    except psycopg.errors.InsufficientPrivilege:
        return "refused"
    except psycopg.Error as error:
        return error.sqlstate
def play(name, *texts, autocommit=True, more=""):
    with psycopg.connect(dsn + more, autocommit=autocommit) as c:
        said = []
        for text in texts:
            said.append(ask(c, text))
            if not autocommit and said[-1] == "refused":
                c.rollback()
        if not autocommit:
            c.rollback()
        print(name, *said)
own = "CREATE TEMP TABLE customers AS SELECT 1 AS id, 'x' AS name"
count = "SELECT count(*) FROM customers"
play("everybodys", "DELETE FROM customers", "TRUNCATE customers", "DROP TABLE customers")
play("own", own, "DELETE FROM customers", "TRUNCATE customers", count, "DROP TABLE customers",
     "DELETE FROM customers", count)
play("transaction", own, "DELETE FROM customers", "DROP TABLE customers", "DELETE FROM customers",
     autocommit=False)
play("rolled back", "BEGIN", own, "DELETE FROM customers", "ROLLBACK", "DELETE FROM customers")
play("savepoint", "BEGIN", "SAVEPOINT s", own, "ROLLBACK TO s", "DELETE FROM customers", "ROLLBACK")
play("committed", "BEGIN", own, "COMMIT", "TRUNCATE customers", count)
play("on commit drop", "BEGIN", own.replace(" AS SELECT", " ON COMMIT DROP AS SELECT"),
     "DELETE FROM customers", "COMMIT", "DELETE FROM customers")
play("discarded", own, "DISCARD TEMP", "DELETE FROM customers")
play("a view", "CREATE TEMP VIEW customers AS SELECT * FROM public.customers", "DELETE FROM customers")
few = "CREATE TEMP VIEW customers AS SELECT * FROM public.customers WHERE id = 7"
play("a view of a few", few, "DELETE FROM customers")
play("a view, then perhaps a table", few,
     "CREATE TEMP TABLE IF NOT EXISTS customers (id int)", "DELETE FROM customers")
play("a path set", own, "SET search_path = public, pg_temp", "DELETE FROM customers",
     "SET search_path = public", "DELETE FROM customers")
play("a path at the start", own, "DELETE FROM customers", more=" options='-c search_path=public,pg_temp'")
play("somebody's code", own, "SELECT away()", "DELETE FROM customers")
play("renamed", own, "ALTER TABLE customers RENAME TO others", "DELETE FROM customers")
play("failed", "CREATE TEMP TABLE customers (a nonsense)", "DELETE FROM customers")
# What is sent together: the first may fail, and the second would then hit.
with psycopg.connect(dsn, autocommit=True) as c:
    try:
        with c.pipeline():
            c.execute(own)
            c.execute("DELETE FROM customers")
    except psycopg.Error as error:
        print("pipeline", error.sqlstate)
print("left", ask(psycopg.connect(dsn), count))
"#,
    )?;
    let expected = "everybodys refused refused refused\n\
                    own ok ok ok 0 ok refused 100\n\
                    transaction ok ok ok refused\n\
                    rolled back ok ok ok ok refused\n\
                    savepoint ok ok ok ok refused ok\n\
                    committed ok ok ok ok 0\n\
                    on commit drop ok ok ok ok refused\n\
                    discarded ok ok refused\n\
                    a view refused refused\n\
                    a view of a few ok refused\n\
                    a view, then perhaps a table ok ok refused\n\
                    a path set ok ok refused ok ok\n\
                    a path at the start ok refused\n\
                    somebody's code ok None refused\n\
                    renamed ok ok refused\n\
                    failed 42704 refused\n\
                    pipeline 42501\n\
                    left 100\n";
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    ensure!(guarded.rows()? == "100|c1", "{}", guarded.rows()?);
    Ok(())
}

#[test]
fn sessions_that_are_open_obey_new_policies_with_their_next_statement() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    let own = guarded.agent.policies().join("own.cedar");
    let script = format!(
        r#"
import sys, os, time, psycopg
def reload(text):
    with open({own:?}, "w") as file:
        file.write(text)
    print("reload", flush=True)
    sys.stdin.readline()
with psycopg.connect(sys.argv[1], autocommit=True) as c:
    print(c.execute("SELECT count(*) FROM customers").fetchone()[0], flush=True)
    reload('@id("own/none")\n@reason("nobody reads here")\nforbid (principal, action == Action::"read", resource);')
    try:
        c.execute("SELECT count(*) FROM customers")
    except psycopg.errors.InsufficientPrivilege as error:
        print("nobody reads here" in str(error), flush=True)
    reload('@id("own/none")\npermit (principal, action == Action::"read", resource);')
    print(c.execute("SELECT count(*) FROM customers").fetchone()[0], flush=True)
"#
    );
    let mut python = guarded.command(venv::python()?)?;
    python.args(["-c", &script]).arg(guarded.dsn());
    python.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = python.spawn()?;
    let mut asks = child.stdin.take().context("no stdin")?;
    let said =
        std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().context("no stdout")?));
    let mut lines = Vec::new();
    for line in said {
        let line = line?;
        if line == "reload" {
            guarded.agent.must(&["reload"])?;
            std::io::Write::write_all(&mut asks, b"\n")?;
        } else {
            lines.push(line);
        }
    }
    child.wait()?;
    ensure!(lines == ["100", "True", "100"], "{lines:?}\n{}", guarded.agent.tail());
    // … and each of them is recorded under those that it was judged by.
    let judged = guarded.agent.search(&["customers", "--oldest"])?;
    let told: Vec<(&str, &Value)> = judged
        .iter()
        .filter_map(|hit| Some((hit["verdict"].as_str()?, &hit["statement"]["generation"])))
        .collect();
    let [("allowed", before), ("refused", refused), ("allowed", after)] = told[..] else {
        anyhow::bail!("{judged:?}")
    };
    ensure!(before != refused && refused != after && after != before, "{told:?}");
    ensure!(judged[1]["statement"]["why"][0]["reason"] == "nobody reads here", "{judged:?}");
    Ok(())
}

/// Whoever takes another role is asked about as that one, and where nobody can say which
/// it is, nothing that hangs on it passes.
#[test]
fn a_policy_on_the_role_is_not_talked_around() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    for made in [
        "CREATE ROLE boss",
        "CREATE ROLE clerk LOGIN PASSWORD 'tide'",
        "CREATE ROLE owner",
        "GRANT boss, owner TO clerk",
        "GRANT SELECT ON customers TO PUBLIC",
        "CREATE SCHEMA boss AUTHORIZATION boss",
        "CREATE TABLE boss.wages AS SELECT 1 AS wage",
        "GRANT SELECT ON boss.wages TO PUBLIC",
        "CREATE FUNCTION promote() RETURNS void LANGUAGE plpgsql AS \
         $$BEGIN PERFORM set_config('role', 'boss', false); END$$",
    ] {
        guarded.postgres.psql("app", made)?;
    }
    guarded.own(
        "@id(\"own/boss\") @reason(\"bosses read nothing\")
         forbid (principal, action == Action::\"read\", resource)
         when { context.role == \"boss\" };
         @id(\"own/wages\") @reason(\"nobody reads wages\")
         forbid (principal, action, resource is Table) when { resource.schema == \"boss\" };
         @id(\"default/agent-code\") @off(\"functions are called here\")
         permit (principal, action, resource);
         @id(\"default/unknown\") @off(\"and blocks\") permit (principal, action, resource);",
    )?;
    let said = guarded.python(
        r#"
import sys, psycopg
dsn = sys.argv[1].replace("user=app", "user=clerk")
read = "SELECT count(*) FROM customers"
def ask(c, text):
    try:
        cursor = c.execute(text)
        return cursor.fetchone()[0] if cursor.description else "ok"
    except psycopg.errors.InsufficientPrivilege as error:
        return next((word for word in ["bosses", "wages", "isn't known"] if word in str(error)), str(error))
    except psycopg.Error as error:
        return error.sqlstate
def play(name, *texts, more="", autocommit=True):
    with psycopg.connect(dsn + more, autocommit=autocommit, prepare_threshold=None) as c:
        print(name, *[ask(c, text) for text in texts], flush=True)
        c.rollback()
play("login", read)
play("taken", "SET ROLE boss", read, "SET ROLE owner", read, "RESET ROLE", read)
play("set_config", "SELECT set_config('role', 'boss', false)", read, "DISCARD ALL", read)
play("startup", read, "RESET ROLE", read, "SET ROLE NONE", read, more=" options='-c role=boss'")
play("local", "BEGIN", "SET LOCAL ROLE boss", read, "ROLLBACK", read)
play("rolled back", "SET ROLE boss", "BEGIN", "SET ROLE owner", read, "ROLLBACK", read)
play("savepoint", "SET ROLE boss", "BEGIN", "SAVEPOINT s", "SET ROLE owner", "ROLLBACK TO s", read)
play("a function", "SELECT promote()", read, "RESET ROLE", read)
play("a block", "DO $$BEGIN PERFORM promote(); END$$", read)
# All of a text is undone where its end fails.
play("undone", "SET ROLE boss", "SET ROLE owner; SET nonsense = 1", read)
play("in one", "SET ROLE boss; " + read)
play("names", "SET ROLE boss", "SELECT wage FROM wages", "RESET ROLE", "SELECT wage FROM wages")
play("a path", "SET LOCAL search_path = boss", "SELECT wage FROM wages", autocommit=False)
play("a path at the start", "SELECT wage FROM wages", more=" options='-c search_path=boss'")
with psycopg.connect(dsn, autocommit=True) as c:
    try:
        with c.pipeline():
            c.execute("SET ROLE boss")
            c.execute(read)
    except psycopg.Error as error:
        print("pipeline", error.sqlstate)
"#,
    )?;
    let expected = "login 100\n\
                    taken ok bosses ok 100 ok 100\n\
                    set_config boss bosses ok 100\n\
                    startup bosses ok bosses ok 100\n\
                    local ok ok bosses ok 100\n\
                    rolled back ok ok ok 100 ok bosses\n\
                    savepoint ok ok ok ok ok bosses\n\
                    a function  bosses ok 100\n\
                    a block ok bosses\n\
                    undone ok 42704 bosses\n\
                    in one isn't known\n\
                    names ok bosses ok wages\n\
                    a path ok wages\n\
                    a path at the start wages\n\
                    pipeline 42501\n";
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    // What a role begins with is the server's to say.
    guarded.postgres.psql("app", "ALTER ROLE clerk SET role = boss")?;
    let said = guarded.python(
        r#"
import sys, psycopg
with psycopg.connect(sys.argv[1].replace("user=app", "user=clerk"), autocommit=True) as c:
    for text in ["SELECT 1 FROM customers", "SET ROLE owner", "SELECT 1 FROM customers"]:
        try:
            c.execute(text)
            print("ok")
        except psycopg.errors.InsufficientPrivilege as error:
            print("bosses" in str(error))
"#,
    )?;
    ensure!(said == "True\nok\nok\n", "{said}\n{}", guarded.agent.tail());
    Ok(())
}

#[test]
fn what_a_setting_changes_counts_before_the_server_says_so() -> Result<()> {
    let postgres = Postgres::setup().auth("trust").start()?;
    postgres.psql("app", "CREATE TABLE customers AS SELECT 1 AS id, 'c'::text AS name")?;
    let count = || postgres.psql("app", "SELECT count(*) FROM customers");
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy("enforce"))?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port()));
    let mut led = Dialer::start(&Place::new().cgroup(&work))?;
    let ours = |answer: &[Message]| {
        let errors = answer.iter().filter(|message| message.kind == b'E');
        let texts: Vec<_> = errors.filter_map(|error| error.field(b'M')).collect();
        ensure!(texts.iter().any(|text| text.starts_with("tidegate: ")), "{texts:?}");
        ensure!(count()?.trim() == "1", "{}", agent.tail());
        Ok(())
    };
    // The server says what a setting is before it is ready, not before a Flush.
    let mut one = opened(led.open(at)?)?;
    let set = message::once("SET standard_conforming_strings = off", &[], TEXT);
    one.send(&[set, message::flush()].concat())?;
    while one.receive()?.context("the session has ended")?.kind != b'C' {}
    let text = r"DELETE FROM customers WHERE name = '\' || ' or true or name = ' --'";
    ours(&one.ask(&[message::once(text, &[], TEXT), sync()].concat())?)?;
    // In the other character set the backslash belongs to the character before it.
    let mut one = opened(led.open(at)?)?;
    let text = "SELECT E'\u{81}\\'; DROP TABLE customers; --'";
    let set = message::query("SET client_encoding = 'SJIS'");
    let mut answer = one.ask(&[set, message::query(text)].concat())?;
    answer.extend(one.until(b'Z')?);
    ours(&answer)?;
    // What ends a transaction takes its settings back.
    let mut one = opened(led.open(at)?)?;
    one.query("BEGIN")?;
    one.query("SET standard_conforming_strings = off")?;
    let text = r"SELECT '\'; DROP TABLE customers; --'";
    let mut answer = one.ask(&[message::query("ROLLBACK"), message::query(text)].concat())?;
    answer.extend(one.until(b'Z')?);
    ours(&answer)?;
    // Near misses: what is read alike either way, and what waits for the answer.
    let mut one = opened(led.open(at)?)?;
    let set = message::query("SET standard_conforming_strings = off");
    let plain = message::query("SELECT 'caf\u{e9}', $$\\$$");
    let mut answer = one.ask(&[set, plain].concat())?;
    answer.extend(one.until(b'Z')?);
    ensure!(answer.iter().any(|message| message.kind == b'D'), "{answer:?}{}", agent.tail());
    one.query("SET client_encoding = 'SJIS'")?;
    let answer = one.query("SELECT 'plain'")?;
    ensure!(answer.iter().any(|message| message.kind == b'D'), "{answer:?}{}", agent.tail());
    Ok(())
}

/// Parsed it harms nobody, and waits for an approval only when it is bound: SQL's EXECUTE
/// of what is about to bear a name is asked about as what it will run.
#[test]
fn execute_is_asked_about_as_what_the_name_will_stand_for() -> Result<()> {
    let postgres = Postgres::setup().auth("trust").start()?;
    postgres.psql("app", "CREATE TABLE customers AS SELECT 1 AS id, 'c'::text AS name")?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy("enforce"))?;
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port()));
    let mut led = Dialer::start(&Place::new().cgroup(&work))?;
    let by_parse = [message::once("EXECUTE q", &[], TEXT), sync()].concat();
    for execute in [message::query("EXECUTE q"), by_parse] {
        let mut one = opened(led.open(at)?)?;
        one.ask(&[message::parse("q", "SELECT 1", &[]), sync()].concat())?;
        one.query("EXECUTE q")?;
        let harmful = message::parse("q", "DELETE FROM customers", &[]);
        let replace = [message::close(b'S', "q"), harmful, sync()].concat();
        let answer = one.ask(&[replace, execute].concat())?;
        ensure!(!answer.iter().any(|message| message.kind == b'E'), "{answer:?}");
        let answer = one.until(b'Z')?;
        let errors = answer.iter().filter(|message| message.kind == b'E');
        let words: Vec<_> = errors.filter_map(|error| error.field(b'M')).collect();
        let count = postgres.psql("app", "SELECT count(*) FROM customers")?;
        ensure!(count.trim() == "1", "{words:?}{}", agent.tail());
        ensure!(words.iter().any(|text| text.starts_with("tidegate: ")), "{words:?}");
        // It is known for what it is, not refused for being unknown.
        ensure!(words.iter().any(|text| text.contains("every row")), "{words:?}");
    }
    Ok(())
}

#[test]
fn a_bare_name_is_asked_about_where_the_server_would_find_it() -> Result<()> {
    let guarded = Guarded::start("enforce")?;
    for made in [
        "CREATE ROLE clerk LOGIN PASSWORD 'tide'",
        "CREATE SCHEMA boss",
        "GRANT USAGE ON SCHEMA boss TO clerk",
        "CREATE TABLE boss.wages AS SELECT 1 AS wage",
        "CREATE TABLE public.wages AS SELECT 0 AS wage",
        "CREATE SCHEMA \"Boss\"",
        "GRANT USAGE ON SCHEMA \"Boss\" TO clerk",
        "CREATE TABLE \"Boss\".wages AS SELECT 2 AS wage",
        "GRANT SELECT ON \"Boss\".wages TO PUBLIC",
        "GRANT SELECT ON boss.wages, public.wages TO PUBLIC",
        "CREATE FUNCTION aside() RETURNS void LANGUAGE plpgsql AS \
         $$BEGIN PERFORM set_config('search_path', 'boss', false); END$$",
    ] {
        guarded.postgres.psql("app", made)?;
    }
    guarded.own(
        "@id(\"own/wages\") @reason(\"nobody reads wages\")
         forbid (principal, action, resource is Table)
         when { [\"boss\", \"Boss\"].contains(resource.schema) };
         @id(\"default/agent-code\") @off(\"functions are called here\")
         permit (principal, action, resource);
         @id(\"default/unknown\") @off(\"and blocks\") permit (principal, action, resource);",
    )?;
    let asked = r#"
import sys, psycopg
dsn = sys.argv[1].replace("user=app", "user=clerk")
read = "SELECT wage FROM wages"
def ask(c, text):
    try:
        cursor = c.execute(text)
        return cursor.fetchone()[0] if cursor.description else "ok"
    except psycopg.errors.InsufficientPrivilege as error:
        return "wages" if "nobody reads wages" in str(error) else str(error)
def play(name, *texts):
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as c:
        print(name, *[ask(c, text) for text in texts], flush=True)
play("from the start", read)
play("a function", "SELECT public.aside() IS NULL", read, "SET search_path = public", read)
play("a block", "DO $$BEGIN PERFORM public.aside(); END$$", read, "RESET search_path", read)
play("made up", "SELECT set_config('search_path', lower('BOSS'), false)", read)
play("in one", "SELECT set_config('search_path', lower('BOSS'), false); " + read)
play("written out", "SELECT public.aside() IS NULL; SELECT wage FROM public.wages")
play("cut", "SELECT set_config('search_pathology'::varchar(11), 'bosses'::varchar(4), false)", read)
play("by a view", "UPDATE pg_settings SET setting = 'boss' WHERE name = 'search_path'", read)
play("not run", "SET search_path = boss",
     "SELECT count(set_config('search_path', 'public', false)) FROM generate_series(1, 0)", read)
play("not kept", "SET search_path = boss",
     "SELECT set_config('search_path', 'public', NOT false)", read)
play("later", "BEGIN", "DECLARE c CURSOR FOR SELECT set_config('search_path', 'boss', false)",
     "SET search_path = public", "FETCH c", read, "ROLLBACK")
play("capitals", 'SET search_path = "Boss"', read)
play("one, not two", "SET search_path = 'boss, public'", "SET search_path = public", read)
play("as pg_dump", "SELECT pg_catalog.set_config('search_path', '', false)", "SELECT 1")
play("taken back", "SET search_path = public", "BEGIN", "DO $$BEGIN PERFORM public.aside(); END$$",
     read, "ROLLBACK", read)
"#;
    let expected = "from the start 0\n\
                    a function False wages ok 0\n\
                    a block ok wages ok 0\n\
                    made up boss wages\n\
                    in one wages\n\
                    written out False\n\
                    cut boss wages\n\
                    by a view ••• wages\n\
                    not run ok 0 wages\n\
                    not kept ok public wages\n\
                    later ok ok ok boss wages ok\n\
                    capitals ok wages\n\
                    one, not two ok ok 0\n\
                    as pg_dump  1\n\
                    taken back ok ok ok wages ok 0\n";
    let said = guarded.python(asked)?;
    ensure!(said == expected, "{said}\n{}", guarded.agent.tail());
    guarded.postgres.psql("app", "ALTER ROLE clerk SET search_path = boss")?;
    let said = guarded.python(asked)?;
    ensure!(said.starts_with("from the start wages\n"), "{said}\n{}", guarded.agent.tail());
    Ok(())
}
