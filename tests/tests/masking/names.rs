//! What a name stands for: whoever runs it sees what the server will run by then, and no
//! more than that may show.

use anyhow::{Context, Result, ensure};
use tidegate_tests::staging::Staging;
use tidegate_tests::wire::{Connection, Message, message};

use super::{SEED, leaks};

type Play = fn(&mut Connection) -> Result<Vec<Message>>;
const HARMLESS: &str = "SELECT id::text FROM customers";
const SECRET: &str = "SELECT reverse(full_name) FROM customers";
const OLD: &str = "PREPARE q AS SELECT id::text FROM customers";
const NEW: &str = "PREPARE q AS SELECT reverse(full_name) FROM customers";
/// An error that shows a value where it shows a name.
const FAILS: &str =
    "DECLARE c CURSOR FOR SELECT quote_ident(reverse(full_name))::regclass FROM customers";
const LAST: &str = "SELECT 'the last answer'";

/// All in one write, with what says that it is over.
fn together(one: &mut Connection, said: &[Vec<u8>]) -> Result<Vec<Message>> {
    one.send(&[said.concat(), message::query(LAST)].concat())?;
    let mut heard = Vec::new();
    while !heard.iter().any(|message: &Message| message.body.ends_with(b"the last answer")) {
        heard.push(one.receive()?.context("the session has ended")?);
    }
    heard.extend(one.until(b'Z')?);
    Ok(heard)
}

fn used(one: &mut Connection) -> Result<()> {
    one.query(OLD)?;
    one.query("EXECUTE q")?;
    Ok(())
}

/// Three that are one to the server.
fn long_names() -> [String; 3] {
    ["1", "2", "3"].map(|end| "q".repeat(63) + end)
}

/// What is prepared under a name is run.
fn run(name: &str) -> Vec<u8> {
    [message::bind("", name, message::TEXT, &[], message::TEXT), message::execute("", 0)].concat()
}

const PLAYS: &[(&str, Play)] = &[
    ("two queries", |one| {
        used(one)?;
        let replace = format!("DEALLOCATE q; {NEW}");
        together(one, &[message::query(&replace), message::query("EXECUTE q")])
    }),
    ("all is deallocated", |one| {
        used(one)?;
        let said = ["DEALLOCATE ALL", NEW, "EXECUTE q"].map(message::query);
        together(one, &said)
    }),
    ("all is discarded", |one| {
        used(one)?;
        together(one, &["DISCARD ALL", NEW, "EXECUTE q"].map(message::query))
    }),
    ("by Close and Parse", |one| {
        used(one)?;
        let parse = message::parse("q", "SELECT reverse(full_name) FROM customers", &[]);
        let replace = [message::close(b'S', "q"), parse, message::sync()].concat();
        together(one, &[replace, message::query("EXECUTE q")])
    }),
    ("EXECUTE by Parse", |one| {
        used(one)?;
        let replace = message::query(&format!("DEALLOCATE q; {NEW}"));
        let run = message::once("EXECUTE q", &[], message::TEXT);
        together(one, &[replace, run, message::sync()])
    }),
    ("one pipeline", |one| {
        used(one)?;
        let each = ["DEALLOCATE q", NEW, "EXECUTE q"];
        let each = each.map(|text| message::once(text, &[], message::TEXT));
        together(one, &[each.concat(), message::sync()])
    }),
    ("a text that ends half-way", |one| {
        one.query(&format!("{NEW}; SELECT 1/0; DEALLOCATE q; {OLD}"))?;
        together(one, &[message::query("EXECUTE q")])
    }),
    ("a cursor", |one| {
        one.query("BEGIN")?;
        one.query("DECLARE c CURSOR FOR SELECT id::text FROM customers")?;
        one.query("FETCH 1 FROM c")?;
        let replace = "CLOSE c; DECLARE c CURSOR FOR SELECT reverse(full_name) FROM customers";
        together(one, &[replace, "FETCH ALL FROM c", "ROLLBACK"].map(message::query))
    }),
    ("an error by MOVE", |one| {
        one.query("BEGIN")?;
        one.query(FAILS)?;
        together(one, &["MOVE ALL FROM c", "ROLLBACK"].map(message::query))
    }),
    ("an error by FETCH in a pipeline", |one| {
        one.query("BEGIN")?;
        let each = [FAILS, "FETCH ALL FROM c"];
        let each = each.map(|text| message::once(text, &[], message::TEXT));
        together(one, &[each.concat(), message::sync(), message::query("ROLLBACK")])
    }),
    // What it found when it began is what it goes on with.
    ("a portal that goes on", |one| {
        one.query("BEGIN")?;
        one.query(NEW)?;
        let begin = [
            message::parse("", "EXECUTE q", &[]),
            message::bind("p", "", message::TEXT, &[], message::TEXT),
            message::execute("p", 1),
            message::sync(),
        ];
        one.ask(&begin.concat())?;
        one.query("DEALLOCATE q")?;
        one.query(OLD)?;
        let go_on = [message::execute("p", 0), message::sync()].concat();
        together(one, &[go_on, message::query("ROLLBACK")])
    }),
    ("a name of which the server keeps 63 bytes", |one| {
        let [first, second, third] = long_names();
        one.ask(&[message::parse(&first, HARMLESS, &[]), message::sync()].concat())?;
        let replace = [message::close(b'S', &second), message::parse(&third, SECRET, &[])].concat();
        together(one, &[replace, run(&first), message::sync()])
    }),
    ("a name of which SQL keeps 63 bytes", |one| {
        let [first, second, third] = long_names();
        one.ask(&[message::parse(&first, HARMLESS, &[]), message::sync()].concat())?;
        one.query(&format!("DEALLOCATE {second}; PREPARE {third} AS {SECRET}"))?;
        together(one, &[run(&first), message::sync()])
    }),
    ("a name in another encoding", |one| {
        one.query("SET client_encoding = 'LATIN1'")?;
        one.ask(&[message::parse("é", HARMLESS, &[]), message::sync()].concat())?;
        // The same bytes are two letters there.
        one.query("SET client_encoding = 'UTF8'")?;
        one.query(&format!("DEALLOCATE \"Ã©\"; PREPARE \"Ã©\" AS {SECRET}"))?;
        one.query("SET client_encoding = 'LATIN1'")?;
        together(one, &[run("é"), message::sync()])
    }),
    ("what is skipped by an error between two requests", |one| {
        one.ask(&[message::parse("q", SECRET, &[]), message::sync()].concat())?;
        one.query("SET statement_timeout = '100ms'")?;
        one.send(&message::parse("", "SELECT 1", &[]))?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        one.send(&message::flush())?;
        one.until(b'E')?;
        let replace = [message::close(b'S', "q"), message::parse("q", HARMLESS, &[])].concat();
        one.ask(&[replace, message::sync()].concat())?;
        one.query("SET statement_timeout = 0")?;
        together(one, &[run("q"), message::sync()])
    }),
    ("a name that code gives away", |one| {
        one.ask(&[message::parse("q", HARMLESS, &[]), message::sync()].concat())?;
        one.query(&format!(
            "DO $do$ BEGIN EXECUTE 'DEALLOCATE q'; EXECUTE 'PREPARE q AS {SECRET}'; END $do$"
        ))?;
        together(one, &[run("q"), message::sync()])
    }),
    ("Syncs within a COPY that fails", |one| {
        one.query("CREATE TEMP TABLE t (n int)")?;
        one.send(&message::query("COPY t FROM STDIN"))?;
        one.until(b'G')?;
        let failing = [message::copy_data(b"no number\n"), message::sync(), message::sync()];
        one.send(&failing.concat())?;
        for _ in 0..3 {
            one.until(b'Z')?;
        }
        together(one, &[message::query(SECRET)])
    }),
];

