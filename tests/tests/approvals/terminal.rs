//! On a terminal a statement waits, for as long as its session lets it.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::binary;
use tidegate_tests::place::Place;
use tidegate_tests::venv;
use tidegate_tests::wait;

use super::{ASKER, DELETES, Held, PATIENCE, PYTHON, Terminal, exit};

#[test]
fn on_a_terminal_it_waits_until_somebody_else_approves() -> Result<()> {
    let held = Held::start()?;
    let mut terminal = held.terminal(ASKER)?;
    let id = terminal.held("DELETE FROM customers;")?;
    // How it goes on is said at once, where it is looked at.
    let how = "can approve it on this host until ";
    let shown = terminal.shown();
    let hint = shown.split_once("HINT:  ").map(|(_, hint)| hint).unwrap_or_default();
    let (who, rest) = hint.split_once(how).with_context(|| shown.clone())?;
    let order = format!("`tidegate approvals approve {id} --reason …`");
    ensure!(who.trim_end() == "approvers" && rest.contains(&order), "{shown}");
    ensure!(rest.contains("a cancel (Ctrl-C) withdraws it"), "{shown}");
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
    let held = Held::start()?;
    let ends = |terminal: &mut Terminal, id: &str| -> Result<()> {
        // Who is to approve it sees the session's end of it, not only ours.
        let said = held.agent.must(&["approvals", "ls"])?;
        let left = said.lines().find(|line| line.contains(id)).unwrap_or_default();
        ensure!(!left.is_empty() && !left.contains("14m"), "{said}");
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
fn on_a_terminal_values_that_come_with_their_text_wait_too() -> Result<()> {
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
