//! With nothing configured nobody sees personal data or secrets in clear: the
//! leak hunt, and what must arrive untouched all the same.

#[path = "masking/names.rs"]
mod names;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{program, run};
use tidegate_tests::staging::{Staging, statements};
use tidegate_tests::wire::{Connection, Message, message};

const SEED: &[&str] = &["leaks/seed.sql"];

// ---- the secrets ------------------------------------------------------------

/// What must never come, in small letters and without what stands between.
const SECRETS: &[&str] = &[
    "canarywren",
    "secretmailexample",
    "xandra",
    "canarybird",
    "1705550199",
    "536228177",
    "4532015112830366",
    "370400440532013000",
    "kanarienweg",
    "kanarienvogel",
    "203011377",
    "19840317",
];

/// All that a secret can look like.
fn looks() -> Vec<Vec<u8>> {
    let mut all = BTreeSet::new();
    for secret in SECRETS {
        let reversed: String = secret.chars().rev().collect();
        for one in [(*secret).to_owned(), reversed] {
            all.insert(one.clone().into_bytes());
            let hex: String = one.bytes().map(|byte| format!("{byte:02x}")).collect();
            all.insert(hex.into_bytes());
        }
    }
    // As they are written, for what keeps letters apart.
    for written in ["canary.wren", "Xandra Canarybird", "Canarybird", "Xandra", "secret-mail"] {
        for bytes in [written.to_owned(), written.chars().rev().collect()] {
            let hex: String = bytes.bytes().map(|byte| format!("{byte:02x}")).collect();
            all.insert(hex.into_bytes());
            for shift in 0..3 {
                all.insert(base64(&bytes, shift));
            }
        }
    }
    all.into_iter().filter(|look| look.len() >= 5).collect()
}

/// What of it stands the same wherever it begins: without the ends.
fn base64(text: &str, shift: usize) -> Vec<u8> {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = [vec![0; shift], text.as_bytes().to_vec()].concat();
    let mut signs = Vec::new();
    for group in bytes.chunks(3).filter(|group| group.len() == 3) {
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in [18, 12, 6, 0] {
            signs.push(SIGNS[(bits >> place & 63) as usize]);
        }
    }
    let first = if shift == 0 { 0 } else { 4 };
    plain(signs.get(first..).unwrap_or_default())
}

