//! A thousand short-lived clients of a real database, of five kinds: each one's
//! record tells the right process, script and ancestry.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::drivers;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::seen::{Actor, Process};
use tidegate_tests::venv;
use tidegate_tests::wait::{first_ended, until};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Psql,
    Psycopg,
    Node,
    Java,
    /// A shell's script, as another user, that runs psql.
    Sudo,
}

impl Kind {
    /// What is installed below `target` only its owner may read.
    fn uid(self) -> u32 {
        if matches!(self, Self::Psycopg | Self::Node) { 0 } else { UID }
    }
}

const CROWD: [(Kind, usize); 5] = [
    (Kind::Psql, 400),
    (Kind::Psycopg, 220),
    (Kind::Node, 130),
    (Kind::Java, 50),
    (Kind::Sudo, 200),
];
/// So many live at any moment, until the last two hundred. All of them wait in their
/// connect, so none can end unread; but a connect waits 1.5 s for what is read of its
/// process, and two readers of one user's that take longer than 300 ms count as hanging.
/// A machine with far more to do than it can may come to either: such a record has
/// `complete: false` and the hook's own facts. Two cores with these and as much beside
/// them (a load of 45) do not.
const AT_A_TIME: usize = 200;
/// Nobody's uid.
const UID: u32 = 4242;

const PYTHON: &str = "\
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as c:
    c.execute(\"SELECT '%s'\" % sys.argv[2])
";

const NODE: &str = "\
import pg from 'pg'
const client = new pg.Client({ connectionString: process.argv[2], ssl: false })
await client.connect()
await client.query(`SELECT '${process.argv[3]}'`)
await client.end()
";

const JAVA: &str = "\
public class Life {
    public static void main(String[] a) throws Exception {
        try (var c = java.sql.DriverManager.getConnection(a[0]); var s = c.createStatement()) {
            s.execute(\"SELECT '\" + a[1] + \"'\");
        }
    }
}
";

/// The programs, where everybody may read them.
struct Programs {
    folder: TempFolder,
    node: PathBuf,
    psql: PathBuf,
    python: PathBuf,
    class_path: String,
}

impl Programs {
    fn make() -> Result<Self> {
        let folder = TempFolder::fresh()?;
        let psql = program("psql")?;
        let shell =
            format!("#!/bin/bash\n{} -XAtqc \"SELECT '$2'\" \"$1\"\ntrue\n", psql.display());
        for (name, text) in [("life.py", PYTHON), ("Life.java", JAVA), ("life.sh", &shell)] {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        let class_path = drivers::class_path()?;
        let mut javac = Command::new("javac");
        run(javac.arg("-d").args([folder.path(), &folder.path().join("Life.java")]))?;
        // Imports are looked for beside the program.
        let node = drivers::node()?.join("life.mjs");
        std::fs::write(&node, NODE)?;
        let class_path = format!("{}:{class_path}", folder.path().display());
        Ok(Self { folder, node, psql, python: venv::python()?, class_path })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, place: &Place<'_>, kind: Kind, port: u16, label: &str) -> Result<Child> {
        let url = format!("postgres://app@127.0.0.1:{port}/app?sslmode=disable");
        let uid = kind.uid();
        let own = place.user(uid, uid);
        let mut command = match kind {
            Kind::Psql => {
                let mut psql = own.command(&self.psql)?;
                psql.args(["-XAtqc", &format!("SELECT '{label}'")]).arg(&url);
                psql
            }
            Kind::Psycopg => {
                let mut python = own.command(&self.python)?;
                python.arg(self.file("life.py")).args([&url, label]);
                python
            }
            Kind::Node => {
                let mut node = own.command("node")?;
                node.arg(&self.node).args([&url, label]);
                node
            }
            Kind::Java => {
                let url = format!(
                    "jdbc:postgresql://127.0.0.1:{port}/app?user=app&sslmode=disable&gssEncMode=disable"
                );
                let mut java = own.command("java")?;
                java.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
                java.args(["-cp", &self.class_path, "Life", &url, label]);
                java
            }
            Kind::Sudo => {
                // Only root may without a password.
                let mut sudo = place.command("sudo")?;
                sudo.args(["-n", "-u", "nobody"]).arg(self.file("life.sh")).args([&url, label]);
                sudo
            }
        };
        command.env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("cannot start {kind:?}"))
    }

    /// The program's own file.
    fn exe(&self, kind: Kind) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let of = |name: &str| {
            std::env::split_paths(&path).map(|it| it.join(name)).find(|it| it.is_file())
        };
        let file = match kind {
            Kind::Psql | Kind::Sudo => Some(self.psql.clone()),
            Kind::Psycopg => Some(self.python.clone()),
            Kind::Node => of("node"),
            Kind::Java => of("java"),
        };
        file.context("no program")?.canonicalize().context("its path")
    }

    fn script(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::Psql | Kind::Sudo => None,
            Kind::Psycopg => Some(self.file("life.py").display().to_string()),
            Kind::Node => Some(self.node.display().to_string()),
            Kind::Java => Some("Life".into()),
        }
    }

    fn is_right(&self, kind: Kind, pid: u32, process: &Process, actor: &Actor) -> Result<()> {
        let line: Vec<u32> =
            actor.ancestry.iter().filter(|it| it.relation == "parent").map(|it| it.pid).collect();
        let own = std::process::id();
        ensure!(
            process.exe.as_deref().map(Path::new) == Some(&*self.exe(kind)?),
            "{:?}",
            process.exe
        );
        ensure!(actor.program.script == self.script(kind), "{:?}", actor.program);
        if kind != Kind::Sudo {
            ensure!(process.key.tgid == pid && process.uid == kind.uid(), "pid {pid}: {process:?}");
            ensure!(line.first() == Some(&own) && process.parent == Some(own), "{line:?}");
            return Ok(());
        }
        // psql, by the script, by sudo (which may stand there twice), by us.
        ensure!(process.user.as_deref() == Some("nobody"), "{:?}", process.user);
        let script = self.file("life.sh").display().to_string();
        let shell = actor.ancestry.first().context("no ancestors")?;
        ensure!(shell.comm == "life.sh" || shell.comm == "bash", "{shell:?}");
        ensure!(shell.script.as_deref() == Some(&*script) && !shell.ended, "{shell:?}");
        let sudo = actor.ancestry.iter().find(|it| it.pid == pid).context("sudo is no ancestor")?;
        ensure!(sudo.comm == "sudo" && sudo.uid == 0, "{sudo:?}");
        let at = line.iter().position(|it| *it == pid).context("sudo is no parent")?;
        ensure!(at >= 1 && line.get(at + 1) == Some(&own), "{line:?}");
        Ok(())
    }
}

