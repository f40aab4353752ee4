//! What needs an approval waits on a terminal, is refused to a program until it is
//! given, and passes by nothing wider than what was shown.

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
use tidegate_tests::scene::alone;
use tidegate_tests::sys;
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

#[test]
fn on_a_terminal_it_waits_until_somebody_else_approves() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    let hold = held.hold(&id)?;
    ensure!(hold["state"]["is"] == "waiting" && hold["waits"] == true, "{hold}");
    ensure!(hold["asked"]["text"] == "DELETE FROM customers;", "{hold}");
    ensure!(hold["flow"]["process"]["uid"] == ASKER, "{hold}");
    ensure!(hold["asked"]["policies"][0] == "default/unbounded", "{hold}");
    ensure!(held.rows()? == "100", "it ran before anybody had approved");
    let listed = held.agent.must(&["approvals", "ls"])?;
    ensure!(listed.contains(&id) && listed.contains("DELETE FROM customers"), "{listed}");

    // Neither side, nor what stands between, is to think that nobody is there.
    let enforcer = format!("pid={},", held.agent.enforcer()?);
    // While what was said isn't acknowledged, another timer runs.
    wait::until_true("keepalive on both legs", Duration::from_secs(10), || {
        let sockets = Command::new("ss").args(["-tnopH", "state", "established"]).output();
        let sockets = sockets.map(|output| output.stdout).unwrap_or_default();
        let sockets = String::from_utf8_lossy(&sockets);
        let kept = |line: &&str| line.contains(&enforcer) && line.contains("timer:(keepalive,");
        sockets.lines().filter(kept).count() >= 2
    })?;

    let without = held.agent.order(&["approvals", "approve", &id, "--reason", " "])?;
    let (code, said) = exit(&without);
    ensure!(code == Some(1) && said.contains("a reason is needed"), "{said}");
    let said = held.approve(&id, &[])?;
    ensure!(said.contains("its statement runs now"), "{said}");
    terminal.wait_for("DELETE 100")?;
    ensure!(held.rows()? == "0", "{}", held.rows()?);
    terminal.is_alive()?;
    // Approved once: the next one waits anew.
    held.postgres.psql("app", "INSERT INTO customers VALUES (1, 'x')")?;
    let next = terminal.held("DELETE FROM customers;")?;
    ensure!(next != id, "the same hold was used twice");
    let (code, said) =
        exit(&held.agent.order(&["approvals", "approve", &id, "--reason", "again"])?);
    ensure!(code == Some(1) && said.contains("is approved already"), "{said}");

    // All of it is in the log: who asked, who approved and why, and what ran by it.
    let events = held.agent.must(&["observe", "--event", "hold", "-o", "jsonl"])?;
    let steps: Vec<Value> = events.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of: Vec<(&str, &str)> = steps
        .iter()
        .filter(|event| event["hold"]["id"] == *id)
        .filter_map(|event| {
            Some((event["hold"]["step"].as_str()?, event["hold"]["reason"].as_str().unwrap_or("")))
        })
        .collect();
    ensure!(of == [("asked", ""), ("approved", "a test")], "{of:?}");
    let folder = held.agent.settings_file().with_file_name("log").display().to_string();
    let found = wait::until("the statement in the log", PATIENCE, || {
        let export =
            Command::new(binary()?).args(["audit", "export", "--dir", &folder]).output()?;
        let text = String::from_utf8_lossy(&export.stdout).into_owned();
        let line = text.lines().find(|line| {
            line.contains("\"verdict\":\"approved\"")
                && line.contains(&format!("\"hold\":\"{id}\""))
        });
        Ok(line.map(str::to_owned))
    })?;
    ensure!(found.contains("\"approver\":\"root\""), "no approver in {found}");
    let record: Value = serde_json::from_str(&found)?;
    let why = &record["statement"]["why"][0];
    let lifted = why["policy"] == "default/unbounded" && why["lifted"] == true;
    ensure!(lifted && why["severity"] == "high", "not which policy was lifted: {found}");
    Ok(())
}

