//! The demo: a throwaway PostgreSQL, a cgroup with the agent attached, and
//! unmodified clients in it. It tells who connected, from where to where, what was
//! refused, and what the log knows of it and can prove.
//!
//! INVARIANT: every line of the story comes from the agent or from the clients
//! themselves, and is checked against what the demo knows to be true;
//! `--check` prints each promise and exits with 1 when one is broken.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_tests::agent::{Agent, Observer, Plan, binary};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::seen::{Event, Flow};
use tidegate_tests::{venv, wait};

const SCRIPT: &str = r#"
import sys, psycopg
with psycopg.connect(sys.argv[1]) as connection:
    rows = connection.execute("SELECT name FROM ports_of_call ORDER BY name").fetchall()
    port = connection.execute("SELECT inet_client_port()").fetchone()[0]
    print(port, ", ".join(name for name, in rows))
"#;

const HARBOUR: &str = "CREATE TABLE ports_of_call (name text); \
    INSERT INTO ports_of_call VALUES ('Bremen'), ('Porto'), ('Zierikzee')";
const COUNT: &str = "SELECT inet_client_port(), count(*) FROM ports_of_call";
const CREW: &str = "CREATE TABLE crew (id int, rank text, full_name text, email text, iban text, \
                    signed_on date); \
                    INSERT INTO crew VALUES \
                    (1, 'captain', 'Ahab Coffin', 'ahab@pequod.example', 'DE89370400440532013000', \
                    '1851-10-18'), \
                    (2, 'mate', 'Mary Starbuck', 'mary@pequod.example', 'FR1420041010050500013M02606', \
                    '1851-11-14')";
const ASKED: &str = "SELECT * FROM crew";
const WRECK: &str = "DROP TABLE ports_of_call";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("usage: demo [--check]");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Promises {
    loud: bool,
    broken: usize,
}

impl Promises {
    fn hold(&mut self, promise: &str, held: bool) {
        if !held {
            self.broken += 1;
        }
        if self.loud || !held {
            println!("  {} {promise}", if held { "holds: " } else { "BROKEN:" });
        }
    }
}

/// One client of the story.
struct Client {
    who: &'static str,
    uid: u32,
    command: Command,
    /// A word of its command line.
    word: String,
}

fn run(check: bool) -> Result<bool> {
    let mut promises = Promises { loud: check, broken: 0 };
    println!("· a PostgreSQL for the occasion …");
    let postgres = Postgres::start()?;
    postgres.psql("app", HARBOUR)?;
    let root = Cgroup::fresh()?;
    let apps = root.child("apps")?;
    println!("  listening at 127.0.0.1:{}", postgres.port());
    println!("· the agent, attached to the cgroup {} …", root.name()?);
    let mut agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy("enforce"))?;
    let observer = agent.observe()?;
    let status = agent.status()?;
    println!(
        "  {}: keeper {} (root), enforcer {} (uid {}), everything to port {} is led through it",
        status.verdict,
        status.keeper,
        agent.enforcer()?,
        status
            .current()
            .and_then(|enforcer| enforcer.fences.as_ref())
            .map_or_else(|| "?".into(), |fences| fences.uid.to_string()),
        postgres.port()
    );

    let mut flows = Vec::new();
    for client in clients(&apps, &postgres)? {
        flows.push(tell(client, &observer, &postgres, &apps, &mut promises)?);
    }

    refuse(&apps, &postgres, &mut promises)?;
    mask(&apps, &postgres, &mut promises)?;

    let counts =
        agent.wait_status("all connections to end", Duration::from_secs(10), |status| {
            status.open == 0
        })?;
    let events = observer.events()?;
    let count = |kind: &str| events.iter().filter(|event| event.event == kind).count();
    println!(
        "\n{} connections led and attributed, {} refused, {} direct, {} events lost.",
        count("opened"),
        count("refused"),
        counts.losses.direct,
        counts.losses.events
    );
    promises.hold("four connections were opened and closed", {
        count("opened") == 4 && count("closed") == 4 && flows.len() == 2
    });
    promises.hold("nothing went direct, and no event was lost", {
        counts.losses.direct == 0 && counts.losses.events == 0
    });
    remember(&agent, &mut promises)?;
    let detached = agent.detach();
    if let Err(error) = &detached {
        println!("{error:#}");
    }
    promises.hold("`tidegate detach` left nothing behind", detached.is_ok());
    if promises.broken > 0 {
        println!("{} promises are broken.{}", promises.broken, agent.tail());
    }
    Ok(promises.broken == 0)
}

