//! With masks on, every driver decodes every type: columns in the clear, columns
//! that are masked by what they are, and every type masked whole. First each program
//! runs direct: what fails there is the program's fault.

use anyhow::{Context, Result, ensure};
use tidegate_tests::drivers::Driver;
use tidegate_tests::postgres::run;
use tidegate_tests::staging::Staging;

fn decodes(driver: Driver) -> Result<()> {
    let ground = Staging::start(&["leaks/seed.sql", "untouched/types.sql"], "")?;
    let said = |led: bool| -> Result<String> {
        let place = ground.place(led);
        let mut command = driver.types(&|program| place.command(program))?;
        command.env("PGHOST", "127.0.0.1").env("PGPORT", ground.postgres.port().to_string());
        command.env("PGUSER", "app").env("PGDATABASE", "app").env("PGSSLMODE", "disable");
        command.env("PGGSSENCMODE", "disable").env("TZ", "UTC");
        run(&mut command)
    };
    let direct = said(false).context("directly")?;
    let led = said(true).with_context(|| ground.agent.tail())?;
    for (way, text) in [("directly", &direct), ("with masks on", &led)] {
        ensure!(text.trim_end().ends_with("done"), "{way} it did not end: {text}");
    }
    // Each column is there both ways, what is in the clear as it is.
    let lines = |text: &str| {
        text.lines()
            .filter(|line| line.contains("kinds"))
            // An address is one, whatever its column is called.
            .filter(|line| {
                ![" ip ", " aip ", " ma ", ".ip ", ".aip ", ".ma "]
                    .iter()
                    .any(|name| line.contains(name))
            })
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let (one, other) = (lines(&direct), lines(&led));
    let differs = one.iter().zip(&other).find(|(one, other)| one != other);
    ensure!(!one.is_empty() && one == other, "what is in the clear differs: {differs:?}");
    for secret in ["jane.doe@corp.example", "536-22-8177", "4532015112830366"] {
        ensure!(direct.contains(secret), "`{secret}` is not there directly");
        ensure!(!led.contains(secret), "`{secret}` came through");
    }
    // What a telling function gives is masked in every type.
    ensure!(direct.contains("fat & cat") || direct.contains("text 1"), "{direct}");
    let told = |text: &str| {
        text.lines().filter(|line| line.contains("told") && line.contains("text 1")).count()
    };
    ensure!(told(&direct) > 0 && told(&led) == 0, "what a function tells is not masked");
    Ok(())
}

#[test]
fn psycopg_decodes_every_type() -> Result<()> {
    decodes(Driver::PsycopgSync)
}

#[test]
fn asyncpg_decodes_every_type() -> Result<()> {
    decodes(Driver::Asyncpg)
}

#[test]
fn sqlalchemy_decodes_every_type() -> Result<()> {
    decodes(Driver::Sqlalchemy)
}

#[test]
fn node_postgres_decodes_every_type() -> Result<()> {
    decodes(Driver::NodePostgres)
}

#[test]
fn postgres_js_decodes_every_type() -> Result<()> {
    decodes(Driver::PostgresJs)
}

#[test]
fn pgjdbc_decodes_every_type() -> Result<()> {
    decodes(Driver::Jdbc)
}

#[test]
fn tokio_postgres_decodes_every_type() -> Result<()> {
    decodes(Driver::TokioPostgres)
}

#[test]
fn sqlx_decodes_every_type() -> Result<()> {
    decodes(Driver::Sqlx)
}
