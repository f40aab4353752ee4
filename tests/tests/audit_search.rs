//! What an investigator asks, each by one command: who saw what, who was the
//! first, what did this process tree do. Real clients, each in its own place.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program, run};
use tidegate_tests::scene::alone;
use tidegate_tests::venv;
use tidegate_tests::wait::until_true;

const CONTAINER: &str = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
const OTHER: &str = "aa4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";
const POD: &str = "6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5";
/// Nobody's uid.
const UID: u32 = 4242;

struct Ground {
    agent: Agent,
    work: Cgroup,
    root: Cgroup,
    postgres: Postgres,
    folder: TempFolder,
}

impl Ground {
    fn start() -> Result<Self> {
        let postgres = Postgres::start()?;
        for sql in [
            "CREATE TABLE customers (id int, email text, note text)",
            "INSERT INTO customers VALUES (1, 'ann@shop.example', 'x'), (2, 'bob@shop.example', 'y')",
            "CREATE TABLE orders (id int, total int)",
            "INSERT INTO orders VALUES (1, 10)",
            "CREATE DATABASE billing",
            "CREATE ROLE clerk LOGIN PASSWORD 'tide' SUPERUSER",
        ] {
            postgres.admin("app", sql)?;
        }
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let plan =
            Plan::postgres([postgres.port()]).policy("enforce").setting("audit.text = \"full\"");
        let agent = Agent::start(&root, plan)?;
        Ok(Self { agent, work, root, postgres, folder: TempFolder::fresh()? })
    }

    fn inside(&self) -> Place<'_> {
        Place::new().cgroup(&self.work)
    }

    fn words(&self, database: &str, sql: &str) -> Result<Vec<String>> {
        let psql = program("psql")?.display().to_string();
        let dsn = self.postgres.dsn(database);
        Ok([&psql, "-XAtqc", sql, &dsn].map(str::to_owned).to_vec())
    }

    /// Runs psql in a place, behind these words.
    fn psql(&self, place: &Place<'_>, before: &[&str], database: &str, sql: &str) -> Result<()> {
        let words = self.words(database, sql)?;
        let mut all = before.iter().map(|word| (*word).to_owned()).chain(words);
        let mut command = place.command(all.next().context("no program")?)?;
        run(command.args(all).stdin(Stdio::null())).with_context(|| self.agent.tail())?;
        Ok(())
    }

    /// The labels (`tag-…`) of the statements that a search finds.
    fn tags(&self, arguments: &[&str]) -> Result<BTreeSet<String>> {
        let hits = self.agent.search(&[&["--kind", "statement"], arguments].concat())?;
        let tag = |hit: &Value| {
            let text = hit.pointer("/statement/text")?.as_str()?;
            let from = text.find("tag-")?;
            let tag: String =
                text[from + 4..].chars().take_while(|sign| sign.is_ascii_alphanumeric()).collect();
            Some(tag)
        };
        Ok(hits.iter().filter_map(tag).collect())
    }

    fn finds(&self, arguments: &[&str], expected: &[&str]) -> Result<()> {
        let found = self.tags(arguments)?;
        let expected: BTreeSet<String> = expected.iter().map(|tag| (*tag).to_owned()).collect();
        ensure!(found == expected, "{arguments:?}: {found:?}, not {expected:?}");
        Ok(())
    }
}

