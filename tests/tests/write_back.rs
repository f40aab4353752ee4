//! What a mask wrote doesn't take the place of what it hides: written back, it is
//! refused, the row stays, and the session goes on.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::postgres::run;
use tidegate_tests::staging::Staging;
use tidegate_tests::venv;
use tidegate_tests::wire::{Connection, Message, message};

const SEED: &[&str] = &["leaks/seed.sql"];
const REVEAL: &str =
    "@id(\"own/see\")\npermit (principal, action == Action::\"reveal\", resource);\n";
const HASH: &str = "@id(\"own/hash\") @mask(\"hash\")\nforbid (principal, action == \
                    Action::\"reveal\", resource in Class::\"person\");\n";
const MASKED: &str = "c•••@s•••.example";
const REAL: &str = "wren@new-mail.example";

/// What the row holds, whoever asks.
fn stored(ground: &Staging) -> Result<String> {
    ground.connect_directly()?.rows("SELECT * FROM customers ORDER BY id")
}

fn error(messages: &[Message]) -> Option<&Message> {
    messages.iter().find(|message| message.kind == b'E')
}

/// It was refused for that, with a way out, and the session goes on.
fn refused(connection: &mut Connection, messages: &[Message]) -> Result<()> {
    let error = error(messages).with_context(|| format!("it passed: {messages:?}"))?;
    let field = |name| error.field(name).unwrap_or_default();
    ensure!(field(b'C') == "42501", "{error:?}");
    ensure!(field(b'M').contains("a mask in place of the value that it hides"), "{error:?}");
    ensure!(field(b'D').contains("default/write-back"), "{error:?}");
    ensure!(field(b'H').contains("write only the columns that change"), "{error:?}");
    ensure!(connection.value("SELECT 'still here'")? == "still here");
    Ok(())
}

fn passed(messages: &[Message]) -> Result<()> {
    ensure!(error(messages).is_none(), "{messages:?}");
    ensure!(messages.iter().any(|message| message.kind == b'C'), "{messages:?}");
    Ok(())
}

fn extended(statement: &str, format: u16, values: &[Option<&[u8]>], types: &[u32]) -> Vec<u8> {
    [
        message::parse("", statement, types),
        message::bind("", "", format, values, message::TEXT),
        message::describe(b'P', ""),
        message::execute("", 0),
        message::sync(),
    ]
    .concat()
}

#[test]
fn a_masked_value_is_not_written_into_its_column() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let before = stored(&ground)?;
    let mut connection = ground.connect()?;
    let shown = connection.value("SELECT email FROM customers WHERE id = 1")?;
    ensure!(shown == MASKED, "{shown}");
    for statement in [
        format!("UPDATE customers SET email = '{shown}' WHERE id = 1"),
        "UPDATE customers SET full_name = 'X••• C•••', notes = 'n' WHERE id = 1".into(),
        "UPDATE customers SET (ssn, phone) = ('•••-••-8177', '1') WHERE id = 1".into(),
        "UPDATE customers SET email = E'c\\u2022\\u2022\\u2022@x.example' WHERE id = 1".into(),
        "UPDATE customers SET email = U&'\\2022\\2022\\2022' WHERE id = 1".into(),
        format!("UPDATE customers SET email = $x${shown}$x$ WHERE id = 1"),
        format!(
            "INSERT INTO customers VALUES (1, '{shown}') ON CONFLICT (id) DO UPDATE SET email = excluded.email"
        ),
        format!(
            "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = '{shown}'"
        ),
        format!("INSERT INTO customers (id, email) SELECT 9, '{shown}'"),
        format!(
            "WITH w AS (UPDATE customers SET email = '{shown}' WHERE id = 1 RETURNING id) SELECT * FROM w"
        ),
        format!(
            "MERGE INTO customers c USING (VALUES (1, '{shown}')) v (i, m) ON c.id = v.i \
                 WHEN MATCHED THEN UPDATE SET email = v.m"
        ),
        // Masked by what it looks like.
        "UPDATE customers SET box = 'c•••@s•••.example' WHERE id = 1".into(),
        "UPDATE customers SET notes = 'please write to c•••@s•••.example today'".into(),
        r#"UPDATE customers SET address = '{"email": "c\u2022\u2022\u2022@s.example"}'"#.into(),
        format!("SELECT 1; UPDATE customers SET email = '{shown}' WHERE id = 1"),
        format!("PREPARE p AS UPDATE customers SET email = '{shown}' WHERE id = 1"),
        format!("EXPLAIN ANALYZE UPDATE customers SET email = '{shown}' WHERE id = 1"),
    ] {
        let answered = connection.query(&statement)?;
        refused(&mut connection, &answered).with_context(|| statement.clone())?;
        ensure!(stored(&ground)? == before, "changed by {statement}");
    }
    // Within a transaction it is the transaction that fails, as for any error.
    connection.query("BEGIN")?;
    let answered = connection.query(&format!("UPDATE customers SET email = '{shown}'"))?;
    ensure!(error(&answered).and_then(|one| one.field(b'C')).as_deref() == Some("42501"));
    ensure!(answered.last().is_some_and(|last| last.body == b"E"), "{answered:?}");
    connection.query("ROLLBACK")?;
    ensure!(stored(&ground)? == before);
    Ok(())
}

