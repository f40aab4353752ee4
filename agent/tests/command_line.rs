//! The binary as a person or a script runs it, with a server of the control
//! socket in the agent's place.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as a test does")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::control::{Answer, Order, Server, Serving};
use tidegate::model::{Event, StatusReport};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tidegate-line-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Of this machine's environment nothing gets in.
fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("JOURNAL_STREAM");
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    told(&tidegate(arguments).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn report(verdict: &str) -> StatusReport {
    serde_json::from_value(json!({
        "schema": 1, "version": "0.1.0", "started": "2026-11-21T01:00:00Z", "keeper": 7,
        "verdict": verdict, "cgroup": "/x", "listen_port": 15999, "generation": 1,
        "policy": {
            "mode": "shadow", "generation": "0f3a9c5512d4e860", "bare": false, "packs": [],
            "files": [], "enforced": [],
        },
        "canary": { "crossed": 1, "failed": 0, "last": null, "last_error": null },
        "hooks": [], "destinations": [], "namespaces": [], "enforcers": [], "open": 0,
        "connecting": 0, "adopted": [], "powerful": [], "notes": [],
        "losses": { "events": 0, "direct": 0, "refused": 0, "dropped_packets": 0, "over_quota": 0,
                    "untold": 0 },
        "log": { "enabled": true, "records": 0, "lost": 0, "trouble": null },
    }))
    .unwrap()
}

fn event(pid: u32) -> Event {
    serde_json::from_value(json!({
        "schema": 1, "at": "2026-11-21T01:00:00Z", "event": "direct",
        "destination": "10.0.0.7:5432", "netns": 1,
        "process": {
            "key": { "tgid": pid, "started": 0, "exec": 0 }, "tid": pid, "uid": 0, "gid": 0,
            "user": null, "comm": "psql", "command": ["psql", "\u{1b}[2J"], "command_cut": false,
            "command_source": "kernel", "exe": null, "parent": null, "login_uid": null,
            "cgroup_id": 1, "cgroup": null,
            "workload": { "unit": null, "container": null, "pod": null },
        },
    }))
    .unwrap()
}

/// Answers as an agent would that is `verdict` and has seen five events.
fn agent(socket: &Path, verdict: &'static str) -> (Serving, mpsc::Sender<Event>) {
    let (events_tx, events_rx) = mpsc::channel();
    let events_rx = std::sync::Mutex::new(events_rx);
    let serving = Server::bind(socket).unwrap().serve(move |order, asker| {
        let answer = match order {
            Order::LogRead { .. } => Answer::Done { message: String::new() },
            Order::Status => Answer::Status(Box::new(report(verdict))),
            Order::Observe { follow } => {
                for pid in 1..=5 {
                    asker.send(&Answer::Event(Box::new(event(pid))));
                }
                if follow {
                    while let Ok(event) = events_rx.lock().unwrap().recv() {
                        asker.send(&Answer::Event(Box::new(event)));
                    }
                    return;
                }
                Answer::Done { message: String::new() }
            }
            Order::Upgrade { binary, drain_ms } => Answer::Done {
                message: format!("{} {drain_ms:?}", binary.unwrap_or_default().display()),
            },
            Order::Reload => {
                Answer::Failed { error: "the running settings stay:\nf:1:1: wrong\u{1b}".into() }
            }
            Order::Detach => Answer::Done { message: "detached".into() },
            Order::Forget { schema, table, database, server } => {
                Answer::Done { message: format!("{schema} {table} {database:?} {server:?}") }
            }
            Order::Holds { .. } | Order::WatchHolds => Answer::Holds { holds: Vec::new() },
            Order::Hold { id } => Answer::Failed { error: format!("there is no hold `{id}`") },
            Order::Approve { id, reason, reach } if id == "two-two" => Answer::Waiting {
                message: format!("{reason} {:?} {} for group:dba", reach.for_ms, reach.vary.len()),
            },
            Order::Approve { id, .. } => Answer::Denied { error: format!("{id} is your own") },
            Order::Deny { id, reason } => Answer::Done { message: format!("{id}: {reason}") },
        };
        asker.send(&answer);
    });
    (serving.unwrap(), events_tx)
}

#[test]
fn with_no_agent_running_the_exit_code_is_7_and_the_way_on_is_told() {
    let folder = Folder::new("none");
    let socket = folder.socket();
    let socket = socket.to_str().unwrap();
    for command in ["status", "observe", "reload", "upgrade"] {
        let (code, out, err) = run(&[command, "--control", socket]);
        assert_eq!((code, out.as_str()), (7, ""), "{command}");
        assert!(err.starts_with("tidegate: the agent is not running"), "{err}");
        assert!(err.contains("systemctl start tidegate"), "{err}");
        assert_eq!(err.matches("No such file").count(), 1, "{err}");
    }
    assert_eq!(run(&["status", "--quiet", "--control", socket]), (7, "".into(), "".into()));
}

#[test]
fn the_status_is_data_on_stdout_and_its_verdict_the_exit_code() {
    for (verdict, arguments, code) in [
        ("healthy", "status", 0),
        ("degraded", "status", 0),
        ("degraded", "status --fail-on degraded", 1),
        ("failing", "status", 1),
        ("failing", "status -o json", 1),
    ] {
        let folder = Folder::new("status");
        let (_serving, _events) = agent(&folder.socket(), verdict);
        let mut words: Vec<&str> = arguments.split(' ').collect();
        let socket = folder.socket();
        words.extend(["--control", socket.to_str().unwrap()]);
        let (got, out, err) = run(&words);
        assert_eq!((got, err.as_str()), (code, ""), "{arguments}");
        assert!(out.contains(verdict), "{out}");
        words.push("--quiet");
        assert_eq!(run(&words), (code, String::new(), String::new()));
    }
}

#[test]
fn a_decision_says_by_its_exit_code_what_came_of_it() {
    let folder = Folder::new("approvals");
    let (_serving, _events) = agent(&folder.socket(), "healthy");
    let socket = folder.socket();
    for (arguments, code, said) in [
        ("approve two-two -r why --for 1h --shape #1,$2", 4, "why Some(3600000) 2 for group:dba"),
        ("approve own-own -r why", 3, "own-own is your own"),
        ("deny own-own -r why", 0, "own-own: why"),
        ("show own-own", 1, "there is no hold `own-own`"),
        ("ls", 0, "nothing waits for an approval"),
        ("approve own-own", 2, "--reason"),
        ("approve own-own -r why --shape 7", 2, "marks nothing"),
    ] {
        let mut words: Vec<&str> = vec!["approvals"];
        words.extend(arguments.split(' '));
        words.extend(["--control", socket.to_str().unwrap()]);
        let (got, out, err) = run(&words);
        assert_eq!((got, out.as_str()), (code, ""), "{arguments}: {err}");
        assert!(err.contains(said), "{arguments}: {err}");
    }
    let control = socket.to_str().unwrap();
    let (code, out, _) = run(&["approvals", "ls", "-o", "json", "--control", control]);
    assert_eq!((code, out.as_str()), (0, "[]\n"));
}

#[test]
fn every_form_of_the_events_is_what_it_says() {
    let folder = Folder::new("forms");
    let (_serving, _events) = agent(&folder.socket(), "healthy");
    let socket = folder.socket();
    let observe = |form: &str| {
        let arguments = ["observe", "-o", form, "--control", socket.to_str().unwrap()];
        let (code, out, err) = run(&arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{form}");
        assert!(!out.contains('\x1b'), "{out:?}");
        out
    };
    assert_eq!(observe("table").lines().count(), 6);
    assert_eq!(observe("wide").lines().count(), 6);
    let array: Vec<Value> = serde_json::from_str(&observe("json")).unwrap();
    assert_eq!(array.len(), 5);
    let lines = observe("jsonl");
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(array, lines);
    assert_eq!(observe("yaml").lines().filter(|line| line.starts_with("- ")).count(), 5);
    let arguments =
        ["observe", "--process", "3", "-o", "jsonl", "--control", socket.to_str().unwrap()];
    assert_eq!(run(&arguments).1.lines().count(), 1);
}

#[test]
fn followed_events_come_as_they_happen_and_a_closed_pipe_ends_quietly() {
    let folder = Folder::new("follow");
    let (_serving, events_tx) = agent(&folder.socket(), "healthy");
    let socket = folder.socket();
    // `json` becomes a line each: an array would never end.
    let mut child =
        tidegate(&["observe", "-f", "-o", "json", "--control", socket.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["process"]["key"]["tgid"].as_u64().unwrap()
    };
    assert_eq!((1..=5).map(|_| next()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for pid in 6..=8 {
        events_tx.send(event(pid)).unwrap();
        assert_eq!(next(), u64::from(pid));
    }
    drop(out);
    // The first write behind the closed end fails.
    events_tx.send(event(9)).unwrap();
    let status = child.wait().unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
}

#[test]
fn orders_pass_on_what_the_agent_says() {
    let folder = Folder::new("orders");
    let (_serving, _events) = agent(&folder.socket(), "healthy");
    let socket = folder.socket();
    let socket = socket.to_str().unwrap();
    let binary = env!("CARGO_BIN_EXE_tidegate");
    let (code, out, err) =
        run(&["upgrade", "--binary", binary, "--drain", "1m30s", "--control", socket]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(err, format!("tidegate: {binary} Some(90000)\n"));
    let (code, _, err) = run(&["upgrade", "--binary", "/nowhere/tidegate", "--control", socket]);
    assert_eq!(code, 2);
    assert!(err.contains("cannot find the new enforcer `/nowhere/tidegate`"), "{err}");
    let (code, _, err) = run(&["reload", "--control", socket]);
    let expected = "tidegate: the running settings stay:\ntidegate: f:1:1: wrong\\u{1b}\n";
    assert_eq!((code, err.as_str()), (1, expected));
    assert_eq!(run(&["detach", "--control", socket]).0, 0);
}

#[test]
fn the_control_socket_is_found_by_flag_environment_and_settings() {
    let folder = Folder::new("found");
    let (_serving, _events) = agent(&folder.socket(), "healthy");
    let socket = folder.socket();
    let text = format!("control = \"{}\"\n", socket.display());
    let config = folder.file("tidegate.toml", &text);
    let config = config.to_str().unwrap();
    assert_eq!(run(&["status", "--config", config]).0, 0);
    let by_variable =
        |name: &str, value: &str| told(&tidegate(&["status"]).env(name, value).output().unwrap()).0;
    assert_eq!(by_variable("TIDEGATE_CONFIG", config), 0);
    assert_eq!(by_variable("TIDEGATE_CONTROL", socket.to_str().unwrap()), 0);
    // The flag wins.
    let wrong = tidegate(&["status", "--control", "/nowhere"])
        .env("TIDEGATE_CONTROL", &socket)
        .output()
        .unwrap();
    assert_eq!(told(&wrong).0, 7);
}

#[test]
fn mistakes_in_the_settings_are_all_told_and_nothing_is_run() {
    let folder = Folder::new("mistakes");
    let config = folder.file("tidegate.toml", "protct = []\nlisten_port = 0\n");
    let config = config.to_str().unwrap();
    let (code, out, err) = run(&["run", "--config", config, "--cgroup", "here"]);
    assert_eq!((code, out.as_str()), (2, ""));
    let expected = format!(
        "tidegate: --cgroup (TIDEGATE_CGROUP): `here` is not an absolute path: begin it with `/`\n\
         tidegate: {config}:1:1: unknown key `protct`: did you mean `protect`?\n\
         tidegate: {config}:2:15: `listen_port`: `0` is out of range: from 1 to 65535\n"
    );
    assert_eq!(err, expected);
    let (code, _, err) = run(&["run", "--config", "/nowhere/tidegate.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("cannot read the settings"), "{err}");
    let listed = tidegate(&["run"]).env("TIDEGATE_PROTECT", "5432 db").output().unwrap();
    let (code, _, err) = told(&listed);
    assert_eq!(code, 2);
    assert!(err.contains("`db` has no port"), "{err}");
}

#[test]
fn wrong_arguments_exit_with_2_and_help_with_0() {
    assert_eq!(run(&["dance"]).0, 2);
    assert_eq!(run(&[]).0, 2);
    assert_eq!(run(&["status", "--log-level", "loud=loud=loud"]).0, 2);
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("Exit codes:"));
    assert_eq!(run(&["--version"]).0, 0);
}

#[test]
fn the_manual_ends_quietly_when_nobody_reads_on() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    let output = tidegate(&["man"])
        .stdout(std::os::fd::OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
    assert!(run(&["man"]).1.contains(".TH tidegate"));
    assert!(run(&["completions", "bash"]).1.contains("complete "));
}

#[test]
fn an_agent_that_hangs_up_is_told_of() {
    let folder = Folder::new("hangs");
    let socket = folder.socket();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut order = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut order).unwrap();
        stream.write_all(b"{\"answer\":").unwrap();
        order
    });
    let (code, out, err) = run(&["status", "--control", socket.to_str().unwrap()]);
    assert_eq!(thread.join().unwrap(), "{\"order\":\"status\"}\n");
    assert_eq!((code, out.as_str()), (7, ""));
    assert!(err.contains("the agent ended before it had answered"), "{err}");
}

/// Settings that name a CA in the folder.
fn with_ca(folder: &Folder, protect: &str) -> PathBuf {
    let at = folder.0.display();
    let ca = format!("[ca]\ncertificate = \"{at}/ca/ca.crt\"\nkey = \"{at}/ca/ca.key\"\n");
    folder.file("tidegate.toml", &format!("protect = [{protect}]\n{ca}"))
}

#[test]
fn a_ca_is_made_shown_and_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("ca");
    let config = with_ca(&folder, "\"db.example:5432\", \"10.0.0.0/8:5432\", 3306");
    let config = config.to_str().unwrap();
    let ca = |words: &str| {
        let mut arguments = vec!["ca"];
        arguments.extend(words.split(' '));
        arguments.extend(["--config", config]);
        run(&arguments)
    };
    let document = |words: &str| -> Value {
        let (code, out, err) = ca(words);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    };
    for command in ["show", "rotate", "trust"] {
        let (code, out, err) = ca(command);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("there is no CA at") && err.contains("tidegate ca init"), "{err}");
    }
    let made = document("init --cn ours --days 100 --permit 192.0.2.7 -o json");
    assert_eq!(made["schema"], 1);
    assert_eq!(made["subject"], "CN=ours");
    assert_eq!(made["permits"], json!(["db.example", "10.0.0.0/8", "192.0.2.7/32"]));
    assert_eq!((&made["constrained"], &made["problem"]), (&json!(true), &Value::Null));
    let key = folder.0.join("ca/ca.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(document("show -o json"), made);
    let (code, out, err) = ca("show");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("db.example, 10.0.0.0/8, 192.0.2.7/32") && !out.contains("PRIVATE"),
        "{out}"
    );
    let (code, _, err) = ca("init");
    assert_eq!(code, 1);
    assert!(err.contains("is there already: `tidegate ca rotate`"), "{err}");

    let second = document("rotate -o json");
    assert_ne!(second["fingerprint"], made["fingerprint"]);
    assert_eq!(second["previous"][0]["fingerprint"], made["fingerprint"]);
    let (_, _, err) = ca("rotate");
    assert!(err.contains("tidegate ca trust") && err.contains("tidegate reload"), "{err}");

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, out, _) = ca("show");
    assert_eq!(code, 1);
    assert!(out.contains("can be read by others"), "{out}");
}

#[test]
fn a_port_alone_names_no_host_and_the_ca_says_so() {
    let folder = Folder::new("ca-port");
    let config = with_ca(&folder, "5432, \"db.example:5433\"");
    let config = config.to_str().unwrap();
    let (code, out, err) = run(&["ca", "init", "--config", config]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("`5432` names no host") && err.contains("--unconstrained"), "{err}");
    assert!(!err.contains("5433"), "{err}");
    let permitted = ["ca", "init", "--config", config, "--permit", "example", "-o", "json"];
    let (code, out, _) = run(&permitted);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["permits"]), (0, &json!(["db.example", "example"])));
    let (code, out, _) =
        run(&["ca", "rotate", "--config", config, "--unconstrained", "-o", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["constrained"]), (0, &json!(false)));
    for wrong in [
        &["--permit", "a b"][..],
        &["--permit", "x", "--unconstrained"],
        &["--from-cert", "x"],
        &["--days", "0", "--unconstrained"],
    ] {
        let mut arguments = vec!["ca", "rotate", "--config", config];
        arguments.extend(wrong);
        assert_eq!(run(&arguments).0, 2, "{wrong:?}");
    }
}