fn quoted(words: &[String]) -> String {
    words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn every_question_is_one_command() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start()?;
    let agent = &ground.agent;
    let inside = ground.inside();

    // A unit, a container with pids of its own, a pod.
    let system = ground.root.child("system.slice")?;
    let unit = system.child("shop.service")?;
    let container = system.child(&format!("docker-{CONTAINER}.scope"))?;
    let pods = ground.root.child("kubepods.slice")?;
    let burstable = pods.child("kubepods-burstable.slice")?;
    let pod = burstable.child(&format!("kubepods-burstable-pod{}.slice", POD.replace('-', "_")))?;
    let in_pod = pod.child(&format!("cri-containerd-{OTHER}.scope"))?;
    ground.psql(&Place::new().cgroup(&unit), &[], "app", "SELECT 'tag-unit'")?;
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--ipc", "--uts"];
    ground.psql(&Place::new().cgroup(&container), &unshare, "app", "SELECT 'tag-container'")?;
    ground.psql(&Place::new().cgroup(&in_pod), &unshare, "app", "SELECT 'tag-pod'")?;
    ground.finds(&["--unit", "shop"], &["unit"])?;
    ground.finds(&["--unit", "shop.service"], &["unit"])?;
    ground.finds(&["--container", &CONTAINER[..12]], &["container"])?;
    ground.finds(&["--pod", POD], &["pod"])?;
    ground.finds(&["--pod", &POD[..8]], &["pod"])?;

    // Users, by number and by name; programs; AI agents.
    ground.psql(&inside.user(UID, UID), &[], "app", "SELECT 'tag-user'")?;
    ground.psql(&inside.user(65_534, 65_534), &[], "app", "SELECT 'tag-nobody'")?;
    ground.finds(&["--user", "4242"], &["user"])?;
    ground.finds(&["--user", "nobody"], &["nobody"])?;
    let claude = ground.folder.path().join("claude");
    std::fs::copy("/bin/bash", &claude)?;
    let line = format!("{}; true", quoted(&ground.words("app", "SELECT 'tag-agent'")?));
    run(inside.command(&claude)?.args(["-c", &line]))?;
    ground.finds(&["--agent", "claude-code"], &["agent"])?;
    let python = venv::python()?;
    let script = "import sys, psycopg\n\
                  with psycopg.connect(sys.argv[1], autocommit=True) as c:\n\
                  \x20   c.execute('SELECT %s, %b, %s /* tag-python */', ('text', 77, None), prepare=True)\n\
                  \x20   c.execute('SELECT id FROM customers WHERE email = %s -- tag-bound', ('ann@shop.example',))\n";
    run(inside.command(&python)?.args(["-c", script]).arg(ground.postgres.dsn("app")))?;
    let exe = std::fs::canonicalize(&python)?;
    ground.finds(&["--exe", exe.to_str().context("a path")?], &["python", "bound"])?;
    let name = exe.file_name().and_then(|name| name.to_str()).context("a name")?;
    ground.finds(&["--exe", name], &["python", "bound"])?;

    // All statements of a process tree.
    let first = quoted(&ground.words("app", "SELECT 'tag-child'")?);
    let second = quoted(&ground.words("app", "SELECT 'tag-grandchild'")?);
    let line = format!("{first}; (bash -c \"{}; true\"); true", second.replace('"', "\\\""));
    let tree = inside.command("/bin/bash")?.args(["-c", &line]).stdout(Stdio::null()).spawn()?;
    let root = tree.id().to_string();
    ensure!(tree.wait_with_output()?.status.success());
    ground.finds(&["--tree", &root], &["child", "grandchild"])?;
    ensure!(agent.search(&["--process", &root])?.is_empty(), "the root itself did nothing");

    // Refused in the kernel: found by who it was, with the statements that were refused.
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{}", agent.listen_port());
    let dialled = inside.command("/bin/bash")?.args(["-c", &line]).output()?;
    ensure!(!dialled.status.success(), "a listener was dialled");
    until_true("the refusal to be found", Duration::from_secs(5), || {
        let words = ["--verdict", "refused", "--exe", "bash"];
        let hits = agent.search(&words).unwrap_or_default();
        hits.iter().any(|hit| hit["kind"] == "observed" && hit["facts"]["why"] == "direct-dial")
    })
    .with_context(|| format!("{:?}", agent.search(&["--kind", "observed"])))?;

    // Databases, roles.
    ground.psql(&inside, &[], "billing", "SELECT 'tag-billing'")?;
    ground.finds(&["--db", "billing"], &["billing"])?;
    let clerk = ground.postgres.dsn("app").replace("user=app", "user=clerk");
    let mut psql = inside.command(program("psql")?)?;
    run(psql.args(["-XAtqc", "SELECT 'tag-clerk'"]).arg(&clerk))?;
    ground.finds(&["--role", "clerk"], &["clerk"])?;

    // Tables, columns, the first touch.
    for tag in ["early", "late"] {
        ground.psql(&inside, &[], "app", &format!("SELECT total, 'tag-{tag}' FROM orders"))?;
    }
    ground.finds(&["--table", "orders"], &["early", "late"])?;
    ground.finds(&["--table", "orders", "--first"], &["early"])?;
    ground.finds(&["--column", "orders.total"], &["early", "late"])?;
    ground.finds(&["--column", "total", "--limit", "1"], &["late"])?;
    ground.finds(&["orders", "total"], &["early", "late"])?;

    // Who saw e-mail addresses last week: who reads the column, whatever he is shown.
    let reader = inside.user(UID, UID);
    ground.psql(&reader, &[], "app", "SELECT email, 'tag-mail' FROM customers")?;
    let hits = agent.search(&["--class", "email", "--since", "7d"])?;
    let users: BTreeSet<u64> =
        hits.iter().filter_map(|hit| hit.pointer("/process/uid")?.as_u64()).collect();
    ensure!(users == BTreeSet::from([0, u64::from(UID)]), "{users:?}");
    ground.finds(&["--class", "email", "--since", "7d"], &["mail", "bound"])?;
    ground.finds(&["--class", "email", "--user", "4242"], &["mail"])?;
    ground.finds(&["--class", "iban"], &[])?;
    // … and who saw them in the clear: nobody, where nothing permits it.
    let outcome = &agent.search(&["--class", "email", "--user", "4242"])?[0]["outcome"];
    ensure!(outcome["masked"]["email"] == 2 && outcome["seen"].is_null(), "{outcome}");
    // A text that names no column: what the answer held is told.
    ground.psql(&reader, &[], "app", "SELECT *, 'tag-all' FROM customers")?;
    ground.finds(&["--class", "email", "--user", "4242"], &["mail", "all"])?;
    ground.finds(&["--column", "email", "--user", "4242"], &["mail", "all"])?;
    let permit = "@id(\"own/clear\")\npermit (principal, action == Action::\"reveal\", \
                  resource in Class::\"person\");";
    std::fs::write(agent.policies().join("own.cedar"), permit)?;
    agent.must(&["reload"])?;
    ground.psql(&reader, &[], "app", "SELECT *, 'tag-shown' FROM customers")?;
    ground.finds(&["--class", "email", "--user", "4242"], &["mail", "all", "shown"])?;
    ground.finds(&["--seen", "email", "--since", "7d"], &["shown"])?;
    let outcome = &agent.search(&["shown", "--class", "email"])?[0]["outcome"];
    ensure!(outcome["seen"]["email"] == 2 && outcome["masked"].is_null(), "{outcome}");

    // Refused, and why; held, for its owner to approve.
    for statement in
        ["COPY customers TO PROGRAM 'cat' /* tag-program */", "DROP TABLE customers /* tag-drop */"]
    {
        let refused = ground.psql(&inside, &[], "app", statement);
        ensure!(refused.is_err(), "{statement} was run");
    }
    ground.finds(&["--verdict", "refused"], &["program"])?;
    ground.finds(&["--verdict", "held"], &["drop"])?;
    ground.finds(&["--verdict", "held", "--verdict", "refused"], &["drop", "program"])?;
    let hits = agent.search(&["--verdict", "refused", "--kind", "statement"])?;
    let policies = hits[0]["policies"].as_array().context("no policies")?;
    ensure!(policies.contains(&"default/server-access".into()), "{policies:?}");
    let why = &hits[0]["statement"]["why"][0];
    ensure!(why["policy"] == "default/server-access" && why["reason"].is_string(), "{why}");
    ground.finds(&["--sqlstate", "42501"], &["drop", "program"])?;
    let ends: Vec<_> = hits.iter().map(|hit| &hit["outcome"]["ending"]).collect();
    ensure!(ends == ["refused"], "{ends:?}");

    // Times, and all of it together.
    ground.finds(&["--since", "1h", "--verdict", "refused"], &["program"])?;
    ground.finds(&["--until", "1h", "--verdict", "refused"], &[])?;
    let all = ["--user", "4242", "--exe", "psql", "--db", "app", "--table", "customers"];
    let more = ["--column", "email", "--class", "email", "--verdict", "allowed", "--since", "1h"];
    ground.finds(&[&all[..], &more[..]].concat(), &["mail", "all", "shown"])?;

    // What a session calls itself since.
    ground.psql(&inside, &[], "app", "SET application_name = 'tag-renamed'")?;
    let renamed = agent.search(&["--kind", "renamed"])?;
    ensure!(
        renamed.len() == 1 && renamed[0]["facts"]["application"] == "tag-renamed",
        "{renamed:?}"
    );

    // What a trace sent, by the statement's own word.
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sql = format!(
        "SELECT 'tag-trace' /*controller='orders',traceparent='00-{trace}-00f067aa0ba902b7-01'*/"
    );
    ground.psql(&inside, &[], "app", &sql)?;
    ground.finds(&["--trace", trace], &["trace"])?;
    let says = &agent.search(&["--trace", trace])?[0]["statement"]["says"];
    ensure!(says["tags"]["controller"] == "orders" && says["span"] == "00f067aa0ba902b7", "{says}");
    Ok(())
}

