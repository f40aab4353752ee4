//! Ports below the ephemeral range, so that no client's own port is mistaken
//! for one of them, and none that another database is known by, so that what
//! stands there is read as PostgreSQL's.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

const FIRST: u16 = 20_000;
const COUNT: u16 = 7_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on, and that no other caller is given.
pub fn fresh() -> Result<u16> {
    let seed = (std::process::id() % 1_000) as u16 * 11;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (seed + step) % COUNT;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
        {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}

#[test]
fn none_is_another_databases() {
    let all: Vec<u16> = (FIRST..FIRST + COUNT).collect();
    let settings = tidegate::config::parse(&format!("protect = {all:?}"), "t.toml").unwrap();
    assert_eq!(settings.protect.len(), all.len());
    for protected in &settings.protect {
        let protocol = protected.service.protocol;
        assert_eq!(protocol, tidegate::model::Protocol::Postgres, "{}", protected.name);
    }
}