#[test]
fn denied_or_too_late_it_is_refused_and_the_session_goes_on() -> Result<()> {
    let _alone = alone();
    let held = Held::with(&["hold_wait = \"3s\""])?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DROP TABLE customers;")?;
    held.agent.must(&["approvals", "deny", &id, "--reason", "not before Monday"])?;
    terminal.wait_for("is denied")?;
    terminal.wait_for("root has denied hold ")?;
    terminal.wait_for("not before Monday")?;
    terminal.is_alive()?;
    held.wait_state(&id, "denied")?;

    let id = terminal.held("TRUNCATE customers;")?;
    terminal.wait_for("nobody has given it in time")?;
    held.wait_state(&id, "expired")?;
    let (code, said) =
        exit(&held.agent.order(&["approvals", "approve", &id, "--reason", "late"])?);
    ensure!(code == Some(1) && said.contains("is expired already"), "{said}");
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    terminal.is_alive()
}

#[test]
fn who_watches_sees_it_come_and_go() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let first = terminal.held("DELETE FROM customers;")?;
    let mut watch = Command::new(binary()?);
    watch.args(["approvals", "watch", "-o", "jsonl", "--control"]).arg(held.agent.control());
    let mut watch = watch.stdout(Stdio::piped()).spawn()?;
    let lines =
        std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().context("no stdout")?));
    let (seen_tx, seen_rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let hold: Value = serde_json::from_str(&line).unwrap_or_default();
            let told = (hold["id"].to_string(), hold["state"]["is"].to_string());
            if seen_tx.send(told).is_err() {
                return;
            }
        }
    });
    let expect = |id: &str, state: &str| -> Result<()> {
        let told = seen_rx.recv_timeout(PATIENCE).context("nothing more was told")?;
        ensure!(
            told == (format!("\"{id}\""), format!("\"{state}\"")),
            "{told:?}, not {id} {state}"
        );
        Ok(())
    };
    let outcome = (|| {
        expect(&first, "waiting")?;
        terminal.type_in("\u{3}")?;
        expect(&first, "withdrawn")?;
        let second = terminal.held("DROP TABLE customers;")?;
        expect(&second, "waiting")?;
        held.approve(&second, &[])?;
        expect(&second, "approved")?;
        terminal.wait_for("DROP TABLE\r")
    })();
    watch.kill()?;
    watch.wait()?;
    outcome
}

#[test]
fn a_cancel_withdraws_it_and_so_does_the_clients_end() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    terminal.type_in("\u{3}")?;
    terminal.wait_for("57014: canceling statement due to user request")?;
    let hold = held.wait_state(&id, "withdrawn")?;
    ensure!(hold["state"]["why"] == "cancelled", "{hold}");
    let (code, said) =
        exit(&held.agent.order(&["approvals", "approve", &id, "--reason", "late"])?);
    ensure!(code == Some(1) && said.contains("withdrawn already"), "{said}");
    terminal.is_alive()?;

    let id = terminal.held("DELETE FROM customers WHERE true;")?;
    drop(terminal);
    let hold = held.wait_state(&id, "withdrawn")?;
    ensure!(hold["state"]["why"] == "disconnected", "{hold}");
    // What it would have run is not run by its end either.
    let mut terminal = held.terminal(ASKER)?;
    terminal.is_alive()?;
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    Ok(())
}

/// Set by the session, or what its role begins with: nobody waits for longer.
#[test]
fn it_waits_no_longer_than_the_session_lets_a_statement_take() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let ends = |terminal: &mut Terminal, id: &str| -> Result<()> {
        terminal.wait_for("57014: canceling statement due to statement timeout")?;
        let hold = held.wait_state(id, "withdrawn")?;
        ensure!(hold["state"]["why"] == "timed-out", "{hold}");
        terminal.is_alive()
    };
    let mut terminal = held.terminal(ASKER)?;
    terminal.type_in("SET statement_timeout = '2s';\n")?;
    let id = terminal.held("DELETE FROM customers;")?;
    ends(&mut terminal, &id)?;
    drop(terminal);
    held.postgres.psql("app", "ALTER ROLE app SET statement_timeout = 2500")?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    ends(&mut terminal, &id)?;
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    Ok(())
}

