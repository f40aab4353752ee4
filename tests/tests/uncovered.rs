//! Who isn't read: clients that somebody has named, and clients that turn our
//! certificate down. Both are told of, each time.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Observer, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::diff::plan;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::scene::alone;

struct House {
    observer: Observer,
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl House {
    /// `settings` are added to the usual ones.
    fn new(settings: impl FnOnce(&Postgres, &Cgroup) -> Result<String>) -> Result<Self> {
        let postgres = Postgres::with_tls()?;
        postgres.admin("app", "CREATE TABLE customers (id int, email text)")?;
        postgres.admin("app", "INSERT INTO customers VALUES (1, 'ann@shop.example')")?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let plan = plan(&postgres, postgres.port());
        let plan: Plan = plan.policy("enforce").setting(&settings(&postgres, &work)?);
        let agent = Agent::start(&root, plan)?;
        let observer = agent.observe()?;
        Ok(Self { observer, agent, work, _root: root, postgres })
    }

    fn psql(&self, psql: &std::path::Path, more: &str) -> Result<Command> {
        let mut command = Place::new().cgroup(&self.work).command(psql)?;
        command.args(["-XAtqc", "SELECT email FROM customers"]).env("HOME", "/nonexistent");
        command.env("PGPASSWORD", "tide").arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=app dbname=app gssencmode=disable {more}",
            self.postgres.port()
        ));
        Ok(command)
    }

    /// What is told of the connection's end, as JSON.
    fn closed(&self, pid: u32) -> Result<Value> {
        self.observer.wait_of("closed", pid)?;
        let lines = self.agent.must(&["observe", "-o", "jsonl"])?;
        for line in lines.lines() {
            let event: Value = serde_json::from_str(line)?;
            let tgid = event.pointer("/flow/process/key/tgid").and_then(Value::as_u64);
            if event["event"] == "closed" && tgid == Some(u64::from(pid)) {
                return Ok(event);
            }
        }
        anyhow::bail!("process {pid} is not told of any more")
    }

    fn carried(&self, pid: u32) -> Result<Value> {
        let event = self.closed(pid)?;
        event.pointer("/closing/carried").cloned().with_context(|| event.to_string())
    }

    /// Started, ended, and what is told of it.
    fn told(&self, mut command: Command) -> Result<(Output, Value)> {
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = command.spawn()?;
        let pid = child.id();
        let output = child.wait_with_output()?;
        Ok((output, self.carried(pid)?))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The server's own authority is all that such a client believes.
fn pins(house: &House) -> Result<String> {
    let own = house.postgres.authority().context("no authority")?.root();
    Ok(format!("sslmode=verify-full sslrootcert={}", own.display()))
}

#[test]
fn who_pins_a_root_is_known_by_its_alert() -> Result<()> {
    let _alone = alone();
    let house = House::new(|_, _| Ok(String::new()))?;
    let (output, carried) = house.told(house.psql(&program("psql")?, &pins(&house)?)?)?;
    ensure!(text(&output.stderr).contains("certificate verify failed"), "{output:?}");
    ensure!(carried["rejected"] == "UnknownCA" && carried["leaf"] == "signed", "{carried}");
    ensure!(carried["passthrough"] == false && carried["protocol"] == "postgres", "{carried}");
    // It is in the log too, for who looks for such clients later.
    let found = || -> Result<bool> {
        let hits = house.agent.search(&["--kind", "session"])?;
        Ok(hits.iter().any(|hit| hit.to_string().contains("UnknownCA")))
    };
    tidegate_tests::wait::until("its record", Duration::from_secs(10), || {
        Ok(found()?.then_some(()))
    })?;
    // Who believes in it has turned nothing down.
    let trusting = format!("sslmode=verify-full sslrootcert={}", house.agent.authority().display());
    let (output, carried) = house.told(house.psql(&program("psql")?, &trusting)?)?;
    ensure!(output.status.success() && carried["rejected"].is_null(), "{output:?} {carried}");
    Ok(())
}

/// A client is named by its program and its destination; nobody else is let by.
#[test]
fn who_is_named_is_carried_unread_and_told_of_each_time() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let named = folder.path().join("reporter");
    std::fs::copy(program("psql")?, &named)?;
    let house = House::new(|postgres, _| {
        let port = postgres.port();
        Ok(format!("[[passthrough]]\nexe = {:?}\nto = {port}", named.display().to_string()))
    })?;
    // It sees the server's own certificate, and what the server says in clear.
    for _ in 0..2 {
        let (output, carried) = house.told(house.psql(&named, &pins(&house)?)?)?;
        ensure!(text(&output.stdout) == "ann@shop.example", "{output:?}{}", house.agent.tail());
        ensure!(carried["passthrough"] == true && carried["protocol"] == "unread", "{carried}");
        ensure!(carried["client_tls"].is_null() && carried["role"].is_null(), "{carried}");
    }
    // Another program of the same content is read.
    let require = house.psql(&program("psql")?, "sslmode=require")?;
    let (output, carried) = house.told(require)?;
    ensure!(carried["passthrough"] == false && carried["role"] == "app", "{carried}");
    ensure!(output.status.success() && text(&output.stdout) != "ann@shop.example", "{output:?}");

    // An AI agent is read, whatever is said of the program that it runs.
    let agent = folder.path().join("claude");
    std::fs::copy("/bin/bash", &agent)?;
    let inner = house.psql(&named, "sslmode=require")?;
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let line: Vec<String> =
        words.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>();
    let mut command = Place::new().cgroup(&house.work).command(&agent)?;
    command.args(["-c", &format!("{} & echo $! >&2; wait $!", line.join(" "))]);
    let output = command.env("PGPASSWORD", "tide").env("HOME", "/nonexistent").output()?;
    let pid = text(&output.stderr).parse().with_context(|| format!("{output:?}"))?;
    let event = house.closed(pid)?;
    ensure!(event["flow"]["actor"]["kind"] == "agent", "{event}");
    let carried = &event["closing"]["carried"];
    ensure!(carried["passthrough"] == false && carried["role"] == "app", "{carried}");
    ensure!(output.status.success() && !text(&output.stdout).contains("ann@"), "{output:?}");

    // The log says of each that it isn't covered.
    tidegate_tests::wait::until("both records", Duration::from_secs(10), || {
        let hits = house.agent.search(&["--kind", "session"])?;
        let unread = |hit: &&Value| hit.to_string().contains("\"passthrough\":true");
        Ok((hits.iter().filter(unread).count() == 2).then_some(()))
    })?;
    Ok(())
}

