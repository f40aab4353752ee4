use super::super::tests::{facts, of_user, seen};
use super::*;
use crate::identity::{Facts, Seen};

const ID: &str = "3f4c9d6b1a2e5f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8";

fn placed(facts: &Facts) -> Placed {
    Kinds::own().unwrap().place(facts)
}

/// `kind name confidence`
fn line(facts: &Facts) -> String {
    let placed = placed(facts);
    let confidence = match placed.confidence {
        None => "-",
        Some(Confidence::Claimed) => "claimed",
        Some(Confidence::Likely) => "likely",
        Some(Confidence::Certain) => "certain",
    };
    format!("{} {} {confidence}", placed.kind.word(), placed.name.as_deref().unwrap_or("-"))
}

fn psql() -> Seen {
    seen(90, 80, "/usr/lib/postgresql/15/bin/psql", "psql shop")
}

/// psql below this program, in a session with a terminal.
fn below(exe: &str, arguments: &str) -> Facts {
    let mut psql = psql();
    psql.terminal = Some("pts/1".into());
    let shell = seen(80, 70, "/bin/bash", "/bin/bash -c psql");
    facts(
        vec![psql, shell, seen(70, 1, exe, arguments)],
        "/user.slice/user-1000.slice/session-3.scope",
    )
}

#[test]
fn agents_notebooks_and_pipelines_are_known_by_their_programs() {
    for (exe, arguments, expected) in [
        ("/home/a/.local/share/claude/versions/2.0.1", "claude", "agent claude-code likely"),
        (
            "/usr/bin/node",
            "node /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js",
            "agent claude-code likely",
        ),
        ("/usr/local/bin/codex", "codex", "agent codex likely"),
        (
            "/usr/bin/node",
            "node /usr/lib/node_modules/@google/gemini-cli/dist/index.js",
            "agent gemini-cli likely",
        ),
        ("/home/a/.local/bin/cursor-agent", "cursor-agent", "agent cursor likely"),
        (
            "/usr/bin/node",
            "node /usr/lib/node_modules/@github/copilot/index.js",
            "agent copilot likely",
        ),
        ("/usr/bin/python3.11", "python3 /home/a/.local/bin/aider --model x", "agent aider likely"),
        ("/usr/bin/python3.11", "python3 -m crewai run", "agent crewai likely"),
        ("/usr/bin/python3.11", "python3 /opt/venv/bin/langgraph dev", "agent langchain likely"),
        ("/usr/bin/python3.11", "python3 -m llama_index.cli rag", "agent llamaindex likely"),
        (
            "/usr/bin/python3.11",
            "python3 /opt/venv/bin/llamaindex-cli rag",
            "agent llamaindex likely",
        ),
        ("/usr/bin/python3.11", "python3 /opt/venv/bin/llama-deploy x", "agent llamaindex likely"),
        (
            "/usr/bin/python3.11",
            "python3 /opt/venv/bin/mcp-server-postgres",
            "agent mcp-server likely",
        ),
        (
            "/usr/bin/node",
            "node /app/node_modules/@modelcontextprotocol/server-postgres/dist/index.js",
            "agent mcp-server likely",
        ),
        (
            "/usr/bin/python3.11",
            "python3 -m ipykernel_launcher -f k.json",
            "notebook jupyter likely",
        ),
        (
            "/usr/lib/R/bin/exec/R",
            "R --slave -e IRkernel::main() --args k.json",
            "notebook irkernel claimed",
        ),
        ("/usr/lib/rstudio-server/bin/rsession", "rsession", "notebook rstudio likely"),
        (
            "/usr/bin/python3.11",
            "python3 /opt/venv/bin/airflow tasks run x",
            "pipeline airflow likely",
        ),
        ("/usr/bin/python3.11", "python3 /opt/venv/bin/dbt run", "pipeline dbt likely"),
        (
            "/usr/bin/java",
            "java -cp x org.apache.spark.deploy.SparkSubmit",
            "pipeline spark likely",
        ),
        ("/usr/bin/python3.11", "python3 /opt/venv/bin/torchrun t.py", "pipeline torch likely"),
        (
            "/usr/bin/python3.11",
            "python3 -m vllm.entrypoints.openai.api_server",
            "pipeline inference likely",
        ),
        ("/usr/sbin/cron", "cron -f", "pipeline cron likely"),
        ("/usr/bin/python3.11", "python3 /srv/report.py", "terminal - certain"),
        ("/usr/bin/vim", "vim claude.md", "terminal - certain"),
    ] {
        assert_eq!(line(&below(exe, arguments)), expected, "{arguments}");
    }
}