#[test]
fn nor_is_one_that_is_bound() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let before = stored(&ground)?;
    let mut connection = ground.connect()?;
    let update = "UPDATE customers SET email = $1, notes = 'n' WHERE id = 1";
    for format in [message::TEXT, message::BINARY] {
        let asked = extended(update, format, &[Some(MASKED.as_bytes())], &[25]);
        let answered = connection.ask(&asked)?;
        refused(&mut connection, &answered).with_context(|| format!("format {format}"))?;
        ensure!(stored(&ground)? == before, "format {format}");
    }
    // Prepared once, run with one value and another.
    let prepared = [message::parse("named", update, &[]), message::sync()].concat();
    connection.ask(&prepared)?;
    let run = |value: &str| {
        let values = [Some(value.as_bytes())];
        [
            message::bind("", "named", message::TEXT, &values, message::TEXT),
            message::execute("", 0),
            message::sync(),
        ]
        .concat()
    };
    for _ in 0..2 {
        let answered = connection.ask(&run(MASKED))?;
        refused(&mut connection, &answered)?;
        passed(&connection.ask(&run(REAL))?)?;
        ensure!(stored(&ground)?.contains(REAL));
    }
    let stays = stored(&ground)?;
    // By SQL's own means.
    passed(
        &connection.query("PREPARE own (text) AS UPDATE customers SET email = $1 WHERE id = 1")?,
    )?;
    let answered = connection.query(&format!("EXECUTE own('{MASKED}')"))?;
    refused(&mut connection, &answered)?;
    ensure!(stored(&ground)? == stays);
    passed(&connection.query(&format!("EXECUTE own('other-{REAL}')"))?)?;
    ensure!(stored(&ground)?.contains("other-wren"));
    Ok(())
}

#[test]
fn what_is_no_mask_or_hides_nothing_is_written() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    ground.postgres.psql("app", "CREATE TABLE signs (id int PRIMARY KEY, sign text)")?;
    let mut connection = ground.connect()?;
    for statement in [
        format!("UPDATE customers SET email = '{REAL}' WHERE id = 1"),
        format!("UPDATE customers SET email = '{REAL}' WHERE id = 1 -- not '{MASKED}'"),
        "INSERT INTO signs VALUES (1, '•••')".into(),
        "INSERT INTO signs VALUES (1, '') ON CONFLICT (id) DO UPDATE SET sign = 'j•••'".into(),
        "UPDATE customers SET tags = ARRAY['•••'] WHERE id = 1".into(),
        // Who doesn't read UTF-8 is shown stars; this one does.
        "UPDATE customers SET passwd_hash = '***' WHERE id = 1".into(),
        format!("SELECT count(*) FROM customers WHERE email = '{MASKED}'"),
        format!("DELETE FROM customers WHERE email = '{MASKED}'"),
    ] {
        passed(&connection.query(&statement)?).with_context(|| statement.clone())?;
    }
    let bound = "INSERT INTO signs VALUES ($1, $2)";
    let values = [Some(&b"2"[..]), Some("•••".as_bytes())];
    passed(&connection.ask(&extended(bound, message::TEXT, &values, &[23, 25]))?)?;
    ensure!(connection.rows("SELECT sign FROM signs ORDER BY id")? == "j•••\n•••\n");
    ensure!(stored(&ground)?.contains(REAL));
    Ok(())
}