/// By user and by cgroup, and taken back by a reload.
#[test]
fn a_user_and_a_cgroup_can_be_named_and_a_reload_takes_it_back() -> Result<()> {
    let _alone = alone();
    let house = House::new(|_, work| {
        let name = work.name()?;
        Ok(format!("[[passthrough]]\nuser = 4242\ncgroup = \"{name}\""))
    })?;
    let psql = program("psql")?;
    let as_user = |uid: u32| -> Result<bool> {
        let mut command = Place::new().cgroup(&house.work).user(uid, uid).command(&psql)?;
        let usual = house.psql(&psql, "sslmode=require")?;
        command.args(usual.get_args()).env("PGPASSWORD", "tide").env("HOME", "/nonexistent");
        let (output, carried) = house.told(command)?;
        ensure!(output.status.success(), "{output:?}{}", house.agent.tail());
        let clear = text(&output.stdout) == "ann@shop.example";
        ensure!(carried["passthrough"] == clear, "{carried}: {output:?}");
        Ok(clear)
    };
    ensure!(as_user(4242)?, "who is named is read");
    ensure!(!as_user(4343)?, "another user is not read");
    let file = house.agent.settings_file();
    let settings = std::fs::read_to_string(&file)?.replace("user = 4242", "user = 4343");
    std::fs::write(&file, settings)?;
    house.agent.must(&["reload"])?;
    ensure!(!as_user(4242)?, "what was taken back still holds");
    ensure!(as_user(4343)?, "who is named now is read");
    Ok(())
}