fn clients(apps: &Cgroup, postgres: &Postgres) -> Result<Vec<Client>> {
    let dsn = format!("{} sslmode=disable", postgres.dsn("app"));
    let place = |uid| Place::new().cgroup(apps).user(uid, uid);
    let mut psql = place(65_534).command(program("psql")?)?;
    psql.args(["-XAtq", "-F", " ", "-v", "ON_ERROR_STOP=1", "-c", COUNT]).arg(&dsn);
    let interpreter: PathBuf = venv::python()?;
    let mut python = place(0).command(interpreter)?;
    python.args(["-c", SCRIPT]).arg(&dsn);
    for command in [&mut psql, &mut python] {
        command.current_dir("/").env("HOME", "/");
    }
    Ok(vec![
        Client { who: "psql", uid: 65_534, command: psql, word: "psql".into() },
        Client {
            who: "a Python script (psycopg)",
            uid: 0,
            command: python,
            word: "psycopg.connect".into(),
        },
    ])
}

/// What a person at psql may not do in production, and what it reads then.
fn refuse(apps: &Cgroup, postgres: &Postgres, promises: &mut Promises) -> Result<()> {
    println!("\npsql, uid 65534, once more: {WRECK}");
    let mut psql = Place::new().cgroup(apps).user(65_534, 65_534).command(program("psql")?)?;
    psql.args(["-XAtq", "-c", WRECK, "-c", "SELECT 'the session goes on'"]);
    psql.arg(format!("{} sslmode=disable", postgres.dsn("app"))).current_dir("/").env("HOME", "/");
    let output = psql.stdin(Stdio::null()).output()?;
    let (said, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for line in told.lines().chain(said.lines()) {
        println!("  {line}");
    }
    promises.hold("it is refused in words", told.contains("tidegate: drop on"));
    promises.hold("the session goes on", said.trim() == "the session goes on");
    let left = postgres.psql("app", "SELECT count(*) FROM ports_of_call")?;
    promises.hold("nothing happened to the table", left.trim() == "3");
    Ok(())
}

/// What a person sees of other persons, with nothing configured.
fn mask(apps: &Cgroup, postgres: &Postgres, promises: &mut Promises) -> Result<()> {
    postgres.psql("app", CREW)?;
    println!("\npsql, uid 65534: {ASKED}");
    let mut psql = Place::new().cgroup(apps).user(65_534, 65_534).command(program("psql")?)?;
    psql.args(["-XAtq", "-F", "  ", "-c", ASKED]);
    psql.arg(format!("{} sslmode=disable", postgres.dsn("app"))).current_dir("/").env("HOME", "/");
    let output = psql.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines() {
        println!("  {line}");
    }
    let hidden = !["Ahab", "ahab@", "DE89"].iter().any(|word| said.contains(word));
    promises.hold("names, addresses and accounts are masked", hidden && said.contains("a•••@p•••"));
    promises.hold("the rest is as it was", said.contains("captain") && said.contains("1851"));
    Ok(())
}

/// What the log knows, and that nobody can change it unnoticed.
fn remember(agent: &Agent, promises: &mut Promises) -> Result<()> {
    let settings = agent.settings_file();
    let audit = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(binary()?);
        command.arg("audit").args(arguments);
        let output = command.output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    };
    let config = settings.display().to_string();
    println!("\ntidegate audit search ports_of_call --verdict held:");
    // The last records become findable a moment later.
    let found = wait::until("the refusal to be found", Duration::from_secs(15), || {
        let asked = ["search", "ports_of_call", "--verdict", "held", "--config", &config];
        let (_, found) = audit(&asked)?;
        Ok(found.contains("DROP TABLE").then_some(found))
    });
    for line in found.as_deref().unwrap_or("nothing").lines() {
        println!("  {line}");
    }
    promises.hold("the log finds who tried it", found.is_ok());
    // Its head is signed each second: until then nothing is proven of the last.
    let signed = wait::until("the last record to be signed", Duration::from_secs(15), || {
        let (_, told) = audit(&["verify", "--config", &config])?;
        Ok(told.contains("no record is behind the last checkpoint").then_some(()))
    });
    promises.hold("the last record is signed within seconds", signed.is_ok());
    println!("\ntidegate audit search --class email --since 1h:");
    let seen = wait::until("the masked answer to be found", Duration::from_secs(15), || {
        let asked = ["search", "--class", "email", "--since", "1h", "--config", &config];
        let (_, found) = audit(&asked)?;
        Ok(found.contains("FROM crew").then_some(found))
    });
    for line in seen.as_deref().unwrap_or("nothing").lines() {
        println!("  {line}");
    }
    promises.hold("the log finds who asked for e-mail addresses", seen.is_ok());
    println!("\ntidegate audit verify:");
    let (code, told) = audit(&["verify", "--config", &config])?;
    println!("  {}", told.trim().replace('\n', "\n  "));
    promises.hold("the log is as it was written", code == Some(0));

    let folder = settings.with_file_name("log");
    let copy = settings.with_file_name("forged");
    let copied = Command::new("cp").arg("-a").arg(&folder).arg(&copy).status()?;
    promises.hold("the log can be copied", copied.success());
    let (forged, file) = forge(&copy)?;
    println!("\none byte of a copy was changed ({file}); tidegate audit verify:");
    let (code, told) = audit(&["verify", "--dir", &copy.display().to_string()])?;
    println!("  {}", told.trim().replace('\n', "\n  "));
    promises.hold("a changed byte is found", forged && code == Some(5));
    Ok(())
}