#[test]
fn records_tell_all_that_is_promised() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start()?;
    let agent = &ground.agent;
    let inside = ground.inside();
    let script = "import sys, psycopg\n\
                  with psycopg.connect(sys.argv[1], autocommit=True) as c:\n\
                  \x20   c.execute('SELECT %s::text, %b::int8, %s::int -- tag-given', ('words', 77, None))\n\
                  \x20   c.execute('SELECT id FROM customers WHERE email = %s', ('ann@shop.example',))\n\
                  \x20   c.execute(\"SELECT set_config('app.secret', %s, false)\", ('hunter2',))\n\
                  \x20   c.execute('SELECT id, note FROM customers')\n\
                  \x20   with c.cursor().copy('COPY orders (id, total) FROM STDIN') as copy:\n\
                  \x20       copy.write(b'7\\t8\\n9\\t9\\n')\n\
                  \x20   with c.transaction():\n\
                  \x20       c.execute('UPDATE orders SET total = 11 WHERE id = 1')\n";
    // From a file: what stands in the arguments is recorded with the process.
    let file = ground.folder.path().join("client.py");
    std::fs::write(&file, script)?;
    run(inside.command(venv::python()?)?.arg(&file).arg(ground.postgres.dsn("app")))?;
    let one = |words: &[&str]| -> Result<Value> {
        let mut hits = agent.search(&[&["--kind", "statement"], words].concat())?;
        ensure!(hits.len() == 1, "{words:?}: {} hits", hits.len());
        Ok(hits.remove(0))
    };

    // What was bound: text, binary, NULL; a class, a secret.
    let bound = |hit: &Value| hit["statement"]["parameters"].clone();
    let given = one(&["given"])?;
    ensure!(bound(&given) == serde_json::json!(["words", "77", null]), "{given}");
    let by_mail = one(&["--column", "email"])?;
    ensure!(bound(&by_mail) == serde_json::json!(["[email]"]), "{by_mail}");
    let secret = one(&["set_config"])?;
    ensure!(bound(&secret) == serde_json::json!(["[secret]"]), "{secret}");
    let log = serde_json::to_string(&agent.exported("1h")?)?;
    ensure!(!log.contains("hunter2") && !log.contains("ann@shop"), "a value was recorded");

    // Every field of a statement, and of its end.
    let read = one(&["--column", "note"])?;
    for pointer in [
        "/schema",
        "/record",
        "/kind",
        "/at",
        "/verdict",
        "/database",
        "/role",
        "/statement/text",
        "/statement/fingerprint",
        "/statement/verbs",
        "/statement/touched",
        "/statement/serial",
        "/statement/way",
        "/statement/effects",
        "/statement/in_transaction",
        "/statement/parameters",
        "/outcome/record",
        "/outcome/ending",
        "/outcome/rows",
        "/outcome/bytes",
        "/outcome/latency_us",
        "/outcome/tag",
        "/process/key/tgid",
        "/process/exe",
        "/process/command",
        "/process/uid",
        "/process/actor/kind",
        "/process/actor/ancestry",
        "/flow/id",
        "/flow/client",
        "/flow/destination",
        "/flow/rule",
        "/flow/mode",
        "/flow/netns",
    ] {
        ensure!(read.pointer(pointer).is_some_and(|it| !it.is_null()), "no `{pointer}` in {read}");
    }
    let outcome = &read["outcome"];
    ensure!(outcome["ending"] == "complete" && outcome["rows"] == 2, "{outcome}");
    ensure!(outcome["tag"] == "SELECT", "{outcome}");
    // Two rows: a head of 7, two lengths, and what they hold.
    ensure!(outcome["bytes"] == 2 * (7 + 8 + 2), "{outcome}");
    ensure!(read["database"] == "app" && read["role"] == "app", "{read}");
    ensure!(read["statement"]["effects"] == serde_json::json!(["read"]), "{read}");
    let copied = one(&["copy", "orders"])?;
    // Two lines of data, each message or both in one.
    let (rows, bytes) = (&copied["outcome"]["rows"], &copied["outcome"]["bytes"]);
    ensure!(*rows == 2 && bytes.as_u64().is_some_and(|it| it >= 13), "{copied}");
    let update = one(&["update", "orders"])?;
    ensure!(update["statement"]["in_transaction"] == true, "{update}");

    // Who logged in, how; and who was turned away.
    let sessions = agent.search(&["--kind", "session"])?;
    let facts = &sessions[0]["facts"];
    ensure!(facts["role"] == "app" && facts["database"] == "app", "{facts}");
    let auth = facts["auth"].as_str().context("no authentication")?;
    ensure!(auth.to_lowercase().contains("scram"), "{auth}");
    let mut wrong = inside.command(program("psql")?)?;
    let dsn = ground.postgres.dsn("app").replace("password=tide", "password=other");
    let output = wrong.args(["-XAtqc", "SELECT 1"]).arg(dsn).output()?;
    ensure!(!output.status.success(), "a wrong password was taken");
    let turned = agent.search(&["--kind", "session", "--limit", "1"])?;
    ensure!(turned[0]["facts"]["refused_login"] == "28P01", "{}", turned[0]);
    ensure!(turned[0]["facts"]["role"] == "app", "{}", turned[0]);

    // The ends of transactions and connections, the agent, and who read the log.
    for (kind, pointer, value) in
        [("transaction", "/ending", "committed"), ("agent", "/what", "started")]
    {
        let hits = agent.search(&["--kind", kind])?;
        let told = hits.iter().any(|hit| hit["facts"].pointer(pointer) == Some(&value.into()));
        ensure!(told, "{kind}: {hits:?}");
    }
    let closed = agent.search(&["--kind", "closed"])?;
    ensure!(closed[0]["facts"]["bytes_down"].as_u64() > Some(0), "{closed:?}");
    ensure!(!agent.search(&["--kind", "opened"])?.is_empty());
    agent.must(&["reload"])?;
    until_true("the change to be recorded", Duration::from_secs(5), || {
        let changed = agent.search(&["--kind", "changed"]).unwrap_or_default();
        changed.iter().any(|hit| {
            let facts = &hit["facts"];
            facts["what"] == serde_json::json!([]) && facts["by_uid"] == 0
        })
    })?;
    let own = "@id(\"own\") forbid(principal, action == Action::\"truncate\", resource);";
    std::fs::write(agent.policies().join("own.cedar"), own)?;
    agent.must(&["reload"])?;
    until_true("the new policies to be recorded", Duration::from_secs(5), || {
        let changed = agent.search(&["--kind", "changed", "--limit", "1"]).unwrap_or_default();
        changed.iter().any(|hit| {
            let facts = &hit["facts"];
            facts["what"] == serde_json::json!(["policies"])
                && facts["policies"].is_string()
                && facts["by"]["user"] == "root"
        })
    })?;
    let reads = agent.search(&["--kind", "read", "--limit", "1000"])?;
    let told = reads.iter().any(|hit| {
        hit["facts"]["uid"] == 0
            && hit["facts"]["command"].as_str().is_some_and(|it| it.contains("--column email"))
    });
    ensure!(told, "nobody read the log, it says: {reads:?}");

    // By whatever name the log is read.
    let other = ground.folder.path().join("elsewhere");
    std::os::unix::fs::symlink(agent.log_folder(), &other)?;
    let other = other.display().to_string();
    let read = agent.audit(&["export", "--since", "1d", "--dir", &other])?;
    ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    until_true("the other name to be recorded", Duration::from_secs(5), || {
        let reads = agent.search(&["--kind", "read", "--limit", "1000"]).unwrap_or_default();
        reads.iter().any(|hit| {
            hit["facts"]["command"].as_str().is_some_and(|it| it.contains(other.as_str()))
        })
    })?;

    // Who became root to read it is told by the processes above.
    let script = "import os, sys\n\
                  r, w = os.pipe()\n\
                  if os.fork() == 0:\n\
                  \x20   os.read(r, 1)\n\
                  \x20   os.execv(sys.argv[1], sys.argv[1:])\n\
                  os.setresuid(4242, 4242, 4242)\n\
                  os.write(w, b'x')\n\
                  os.wait()\n";
    let mut reader = Place::new().command(venv::python()?)?;
    reader.args(["-c", script]).arg(tidegate_tests::agent::binary()?);
    reader.args(["audit", "export", "--format", "csv", "--since", "1d", "--config"]);
    run(reader.arg(agent.settings_file()).stdout(Stdio::null()))?;
    until_true("who became root to be recorded", Duration::from_secs(5), || {
        let reads = agent.search(&["--kind", "read", "--limit", "1000"]).unwrap_or_default();
        reads.iter().any(|hit| {
            let facts = &hit["facts"];
            facts["uid"] == 0
                && facts["user"] == "root"
                && facts["before_uid"] == UID
                && facts["command"].as_str().is_some_and(|it| {
                    it.starts_with("audit export --format csv --since 1d --config ")
                })
        })
    })
    .with_context(|| format!("{:?}", agent.search(&["--kind", "read"])))?;

    // Each form of output.
    let text = |form: &str| -> Result<String> {
        let output = agent.audit(&["search", "given", "-o", form])?;
        ensure!(output.status.success(), "-o {form}");
        Ok(String::from_utf8(output.stdout)?)
    };
    ensure!(text("table")?.contains("tag-given") && text("wide")?.contains("ROLE"));
    ensure!(
        serde_json::from_str::<Value>(text("jsonl")?.lines().next().context("no line")?).is_ok()
    );
    ensure!(text("yaml")?.contains("tag-given"));

    // The tree for others: what the checkpoint counts is there, hash by hash.
    let tiles = ground.folder.path().join("tiles");
    let output = agent.audit(&["tiles", &tiles.display().to_string()])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let head = std::fs::read_to_string(tiles.join("checkpoint"))?;
    let size: u64 = head.lines().nth(1).context("no size")?.parse()?;
    let leaves = |number: u64| match size - number * 256 {
        256.. => std::fs::read(tiles.join(format!("tile/0/{number:03}"))),
        rest => std::fs::read(tiles.join(format!("tile/0/{number:03}.p/{rest}"))),
    };
    let mut bytes = 0;
    for number in 0..size.div_ceil(256) {
        bytes += leaves(number)?.len() as u64;
    }
    ensure!(size > 20 && bytes == size * 32, "{bytes} bytes of {size} leaves");

    // OCSF of the real thing.
    let output = agent.audit(&["export", "--format", "ocsf"])?;
    let file = ground.folder.path().join("ocsf.jsonl");
    std::fs::write(&file, &output.stdout)?;
    let programs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers");
    let mut check = Command::new(venv::python()?);
    check.arg(programs.join("ocsf.py")).stdin(std::fs::File::open(&file)?);
    let output = check.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && said.contains("datastore_activity"), "{said}{errors}");
    Ok(())
}

