//! `durability = "power"` on a disk that is slow: what is to wait for it does, together,
//! and nothing else does.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;

/// How long the disk takes for a segment.
const SLOW: Duration = Duration::from_millis(800);
/// What is let through without it takes less, also on a busy machine.
const QUICK: Duration = Duration::from_millis(600);

/// In front of the C library's: the agent's segments lie on a slow disk.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 5 && memcmp(path + length - 5, ".live", 5) == 0) {
        struct timespec slow = { 0, 800 * 1000 * 1000 };
        nanosleep(&slow, 0);
    }
    return syscall(SYS_fdatasync, fd);
}
"#;

struct Ground {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
    _folder: TempFolder,
}

/// A session that stays open.
struct Open {
    psql: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Ground {
    /// With one worker, which all sessions share.
    fn start(durability: &str) -> Result<Self> {
        let postgres = Postgres::setup().auth("trust").start()?;
        postgres.admin("app", "CREATE TABLE done (n int)")?;
        let folder = TempFolder::fresh()?;
        let (source, shim) = (folder.path().join("slow.c"), folder.path().join("slow.so"));
        std::fs::write(&source, SHIM)?;
        let mut cc = Command::new("cc");
        run(cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(&source))?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let preload: (String, PathBuf) = ("LD_PRELOAD".into(), shim);
        let plan = Plan {
            variables: vec![preload],
            ..Plan::postgres([postgres.port()])
                .setting("enforcer.workers = 1")
                .setting(&format!("audit.durability = \"{durability}\""))
        };
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, _root: root, postgres, _folder: folder })
    }

    fn open(&self) -> Result<Open> {
        let mut psql = Place::new().cgroup(&self.work).command(program("psql")?)?;
        psql.args(["-XAtq"]).arg(format!("{} sslmode=disable", self.postgres.dsn("app")));
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = psql.stdin.take().context("no stdin")?;
        let lines = BufReader::new(psql.stdout.take().context("no stdout")?).lines();
        Ok(Open { psql, stdin, lines })
    }

    fn recorded(&self, word: &str) -> Result<usize> {
        let records = self.agent.exported("1h")?;
        let says = |record: &&Value| {
            record.pointer("/statement/text").is_some_and(|text| text.to_string().contains(word))
        };
        Ok(records.iter().filter(says).count())
    }
}

impl Open {
    /// How long a statement took.
    fn ask(&mut self, statement: &str) -> Result<Duration> {
        let began = Instant::now();
        writeln!(self.stdin, "{statement};\n\\echo done with it")?;
        for line in &mut self.lines {
            if line? == "done with it" {
                return Ok(began.elapsed());
            }
        }
        anyhow::bail!("psql has ended")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

#[test]
fn what_changes_something_waits_for_the_disk_and_the_other_sessions_go_on() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start("power-for-writes")?;
    let (mut writer, mut reader) = (ground.open()?, ground.open()?);
    reader.ask("SELECT 'first'")?;
    let over = AtomicBool::new(false);
    let (writes, reads) = std::thread::scope(|scope| -> Result<_> {
        let writes = scope.spawn(|| -> Result<Vec<Duration>> {
            let all = (0..4).map(|n| writer.ask(&format!("INSERT INTO done VALUES ({n})")));
            let all = all.collect();
            over.store(true, Ordering::Relaxed);
            all
        });
        let mut reads = Vec::new();
        while !over.load(Ordering::Relaxed) {
            reads.push(reader.ask("SELECT 'meanwhile'")?);
        }
        Ok((writes.join().expect("no panic")?, reads))
    })?;
    ensure!(writes.iter().all(|took| *took >= SLOW), "they didn't wait: {writes:?}");
    let slow: Vec<_> = reads.iter().filter(|took| **took > QUICK).collect();
    // One may have met a busy machine; four would have waited for the disk.
    ensure!(slow.len() <= 1, "{} of {} reads waited too: {slow:?}", slow.len(), reads.len());
    ensure!(reads.len() > 50, "{} reads in {writes:?}", reads.len());
    ensure!(ground.postgres.admin("app", "SELECT count(*) FROM done")?.trim() == "4");
    ensure!(ground.recorded("INSERT INTO done")? == 4);
    Ok(())
}

#[test]
fn whatever_runs_waits_for_the_disk_and_many_wait_together() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start("power")?;
    let mut sessions = (0..8).map(|_| ground.open()).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let asking = |session: &'_ mut Open| -> Result<Vec<Duration>> {
            (0..4).map(|_| session.ask("SELECT 'waits'")).collect()
        };
        let all: Vec<_> =
            sessions.iter_mut().map(|session| scope.spawn(move || asking(session))).collect();
        for took in all {
            let took = took.join().expect("no panic")?;
            ensure!(took.iter().all(|took| *took >= SLOW), "one didn't wait: {took:?}");
        }
        Ok(())
    })?;
    // One behind the other they would take 32 turns of the disk; at worst each of the
    // four waits for one that had begun, and for the next.
    ensure!(began.elapsed() < SLOW * 16, "{:?}", began.elapsed());
    drop(sessions);
    ensure!(ground.recorded("SELECT ?")? >= 32);
    let verified = ground.agent.verified(&[])?;
    ensure!(verified.findings.is_empty() && verified.records >= 32, "{verified:?}");
    Ok(())
}