/// A script is told by the path that was typed or found, which is a link of npm's: to
/// what, its arguments don't say.
#[test]
fn agents_are_known_by_the_links_they_are_started_by() {
    for (link, expected) in [
        ("/usr/local/bin/claude", "agent claude-code likely"),
        ("/home/a/.nvm/versions/node/v22.1.0/bin/codex", "agent codex likely"),
        ("/srv/app/node_modules/.bin/gemini", "agent gemini-cli likely"),
        ("/home/a/.npm/_npx/1f/node_modules/.bin/claude", "agent claude-code likely"),
        ("/usr/local/bin/copilot", "agent copilot likely"),
        ("/usr/local/bin/opencode", "agent opencode likely"),
        ("/usr/local/bin/qwen", "agent qwen-code likely"),
        ("/usr/local/bin/amp", "agent amp likely"),
        ("/home/a/.npm/_npx/1f/node_modules/.bin/mcp-server-postgres", "agent mcp-server likely"),
        ("/srv/app/node_modules/.bin/vite", "terminal - certain"),
        ("/srv/claude/server.js", "terminal - certain"),
        ("/home/a/.vscode-server/bin/1f/out/server-main.js", "terminal - certain"),
        ("/usr/lib/node_modules/pnpm/bin/pnpm.cjs", "terminal - certain"),
    ] {
        assert_eq!(line(&below("/usr/bin/node", &format!("node {link}"))), expected, "{link}");
    }
}

/// Neither wrappers nor workers hide what runs, nor what it runs for.
#[test]
fn honest_setups_are_what_they_are() {
    let at = |line: Vec<Seen>, cgroup: &str| facts(line, &cgroup.replace("ID", ID));
    let (python, unit) = ("/usr/bin/python3.11", "/system.slice/shop.service");
    let session = "/user.slice/user-1000.slice/session-3.scope";
    let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod\
               0123456789abcdef0123456789abcdef.slice/cri-containerd-ID.scope";
    let shell = || seen(90, 80, "/bin/bash", "bash nightly.sh");
    for (what, facts, expected) in [
        (
            "gunicorn's worker",
            at(
                vec![
                    seen(90, 80, python, "gunicorn: worker [shop:app]"),
                    seen(80, 1, python, "python3 /srv/venv/bin/gunicorn shop:app"),
                ],
                unit,
            ),
            "service - certain",
        ),
        (
            "celery",
            at(vec![seen(90, 1, python, "python3 /srv/venv/bin/celery -A shop worker")], unit),
            "service - certain",
        ),
        (
            "spring boot",
            at(vec![seen(90, 1, "/usr/lib/jvm/21/bin/java", "java -jar /srv/shop.jar")], unit),
            "service - certain",
        ),
        (
            "an agent in a unit",
            at(vec![psql(), seen(80, 1, "/usr/bin/node", "node /usr/local/bin/claude -p x")], unit),
            "agent claude-code likely",
        ),
        (
            "sudo -u in a session",
            at(vec![psql(), seen(80, 70, "/usr/bin/sudo", "sudo -u app psql")], session),
            "terminal - certain",
        ),
        (
            "su -",
            at(vec![psql(), seen(80, 70, "/usr/bin/su", "su - app")], session),
            "terminal - certain",
        ),
        (
            "tmux, whose terminal is gone",
            at(
                vec![psql(), seen(80, 1, "/usr/bin/tmux", "tmux new -d")],
                "/user.slice/user-1000.slice/user@1000.service/tmux-spawn-1f.scope",
            ),
            "terminal - certain",
        ),
        (
            "at",
            at(vec![shell(), seen(80, 1, "/usr/sbin/atd", "atd -f")], "/system.slice/atd.service"),
            "pipeline cron certain",
        ),
        (
            "cron, in a scope of its own",
            at(vec![shell(), seen(80, 1, "/usr/sbin/cron", "cron -f")], "/system.slice/x.scope"),
            "pipeline cron likely",
        ),
        ("a static pod", at(vec![seen(90, 1, "/opt/app", "app")], pod), "service - certain"),
    ] {
        assert_eq!(line(&facts), expected, "{what}");
    }
}

