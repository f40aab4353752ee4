//! Certificates that change while sessions live: the host's CA, and the server's
//! own.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, binary};
use tidegate_tests::certificates::Key;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::diff::plan;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, run};
use tidegate_tests::scene::alone;
use tidegate_tests::wait;
use tidegate_tests::wire::{Connection, message, tls};

struct House {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

impl House {
    fn new() -> Result<Self> {
        let postgres = Postgres::setup().tls(Key::P256).auth("trust").start()?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, plan(&postgres, postgres.port()))?;
        Ok(Self { agent, work, _root: root, postgres, folder: TempFolder::fresh()? })
    }

    /// A session of a client that believes in these roots, and in this name alone.
    fn session(&self, roots: &std::path::Path, name: &str) -> Result<Connection> {
        let mut dialer = Dialer::start(&Place::new().cgroup(&self.work))?;
        let to = (std::net::Ipv4Addr::LOCALHOST, self.postgres.port()).into();
        let mut one = Connection::new(dialer.open(to)?, Arc::default())?;
        ensure!(one.ask_for_tls(&tls::Terms::full(roots, name)?)?, "no TLS");
        one.send(&message::startup(message::PROTOCOL, &[("user", "app"), ("database", "app")]))?;
        one.until(b'Z')?;
        Ok(one)
    }

    fn ca(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(binary()?);
        command.arg("ca").args(words).arg("--config").arg(self.agent.settings_file());
        run(command.env("NO_COLOR", "1"))
    }
}

fn alive(one: &mut Connection, n: u32) -> Result<()> {
    ensure!(one.value(&format!("SELECT {n} + 1"))? == (n + 1).to_string());
    Ok(())
}

/// The order that `ca rotate` says: give the new one out, then reload. Nobody is
/// turned away at any point, and no session ends.
#[test]
fn a_new_ca_breaks_no_session_and_turns_nobody_away() -> Result<()> {
    let _alone = alone();
    let house = House::new()?;
    let old = house.folder.path().join("old.crt");
    std::fs::copy(house.agent.authority(), &old)?;
    let mut before = house.session(&old, "localhost")?;
    alive(&mut before, 1)?;

    house.ca(&["rotate", "--unconstrained"])?;
    let out = house.folder.path().join("trust");
    house.ca(&["trust", "--out", &out.display().to_string()])?;
    let (given, new) = (out.join("tidegate.crt"), house.agent.authority());
    // The agent signs with the old one yet: those who have both, or the old one
    // alone, are content; who has the new one alone was too early.
    for roots in [&given, &old] {
        house.session(roots, "localhost")?.leave()?;
    }
    ensure!(house.session(&new, "localhost").is_err(), "the new CA signs before the reload");
    house.agent.must(&["reload"])?;
    for roots in [&given, &new] {
        house.session(roots, "localhost").with_context(|| house.agent.tail())?.leave()?;
    }
    ensure!(house.session(&old, "localhost").is_err(), "the old CA still signs");
    alive(&mut before, 2)?;

    // A second time; the first is trusted until it expires.
    let mut between = house.session(&given, "localhost")?;
    house.ca(&["rotate", "--unconstrained"])?;
    house.ca(&["trust", "--out", &out.display().to_string()])?;
    house.agent.must(&["reload"])?;
    let count = std::fs::read_to_string(&given)?.matches("BEGIN CERTIFICATE").count();
    ensure!(count == 3, "{count} CAs are given out");
    house.session(&given, "localhost")?.leave()?;
    for (one, n) in [(&mut before, 3), (&mut between, 4)] {
        alive(one, n)?;
    }
    before.leave()?;
    between.leave()
}

/// The CA's files are half written, or gone: the running agent goes on as before.
#[test]
fn a_ca_that_cannot_be_used_replaces_none() -> Result<()> {
    let _alone = alone();
    let house = House::new()?;
    let roots = house.folder.path().join("roots.crt");
    std::fs::copy(house.agent.authority(), &roots)?;
    let key = house.agent.authority().with_file_name("ca.key");
    let whole = std::fs::read(&key)?;
    std::fs::write(&key, &whole[..whole.len() / 2])?;
    let output = house.agent.order(&["reload"])?;
    ensure!(!output.status.success(), "a broken key was taken");
    house.session(&roots, "localhost").with_context(|| house.agent.tail())?.leave()
}

/// The server gets a certificate of other names: the next client is shown those,
/// and a name that it bears no longer is no longer vouched for.
#[test]
fn the_servers_own_certificate_is_followed() -> Result<()> {
    let _alone = alone();
    let house = House::new()?;
    let roots = house.agent.authority();
    let mut before = house.session(&roots, "db.tidegate.test")?;
    ensure!(house.session(&roots, "renamed.tidegate.test").is_err(), "a name that it hasn't");
    let data = house.postgres.data();
    let authority = house.postgres.authority().context("no authority")?;
    let owner = std::fs::metadata(data.join("server.key"))?;
    authority.server(&data, &["renamed.tidegate.test", "127.0.0.1"], Key::Rsa)?;
    use std::os::unix::fs::MetadataExt as _;
    std::os::unix::fs::chown(data.join("server.key"), Some(owner.uid()), Some(owner.gid()))?;
    house.postgres.admin("app", "SELECT pg_reload_conf()")?;
    wait::until("the new names", Duration::from_secs(20), || {
        Ok(house.session(&roots, "renamed.tidegate.test").ok())
    })
    .with_context(|| house.agent.tail())?
    .leave()?;
    ensure!(house.session(&roots, "db.tidegate.test").is_err(), "the old name is still shown");
    alive(&mut before, 1)?;
    before.leave()
}
