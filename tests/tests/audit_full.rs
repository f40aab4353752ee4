//! A log on a full disk: strict destinations refuse in words, permissive ones go
//! on and are counted, both is told, and with room again all goes on by itself.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::scene::alone;
use tidegate_tests::wait::until_true;

struct Ground {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    strict: Postgres,
    permissive: Postgres,
    folder: TempFolder,
    disk: PathBuf,
}

impl Ground {
    fn start() -> Result<Self> {
        let server = || Postgres::setup().auth("trust").start();
        let (strict, permissive) = (server()?, server()?);
        for server in [&strict, &permissive] {
            server.admin("app", "CREATE TABLE done (n int)")?;
        }
        let folder = TempFolder::fresh()?;
        let disk = folder.disk(24)?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let to = [strict.port().to_string(), format!("{},permissive", permissive.port())];
        let plan = Plan::postgres(to)
            .setting("audit.text = \"full\"")
            .setting("audit.segment_size = \"4MiB\"");
        let agent = Agent::start(&root, Plan { log: Some(disk.join("log")), ..plan })?;
        Ok(Self { agent, work, _root: root, strict, permissive, folder, disk })
    }

    fn psql(&self, server: &Postgres, arguments: &[&str]) -> Result<Output> {
        let mut psql: Command = Place::new().cgroup(&self.work).command(program("psql")?)?;
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
        Ok(psql.args(arguments).arg(server.dsn("app")).output()?)
    }

    fn open(&self, server: &Postgres) -> Result<Open> {
        // Errors come where the answers come.
        let line = "exec 2>&1; exec \"$0\" -XAtq -v VERBOSITY=verbose \"$1\"";
        let mut shell: Command = Place::new().cgroup(&self.work).command("/bin/sh")?;
        shell.args(["-c", line]).arg(program("psql")?).arg(server.dsn("app"));
        let mut psql = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = psql.stdin.take().context("no stdin")?;
        let lines = BufReader::new(psql.stdout.take().context("no stdout")?).lines();
        let mut open = Open { psql, stdin, lines };
        let said = open.ask("SELECT 'hello'")?;
        ensure!(said == "hello\n", "{said}");
        Ok(open)
    }

    fn must(&self, server: &Postgres, arguments: &[&str]) -> Result<()> {
        let output = self.psql(server, arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}{}", self.agent.tail());
        Ok(())
    }

    fn count(server: &Postgres) -> Result<u64> {
        Ok(server.admin("app", "SELECT count(*) FROM done")?.trim().parse()?)
    }

    /// Takes what room there is.
    fn fill(&self) -> Result<()> {
        let mut ballast =
            std::fs::File::options().create(true).append(true).open(self.disk.join("ballast"))?;
        for block in [1 << 20, 4096] {
            let zeros = vec![0; block];
            while ballast.write_all(&zeros).is_ok() {}
        }
        Ok(())
    }

    /// So many statements that both segments are full of them.
    fn flood(&self) -> Result<String> {
        let script = self.folder.path().join("flood.sql");
        let word = "x".repeat(12_000);
        let text: String = (0..1_000).map(|n| format!("SELECT '{word}', {n};\n")).collect();
        std::fs::write(&script, text)?;
        Ok(script.display().to_string())
    }
}