#[test]
fn nobody_approves_his_own_and_the_group_may() -> Result<()> {
    let _alone = alone();
    let held = Held::with(&[&format!("group = \"{}\"", GROUP.0)])?;
    let mut terminal = held.terminal(0)?;
    let id = terminal.held("DELETE FROM customers;")?;
    let approve = ["approvals", "approve", &id, "--reason", "mine"];
    let (code, said) = exit(&held.agent.order(&approve)?);
    ensure!(code == Some(3) && said.contains("nobody approves his own"), "{code:?} {said}");
    // Who isn't in the group isn't heard at all; who is hears of holds alone.
    let (code, said) = exit(&held.order_as(OTHER, OTHER, &approve)?);
    ensure!(code == Some(3), "{code:?} {said}");
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &["status"])?);
    ensure!(code != Some(0) && said.contains("only root"), "{code:?} {said}");
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &["reload"])?);
    ensure!(code != Some(0) && said.contains("only root"), "{code:?} {said}");
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &["approvals", "ls"])?);
    ensure!(code == Some(0), "{code:?} {said}");
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &approve)?);
    ensure!(code == Some(0), "{code:?} {said}{}", held.agent.tail());
    terminal.wait_for("DELETE 100")?;
    let hold = held.hold(&id)?;
    ensure!(hold["approvals"][0]["by"]["uid"] == OTHER, "{hold}");
    drop(terminal);

    // The same of a user's own, by his own uid.
    let mut terminal = held.terminal(OTHER)?;
    let id = terminal.held("DROP TABLE customers;")?;
    let approve = ["approvals", "approve", &id, "--reason", "mine"];
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &approve)?);
    ensure!(code == Some(3) && said.contains("nobody approves his own"), "{code:?} {said}");
    // To take it back is no approval.
    let deny = ["approvals", "deny", &id, "--reason", "mine"];
    let (code, said) = exit(&held.order_as(OTHER, GROUP.1, &deny)?);
    ensure!(code == Some(0), "{code:?} {said}");
    terminal.wait_for("is denied")
}

#[test]
fn whoever_logged_in_to_run_it_does_not_approve_it_as_another() -> Result<()> {
    let _alone = alone();
    let held = Held::with(&[&format!("group = \"{}\"", GROUP.0)])?;
    const ALICE: u32 = 4300;
    const BOB: u32 = 4301;
    let mut script = logged_in(Place::new().cgroup(&held.work), ALICE, ASKER, ASKER)?;
    script.args(["script", "-qfec", &held.psql()?, "/dev/null"]);
    let mut terminal = Terminal::start(script.env("TERM", "dumb").env("HOME", "/nowhere"))?;
    let id = terminal.held("DELETE FROM customers;")?;
    ensure!(held.hold(&id)?["flow"]["process"]["login_uid"] == ALICE, "{}", held.hold(&id)?);
    let approve = |login: u32, uid: u32, gid: u32| -> Result<(Option<i32>, String)> {
        let mut command = logged_in(Place::new(), login, uid, gid)?;
        command.arg(binary()?).args(["approvals", "approve", &id, "--reason", "x", "--control"]);
        Ok(exit(&command.arg(held.agent.control()).env("NO_COLOR", "1").output()?))
    };
    // As another user, as root, and as whom it runs.
    for (login, uid, gid) in [(ALICE, OTHER, GROUP.1), (ALICE, 0, 0), (BOB, ASKER, GROUP.1)] {
        let (code, said) = approve(login, uid, gid)?;
        ensure!(code == Some(3) && said.contains("nobody approves his own"), "{code:?} {said}");
    }
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    let (code, said) = approve(BOB, OTHER, GROUP.1)?;
    ensure!(code == Some(0), "{code:?} {said}{}", held.agent.tail());
    terminal.wait_for("DELETE 100")?;
    let by = &held.hold(&id)?["approvals"][0]["by"];
    ensure!(by["uid"] == OTHER && by["login_uid"] == BOB, "{by}");
    Ok(())
}