#[test]
fn what_trust_writes_is_trusted() {
    let folder = Folder::new("ca-trust");
    let config = with_ca(&folder, "\"db.example:5432\"");
    let config = config.to_str().unwrap();
    assert_eq!(run(&["ca", "init", "--config", config]).0, 0);
    assert_eq!(run(&["ca", "rotate", "--config", config]).0, 0);
    let out = folder.0.join("it's here");
    let arguments =
        ["ca", "trust", "--config", config, "--out", out.to_str().unwrap(), "-o", "json"];
    let (code, text, err) = run(&arguments);
    assert_eq!((code, err.as_str()), (0, ""));
    let given: Value = serde_json::from_str(&text).unwrap();
    for file in given["files"].as_array().unwrap() {
        assert!(Path::new(file["path"].as_str().unwrap()).starts_with(&out), "{file}");
    }
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("tidegate.crt").matches("BEGIN CERTIFICATE").count(), 2);
    assert!(read("bundle.pem").starts_with(&read("tidegate.crt")));
    assert!(!read("bundle.pem").contains("PRIVATE KEY"));
    // A shell takes the path as it is.
    let script = ". \"$1\"; printf %s \"$PGSSLROOTCERT\"";
    let shown =
        Command::new("sh").args(["-c", script, "sh"]).arg(out.join("profile.sh")).output().unwrap();
    assert_eq!(shown.stdout, out.join("bundle.pem").to_str().unwrap().as_bytes());
    // Both CAs verify against what was given out.
    for certificate in ["ca/ca.crt", "ca/ca.crt.previous"] {
        let verified = Command::new("openssl")
            .args(["verify", "-CAfile"])
            .arg(out.join("bundle.pem"))
            .arg(folder.0.join(certificate))
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
    let yaml = read("kubernetes.yaml");
    assert!(yaml.contains("kind: ConfigMap") && yaml.contains("    -----BEGIN CERTIFICATE-----\n"));
    let (code, text, _) = run(&["ca", "trust", "--config", config, "--out", "/proc/nowhere"]);
    assert_eq!((code, text.as_str()), (1, ""));
}

#[test]
fn a_jvm_s_store_has_the_ca_in_it() {
    let there = Command::new("keytool").arg("-help").output().is_ok();
    let folder = Folder::new("ca-java");
    let config = with_ca(&folder, "\"db.example:5432\"");
    let config = config.to_str().unwrap();
    assert_eq!(run(&["ca", "init", "--config", config]).0, 0);
    let out = folder.0.join("trust");
    let arguments = ["ca", "trust", "--java", "--config", config, "--out", out.to_str().unwrap()];
    let (code, text, _) = run(&arguments);
    if !there {
        assert_eq!(code, 1);
        assert!(text.contains("there is no keytool here"), "{text}");
        return;
    }
    assert_eq!(code, 0, "{text}");
    let listed = Command::new("keytool")
        .args(["-list", "-alias", "tidegate-1", "-storepass", "changeit", "-keystore"])
        .arg(out.join("truststore.p12"))
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stdout));
    let shown = run(&["ca", "show", "--config", config, "-o", "json"]).1;
    let report: Value = serde_json::from_str(&shown).unwrap();
    let fingerprint = report["fingerprint"].as_str().unwrap().to_owned();
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&fingerprint));
}