/// A session that stays open.
struct Open {
    psql: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Open {
    /// What it says to one statement, errors among it.
    fn ask(&mut self, statement: &str) -> Result<String> {
        writeln!(self.stdin, "{statement};\n\\echo done with it")?;
        let mut said = String::new();
        for line in &mut self.lines {
            match line? {
                line if line == "done with it" => return Ok(said),
                line => said = format!("{said}{line}\n"),
            }
        }
        anyhow::bail!("psql has ended: {said}")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

#[test]
fn a_full_disk_refuses_or_counts_and_is_told_and_is_over_by_itself() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start()?;
    let insert = ["-c", "INSERT INTO done VALUES (1)"];
    ground.must(&ground.strict, &insert)?;
    ground.must(&ground.permissive, &insert)?;
    let mut open = ground.open(&ground.strict)?;
    ground.fill()?;
    // What is reserved already still takes records. Nobody is refused here.
    ground.must(&ground.permissive, &["-o", "/dev/null", "-f", &ground.flood()?])?;

    // Strict: refused, in words that say why; it has not run. The session stays.
    let said = open.ask("INSERT INTO done VALUES (2)")?;
    for word in ["42501", "this statement is not run", "No space left", "HINT:", "free space"] {
        ensure!(said.contains(word), "no `{word}` in {said}");
    }
    let refused = ground.psql(&ground.strict, &insert)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success(), "a session without a record was taken");
    for word in ["takes no connection", "No space left", "HINT:", "free space"] {
        ensure!(said.contains(word), "no `{word}` in {said}");
    }
    ensure!(Ground::count(&ground.strict)? == 1, "it was run");
    // Permissive: it goes on.
    ground.must(&ground.permissive, &insert)?;
    ensure!(Ground::count(&ground.permissive)? == 2);

    // Both is told: in the status, and in the agent's own log.
    let status = ground.agent.wait_status("the trouble", Duration::from_secs(10), |status| {
        status.log.trouble.is_some() && status.log.lost > 0
    })?;
    ensure!(status.verdict == "degraded", "{status:?}");
    let trouble = status.log.trouble.context("no trouble")?;
    ensure!(trouble.contains("No space left"), "{trouble}");
    ensure!(status.notes.iter().any(|note| note.contains("No space left")), "{:?}", status.notes);
    let page = ground.agent.order(&["status"])?.stdout;
    let page = String::from_utf8_lossy(&page).into_owned();
    ensure!(page.contains("No space left") && page.contains("degraded"), "{page}");
    let own = ground.agent.log();
    ensure!(own.contains("statements to strict destinations are refused"), "{own}");
    // It is counted on.
    let before = status.log.lost;
    ground.must(&ground.permissive, &insert)?;
    ground.agent.wait_status("more to be lost", Duration::from_secs(10), |status| {
        status.log.lost > before
    })?;

    // What was recorded is found, though no index can be written.
    ensure!(!ground.agent.search(&["done", "--db", "app"])?.is_empty());
    // Small records that still fit into the last segment don't make it whole.
    ensure!(
        !ground.agent.log().contains("the log can be written again"),
        "{}",
        ground.agent.tail()
    );

    // How the agent stands is told in the log once it has lasted.
    std::thread::sleep(Duration::from_secs(4));

    // With room again nothing has to be done.
    std::fs::remove_file(ground.disk.join("ballast"))?;
    until_true("strict to go on", Duration::from_secs(10), || {
        ground.psql(&ground.strict, &insert).is_ok_and(|output| output.status.success())
    })
    .with_context(|| ground.agent.tail())?;
    let said = open.ask("INSERT INTO done VALUES (3)")?;
    ensure!(said.is_empty(), "{said}");
    ensure!(Ground::count(&ground.strict)? == 3);
    let status = ground.agent.wait_status("the end of it", Duration::from_secs(15), |status| {
        status.log.trouble.is_none()
    })?;
    ensure!(ground.agent.log().contains("the log can be written again"), "{}", ground.agent.tail());
    // The log itself tells how much it misses.
    let mut told = 0;
    let mut failed = None;
    until_true("the loss to be recorded", Duration::from_secs(30), || {
        match ground.agent.search(&["--kind", "lost"]) {
            Ok(hits) => {
                told = hits.iter().filter_map(|hit| hit["facts"]["records"].as_u64()).sum();
            }
            Err(error) => failed = Some(error),
        }
        told >= status.log.lost
    })
    .with_context(|| format!("{told} of {} {failed:?}{}", status.log.lost, ground.agent.tail()))?;
    ensure!(told == status.log.lost, "{told} are told of, {} are missing", status.log.lost);
    // … and it is whole: what was signed while nothing could be written, too.
    until_true("all to be signed", Duration::from_secs(10), || {
        ground.agent.verified(&[]).is_ok_and(|it| it.findings.is_empty() && it.tail <= 3)
    })
    .with_context(|| format!("{:?}{}", ground.agent.verified(&[]), ground.agent.tail()))?;
    // … and that it was so, and is over.
    until_true("the end of the trouble to be recorded", Duration::from_secs(10), || {
        let hits = ground.agent.search(&["--kind", "agent", "--oldest"]).unwrap_or_default();
        let at = |what: &str| hits.iter().position(|hit| hit["facts"]["what"] == what);
        let why = |at: usize| hits[at]["facts"]["why"].as_str().unwrap_or_default();
        at("degraded").is_some_and(|from| {
            why(from).contains("No space left") && at("whole").is_some_and(|end| end > from)
        })
    })
    .with_context(|| format!("{:?}", ground.agent.search(&["--kind", "agent"])))?;
    let hits = ground.agent.search(&["done", "--db", "app"])?;
    ensure!(hits.len() >= 4, "{hits:?}");
    Ok(())
}