#[test]
fn a_program_is_refused_with_the_id_and_passes_once_when_it_comes_again() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let twice = "c = psycopg.connect(dsn, autocommit=True)\n\
                 for _ in range(2): say(attempt(c, 'DELETE FROM customers'))\n\
                 say(attempt(c, 'DELETE FROM customers WHERE true'))\n";
    let said = held.python(twice)?;
    let mut lines = said.lines();
    let id = id_of(lines.next())?;
    ensure!(id_of(lines.next())? == id, "{said}");
    let other = id_of(lines.next())?;
    ensure!(other != id, "{said}");
    let hold = held.hold(&id)?;
    ensure!(hold["waits"] == false && hold["times"] == 2, "{hold}");
    held.approve(&id, &[])?;
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    // Another actor, another database, another text: none of them is this one.
    let once =
        "c = psycopg.connect(dsn, autocommit=True)\nsay(attempt(c, 'DELETE FROM customers'))\n";
    ensure!(id_of(held.python_as(OTHER, once)?.lines().next())? != id, "another actor's");
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         say(attempt(c, 'DELETE FROM  customers'))\n\
         say(attempt(c, 'DELETE FROM customers'))\n\
         c.execute(\"INSERT INTO customers VALUES (1, 'x')\")\n\
         say(attempt(c, 'DELETE FROM customers'))\n",
    )?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == 3 && lines[0].starts_with("held "), "{said}{}", held.agent.tail());
    ensure!(lines[1] == "passed 100", "{said}{}", held.agent.tail());
    ensure!(id_of(Some(lines[2]))? != id, "{said}");
    ensure!(held.rows()? == "1", "{}", held.rows()?);

    // For a time: as often as it comes, until it is taken back.
    let id = id_of(Some(lines[2]))?;
    held.approve(&id, &["--for", "1h"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         for _ in range(3): say(attempt(c, 'DELETE FROM customers'))\n",
    )?;
    ensure!(said == "passed 1\npassed 0\npassed 0\n", "{said}");
    held.agent.must(&["approvals", "deny", &id, "--reason", "enough"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\nsay(attempt(c, 'DELETE FROM customers'))\n",
    )?;
    ensure!(said.starts_with("held "), "{said}");
    Ok(())
}

#[test]
fn values_that_are_bound_are_a_part_of_it() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    std::fs::write(held.agent.policies().join("own.cedar"), DELETES)?;
    held.agent.must(&["reload"])?;
    let one = "c = psycopg.connect(dsn, autocommit=True)\n\
               say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (5, 'c5')))\n";
    let said = held.python(one)?;
    let id = id_of(said.lines().next())?;
    let hold = held.hold(&id)?;
    ensure!(hold["asked"]["parameters"].as_array().map(Vec::len) == Some(2), "{hold}");
    ensure!(hold["asked"]["parameters"][1]["text"] == "c5", "{hold}");
    held.approve(&id, &[])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (6, 'c6')))\n\
         say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (5, 'c5')))\n\
         say(attempt(c, 'DELETE FROM customers WHERE id = %s AND name = %s', (5, 'c5')))\n\
         say(c.execute('SELECT count(*) FROM customers').fetchone()[0])\n",
    )?;
    let lines: Vec<&str> = said.lines().collect();
    let passed = lines.len() == 4
        && lines[0].starts_with("held ")
        && lines[1] == "passed 1"
        && lines[2].starts_with("held ")
        && lines[3] == "99";
    ensure!(passed, "{said}{}", held.agent.tail());

    // Prepared by name, executed later: held by the Bind, each time it is bound.
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         for n in (7, 7): say(attempt(c, 'DELETE FROM customers WHERE id = %s', (n,), prepare=True))\n",
    )?;
    let id = id_of(said.lines().next())?;
    held.approve(&id, &["--for", "1h", "--shape", "$1"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         for n in (7, 8): say(attempt(c, 'DELETE FROM customers WHERE id = %s', (n,), prepare=True))\n\
         say(attempt(c, 'DELETE FROM customers WHERE id >= %s', (0,)))\n",
    )?;
    ensure!(said.starts_with("passed 1\npassed 1\nheld "), "{said}{}", held.agent.tail());
    Ok(())
}

#[test]
fn on_a_terminal_values_that_come_with_their_text_wait_too() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    std::fs::write(held.agent.policies().join("own.cedar"), DELETES)?;
    held.agent.must(&["reload"])?;
    let script = held.agent.settings_file().with_file_name("held.py");
    let text = r#"
c = psycopg.connect(dsn, autocommit=True)
c.add_notice_handler(lambda told: say(told.message_primary))
for n in (5, 6, 6):
    say(attempt(c, 'DELETE FROM customers WHERE id = %s', (n,)))