/// What a name stands for may change while nobody has been answered yet: whoever runs it
/// sees what the server will run by then, and no more than that may show.
#[test]
fn what_a_name_stands_for_is_what_the_server_will_run() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let rows = |heard: &[Message]| heard.iter().filter(|message| message.kind == b'D').count();
    let mut found = Vec::new();
    for (name, play) in PLAYS {
        let context = || format!("{name}{}", ground.agent.tail());
        let direct = play(&mut ground.connect_directly()?).context(*name)?;
        ensure!(!leaks(&direct).is_empty(), "{name}: there is nothing to be seen");
        let led = play(&mut ground.connect()?).with_context(context)?;
        if !leaks(&led).is_empty() {
            found.push(format!("{name}: {}", leaks(&led).join(", ")));
        }
        ensure!(rows(&led) == rows(&direct), "{led:?}: {}", context());
    }
    ensure!(found.is_empty(), "{} leak:\n{}", found.len(), found.join("\n"));
    // Whoever has nothing to hide gets what the server says, however it is sent.
    let said = [OLD, "EXECUTE q", "DEALLOCATE q"].map(message::query);
    let direct = together(&mut ground.connect_directly()?, &said)?;
    let led = together(&mut ground.connect()?, &said)?;
    ensure!(led == direct, "{led:?}{}", ground.agent.tail());
    Ok(())
}

/// A Parse that fails leaves a name what it was; behind its Sync that is run.
#[test]
fn a_name_is_not_believed_while_a_copy_still_comes() -> Result<()> {
    fn play(one: &mut Connection) -> Result<Vec<Message>> {
        let secret = message::parse("q", "SELECT reverse(full_name) FROM customers", &[]);
        one.ask(&[secret, message::sync()].concat())?;
        // More than lies on the way.
        let long = "COPY (SELECT repeat('x', 10000) FROM generate_series(1, 4000)) TO STDOUT";
        one.send(&message::query(long))?;
        while one.receive()?.context("the session has ended")?.kind != b'd' {}
        let run = [
            message::parse("q", "SELECT id::text FROM customers", &[]),
            message::sync(),
            message::bind("", "q", message::TEXT, &[], message::TEXT),
            message::execute("", 0),
            message::sync(),
        ];
        one.send(&run.concat())?;
        one.until(b'Z')?;
        let mut heard = one.until(b'Z')?;
        heard.extend(one.until(b'Z')?);
        Ok(heard)
    }
    let ground = Staging::start(SEED, "")?;
    let direct = play(&mut ground.connect_directly()?)?;
    ensure!(!leaks(&direct).is_empty(), "there is nothing to be seen: {direct:?}");
    let led = play(&mut ground.connect()?).with_context(|| ground.agent.tail())?;
    ensure!(leaks(&led).is_empty(), "{:?}{}", leaks(&led), ground.agent.tail());
    Ok(())
}