/// Small letters and digits only: what is put between doesn't hide it.
fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().filter(|sign| sign.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

/// What of an answer is a leak. Column by column, so that letters that come one
/// by one are found too.
fn leaks(messages: &[Message]) -> Vec<String> {
    let looks = looks();
    let mut streams: Vec<Vec<u8>> = vec![Vec::new()];
    for message in messages {
        // Names of columns are no secrets.
        match message.kind {
            b'T' | b'K' | b'C' => {}
            b'D' => {
                streams[0].extend_from_slice(&message.body);
                for (place, value) in message.columns().into_iter().flatten().enumerate() {
                    while streams.len() < place + 2 {
                        streams.push(Vec::new());
                    }
                    let value = value.unwrap_or_default();
                    // The code of a sign.
                    match str::from_utf8(&value).ok().and_then(|text| text.parse::<u8>().ok()) {
                        Some(code) => streams[place + 1].push(code),
                        None => streams[place + 1].extend_from_slice(&value),
                    }
                }
            }
            _ => streams[0].extend_from_slice(&message.body),
        }
    }
    let mut found = Vec::new();
    for stream in streams {
        let plain = plain(&stream);
        // UTF-16 and the like, and binary numbers.
        for look in &looks {
            if plain.windows(look.len()).any(|window| window == *look) {
                found.push(String::from_utf8_lossy(look).into_owned());
            }
        }
        for number in
            [4_532_015_112_830_366_i64.to_be_bytes(), 4_532_015_112_830_366_f64.to_be_bytes()]
        {
            if stream.windows(8).any(|window| window == number) {
                found.push("the card's number in binary".into());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn the_hunter_sees_what_is_there() {
    let row = |text: &[u8]| Message { kind: b'N', body: text.to_vec() };
    for text in [
        "Xandra",
        "x-a-n-d-r-a",
        "ardnax",
        "CANARY.WREN1@x",
        "58616e647261",
        "WGFuZHJhIENhbmFyeWJpcmQ=",
        "17 Kanarienweg",
        "536-22-8177",
    ] {
        assert!(!leaks(&[row(text.as_bytes())]).is_empty(), "{text}");
    }
    assert!(leaks(&[row(b"c\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2@s.example")]).is_empty());
}

// ---- the hunt ---------------------------------------------------------------

/// How a statement is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Simple,
    Text,
    Binary,
    /// Parsed in one go, bound in the next, never described.
    Undescribed,
    Pipeline,
}

fn send(connection: &mut Connection, statement: &str, way: Way) -> Result<Vec<Message>> {
    let result = |way| u16::from(matches!(way, Way::Binary | Way::Undescribed));
    match way {
        Way::Simple => connection.query(statement),
        Way::Text | Way::Binary => {
            connection.ask(&[message::once(statement, &[], result(way)), message::sync()].concat())
        }
        Way::Undescribed => {
            let parse = [message::parse("u", statement, &[]), message::sync()].concat();
            let mut all = connection.ask(&parse)?;
            let run = [
                message::bind("", "u", message::TEXT, &[], message::BINARY),
                message::execute("", 0),
                message::close(b'S', "u"),
                message::sync(),
            ];
            all.extend(connection.ask(&run.concat())?);
            let close = [message::close(b'S', "u"), message::sync()].concat();
            all.extend(connection.ask(&close)?);
            Ok(all)
        }
        Way::Pipeline => {
            let one = |sql: &str| {
                [
                    message::parse("", sql, &[]),
                    message::bind("", "", message::TEXT, &[], message::TEXT),
                    message::execute("", 0),
                ]
                .concat()
            };
            let all = [one("SELECT 1"), one(statement), one("SELECT 2"), message::sync()].concat();
            connection.ask(&all)
        }
    }
}

fn hunt(file: &str, ways: &[Way]) -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let mut connection = ground.connect()?;
    let mut found = Vec::new();
    let mut sent = 0;
    for way in ways {
        for statement in statements(&format!("leaks/{file}"))? {
            let messages = send(&mut connection, &statement, *way)
                .with_context(|| format!("{way:?}: {statement}\n{}", ground.agent.tail()))?;
            sent += 1;
            let leaks = leaks(&messages);
            if !leaks.is_empty() {
                found.push(format!("{way:?}: {statement}\n    {}", leaks.join(", ")));
            }
        }
        // A transaction that a statement left open, objects that it made.
        connection.query("ROLLBACK")?;
    }
    ensure!(sent > 0, "nothing was tried");
    ensure!(found.is_empty(), "{} of {sent} leak:\n{}", found.len(), found.join("\n"));
    Ok(())
}

#[test]
fn plain_queries_leak_nothing() -> Result<()> {
    hunt("plain.sql", &[Way::Simple, Way::Text, Way::Binary, Way::Undescribed, Way::Pipeline])
}

#[test]
fn functions_leak_nothing() -> Result<()> {
    hunt("functions.sql", &[Way::Simple, Way::Text, Way::Binary, Way::Undescribed, Way::Pipeline])
}

#[test]
fn no_other_way_out_leaks() -> Result<()> {
    hunt("ways_out.sql", &[Way::Simple])
}

/// An AI agent can't ask either, row by row, whether a value is the one.
#[test]
fn an_agent_does_not_pick_rows_by_what_it_may_not_see() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let ask = |statement: &str| -> Result<(String, String)> {
        let mut psql = ground.psql_command(true, &[statement])?;
        let output = psql.env("GEMINI_CLI", "1").output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    };
    for statement in [
        "SELECT id FROM customers WHERE email LIKE 'c%'",
        "SELECT id FROM customers WHERE full_name > 'X' ORDER BY id",
        "SELECT id FROM customers ORDER BY full_name",
        "SELECT count(*) FROM customers GROUP BY email",
        "SELECT a.id FROM customers a JOIN customers b ON a.phone = b.phone",
        "SELECT id FROM customers WHERE length(ssn) = 11",
        "SELECT exists (SELECT 1 FROM customers WHERE iban = 'DE89370400440532013000')",
        "DELETE FROM customers WHERE email = 'x'",
        "SELECT id FROM customers c WHERE c::text LIKE '%c%'",
        "SELECT id FROM customers ORDER BY customers",
        "SELECT * FROM customers ORDER BY 3",
        "SELECT count(*) FROM customers NATURAL JOIN (VALUES ('x')) v(email)",
        "SELECT 1 OFFSET (SELECT ascii(email) FROM customers WHERE id = 1)",
        "SELECT c.id FROM customers c, regexp_matches(c.email, '^c')",
        "SELECT count(*) FROM (SELECT regexp_matches(email, '^c') FROM customers) s",
        "SELECT email FROM customers INTERSECT SELECT 'x'",
        "SELECT id, count(*) OVER (ORDER BY email) FROM customers",
    ] {
        let (out, err) = ask(statement)?;
        ensure!(out.is_empty() && err.contains("default/agent-probe"), "{statement}: {out}{err}");
    }
    for statement in [
        "SELECT * FROM customers ORDER BY 1 LIMIT 1",
        "SELECT count(DISTINCT email) FROM customers",
        "SELECT count(*) FROM customers a
         WHERE EXISTS (SELECT * FROM customers b WHERE b.id = a.id)",
        "SELECT count(*) FROM customers AS c (number) WHERE number = 1",
    ] {
        let (out, err) = ask(statement)?;
        ensure!(!out.is_empty() && err.is_empty(), "{statement}: {out}{err}");
    }
    let (out, err) = ask("SELECT id, email FROM customers WHERE id = 2")?;
    ensure!(out == "2|c•••@s•••.example\n" && err.is_empty(), "{out}{err}");
    // A person may: that is recorded.
    let out = ground.psql(&["SELECT id FROM customers WHERE email LIKE 'canary.wren2%'"])?;
    ensure!(out.trim() == "2", "{out}");
    Ok(())
}

#[test]
fn what_is_made_before_it_is_learnt_leaks_nothing() -> Result<()> {
    hunt("made.sql", &[Way::Simple])
}

/// A COPY has failed, and its data still come, in pieces: what was made is learnt behind them.
#[test]
fn a_catalog_is_not_asked_for_within_a_message() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    for (name, together) in [("made", false), ("made_too", true)] {
        let mut one = ground.connect()?;
        one.query("SELECT 1")?;
        let make = format!("CREATE TABLE {name} (n int); COPY {name} FROM STDIN");
        one.send(&message::query(&make))?;
        one.until(b'G')?;
        let late = message::copy_data(&b"1\n".repeat(150_000));
        let (begun, rest) = late.split_at(100_000);
        one.send(&[&message::copy_data(b"no number\n"), begun].concat())?;
        let failed = one.until(b'Z').with_context(|| ground.agent.tail())?;
        ensure!(
            failed.iter().any(|message| message.field(b'C').as_deref() == Some("22P02")),
            "{failed:?}"
        );
        // The next request comes behind the last piece, or with it.
        let query = message::query("SELECT 'still here'");
        match together {
            true => one.send(&[rest, &query].concat())?,
            false => {
                one.send(rest)?;
                one.send(&query)?;
            }
        }
        let told = one.until(b'Z').with_context(|| ground.agent.tail())?;
        let here = told.iter().any(|message| message.body.ends_with(b"still here"));
        ensure!(here, "{name}: {told:?}");
    }
    Ok(())
}

// ---- what must arrive -------------------------------------------------------

#[test]
fn everything_else_arrives_untouched() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    for statement in [
        "SELECT 1, 'text', 2.5, now()::date = current_date, NULL",
        "SELECT id FROM customers ORDER BY id",
        "SELECT count(*), count(email) FROM customers",
        "SELECT relname FROM pg_class WHERE relname = 'customers'",
        "SELECT datname FROM pg_database WHERE datname = 'app'",
        "SELECT version()",
        "SELECT gen_random_uuid() IS NOT NULL, md5('x'), repeat('a', 100)",
        "SELECT generate_series(1, 3) AS order_number",
        "SELECT '12345678'::bigint AS invoice_id, timestamp '2024-05-06 07:08:09' AS created_at",
        "SHOW server_version",
        "COPY (SELECT id, 'x' || id FROM customers ORDER BY id) TO STDOUT",
    ] {
        let led = ground.psql(&[statement])?;
        let direct = ground.postgres.psql("app", statement)?;
        ensure!(led == direct, "{statement}\nled: {led}\ndirect: {direct}");
    }
    Ok(())
}

