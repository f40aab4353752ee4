//! What needs an approval waits on a terminal, is refused to a program until it is
//! given, and passes by nothing wider than what was shown.

#[path = "approvals/approvers.rs"]
mod approvers;
#[path = "approvals/ends.rs"]
mod ends;
#[path = "approvals/programs.rs"]
mod programs;
#[path = "approvals/terminal.rs"]
mod terminal;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan, binary};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::venv;
use tidegate_tests::wait;

/// Nobody's uids: who asks, and who is asked.
const ASKER: u32 = 4242;
const OTHER: u32 = 4243;
/// A group that every host has, and its number.
const GROUP: (&str, u32) = ("games", 60);
const PATIENCE: Duration = Duration::from_secs(15);

struct Held {
    agent: Agent,
    work: Cgroup,
    _root: Cgroup,
    postgres: Postgres,
}

impl Held {
    fn start() -> Result<Self> {
        Self::with(&[])
    }

    fn with(approvals: &[&str]) -> Result<Self> {
        let postgres = Postgres::with_tls()?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let mut plan = Plan::postgres([postgres.port()]).policy("enforce").setting("[approvals]");
        for line in approvals {
            plan = plan.setting(line);
        }
        let agent = Agent::start(&root, plan)?;
        let made = "CREATE TABLE customers AS SELECT n AS id, 'c' || n AS name \
                    FROM generate_series(1, 100) n";
        postgres.psql("app", made)?;
        Ok(Self { agent, work, _root: root, postgres })
    }

    fn dsn(&self) -> String {
        format!("{} sslmode=require", self.postgres.dsn("app"))
    }

    fn rows(&self) -> Result<String> {
        Ok(self.postgres.psql("app", "SELECT count(*) FROM customers")?.trim().to_owned())
    }

    /// psql on a terminal of its own.
    fn terminal(&self, uid: u32) -> Result<Terminal> {
        let line = self.psql()?;
        let mut script = Place::new().cgroup(&self.work).user(uid, uid).command("script")?;
        script.args(["-qfec", &line, "/dev/null"]).env("TERM", "dumb").env("HOME", "/nowhere");
        Terminal::start(&mut script)
    }

    fn psql(&self) -> Result<String> {
        let psql = program("psql")?;
        Ok(format!("'{}' -XAtn -P pager=off '{}'", psql.display(), self.dsn()))
    }

    fn python(&self, script: &str) -> Result<String> {
        self.python_as(ASKER, script)
    }

    /// The interpreter may be one that only root can start: it becomes another user
    /// before it connects.
    fn python_as(&self, uid: u32, script: &str) -> Result<String> {
        let mut python = Place::new().cgroup(&self.work).command(venv::python()?)?;
        python.args(["-c", &format!("{PYTHON}{script}")]).arg(self.dsn());
        python.arg(uid.to_string()).env("HOME", "/nowhere");
        run(&mut python).with_context(|| self.agent.tail())
    }

    fn holds(&self) -> Result<Vec<Value>> {
        let text = self.agent.must(&["approvals", "ls", "--all", "-o", "json"])?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    fn hold(&self, id: &str) -> Result<Value> {
        let output = self.agent.order(&["approvals", "show", id, "-o", "json"])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text).with_context(|| {
            format!("{text}{}{}", String::from_utf8_lossy(&output.stderr), self.agent.tail())
        })
    }

    fn wait_state(&self, id: &str, state: &str) -> Result<Value> {
        wait::until(&format!("hold {id} to be {state}"), PATIENCE, || {
            let hold = self.hold(id)?;
            Ok((hold["state"]["is"] == state).then_some(hold))
        })
        .with_context(|| format!("{:?}{}", self.holds(), self.agent.tail()))
    }

    fn approve(&self, id: &str, more: &[&str]) -> Result<String> {
        let mut words = vec!["approvals", "approve", id, "--reason", "a test"];
        words.extend(more);
        let output = self.agent.order(&words)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{words:?}: {said}{}", self.agent.tail());
        Ok(said)
    }