/// What is asked of a hit.
#[derive(Deserialize)]
struct Told {
    #[serde(flatten)]
    process: Process,
    actor: Actor,
}

#[test]
fn a_thousand_short_sessions_of_five_kinds_are_recorded_right() -> Result<()> {
    let _alone = alone();
    let programs = Programs::make()?;
    let postgres = Postgres::setup().auth("trust").setting("max_connections=300").start()?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let plan = Plan::postgres([postgres.port()]).setting("audit.text = \"full\"");
    let agent = Agent::start(&root, plan)?;
    let place = Place::new().cgroup(&work);

    let mut all: Vec<Kind> = CROWD.iter().flat_map(|(kind, count)| vec![*kind; *count]).collect();
    ensure!(all.len() == 1000);
    // Mixed, the same in every run.
    let mut state = 11_u64;
    for index in (1..all.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        all.swap(index, (state >> 33) as usize % (index + 1));
    }
    let mut expected: HashMap<String, (Kind, u32)> = HashMap::new();
    let mut running: Vec<(Kind, Child)> = Vec::new();
    let ended = |(kind, child): (Kind, Child)| -> Result<()> {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{kind:?}: {} {said}{}", output.status, agent.tail());
        Ok(())
    };
    for (index, kind) in all.into_iter().enumerate() {
        if running.len() == AT_A_TIME {
            // Whoever ends first makes room for another.
            let first = first_ended(&mut running)?;
            ended(running.swap_remove(first))?;
        }
        let label = format!("life{index}end");
        let child = programs.start(&place, kind, postgres.port(), &label)?;
        expected.insert(label, (kind, child.id()));
        running.push((kind, child));
    }
    running.into_iter().try_for_each(ended)?;

    let hits = until("every statement to be found", Duration::from_secs(20), || {
        let hits = agent.search(&["--kind", "statement", "--limit", "100000"])?;
        let labelled = |hit: &&Value| label(hit).is_some();
        Ok((hits.iter().filter(labelled).count() >= 1000).then_some(hits))
    })?;
    let (mut wrong, mut late) = (Vec::new(), Vec::new());
    for hit in &hits {
        let Some(label) = label(hit) else { continue };
        let (kind, pid) = expected.remove(&label).with_context(|| format!("{label} twice"))?;
        let told: Told = serde_json::from_value(hit["process"].clone())
            .with_context(|| format!("{label}: {}", hit["process"]))?;
        if !told.actor.complete {
            late.push(format!("{kind:?}: {}", told.actor.reason));
            continue;
        }
        if let Err(error) = programs.is_right(kind, pid, &told.process, &told.actor) {
            wrong.push(format!("{kind:?} {label}: {error:#}"));
        }
    }
    ensure!(expected.is_empty(), "{} have no record", expected.len());
    ensure!(wrong.is_empty(), "{} of 1000 are wrong, first: {}", wrong.len(), wrong[0]);
    ensure!(late.is_empty(), "{} of 1000 were not complete: {late:?}", late.len());
    Ok(())
}

