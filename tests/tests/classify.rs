//! What columns hold, as `tidegate classify` tells it of a real server, and what an
//! operator says instead, as clients behind the agent see it.

use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::binary;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::Postgres;
use tidegate_tests::scene::alone;
use tidegate_tests::staging::Staging;

const SEED: &str = "\
CREATE TABLE customers (id int PRIMARY KEY, email text, code text, born date, note text);
COMMENT ON COLUMN customers.note IS 'phone number';
INSERT INTO customers VALUES (1, 'ann.tide@harbour.example', 'KESTREL-77', '1984-03-17', 'x');
CREATE VIEW letters AS SELECT id, email AS addressed_to FROM customers;
CREATE VIEW codes AS SELECT code AS label FROM customers;
CREATE TABLE parts (id int, code text) PARTITION BY RANGE (id);
CREATE TABLE part_one PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts VALUES (1, 'KESTREL-78');
CREATE TABLE \"Odd\" (\"e.Mail\" text);
CREATE FUNCTION mail_of(n int) RETURNS text LANGUAGE sql AS $$ SELECT email FROM customers WHERE id = n $$;
CREATE FUNCTION code_of(n int) RETURNS text LANGUAGE sql AS $$ SELECT code FROM customers WHERE id = n $$;
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;";

/// A command of its own, past every agent.
fn tidegate(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    let mut command = Place::new().command(binary()?)?;
    command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    for name in ["PGPASSWORD", "PGPASSFILE", "PGHOST", "PGUSER", "TIDEGATE_CONFIG"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent");
    command.envs(variables.iter().copied());
    Ok(command.output()?)
}

fn must(arguments: &[&str], variables: &[(&str, &str)]) -> Result<String> {
    let output = tidegate(arguments, variables)?;
    ensure!(
        output.status.success(),
        "`{}` failed ({}): {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// … fails with this code and says this.
fn fails(arguments: &[&str], variables: &[(&str, &str)], code: i32, told: &str) -> Result<()> {
    let output = tidegate(arguments, variables)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code) && said.contains(told),
        "`{}` ended with {}: {said}",
        arguments.join(" "),
        output.status
    );
    Ok(())
}

/// Column → (class, mask, reason).
fn columns(report: &str) -> Result<Vec<(String, String)>> {
    let report: Value = serde_json::from_str(report)?;
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or("-").to_owned();
    let columns = report["columns"].as_array().context("no columns")?;
    Ok(columns
        .iter()
        .map(|one| {
            let name = ["schema", "table", "column"].map(|key| text(one, key)).join(".");
            (name, ["type", "class", "mask", "reason"].map(|key| text(one, key)).join(" "))
        })
        .collect())
}

fn of<'c>(columns: &'c [(String, String)], name: &str) -> Option<&'c str> {
    columns.iter().find(|(one, _)| one == name).map(|(_, what)| what.as_str())
}