#[test]
fn who_sees_the_value_may_write_what_looks_like_a_mask() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let mut connection = ground.connect()?;
    let update = format!("UPDATE customers SET email = '{MASKED}' WHERE id = 1");
    let answered = connection.query(&update)?;
    refused(&mut connection, &answered)?;
    ground.rule(REVEAL)?;
    passed(&connection.query(&update)?)?;
    ensure!(stored(&ground)?.contains(MASKED));
    let copied = copy(&mut connection, "COPY customers (id, email) FROM STDIN", &["7\t•••\n"])?;
    passed(&copied)?;
    // And no longer.
    ground.rule("")?;
    let answered = connection.query(&update)?;
    refused(&mut connection, &answered)?;
    Ok(())
}

#[test]
fn a_hash_is_known_again_and_stars_are_for_who_reads_no_utf_8() -> Result<()> {
    let ground = Staging::start(SEED, HASH)?;
    let before = stored(&ground)?;
    let mut connection = ground.connect()?;
    let mark = connection.value("SELECT email FROM customers WHERE id = 1")?;
    ensure!(mark.len() == 16 && !mark.contains('•'), "{mark}");
    let again = connection.value("SELECT email FROM customers WHERE id = 1")?;
    ensure!(mark == again, "{mark}, then {again}");
    let update = |value: &str| format!("UPDATE customers SET email = '{value}' WHERE id = 1");
    let answered = connection.query(&update(&mark))?;
    refused(&mut connection, &answered)?;
    let bound = "UPDATE customers SET email = $1 WHERE id = 1";
    let values = [Some(mark.as_bytes())];
    let answered = connection.ask(&extended(bound, message::BINARY, &values, &[25]))?;
    refused(&mut connection, &answered)?;
    ensure!(stored(&ground)? == before);
    // Another that only looks alike.
    let other: String = mark.chars().rev().collect();
    passed(&connection.query(&update(&other))?)?;
    ground.rule("")?;
    connection.query("SET client_encoding = 'LATIN1'")?;
    let shown = connection.value("SELECT full_name FROM customers WHERE id = 1")?;
    ensure!(shown == "X*** C***", "{shown}");
    let stays = stored(&ground)?;
    let answered =
        connection.query(&format!("UPDATE customers SET full_name = '{shown}' WHERE id = 1"))?;
    refused(&mut connection, &answered)?;
    ensure!(stored(&ground)? == stays);
    Ok(())
}

/// A COPY of these pieces, each a message, sent before anything is answered.
fn copy(
    connection: &mut Connection,
    statement: &str,
    pieces: &[impl AsRef<[u8]>],
) -> Result<Vec<Message>> {
    let mut bytes = message::query(statement);
    for piece in pieces {
        bytes.extend(message::copy_data(piece.as_ref()));
    }
    bytes.extend(message::copy_done());
    connection.ask(&bytes)
}

/// The same, by the book: the data follow the server's word.
fn copy_in_turn(
    connection: &mut Connection,
    begin: &[u8],
    pieces: &[&[u8]],
    end: &[u8],
) -> Result<Vec<Message>> {
    connection.send(begin)?;
    connection.until(b'G')?;
    for piece in pieces {
        connection.send(&message::copy_data(piece))?;
    }
    connection.send(&[message::copy_done().as_slice(), end].concat())?;
    connection.until(b'Z')
}

