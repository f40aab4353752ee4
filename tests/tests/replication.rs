//! Replication shows everything at once, and no mask fits into it: it passes to
//! who may see all in the clear, and to nobody else. It is recorded as what it is.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::Agent;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::diff::{plan, to_the_end};
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::scene::alone;
use tidegate_tests::wire::{Connection, message};

const SECRET: &str = "ann.of.the.tide@shop.example";

struct House {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

impl House {
    /// Under the default policies, or under these alone.
    fn new(own: Option<&str>) -> Result<Self> {
        let settings = ["wal_level=logical", "max_wal_senders=8", "max_replication_slots=8"];
        let setup = Postgres::setup().auth("trust");
        let setup = settings.into_iter().fold(setup, |setup, line| setup.setting(line));
        let postgres = setup.start()?;
        for sql in [
            "CREATE TABLE customers (id int PRIMARY KEY, email text)",
            "SELECT pg_create_logical_replication_slot('tide', 'test_decoding')",
            "SELECT pg_create_physical_replication_slot('wal', true)",
            &format!("INSERT INTO customers SELECT n, '{SECRET}' FROM generate_series(1, 50) n"),
            "CHECKPOINT",
        ] {
            postgres.admin("app", sql)?;
        }
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let mut plan = plan(&postgres, postgres.port()).policy("enforce");
        if own.is_some() {
            plan.settings.insert_str(0, "policy.bare = true\n");
        }
        let agent = Agent::start(&root, plan)?;
        if let Some(own) = own {
            std::fs::write(agent.policies().join("own.cedar"), own)?;
            agent.must(&["reload"])?;
        }
        Ok(Self { agent, work, _root: root, postgres, folder: TempFolder::fresh()? })
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Result<Output> {
        let mut command: Command = Place::new().cgroup(&self.work).command(program(name)?)?;
        command.args(arguments).arg("-d").arg(format!(
            "host=127.0.0.1 port={} user=app sslmode=disable gssencmode=disable",
            self.postgres.port()
        ));
        command.env("HOME", "/nonexistent").stdin(Stdio::null());
        to_the_end(&mut command, Duration::from_secs(60))
    }

    /// The log's stream asked for at once, by who asks nothing before; the error
    /// that it gets, and what the session answers behind that.
    fn stream(&self) -> Result<(String, String)> {
        let mut dialer = Dialer::start(&Place::new().cgroup(&self.work))?;
        let to = (std::net::Ipv4Addr::LOCALHOST, self.postgres.port()).into();
        let mut one = Connection::new(dialer.open(to)?, Arc::default())?;
        let parameters = [("user", "app"), ("replication", "true")];
        one.send(&message::startup(message::PROTOCOL, &parameters))?;
        one.until(b'Z')?;
        let sql = "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'wal'";
        let from = self.postgres.admin("app", sql)?;
        let start = format!("START_REPLICATION SLOT wal PHYSICAL {}", from.trim());
        one.send(&message::query(&start))?;
        loop {
            let message = one.receive()?.context("it ended without a word")?;
            if let Some(said) = (message.kind == b'E').then(|| message.field(b'M')).flatten() {
                let code = message.field(b'C').unwrap_or_default();
                ensure!(code == "42501", "{code}: {said}");
                one.until(b'Z')?;
                let after = one.value("SHOW wal_block_size")?;
                return Ok((said + &message.field(b'D').unwrap_or_default(), after));
            }
            let secret = SECRET.as_bytes();
            let shown = message.body.windows(secret.len()).any(|window| window == secret);
            ensure!(!shown, "the stream shows what is masked elsewhere");
        }
    }

    /// Each way in which a server replicates, and all that came of it.
    fn ways(&self) -> Result<Vec<Came>> {
        let end = self.postgres.admin("app", "SELECT pg_current_wal_lsn()")?.trim().to_owned();
        self.postgres.admin("app", "SELECT pg_logical_emit_message(false, 'end', '')")?;
        let mut came = Vec::new();
        // Into the database that the slot is of.
        let mut command: Command =
            Place::new().cgroup(&self.work).command(program("pg_recvlogical")?)?;
        command.args(["--start", "-n", "-f", "-", "--slot=tide", "--endpos", &end, "-d"]);
        command.arg(format!(
            "host=127.0.0.1 port={} user=app dbname=app sslmode=disable gssencmode=disable",
            self.postgres.port()
        ));
        let output = to_the_end(&mut command, Duration::from_secs(60))?;
        came.push(Came::of("logical", &output, output.stdout.clone()));

        let output =
            self.tool("pg_basebackup", &["-D", "-", "-F", "t", "-X", "fetch", "-c", "fast"])?;
        came.push(Came::of("a base backup", &output, output.stdout.clone()));

        let folder = self.folder.path().join("wal");
        std::fs::create_dir(&folder)?;
        let at = folder.display().to_string();
        let output = self.tool(
            "pg_receivewal",
            &["-n", "--no-loop", "--slot=wal", "-D", &at, "--endpos", &end],
        )?;
        let mut log = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            log.extend(std::fs::read(entry?.path())?);
        }
        std::fs::remove_dir_all(&folder)?;
        came.push(Came::of("the log itself", &output, log));
        Ok(came)
    }
}

struct Came {
    way: &'static str,
    /// To its end.
    whole: bool,
    shows: bool,
    said: String,
}

impl Came {
    fn of(way: &'static str, output: &Output, bytes: Vec<u8>) -> Self {
        let shows = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { way, whole: output.status.success(), shows, said }
    }
}

#[test]
fn replication_is_for_who_may_see_everything() -> Result<()> {
    let _alone = alone();
    let blind = "@id(\"own/blind\")\npermit (principal, action, resource)\n\
                 unless { action == Action::\"reveal\" };\n";
    for (own, because) in [(None, "default/unknown"), (Some(blind), "cannot be masked")] {
        let house = House::new(own)?;
        for Came { way, whole, shows, said } in house.ways()? {
            ensure!(!shows, "{way} shows what is masked elsewhere: {said}{}", house.agent.tail());
            ensure!(!whole, "{way} is not refused: {said}");
            // By the first word, and not by an answer that is of no use.
            let asked = said.contains("\"IDENTIFY_SYSTEM\"") && !said.contains("***");
            ensure!(asked && said.contains(because), "{way}: {said}{}", house.agent.tail());
        }
        let (said, after) = house.stream()?;
        ensure!(said.contains(because), "the stream: {said}{}", house.agent.tail());
        ensure!(after == "8192", "what isn't a stream is answered with {after}");
    }
    let all = "@id(\"own/all\")\npermit (principal, action, resource);\n";
    let house = House::new(Some(all))?;
    for Came { way, whole, shows, said } in house.ways()? {
        ensure!(whole && shows, "{way} doesn't pass: {said}{}", house.agent.tail());
    }
    let events = house.agent.must(&["observe", "-o", "jsonl"])?;
    let told = events.lines().filter(|line| line.contains("\"replication\":true")).count();
    ensure!(told >= 3, "{told} connections are told of as replication: {events}");
    Ok(())
}