#[test]
fn a_catalog_is_told_with_reasons() -> Result<()> {
    let _alone = alone();
    let postgres = Postgres::start()?;
    postgres.psql("app", SEED)?;
    let folder = TempFolder::fresh()?;
    let file = folder.path().join("classes.toml").display().to_string();
    let dsn =
        format!("host=127.0.0.1 port={} user=app dbname=app sslmode=disable", postgres.port());
    let password = [("PGPASSWORD", "tide")];
    let look = |more: &[&str]| {
        let all = [&["classify", "--file", &file, "--db", &dsn], more].concat();
        must(&all, &password)
    };
    let found = columns(&look(&["-o", "json"])?)?;
    for (name, what) in [
        ("public.customers.email", "text email partial name"),
        ("public.customers.born", "date birth_date truncate name"),
        ("public.customers.note", "text phone partial comment"),
        ("public.letters.addressed_to", "text email partial lineage"),
        ("public.Odd.e.Mail", "text email partial name"),
    ] {
        ensure!(of(&found, name) == Some(what), "{name}: {found:?}");
    }
    ensure!(of(&found, "public.customers.code").is_none(), "{found:?}");
    ensure!(!found.iter().any(|(name, _)| name.starts_with("pg_catalog")), "{found:?}");
    let all = columns(&look(&["-o", "json", "--all", "--table", "customers"])?)?;
    ensure!(all.len() == 5 && of(&all, "public.customers.code") == Some("text - - -"), "{all:?}");

    let report: Value = serde_json::from_str(&look(&["-o", "json"])?)?;
    let functions: Vec<_> =
        report["functions"].as_array().context("no functions")?.iter().collect();
    let named = |name: &str| functions.iter().any(|one| one["function"] == name);
    ensure!(named("mail_of") && !named("code_of") && !named("one"), "{report:#}");

    // What an operator says is told as such, with what lies behind it.
    let set = |words: &[&str]| must(&[&["classify", "set", "--file", &file], words].concat(), &[]);
    set(&["public.customers.code", "api_key"])?;
    set(&["public.customers.email", "none", "--db", "app"])?;
    set(&["public.customers.born", "none", "--db", "other"])?;
    set(&["public.\"Odd\".\"e.Mail\"", "phone"])?;
    set(&["public.gone.x", "phone"])?;
    let found = columns(&look(&["-o", "json"])?)?;
    for (name, what) in [
        ("public.customers.code", "text api_key redact policy"),
        ("public.customers.email", "text - - policy"),
        ("public.customers.born", "date birth_date truncate name"),
        ("public.codes.label", "text api_key redact lineage"),
        ("public.Odd.e.Mail", "text phone partial policy"),
    ] {
        ensure!(of(&found, name) == Some(what), "{name}: {found:?}");
    }
    ensure!(of(&found, "public.letters.addressed_to").is_none(), "{found:?}");
    let table = look(&[])?;
    ensure!(table.contains("policy (else email by name)"), "{table}");
    let output = tidegate(&["classify", "--file", &file, "--db", &dsn], &password)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("`public.gone.x` is classified, and there is no such column"), "{said}");
    let listed = must(&["classify", "list", "--file", &file, "-o", "json"], &[])?;
    ensure!(listed.matches("\"column\"").count() == 5 && listed.contains("\"none\""), "{listed}");
    must(&["classify", "unset", "--file", &file, "public.customers.email", "--db", "app"], &[])?;
    let again = ["classify", "unset", "--file", &file, "public.customers.email", "--db", "app"];
    fails(&again, &[], 1, "says nothing of `public.customers.email` there")?;
    let found = columns(&look(&["-o", "json"])?)?;
    ensure!(of(&found, "public.customers.email") == Some("text email partial name"), "{found:?}");
    Ok(())
}

#[test]
fn a_database_is_named_and_believed_as_everywhere() -> Result<()> {
    let _alone = alone();
    let postgres = Postgres::with_tls()?;
    postgres.psql("app", SEED)?;
    let folder = TempFolder::fresh()?;
    let port = postgres.port();
    let file = folder.path().join("classes.toml").display().to_string();
    let root = postgres.authority().context("no authority")?.root().display().to_string();
    let table = |output: &str| output.contains("public.customers.email");
    let classify = |db: &str, more: &[&str], variables: &[(&str, &str)]| {
        must(&[&["classify", "--file", &file, "--db", db], more].concat(), variables)
    };
    // A URI, with the server verified.
    let uri =
        format!("postgres://app:tide@localhost:{port}/app?sslmode=verify-full&sslrootcert={root}");
    ensure!(table(&classify(&uri, &[], &[])?));
    // As `login add` does without a word: verified, or not at all.
    let plain = format!("host=localhost port={port} user=app dbname=app");
    let known = [("PGPASSWORD", "tide")];
    ensure!(table(&classify(&plain, &["--roots", &root], &known)?));
    let db = ["classify", "--file", &file, "--db", &plain];
    fails(&db, &known, 1, "TLS with")?;
    // A file of passwords.
    let passes = folder.path().join("pgpass");
    std::fs::write(&passes, format!("localhost:{port}:*:app:tide\n"))?;
    let passfile = passes.display().to_string();
    let by_file = [("PGPASSFILE", passfile.as_str())];
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&passes, mode)
    };
    mode(0o600)?;
    ensure!(table(&classify(&plain, &["--verify", "none"], &by_file)?));
    mode(0o644)?;
    fails(&[&db[..], &["--verify", "none"]].concat(), &by_file, 2, "chmod 600")?;
    // A socket.
    let socket = format!("host={} port={port} user=app dbname=app", postgres.data().display());
    ensure!(table(&classify(&socket, &[], &[])?));
    // What is wrong is told, with its code.
    let wrong = [("PGPASSWORD", "ebb")];
    fails(&[&db[..], &["--verify", "none"]].concat(), &wrong, 3, "password authentication failed")?;
    fails(&["classify", "--file", &file], &[], 2, "which database?")?;
    fails(&["classify", "--file", &file, "--db", "user=a sslcert=/x"], &[], 2, "`sslcert`")?;
    fails(
        &["classify", "set", "--file", &file, "a.b.c", "emial"],
        &[],
        2,
        "did you mean `email`?",
    )?;
    fails(&["classify", "set", "--file", &file, "b.c", "email"], &[], 2, "schema.table.column")?;
    let missing = format!("host=localhost port={port} user=app dbname=missing sslmode=require");
    fails(&["classify", "--file", &file, "--db", &missing], &known, 1, "does not exist")?;
    Ok(())
}