#[test]
fn a_variable_is_the_processes_own_word_and_raises_only() {
    let mut facts = below("/usr/bin/tmux", "tmux");
    facts.environment.names = vec!["CLAUDECODE".into()];
    assert_eq!(line(&facts), "agent claude-code claimed");
    assert!(placed(&facts).reason.contains("CLAUDECODE"));
    let kinds = Kinds::own().unwrap();
    assert!(kinds.asks("CLAUDECODE") && kinds.asks("DATABRICKS_NOTEBOOK_PATH"));
    assert!(!kinds.asks("PATH") && !kinds.asks("PGPASSWORD"));
}

#[test]
fn where_it_runs_decides_the_rest() {
    let unit =
        |cgroup: &str| facts(vec![seen(90, 1, "/opt/app", "app")], &cgroup.replace("ID", ID));
    for (cgroup, expected) in [
        ("/system.slice/app.service", "service - certain"),
        ("/system.slice/run-r12ab.service", "unplaced - -"),
        ("/system.slice/ssh.service", "unplaced - -"),
        ("/system.slice/getty@tty1.service", "unplaced - -"),
        ("/system.slice/sshd-tunnel.service", "service - certain"),
        ("/user.slice/user-1000.slice/session-3.scope", "terminal - certain"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "terminal - certain"),
        ("/system.slice/docker-ID.scope", "service - likely"),
        ("/kubepods/burstable/pod6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5/ID", "service - certain"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "unplaced - -",
        ),
        ("/init.scope", "unplaced - -"),
        ("/", "unplaced - -"),
        ("/system.slice/cron.service", "pipeline cron certain"),
        ("/system.slice/airflow-scheduler.service", "pipeline airflow certain"),
    ] {
        assert_eq!(line(&unit(cgroup)), expected, "{cgroup}");
    }
    // A person in a unit's cgroup is a person.
    let mut by_hand = unit("/system.slice/app.service");
    by_hand.process.login_uid = Some(1000);
    assert_eq!(line(&by_hand), "terminal - certain");
    let mut with_terminal = unit("/system.slice/app.service");
    with_terminal.process.terminal = Some("pts/1".into());
    assert_eq!(line(&with_terminal), "terminal - certain");
    let mut sshd = unit("/system.slice/ssh.service");
    sshd.ancestors = vec![seen(80, 1, "/usr/sbin/sshd", "sshd: alice@notty")];
    assert_eq!(line(&sshd), "terminal - certain");
}

#[test]
fn containers_that_are_kept_and_containers_that_are_entered() {
    let cgroup = format!("/system.slice/docker-{ID}.scope");
    let inside = |pid, parent, inner| {
        let mut seen = seen(pid, parent, "/bin/app", "app");
        seen.inner_pid = Some(inner);
        seen.workload = crate::identity::cgroup::of_path(&cgroup);
        seen
    };
    let mut shim = seen(50, 1, "/usr/bin/containerd-shim-runc-v2", "containerd-shim");
    shim.workload = crate::identity::cgroup::of_path("/system.slice/containerd.service");
    // The container's first process, and what it started.
    let mut first = facts(vec![inside(90, 60, 7), inside(60, 50, 1), shim.clone()], &cgroup);
    assert_eq!(line(&first), "service - likely");
    first.workload.managed = Some(true);
    first.process.terminal = Some("pts/0".into());
    assert_eq!(line(&first), "service - certain", "compose's `tty: true`");
    first.workload.managed = None;
    assert_eq!(line(&first), "terminal - likely", "docker run -it");
    // docker exec, kubectl exec.
    let mut entered = facts(vec![inside(90, 80, 33), inside(80, 50, 32), shim], &cgroup);
    assert_eq!(line(&entered), "unplaced - -");
    entered.workload.managed = Some(true);
    assert_eq!(line(&entered), "unplaced - -");
    entered.process.terminal = Some("pts/1".into());
    assert_eq!(line(&entered), "terminal - certain");
    entered.workload.image = Some("docker.io/apache/airflow:2.9".into());
    assert_eq!(line(&entered), "pipeline airflow certain");
}