# Prepared before: only the values come.
c.prepare_threshold = 0
for n in (7, 8):
    say(attempt(c, 'DELETE FROM customers WHERE id = %s', (n,), prepare=True))
say("the end", c.execute("SELECT count(*) FROM customers").fetchone()[0])
"#;
    std::fs::write(&script, format!("{PYTHON}{text}"))?;
    let python = venv::python()?;
    let line = format!("'{}' '{}' '{}' {ASKER}", python.display(), script.display(), held.dsn());
    let mut pty = Place::new().cgroup(&held.work).command("script")?;
    pty.args(["-qfec", &line, "/dev/null"]).env("TERM", "dumb").env("HOME", "/nowhere");
    let terminal = Terminal::open(&mut pty)?;
    let mut before = 0;
    let mut next = |value: &str| -> Result<String> {
        let id = terminal.waits(before)?;
        before = terminal.shown().len();
        let hold = held.hold(&id)?;
        ensure!(hold["waits"] == true, "{hold}");
        // An int goes in two bytes, in binary or as text, as the driver likes.
        let shown = hold["asked"]["parameters"][0].to_string();
        ensure!(shown.contains(value), "{shown}, not {value}");
        Ok(id)
    };
    held.approve(&next("5")?, &[])?;
    terminal.wait_for("passed 1")?;
    held.agent.must(&["approvals", "deny", &next("6")?, "--reason", "no"])?;
    terminal.wait_for("is denied")?;
    held.approve(&next("6")?, &["--for", "1h", "--shape", "$1"])?;
    // The rest is of that shape.
    terminal.wait_for("the end 96")?;
    ensure!(terminal.shown().matches("passed 1").count() == 4, "{}", terminal.shown());
    Ok(())
}

#[test]
fn a_shape_varies_where_it_was_marked_and_nowhere_else() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    std::fs::write(held.agent.policies().join("own.cedar"), DELETES)?;
    held.agent.must(&["reload"])?;
    let said = held.python(
        "c = psycopg.connect(dsn, autocommit=True)\n\
         say(attempt(c, \"DELETE FROM customers WHERE id = 5 AND name <> 'c6' AND id < 50\"))\n",
    )?;
    let id = id_of(said.lines().next())?;
    let shown = held.agent.order(&["approvals", "show", &id])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("id = #1:5 AND name <> #2:'c6' AND id < #3:50"), "{shown}");
    let words = ["approvals", "approve", &id, "--reason", "x", "--shape", "#4"];
    let (code, said) = exit(&held.agent.order(&words)?);
    ensure!(code == Some(1) && said.contains("it has 3 literals"), "{said}");
    held.approve(&id, &["--for", "10m", "--shape", "#1,#2"])?;
    let said = held.python(
        r#"c = psycopg.connect(dsn, autocommit=True)
for text in [
    "DELETE FROM customers WHERE id = 9 AND name <> 'it''s' AND id < 50",
    "DELETE FROM customers WHERE id = 9 AND name <> 'c6' AND id < 51",
    "DELETE FROM customers WHERE id = '9' AND name <> 'c6' AND id < 50",
    "DELETE FROM customers WHERE id = 9 OR name <> 'c6' AND id < 50",
    "DELETE FROM customers WHERE id = 9 AND name <> 'c6' AND id < 50 OR true",
    "DELETE FROM customers WHERE id = 9 AND name <> E'c6' AND id < 50",
]:
    say(attempt(c, text).split()[0])
"#,
    )?;
    ensure!(said == "passed\nheld\nheld\nheld\nheld\nheld\n", "{said}{}", held.agent.tail());
    ensure!(held.rows()? == "99", "{}", held.rows()?);
    Ok(())
}