/// What the agent itself did is in its log, after its end too.
#[test]
fn an_end_in_order_is_recorded() -> Result<()> {
    let _alone = alone();
    let mut ground = Ground::start()?;
    let inside = ground.inside();
    ground.psql(&inside, &[], "app", "SELECT total FROM orders")?;
    ground.agent.stop()?;
    let said = |agent: &Agent| -> Result<Vec<String>> {
        let hits = agent.search(&["--kind", "agent", "--oldest"])?;
        let what = |hit: &Value| hit["facts"]["what"].as_str().map(str::to_owned);
        Ok(hits.iter().filter_map(what).collect())
    };
    until_true("the end to be recorded", Duration::from_secs(5), || {
        said(&ground.agent).is_ok_and(|what| what == ["started", "stopping"])
    })
    .with_context(|| format!("{:?}{}", said(&ground.agent), ground.agent.tail()))?;
    ground.agent.run_again()?;
    ground.agent.wait_healthy()?;
    // The next agent brings it in.
    until_true("all to be signed", Duration::from_secs(10), || {
        ground.agent.verified(&[]).is_ok_and(|it| it.findings.is_empty() && it.tail <= 1)
            && said(&ground.agent).is_ok_and(|what| what == ["started", "stopping", "started"])
    })
    .with_context(|| format!("{:?}{}", said(&ground.agent), ground.agent.tail()))?;
    Ok(())
}