#[test]
fn a_hosts_own_rules_are_asked_first() {
    let text = r#"
[[rule]]
kind = "service"
name = "billing"
exe = ["/opt/billing/bin/*"]
user = ["billing", "root"]
own = true

[[rule]]
kind = "agent"
name = "house-bot"
script = ["*/house_bot.py"]
"#;
    let kinds = Kinds::with(text, "kinds.toml").unwrap();
    let mut one = below("/usr/bin/python3", "python3 /srv/house_bot.py");
    let found = kinds.place(&one);
    assert_eq!((found.kind, found.name.as_deref()), (Kind::Agent, Some("house-bot")));
    one.process.exe = Some("/opt/billing/bin/run".into());
    assert_eq!(kinds.place(&one).kind, Kind::Service);
    // `own`: an ancestor's program does not count.
    one.process.exe = Some("/bin/psql".into());
    one.ancestors[0].exe = Some("/opt/billing/bin/run".into());
    assert_eq!(kinds.place(&one).kind, Kind::Agent);
}

/// Anybody may run a program, with a library of theirs in it, and write over arguments.
#[test]
fn a_program_makes_a_service_only_where_root_has_put_it() {
    let with = |place: &str, sign: &str| {
        let text = format!("[[rule]]\nkind = \"service\"\nname = \"billing\"\n{sign}\n{place}\n");
        Kinds::with(&text, "k.toml").unwrap()
    };
    let (program, script) = ("exe = [\"/opt/billing/run\"]", "script = [\"/srv/billing.py\"]");
    let of = |exe: &str, line: &str, cgroup: &str| {
        let mut one = of_user(990, "billing", seen(90, 1, exe, line));
        one.terminal = Some("pts/1".into());
        facts(vec![one], &cgroup.replace("ID", ID))
    };
    let ran = |cgroup: &str| of("/opt/billing/run", "run", cgroup);
    let unit = "/system.slice/billing.service";
    let (other, container) = ("/system.slice/ci.service", "/system.slice/docker-ID.scope");
    let is = |kinds: &Kinds, facts: &Facts| kinds.place(facts).name.as_deref() == Some("billing");
    for (place, cgroup, expected) in [
        ("", unit, false),
        ("unit = [\"billing.service\"]", unit, true),
        ("unit = [\"billing.service\"]", other, false),
        ("unit = [\"billing.service\"]", container, false),
        ("user = [\"billing\"]", other, true),
        ("user = [\"990\"]", other, true),
        ("user = [\"99\"]", other, false),
        // The image's number.
        ("user = [\"990\"]", container, false),
    ] {
        let (program, script) = (with(place, program), with(place, script));
        assert_eq!(is(&program, &ran(cgroup)), expected, "{place} {cgroup}");
        // Neither by the place alone.
        assert!(!is(&program, &of("/bin/psql", "psql", cgroup)), "{place} {cgroup}");
        let forged = of("/usr/bin/python3", "python3 /srv/billing.py", cgroup);
        assert_eq!(is(&script, &forged), expected, "{place} {cgroup}");
        let warned = [&program, &script].map(|kinds| kinds.warnings().len());
        assert_eq!(warned, [usize::from(place.is_empty()); 2], "{place}");
    }
    let warning = with("", program).warnings().join("");
    assert!(warning.starts_with("k.toml:2:8: this rule makes nothing a service"), "{warning}");
    // A unit alone says it, as ever.
    assert!(is(&with("unit = [\"billing.service\"]", ""), &ran(unit)));
    let other = "[[rule]]\nkind = \"agent\"\nexe = [\"x\"]\nuser = [\"y\"]\n";
    assert!(Kinds::with(other, "k.toml").unwrap_err().to_string().contains("only a service"));
}

/// A process that was more programs than are kept, or descends from one.
#[test]
fn nobody_hides_behind_many_programs() {
    let mut one = facts(
        vec![seen(90, 80, "/opt/app", "app"), seen(80, 1, "/bin/sh", "sh")],
        "/system.slice/app.service",
    );
    assert_eq!(line(&one), "service - certain");
    one.ancestors[0].forgotten = true;
    assert_eq!(line(&one), "unplaced - -");
    (one.ancestors[0].forgotten, one.process.forgotten) = (false, true);
    assert_eq!(line(&one), "unplaced - -");
    assert!(crate::identity::actor(&one, &Default::default()).ancestry_cut);
}

