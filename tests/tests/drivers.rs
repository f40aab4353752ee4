//! Drivers as applications have them, directly and through the agent: what
//! their programs print is the same.

use anyhow::{Result, ensure};
use tidegate_tests::certificates::Key;
use tidegate_tests::diff::{Leg, Stage};
use tidegate_tests::drivers::Driver;
use tidegate_tests::postgres::Postgres;

/// With a password, by SCRAM, in the clear, over TLS, and over TLS that the
/// client verifies.
fn same(driver: Driver) -> Result<()> {
    let stage = Stage::new(Postgres::setup().tls(Key::P256).auth("scram-sha-256").start()?)?;
    for leg in [Leg::Plain, Leg::Tls, Leg::Verified] {
        stage.compare(&format!("{driver:?}"), leg, |way| {
            let said = driver.run(way)?;
            // That the program did its work, and the leg is what it should be.
            if driver != Driver::Sqlalchemy && driver != Driver::PsycopgAsync {
                ensure!(said.contains("refused"), "{said}");
            }
            if driver != Driver::Sqlalchemy {
                let tls = said.lines().find(|line| line.contains("tls")).unwrap_or_default();
                let on = tls.ends_with("True") || tls.ends_with("true") || tls.ends_with(" t");
                let on = on || tls.contains("ssl: true") || said.contains("ssl: true");
                ensure!(on == (way.leg != Leg::Plain), "{said}");
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn psycopg_sync() -> Result<()> {
    same(Driver::PsycopgSync)
}

#[test]
fn psycopg_async() -> Result<()> {
    same(Driver::PsycopgAsync)
}

#[test]
fn asyncpg() -> Result<()> {
    same(Driver::Asyncpg)
}

#[test]
fn sqlalchemy() -> Result<()> {
    same(Driver::Sqlalchemy)
}

#[test]
fn node_postgres() -> Result<()> {
    same(Driver::NodePostgres)
}

#[test]
fn postgres_js() -> Result<()> {
    same(Driver::PostgresJs)
}

#[test]
fn pgjdbc() -> Result<()> {
    same(Driver::Jdbc)
}

#[test]
fn tokio_postgres() -> Result<()> {
    same(Driver::TokioPostgres)
}

#[test]
fn sqlx() -> Result<()> {
    same(Driver::Sqlx)
}