#[test]
fn masked_values_keep_their_form() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let shown = ground
        .psql(&["SELECT email, full_name, phone, card_number FROM customers WHERE id = 1"])?;
    ensure!(shown.contains("c•••@s•••.example|X••• C•••|"), "{shown}");
    ensure!(shown.trim().ends_with("0366") || shown.contains("|"), "{shown}");
    Ok(())
}

/// `\` and `"` may be the second byte of a sign: structure can't be told by single bytes.
#[test]
fn where_signs_end_with_other_bytes_structure_is_not_shown() -> Result<()> {
    let ground = Staging::start(&["leaks/seed.sql"], "")?;
    let shown = |encoding: &str, statement: &str| -> Result<String> {
        let set = format!("SET client_encoding = '{encoding}'");
        ground.psql(&["\\pset null NULL", &set, statement])
    };
    for statement in [
        "SELECT id, address, tags, reach FROM customers WHERE id = 1",
        "SELECT 1, row_to_json(c), array_agg(email), c FROM customers c WHERE id = 1 GROUP BY c",
    ] {
        let told = shown("SJIS", statement)?;
        ensure!(told.trim() == "1|NULL|NULL|NULL", "{statement}: {told}");
        let told = shown("UTF8", statement)?;
        ensure!(!told.contains("NULL") && !told.contains("anar"), "{statement}: {told}");
    }
    let told = shown("SJIS", "SELECT email FROM customers WHERE id = 1")?;
    ensure!(told.trim() == "c***@s***.example", "{told}");
    // The words that come before the session's end.
    let mut copy = ground.psql_command(
        true,
        &["SET client_encoding = 'BIG5'", "COPY customers TO STDOUT", "SELECT 1"],
    )?;
    let output = copy.output()?;
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    ensure!(!output.status.success() && out.is_empty(), "{out}{error}");
    ensure!(error.contains("tidegate"), "{error}");
    Ok(())
}