#[test]
fn nobody_hides_behind_a_long_line() {
    let below_shells = |shells: u32| {
        let shell = |n: u32| seen(1000 - n, 999 - n, "/bin/sh", "sh -c x");
        let mut line: Vec<Seen> = (0..shells).map(shell).collect();
        line.push(seen(70, 1, "/usr/local/bin/codex", "codex"));
        line.truncate(MOST_LOOKED_AT + 2);
        facts(line, "/system.slice/app.service")
    };
    assert_eq!(line(&below_shells(40)), "agent codex likely");
    assert_eq!(line(&below_shells(200)), "unplaced - -");
}

/// Anybody may give their own image any tag.
#[test]
fn an_image_in_a_users_own_runtime_makes_no_service() {
    let text =
        "[[rule]]\nkind = \"service\"\nname = \"web\"\nimage = [\"registry.example/shop/web:*\"]\n";
    let kinds = Kinds::with(text, "kinds.toml").unwrap();
    let of = |cgroup: &str, image: &str| {
        let mut facts = facts(vec![seen(90, 1, "/bin/app", "app")], &cgroup.replace("ID", ID));
        facts.workload.image = Some(image.into());
        let placed = kinds.place(&facts);
        (placed.kind, placed.name.unwrap_or_default(), placed.confidence)
    };
    let (hosts, own) = (
        "/system.slice/docker-ID.scope",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
    );
    let web = "registry.example/shop/web:1.2";
    assert_eq!(of(hosts, web), (Kind::Service, "web".into(), Some(Confidence::Certain)));
    assert_eq!(of(own, web), (Kind::Unplaced, String::new(), None));
    // What guards it more is believed of anybody.
    let agent = "mcp/postgres";
    assert_eq!(of(hosts, agent), (Kind::Agent, "mcp-server".into(), Some(Confidence::Certain)));
    assert_eq!(of(own, agent), (Kind::Agent, "mcp-server".into(), Some(Confidence::Claimed)));
}

#[test]
fn a_files_mistakes_are_told_in_one_go() {
    let text = "[[rule]]\nkind = \"robot\"\nexe = [\"x\"]\n\n[[rule]]\nkind = \"agent\"\nexes = [\"x\"]\n\n[[rule]]\nkind = \"service\"\nvariable = [\"X\"]\n\n[[rule]]\nkind = \"agent\"\nexe = \"x\"\n";
    let mistakes = Kinds::with(text, "k.toml").unwrap_err().to_string();
    let lines: Vec<&str> = mistakes.lines().collect();
    assert!(
        lines[0].starts_with("k.toml:2:8: a rule's `kind` is one of terminal, agent,"),
        "{mistakes}"
    );
    assert!(
        lines[1].starts_with("k.toml:7:1: unknown key `exes`: it is one of `kind`"),
        "{mistakes}"
    );
    assert!(lines[2].contains("matches nothing"), "{mistakes}");
    assert!(lines[3].contains("a service is known by"), "{mistakes}");
    assert!(lines[4].contains("`exe` must be a list of strings"), "{mistakes}");
    assert!(Kinds::with("rule = 1", "k.toml").unwrap_err().to_string().contains("[[rule]]"));
    assert!(Kinds::with("x", "k.toml").unwrap_err().to_string().starts_with("k.toml:1:"));
}

#[test]
fn stars_stand_for_anything() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*c", "abbc", true),
        ("a*c", "abcd", false),
        ("*", "", true),
        ("*/x/*", "/a/x/b", true),
        ("*/x/*", "/ax/b", false),
        ("*a*b*", "xxayybzz", true),
        ("*a*b*", "xxbyyazz", false),
        ("ab*b", "ab", false),
        ("", "", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn a_replaced_program_is_still_itself() {
    let mut facts = below("/usr/bin/tmux", "tmux");
    facts.ancestors[1].exe = Some("/usr/local/bin/codex (deleted)".into());
    assert_eq!(line(&facts), "agent codex likely");
    let _ = of_user(1, "x", psql());
}