#[test]
fn a_copy_that_brings_a_mask_comes_to_nothing() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    ground.postgres.psql("app", "CREATE TABLE signs (id int, sign text)")?;
    let before = stored(&ground)?;
    let mut connection = ground.connect()?;
    let into = "COPY customers (id, email) FROM STDIN";
    let plain = format!("11\t{REAL}\n");
    let masked = format!("12\t{MASKED}\n");
    // Within the second dot.
    let (cut, rest) = masked.as_bytes().split_at(masked.find('•').context("no e-mail")? + 4);
    for pieces in [
        &[plain.as_bytes(), masked.as_bytes(), plain.as_bytes()][..],
        &[plain.as_bytes(), cut, rest],
        &[masked.as_bytes()],
        &["13\tx@y.example\n14\t••".as_bytes(), "•\n15\tz@y.example\n".as_bytes()],
    ] {
        let answered = copy(&mut connection, into, pieces)?;
        refused(&mut connection, &answered).with_context(|| format!("at once: {pieces:?}"))?;
        let begin = message::query(into);
        let answered = copy_in_turn(&mut connection, &begin, pieces, &[])?;
        refused(&mut connection, &answered).with_context(|| format!("in turn: {pieces:?}"))?;
        let begin = [
            message::parse("", into, &[]),
            message::bind("", "", message::TEXT, &[], message::TEXT),
            message::execute("", 0),
            message::flush(),
        ]
        .concat();
        let answered = copy_in_turn(&mut connection, &begin, pieces, &message::sync())?;
        refused(&mut connection, &answered).with_context(|| format!("extended: {pieces:?}"))?;
        // As libpq has it: the Sync goes before the data.
        let begin = [begin, message::sync()].concat();
        let answered = copy_in_turn(&mut connection, &begin, pieces, &message::sync())?;
        refused(&mut connection, &answered).with_context(|| format!("Sync first: {pieces:?}"))?;
        ensure!(stored(&ground)? == before, "{pieces:?}");
    }
    // A message that is longer than what is held at once.
    let mut long = String::new();
    for number in 1_000..100_000 {
        long.push_str(&format!("{number}\twren{number}@new-mail.example\n"));
        if number == 60_000 {
            long.push_str(&masked);
        }
    }
    let begin = message::query(into);
    let answered =
        copy_in_turn(&mut connection, &begin, &[long.as_bytes(), plain.as_bytes()], &[])?;
    refused(&mut connection, &answered).context("one long message")?;
    ensure!(stored(&ground)? == before, "one long message");
    let csv = "COPY customers (id, full_name) FROM STDIN (FORMAT csv)";
    let answered = copy(&mut connection, csv, &["31,\"X••• C•••\"\n"])?;
    refused(&mut connection, &answered)?;

    // What hides nothing goes through, and what is no mask.
    passed(&copy(&mut connection, "COPY signs FROM STDIN", &["1\t•••\n", "2\tj••", "•\n"])?)?;
    ensure!(connection.value("SELECT count(*) FROM signs")? == "2");
    passed(&copy(&mut connection, into, &[&plain])?)?;
    passed(&copy(&mut connection, "COPY customers (id, tags) FROM STDIN", &["41\t{•••}\n"])?)?;
    ensure!(stored(&ground)?.contains(REAL));
    // The server's own objections are told as its own.
    let answered = copy(&mut connection, into, &["none\tx\n"])?;
    ensure!(error(&answered).and_then(|one| one.field(b'C')).as_deref() == Some("22P02"));
    Ok(())
}

#[test]
fn it_is_recorded() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let mut connection = ground.connect()?;
    connection.query(&format!("UPDATE customers SET email = '{MASKED}' WHERE id = 1"))?;
    copy(&mut connection, "COPY customers (id, email) FROM STDIN", &["9\t•••\n"])?;
    let found = ground.agent.search(&["--verdict", "refused"])?;
    let told = |way: &str| -> Vec<&Value> {
        found.iter().filter(|one| one.to_string().contains(&format!("\"{way}\""))).collect()
    };
    for way in ["query", "copy"] {
        let hits = told(way);
        ensure!(hits.len() == 1, "{way}: {found:#?}");
        ensure!(hits[0].to_string().contains("default/write-back"), "{way}: {hits:#?}");
        ensure!(!hits[0].to_string().contains("canary"), "{hits:#?}");
    }
    Ok(())
}

#[test]
fn in_shadow_it_is_written_and_recorded() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let file = ground.agent.settings_file();
    let settings = std::fs::read_to_string(&file)?;
    let shadow = settings.replace("policy.mode = \"enforce\"", "policy.mode = \"shadow\"");
    ensure!(shadow != settings, "{settings}");
    std::fs::write(&file, shadow)?;
    ground.agent.must(&["reload"])?;
    let mut connection = ground.connect()?;
    let update = format!("UPDATE customers SET email = '{MASKED}' WHERE id = 1");
    passed(&connection.query(&update)?)?;
    let bound = "UPDATE customers SET phone = $1 WHERE id = 1";
    let values = [Some("••• 4199".as_bytes())];
    passed(&connection.ask(&extended(bound, message::TEXT, &values, &[25]))?)?;
    let into = "COPY customers (id, email) FROM STDIN";
    passed(&copy(&mut connection, into, &["9\t•••\n", "10\t•••9\n"])?)?;
    let stays = stored(&ground)?;
    ensure!(stays.contains(MASKED) && stays.contains("••• 4199"), "{stays}");
    ensure!(connection.value("SELECT count(*) FROM customers WHERE id > 8")? == "2");
    let found = ground.agent.search(&["--verdict", "would_refuse"])?;
    for way in ["query", "bind", "copy"] {
        let of_way = |one: &&Value| one.to_string().contains(&format!("\"{way}\""));
        let hits: Vec<_> = found.iter().filter(of_way).collect();
        ensure!(hits.len() == 1, "{way}: {found:#?}");
        ensure!(hits[0].to_string().contains("default/write-back"), "{way}: {hits:#?}");
    }
    Ok(())
}