const ID: &str = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";

/// Later than a connect waits for, sooner than the runtime is given up.
const SLOW: Duration = Duration::from_millis(1_500);

/// Answers like Docker's own socket, though late.
fn slow_runtime(path: &Path) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    let json = format!(
        r#"{{"Id":"{ID}","Name":"/shop-web-1","Image":"sha256:00","Config":{{"Image":"registry:5000/shop/web:1","Labels":{{"io.kubernetes.pod.name":"web-5c9f","io.kubernetes.pod.namespace":"shop"}}}}}}"#
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let json = json.clone();
            std::thread::spawn(move || {
                let mut question = [0; 4096];
                let _ = stream.read(&mut question);
                std::thread::sleep(SLOW);
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let _ = write!(stream, "{head}{:x}\r\n{json}\r\n0\r\n\r\n", json.len());
            });
        }
    });
    Ok(())
}

/// The connect goes on without the runtime's answer, and what was frozen stays. The
/// answer is a record of its own, by which the statement is found.
#[test]
fn what_a_runtime_says_too_late_is_a_record_of_its_own() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let socket = folder.path().join("docker.sock");
    slow_runtime(&socket)?;
    let postgres = Postgres::setup().auth("trust").start()?;
    let root = Cgroup::fresh()?;
    let slice = root.child("system.slice")?;
    let container = slice.child(&format!("docker-{ID}.scope"))?;
    let plan = Plan::postgres([postgres.port()])
        .setting("[identity]")
        .setting(&format!("runtimes = [\"{}\"]", socket.display()));
    let agent = Agent::start(&root, plan)?;
    let url = format!("postgres://app@127.0.0.1:{}/app?sslmode=disable", postgres.port());
    let mut psql = Place::new().cgroup(&container).command(program("psql")?)?;
    psql.args(["-XAtqc", "SELECT 7 AS lucky", &url]).env("PGGSSENCMODE", "disable");
    let began = std::time::Instant::now();
    run(&mut psql)?;
    ensure!(began.elapsed() < SLOW, "the client waited for the runtime");

    for asked in [["--pod", "shop/web-5c9f"], ["--pod", "web-5c9f"], ["--command", "shop/web"]] {
        let hits = until("the statement to be found", Duration::from_secs(20), || {
            let asked = [&asked[..], &["--kind", "statement"]].concat();
            let hits = agent.search(&asked)?;
            Ok((!hits.is_empty()).then_some(hits))
        })?;
        ensure!(hits.len() == 1, "{asked:?}: {hits:?}");
        ensure!(hits[0]["process"]["workload"]["image"].is_null(), "it was overwritten");
    }
    let told = agent.search(&["--kind", "enriched"])?;
    ensure!(told.len() == 1, "{told:?}");
    let facts = told[0]["facts"]["facts"].as_array().context("no facts")?;
    let image = facts.iter().find(|fact| fact["name"] == "image").context("no image")?;
    ensure!(image["value"] == "registry:5000/shop/web:1", "{image}");
    ensure!(image["origin"] == "runtime" && image["confidence"] == "certain", "{image}");
    agent.verified(&[])?;
    Ok(())
}

/// The label in a statement's text.
fn label(hit: &Value) -> Option<String> {
    let text = hit.pointer("/statement/text")?.as_str()?;
    let from = text.find("life")?;
    let until = text[from..].find("end")?;
    Some(text[from..from + until + 3].to_owned())
}
