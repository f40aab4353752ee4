//! PostgreSQL's protocol, said directly and through the agent: what comes back
//! is the same, byte by byte.

#[path = "postgres_diff/bulk.rs"]
mod bulk;
#[path = "postgres_diff/ends.rs"]
mod ends;
#[path = "postgres_diff/extended.rs"]
mod extended;
#[path = "postgres_diff/login.rs"]
mod login;
#[path = "postgres_diff/newer.rs"]
mod newer;
#[path = "postgres_diff/pools.rs"]
mod pools;
#[path = "postgres_diff/simple.rs"]
mod simple;
#[path = "postgres_diff/starts.rs"]
mod starts;
#[path = "postgres_diff/tools.rs"]
mod tools;

use anyhow::Result;
use tidegate_tests::certificates::Key;
use tidegate_tests::diff::{Leg, Stage, Way};
use tidegate_tests::postgres::{Postgres, Setup};

/// A server with TLS that lets everybody in: the scenarios are about what
/// comes after.
fn open_house() -> Setup {
    Postgres::setup().tls(Key::P256).auth("trust")
}

type Scenario = fn(&mut Way<'_>) -> Result<()>;

/// Each scenario on both legs.
fn scenarios(stage: &Stage, all: &[(&str, Scenario)]) -> Result<()> {
    for (name, scenario) in all {
        for leg in Leg::BOTH {
            stage.compare(name, leg, scenario)?;
        }
    }
    Ok(())
}