#[test]
fn what_may_be_seen_is_a_permission() -> Result<()> {
    let reveal = "@id(\"own/see\")\npermit (principal, action == Action::\"reveal\", resource);\n";
    let ground = Staging::start(SEED, reveal)?;
    for statement in statements("leaks/plain.sql")? {
        let led = ground.psql(&[&statement])?;
        let direct = ground.postgres.psql("app", &statement)?;
        ensure!(led == direct, "{statement}\nled: {led}\ndirect: {direct}");
    }
    Ok(())
}

/// Nothing of a schema is a secret, and tools that read it must find all of it.
#[test]
fn a_schema_is_dumped_as_it_is() -> Result<()> {
    let ground = Staging::start(SEED, "")?;
    let dump = |place: Place<'_>| -> Result<String> {
        let mut command = place.command(program("pg_dump")?)?;
        let dumped = run(command.args(["-s", "-d"]).arg(ground.postgres.dsn("app")));
        let text = dumped.with_context(|| ground.agent.tail())?;
        // A word of its own for each dump.
        let plain = |line: &&str| !line.contains("restrict ");
        Ok(text.lines().filter(plain).collect::<Vec<_>>().join("\n"))
    };
    let direct = dump(Place::new())?;
    let led = dump(Place::new().cgroup(&ground.work))?;
    let differ = direct.lines().zip(led.lines()).find(|(one, other)| one != other);
    ensure!(led == direct, "they differ: {differ:?}");
    ensure!(led.contains("CREATE TABLE public.customers"), "{led}");
    Ok(())
}