#[test]
fn in_a_transaction_nothing_waits() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    terminal.type_in("BEGIN;\nUPDATE customers SET name = 'x' WHERE id = 1;\n")?;
    terminal.wait_for("UPDATE 1")?;
    terminal.type_in("DELETE FROM customers;\n")?;
    terminal.wait_for("42501: tidegate: delete on")?;
    terminal.wait_for("needs an approval (hold ")?;
    let shown = terminal.shown();
    let id = shown.split_once("needs an approval (hold ").context("no id")?.1;
    let id = id.split_once(')').context("no id")?.0.to_owned();
    ensure!(!shown.contains("waits for an approval"), "{shown}");
    let hold = held.hold(&id)?;
    ensure!(hold["waits"] == false, "{hold}");
    terminal.type_in("ROLLBACK;\n")?;
    terminal.wait_for("ROLLBACK")?;
    terminal.is_alive()?;
    held.approve(&id, &[])?;
    terminal.type_in("BEGIN;\nDELETE FROM customers;\n")?;
    terminal.wait_for("DELETE 100")?;
    terminal.type_in("COMMIT;\n")?;
    terminal.wait_for("COMMIT")?;
    ensure!(held.rows()? == "0", "{}", held.rows()?);

    // Unless the policy says so.
    held.postgres.psql("app", "INSERT INTO customers VALUES (1, 'x')")?;
    let policy = DELETES.replace("@hold(", "@hold_in_transaction\n@hold(");
    std::fs::write(held.agent.policies().join("own.cedar"), policy)?;
    held.agent.must(&["reload"])?;
    terminal.type_in("BEGIN;\n")?;
    let id = terminal.held("DELETE FROM customers WHERE id = 1;")?;
    held.approve(&id, &[])?;
    terminal.wait_for("DELETE 1\r")?;
    Ok(())
}

#[test]
fn new_policies_hold_for_what_waits_and_drop_nothing() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    let own = held.agent.policies().join("own.cedar");
    std::fs::write(
        &own,
        "@id(\"own/other\")\n@reason(\"no\")\nforbid (principal, action == Action::\"drop\", resource);",
    )?;
    held.agent.must(&["reload"])?;
    ensure!(held.hold(&id)?["state"]["is"] == "waiting", "{:?}", held.holds());
    held.approve(&id, &[])?;
    terminal.wait_for("DELETE 100")?;

    // What is forbidden meanwhile, no approval of before lets through.
    held.postgres.psql("app", "INSERT INTO customers VALUES (1, 'x')")?;
    let id = terminal.held("DELETE FROM customers WHERE true;")?;
    std::fs::write(
        &own,
        "@id(\"own/never\")\n@reason(\"nobody deletes here\")\nforbid (principal, action == Action::\"delete\", resource);",
    )?;
    held.agent.must(&["reload"])?;
    held.approve(&id, &[])?;
    terminal.wait_for("nobody deletes here")?;
    ensure!(held.rows()? == "1", "{}", held.rows()?);
    terminal.is_alive()
}

#[test]
fn what_waits_is_refused_when_the_enforcer_is_replaced_or_ends() -> Result<()> {
    let _alone = alone();
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    held.agent.must(&["upgrade"])?;
    terminal.wait_for("the agent was upgraded: run it again")?;
    held.wait_state(&id, "withdrawn")?;
    terminal.is_alive()?;
    drop(terminal);

    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    sys::signal(held.agent.enforcer()?, libc::SIGKILL)?;
    let hold = held.wait_state(&id, "withdrawn")?;
    ensure!(hold["state"]["why"] == "lost", "{hold}");
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    Ok(())
}

#[test]
fn what_waits_is_refused_when_the_keeper_ends_and_ends_with_the_server() -> Result<()> {
    let _alone = alone();
    let mut held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    held.postgres.restart(libc::SIGINT)?;
    held.wait_state(&id, "withdrawn")?;
    terminal.wait_for("57P01")?;
    drop(terminal);
    ensure!(held.rows()? == "100", "{}", held.rows()?);

    let mut terminal = held.terminal(ASKER)?;
    terminal.held("DELETE FROM customers;")?;
    held.agent.kill_keeper()?;
    terminal.wait_for("the agent was restarted: run it again")?;
    terminal.is_alive()?;
    drop(terminal);
    // Nothing of before is known to the next.
    held.agent.run_again()?;
    held.agent.wait_healthy()?;
    ensure!(held.holds()?.is_empty(), "{:?}", held.holds());
    ensure!(held.rows()? == "100", "{}", held.rows()?);
    Ok(())
}

/// Every DELETE needs an approval.
const DELETES: &str = "@id(\"own/deletes\")\n@reason(\"rows go\")\n@hold(\"approvers\")\n\
                       forbid (principal, action == Action::\"delete\", resource);";