fn start() -> Result<Staging> {
    let postgres = Postgres::setup()
        .rule("host all all 127.0.0.1/32 trust")
        .rule("host all all ::1/128 trust")
        .start()?;
    postgres.psql("app", SEED)?;
    Staging::before(postgres, "")
}

/// `tidegate classify` with the agent's own settings, and a reload.
fn say(ground: &Staging, words: &[&str]) -> Result<()> {
    let config = ground.agent.settings_file().display().to_string();
    let all = [&["classify", words[0], "--config", &config], &words[1..]].concat();
    must(&all, &[])?;
    ground.agent.must(&["reload"])?;
    Ok(())
}

#[test]
fn what_an_operator_says_holds_for_clients_after_a_reload() -> Result<()> {
    let _alone = alone();
    let ground = start()?;
    let shown = |statement: &str, expected: &str| -> Result<()> {
        let shown = ground.psql(&[statement])?.trim().to_owned();
        ensure!(shown == expected, "{statement}\nshown: {shown}\nexpected: {expected}");
        Ok(())
    };
    let hidden = |statement: &str| -> Result<()> {
        let shown = ground.psql(&[statement])?.trim().to_owned();
        ensure!(!shown.contains("KESTREL") && !shown.contains("ann.tide"), "{statement}: {shown}");
        Ok(())
    };
    const CODES: [&str; 5] = [
        "SELECT code FROM customers",
        "SELECT upper(code) FROM customers",
        "SELECT label FROM codes",
        "SELECT code_of(1)",
        "COPY (SELECT code FROM customers) TO STDOUT",
    ];
    for code in CODES {
        shown(code, "KESTREL-77")?;
    }
    hidden("SELECT email FROM customers")?;

    // Said, and not yet in force.
    let config = ground.agent.settings_file().display().to_string();
    let set = ["classify", "set", "--config", &config, "public.customers.code", "api_key"];
    let told = tidegate(&set, &[])?;
    ensure!(String::from_utf8_lossy(&told.stderr).contains("`tidegate reload`"), "{told:?}");
    shown(CODES[0], "KESTREL-77")?;
    ground.agent.must(&["reload"])?;
    for code in CODES {
        hidden(code)?;
    }
    shown("SELECT id FROM customers", "1")?;

    // A part has the word of its whole; both directly and through it.
    shown("SELECT code FROM part_one", "KESTREL-78")?;
    say(&ground, &["set", "public.parts.code", "api_key", "--db", "app"])?;
    hidden("SELECT code FROM parts")?;
    hidden("SELECT code FROM part_one")?;
    say(&ground, &["set", "public.parts.code", "none", "--db", "other"])?;
    hidden("SELECT code FROM parts")?;

    // Nothing sensitive: by name, by what is made of it, by its content.
    say(&ground, &["set", "public.customers.email", "none"])?;
    for email in [
        "SELECT email FROM customers",
        "SELECT email::varchar FROM customers",
        "SELECT addressed_to FROM letters WHERE id = 1 UNION SELECT email FROM customers",
        "COPY customers (email) TO STDOUT",
        "COPY (SELECT email FROM customers) TO STDOUT",
    ] {
        match email.contains("letters") {
            // A view's column is one of its own; its content gives it away.
            true => hidden(email)?,
            false => shown(email, "ann.tide@harbour.example")?,
        }
    }
    say(&ground, &["set", "public.letters.addressed_to", "none"])?;
    shown("SELECT addressed_to FROM letters", "ann.tide@harbour.example")?;
    shown(
        "SELECT addressed_to FROM letters UNION SELECT email FROM customers",
        "ann.tide@harbour.example",
    )?;

    // A file that is wrong keeps what holds.
    let file = ground.agent.settings_file().with_file_name("classes.toml");
    let right = std::fs::read_to_string(&file)?;
    std::fs::write(&file, right.replace("api_key", "api_kee"))?;
    let refused = ground.agent.order(&["reload"])?;
    let told = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && told.contains("did you mean `api_key`?"), "{told}");
    hidden(CODES[0])?;
    std::fs::write(&file, right)?;

    // And all of it can be taken back.
    for column in ["public.customers.email", "public.letters.addressed_to", "public.customers.code"]
    {
        say(&ground, &["unset", column])?;
    }
    hidden("SELECT email FROM customers")?;
    hidden("SELECT addressed_to FROM letters")?;
    for code in CODES {
        shown(code, "KESTREL-77")?;
    }
    Ok(())
}