/// Changes one letter of the refused statement where it lies in the log.
fn forge(folder: &Path) -> Result<(bool, String)> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            let (forged, file) = forge(&path)?;
            if forged {
                return Ok((true, file));
            }
            continue;
        }
        let live = path.extension().is_some_and(|end| end == "live");
        let mut bytes = if live { std::fs::read(&path)? } else { continue };
        let place = bytes.windows(10).position(|part| part == b"DROP TABLE");
        if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
            *byte = b'd';
            std::fs::write(&path, bytes)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok((true, name));
        }
    }
    Ok((false, "none".into()))
}

/// Runs a client and tells what the agent saw of it.
fn tell(
    mut client: Client,
    observer: &Observer,
    postgres: &Postgres,
    apps: &Cgroup,
    promises: &mut Promises,
) -> Result<Flow> {
    println!("\n{}, uid {}:", client.who, client.uid);
    let child = client
        .command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_string();
    let (port, answer) = said.split_once(' ').unwrap_or_default();
    println!("  got its answer: {answer}");
    promises.hold("the client noticed nothing", output.status.success() && !answer.is_empty());
    if !output.status.success() {
        println!("  {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let opened = observer.wait_of("opened", pid)?;
    let closed = observer.wait_of("closed", pid)?;
    let flow = opened.flow.clone().context("an opening without a flow")?;
    println!("{}", story(&flow, &closed));
    let process = &flow.process;
    promises.hold("its process is named", process.key.tgid == pid);
    promises.hold("its command line is told", {
        process.command.iter().any(|argument| argument.contains(&client.word))
    });
    promises.hold("its user is told", process.uid == client.uid);
    promises.hold("its cgroup is told", process.cgroup.as_deref() == Some(&apps.name()?));
    let to = SocketAddr::from(([127, 0, 0, 1], postgres.port()));
    promises.hold("where it wanted to go is told", flow.destination == to);
    // The database saw the gate's socket, not the client's.
    let seen: u16 = port.parse().unwrap_or_default();
    promises.hold("it went through the gate", seen != 0 && seen != flow.client.port());
    Ok(flow)
}

fn story(flow: &Flow, closed: &Event) -> String {
    let process = &flow.process;
    let mut text = String::new();
    let mut command = process.command.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    if command.chars().count() > 100 {
        command = command.chars().take(99).collect::<String>() + "…";
    }
    let user = process.user.as_deref().map(|user| format!(" ({user})")).unwrap_or_default();
    let _ = writeln!(text, "  seen:     pid {} uid {}{user}", process.key.tgid, process.uid);
    let _ = writeln!(text, "            {command}");
    let _ = writeln!(text, "            cgroup {}", process.cgroup.as_deref().unwrap_or("?"));
    let _ = writeln!(text, "  way:      {} → gate → {}", flow.client, flow.destination);
    if let Some(closing) = &closed.closing {
        let _ = write!(
            text,
            "  closed:   {} bytes up, {} bytes down, {:.1} ms, {}",
            closing.bytes_up,
            closing.bytes_down,
            closing.duration_us as f64 / 1000.0,
            closing.end
        );
    }
    text
}