/// One byte of a segment is changed: `verify` names the record.
#[test]
fn a_changed_byte_is_found_and_the_record_named() -> Result<()> {
    let _alone = alone();
    let ground = Ground::start()?;
    let inside = ground.inside();
    for _ in 0..3 {
        ground.psql(&inside, &[], "app", "SELECT total FROM orders -- tag-changed")?;
    }
    let key = ground.agent.audit(&["key"])?.stdout;
    let key = String::from_utf8(key)?;
    tidegate_tests::wait::until_true(
        "all to be signed",
        std::time::Duration::from_secs(10),
        || ground.agent.verified(&["--key", key.trim()]).is_ok_and(|it| it.tail == 0),
    )?;
    // A copy, as on an auditor's machine.
    let copy = ground.folder.path().join("copy");
    let mut cp = Command::new("cp");
    run(cp.arg("-r").arg(ground.agent.log_folder()).arg(&copy))?;
    let verify = || -> Result<(Option<i32>, Value)> {
        let folder = copy.to_str().context("a path")?.to_owned();
        let output = ground.agent.audit(&["verify", &folder, "--key", key.trim(), "-o", "json"])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let result = serde_json::from_str(&said)
            .with_context(|| format!("{said}{}", String::from_utf8_lossy(&output.stderr)))?;
        Ok((output.status.code(), result))
    };
    ensure!(verify()?.0 == Some(0), "{:?}", verify()?);
    let find = |folder: &std::path::Path| -> Result<std::path::PathBuf> {
        let mut stack = vec![folder.to_owned()];
        while let Some(folder) = stack.pop() {
            for entry in std::fs::read_dir(folder)?.flatten() {
                let path = entry.path();
                if path.is_dir() {
                    stack.push(path);
                } else if path.extension().is_some_and(|it| it == "live")
                    && std::fs::read(&path)?.windows(11).any(|it| it == b"tag-changed")
                {
                    return Ok(path);
                }
            }
        }
        anyhow::bail!("no segment has it")
    };
    let segment = find(&copy)?;
    let mut bytes = std::fs::read(&segment)?;
    let at = bytes.windows(11).position(|it| it == b"tag-changed").context("it is gone")?;
    bytes[at + 4] ^= 1;
    std::fs::write(&segment, bytes)?;
    let (code, result) = verify()?;
    ensure!(code == Some(5), "{code:?}: {result}");
    let named = result["findings"][0]["record"].as_str().context("no record is named")?;
    // Who ran it is told once, with its command, a few records before its statement.
    let first = ground.agent.search(&["--table", "orders", "--first"])?;
    let position = |name: &str| name.split_once('-').and_then(|(_, it)| it.parse::<u64>().ok());
    let statement = first[0]["record"].as_str().and_then(position).context("no statement")?;
    let named = position(named).context("no position")?;
    ensure!(named < statement && statement - named < 7, "{named}, before {statement}");
    Ok(())
}
