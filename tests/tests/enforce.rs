//! A service in its container: in shadow, taken out of it by its image, by its
//! executable, and put back, while its session stays open.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::Postgres;
use tidegate_tests::scene::alone;
use tidegate_tests::venv;

const ID: &str = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";

/// Deletes every row of a table for each line that it is given, and undoes it.
const SERVICE: &str = r#"
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as c:
    print(sys.executable, flush=True)
    for line in sys.stdin:
        try:
            with c.transaction(force_rollback=True):
                print("deleted", c.execute("DELETE FROM customers").rowcount, flush=True)
        except psycopg.errors.InsufficientPrivilege as error:
            print("refused", error.diag.message_detail.split(" ")[1], flush=True)
"#;

/// Answers like Docker's own socket, for one container.
fn runtime(path: &std::path::Path) -> Result<std::thread::JoinHandle<()>> {
    let listener = UnixListener::bind(path)?;
    let json = format!(
        r#"{{"Id":"{ID}","Name":"/shop-web-1","Image":"sha256:00","Config":{{"Image":"shop/web:1","Labels":{{}}}},"HostConfig":{{"RestartPolicy":{{"Name":"always"}}}}}}"#
    );
    Ok(std::thread::spawn(move || {
        // One question is enough for all: the answer is kept.
        if let Ok((mut stream, _)) = listener.accept() {
            let mut question = [0; 4096];
            let _ = stream.read(&mut question);
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = write!(stream, "{head}{:x}\r\n{json}\r\n0\r\n\r\n", json.len());
        }
    }))
}

struct Service {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Service {
    fn start(container: &Cgroup, dsn: &str) -> Result<Self> {
        let mut command = Place::new().cgroup(container).command("unshare")?;
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(venv::python()?).args(["-c", SERVICE, dsn]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, answers })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn delete(&mut self) -> Result<String> {
        writeln!(self.orders.as_mut().context("no stdin")?)?;
        self.line()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It ends with its input.
        self.orders = None;
        let _ = self.child.wait();
    }
}

fn enforce(agent: &Agent, arguments: &[&str]) -> Result<String> {
    let file = agent.settings_file().display().to_string();
    agent.must(&[&["enforce", "--config", &file], arguments].concat())
}

/// How the services stand: `workload stance`.
fn listed(agent: &Agent) -> Result<Vec<String>> {
    let list: Value = serde_json::from_str(&enforce(agent, &["-o", "json"])?)?;
    let rows = list["workloads"].as_array().context("no workloads")?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .map(|row| format!("{} {}", text(row, "workload"), text(row, "stance")))
        .collect())
}

#[test]
fn a_service_leaves_its_shadow_by_name_and_its_open_session_obeys() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let socket = folder.path().join("docker.sock");
    let answering = runtime(&socket)?;
    let postgres = Postgres::with_tls()?;
    postgres.psql("app", "CREATE TABLE customers AS SELECT generate_series(1, 9) AS id")?;
    let root = Cgroup::fresh()?;
    let plan = Plan::postgres([postgres.port()])
        .policy("enforce")
        .setting("[identity]")
        .setting(&format!("runtimes = [\"{}\"]", socket.display()));
    let agent = Agent::start(&root, plan)?;
    let slice = root.child("system.slice")?;
    let container = slice.child(&format!("docker-{ID}.scope"))?;
    let dsn = format!("{} sslmode=require", postgres.dsn("app"));
    let mut service = Service::start(&container, &dsn)?;
    let executable = service.line().with_context(|| agent.tail())?;
    let executable = std::fs::canonicalize(executable)?.display().to_string();

    ensure!(service.delete()? == "deleted 9", "{}", agent.tail());
    ensure!(listed(&agent)? == ["shop/web:1 shadow"], "{:?}", listed(&agent)?);
    let would = agent.search(&["--verdict", "would_hold"])?;
    ensure!(would.iter().any(|one| one.to_string().contains("default/unbounded")), "{would:?}");

    for name in ["shop/web", "shop/web:1", executable.as_str()] {
        enforce(&agent, &[name])?;
        let said = service.delete()?;
        ensure!(said == "refused default/unbounded", "{name}: {said}\n{}", agent.tail());
        ensure!(listed(&agent)? == [format!("{name} enforced")], "{:?}", listed(&agent)?);
        enforce(&agent, &[name, "--undo"])?;
        ensure!(service.delete()? == "deleted 9", "{name}: {}", agent.tail());
    }
    // Somebody else's name is none of its.
    enforce(&agent, &["shop"])?;
    ensure!(service.delete()? == "deleted 9", "{}", agent.tail());
    ensure!(enforce(&agent, &["shop/web", "--undo"]).is_err(), "what isn't there was taken out");
    drop(service);
    answering.join().ok().context("the runtime's answers")?;
    Ok(())
}