    /// The command line as somebody else.
    fn order_as(&self, uid: u32, gid: u32, words: &[&str]) -> Result<Output> {
        let mut command = Place::new().user(uid, gid).command(binary()?)?;
        command.args(words).arg("--control").arg(self.agent.control());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        Ok(command.output()?)
    }
}

/// A command as a user in a group who had logged in as another.
fn logged_in(place: Place<'_>, login: u32, uid: u32, gid: u32) -> Result<Command> {
    let mut shell = place.command("/bin/sh")?;
    let line = format!(
        "echo {login} > /proc/self/loginuid && \
         exec setpriv --reuid {uid} --regid {gid} --clear-groups \"$@\""
    );
    shell.args(["-c", &line, "sh"]);
    Ok(shell)
}

/// A terminal with psql on it.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// psql, ready to take statements.
    fn start(script: &mut Command) -> Result<Self> {
        let mut terminal = Self::open(script)?;
        terminal.type_in("\\set VERBOSITY verbose\n\\echo re''ady\n")?;
        terminal.wait_for("ready")?;
        Ok(terminal)
    }

    /// Whatever there is.
    fn open(script: &mut Command) -> Result<Self> {
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // A terminal's end reaches its programs, also where this test runs under nohup.
        // SAFETY: signal(2) may be called between fork and exec.
        unsafe {
            script.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = script.spawn().context("cannot run `script`: install bsdutils")?;
        let keys = child.stdin.take().context("no stdin")?;
        let mut out = child.stdout.take().context("no stdout")?;
        let shown = Arc::<Mutex<String>>::default();
        let writer = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                writer.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { child, keys, shown })
    }

    fn type_in(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        self.keys.flush()?;
        Ok(())
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_for(&self, what: &str) -> Result<()> {
        wait::until_true(&format!("`{what}` on the terminal"), PATIENCE, || {
            self.shown().contains(what)
        })
        .with_context(|| self.shown())
    }

    /// Runs a statement, and gives the id of the hold that it waits for.
    fn held(&mut self, statement: &str) -> Result<String> {
        let before = self.shown().len();
        self.type_in(statement)?;
        self.type_in("\n")?;
        self.waits(before)
    }

    /// The id of the hold that was told after so much was shown.
    fn waits(&self, before: usize) -> Result<String> {
        wait::until("a statement to wait", PATIENCE, || {
            let shown = self.shown();
            let new = shown.get(before..).unwrap_or_default();
            let id = new.split_once("waits for an approval (hold ").and_then(|(_, rest)| {
                let (id, _) = rest.split_once(')')?;
                Some(id.to_owned())
            });
            Ok(id)
        })
        .with_context(|| self.shown())
    }

    /// That the session is there and takes statements.
    fn is_alive(&mut self) -> Result<()> {
        self.type_in("SELECT 'ali' || 've', 6 * 7;\n")?;
        self.wait_for("alive|42")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PYTHON: &str = r#"
import os, sys, re, psycopg
dsn = sys.argv[1]
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
refused = psycopg.errors.InsufficientPrivilege
def say(*words):
    print(*words, flush=True)
def attempt(c, *statement, **options):
    try:
        done = c.execute(*statement, **options)
        return f"passed {done.rowcount}"
    except refused as error:
        hint = error.diag.message_hint or ""
        found = re.search(r"approvals approve ([a-z-]+) ", hint)
        return f"held {found.group(1)}" if found else f"refused {error.diag.message_primary} {hint}"
"#;

fn id_of(line: Option<&str>) -> Result<String> {
    let line = line.context("it said less")?;
    Ok(line.strip_prefix("held ").with_context(|| line.to_owned())?.to_owned())
}

fn exit(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Every DELETE needs an approval.
const DELETES: &str = "@id(\"own/deletes\")\n@reason(\"rows go\")\n@hold(\"approvers\")\n\
                       forbid (principal, action == Action::\"delete\", resource);";