/// What an ORM does that writes a row whole.
const PSYCOPG: &str = r#"
import sys, psycopg
from psycopg.types.json import Json

def attempt(connection, what, statement, values=None):
    try:
        with connection.transaction():
            connection.execute(statement, values)
        print(what, "passed")
    except psycopg.errors.InsufficientPrivilege as error:
        print(what, "refused", error.diag.message_detail.split(" ")[1])

for binary in (False, True):
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        cursor = connection.cursor(binary=binary)
        row = cursor.execute(
            "SELECT id, email, full_name, phone, notes FROM customers WHERE id = 1"
        ).fetchone()
        print("read", row[1])
        whole = ("UPDATE customers SET email = %s, full_name = %s, phone = %s, notes = %s "
                 "WHERE id = %s")
        attempt(connection, "whole", whole, (row[1], row[2], row[3], row[4], row[0]))
        formatted = whole.replace("%s", "%b") if binary else whole
        attempt(connection, "formatted", formatted, (row[1], row[2], row[3], row[4], row[0]))
        attempt(connection, "document", "UPDATE customers SET box = %s::text WHERE id = 1",
                (Json({"mail": row[1]}),))
        attempt(connection, "changed", "UPDATE customers SET notes = %s WHERE id = %s",
                ("called", row[0]))
        attempt(connection, "real", "UPDATE customers SET email = %s WHERE id = %s",
                ("wren@new-mail.example", row[0]))
        rows = cursor.execute("SELECT id + 100, email FROM customers").fetchall()
        try:
            with connection.cursor().copy("COPY customers (id, email) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            print("copy passed")
        except psycopg.errors.InsufficientPrivilege as error:
            print("copy refused", error.diag.message_detail.split(" ")[1])
        print("alive", connection.execute("SELECT 1").fetchone()[0])
"#;

#[test]
fn a_driver_that_writes_back_what_it_read_is_refused() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let mut python = ground.place(true).command(venv::python()?)?;
    python.args(["-c", PSYCOPG]).arg(ground.postgres.dsn("app")).env("PGGSSENCMODE", "disable");
    let said = run(&mut python).with_context(|| ground.agent.tail())?;
    let half = |read: &str| {
        format!(
            "read {read}\nwhole refused default/write-back\nformatted refused default/write-back\n\
             document refused default/write-back\nchanged passed\nreal passed\n\
             copy refused default/write-back\nalive 1\n"
        )
    };
    ensure!(said == half(MASKED) + &half("w•••@n•••.example"), "{said}");
    let stays = stored(&ground)?;
    ensure!(stays.contains(REAL) && !stays.contains('•'), "{stays}");
    Ok(())
}

#[test]
fn psql_s_copy_is_told_and_goes_on() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let before = stored(&ground)?;
    let statements = ["\\copy customers (id, email) FROM pstdin", "SELECT 'still here'"];
    let mut psql: Command = ground.psql_command(true, &statements)?;
    psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = psql.spawn()?;
    let mut data = String::new();
    for number in 100..20_000 {
        data.push_str(&format!("{number}\tw{number}@new-mail.example\n"));
        if number == 10_000 {
            data.push_str(&format!("50000\t{MASKED}\n"));
        }
    }
    let mut stdin = child.stdin.take().context("no stdin")?;
    let feeder = std::thread::spawn(move || {
        // It may have had enough before the end.
        let _ = std::io::Write::write_all(&mut stdin, data.as_bytes());
    });
    let output = child.wait_with_output()?;
    let _ = feeder.join();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(err.contains("a mask in place of the value that it hides"), "{err}{out}");
    ensure!(err.contains("policy default/write-back"), "{err}");
    ensure!(out.contains("still here"), "{out}{err}");
    ensure!(stored(&ground)? == before);
    Ok(())
}
