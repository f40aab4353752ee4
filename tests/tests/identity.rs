//! Who is behind a connection: real programs, real ancestors, real cgroups.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tidegate_tests::agent::Plan;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::clients::{Clients, Language};
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::probe::{self, Task};
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::seen::{Actor, Event, Flow};
use tidegate_tests::wait::{first_ended, until_true};

const ID: &str = "10a335c490cd61fb4a8388556bda74203f5301a3d2033939d918c0a805d602c4";
const IMAGE: &str = "127.0.0.1:5000/shop/web:1.2";
const DIGEST: &str = "sha256:5cc6976f382da72ed8d297620b031a1fb1c1eb28e6d39faeb84f726803bf4d0f";
const POD: &str = "6a1f2c3d-0b1e-4c5d-8e9f-a0b1c2d3e4f5";
const IN_POD: &str = "51fdaefb295c7ecbaa6cf81ff49737b551543c7a8a6e3aaf96e03bc9159575fa";
const POD_DIGEST: &str = "sha256:9770eb0956afe20e94248ecd7c553ecfb29cca18df9b31c66384b5373afe3008";
/// Nobody's uid.
const UID: u32 = 4242;

/// What a real runtime answered: as the agent's own tests have it.
macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../agent/src/identity/runtime/fixtures/", $name)).as_slice()
    };
}

fn flow_of(event: &Event) -> Result<&Flow> {
    event.flow.as_ref().context("an opening without a flow")
}

fn run(command: &mut Command) -> Result<u32> {
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {} {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(pid)
}

/// Starts a client by these words, after others.
fn command(place: &Place<'_>, words: &[String]) -> Result<Command> {
    let (program, arguments) = words.split_first().context("no words")?;
    let mut command = place.command(program)?;
    command.args(arguments);
    Ok(command)
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

fn parents(actor: &Actor) -> Vec<u32> {
    actor.ancestry.iter().filter(|a| a.relation == "parent").map(|a| a.pid).collect()
}

#[test]
fn every_interpreter_is_told_with_its_script() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    for language in [
        Language::Python,
        Language::Node,
        Language::Java,
        Language::Shell,
        Language::Perl,
        Language::Ruby,
    ] {
        let label = format!("--{language:?}");
        let words = clients.words(language, scene.echo.v4(), &label);
        let mut client = command(&scene.inside().user(UID, UID), &words)?;
        client.current_dir(clients.folder()).env("OTEL_SERVICE_NAME", format!("shop-{language:?}"));
        let pid = run(&mut client)?;
        let Flow { process, actor, .. } = scene.opened(&label)?;
        ensure!(process.key.tgid == pid && process.uid == UID, "{process:?}");
        let exe = language.program()?;
        ensure!(process.exe.as_deref() == exe.to_str(), "{process:?} for {}", exe.display());
        ensure!(actor.program.script == Some(clients.script(language)), "{:?}", actor.program);
        ensure!(actor.program.folder.as_deref() == clients.folder().to_str(), "{actor:?}");
        ensure!(actor.complete && parents(&actor)[0] == std::process::id(), "{actor:?}");
        let name = actor.attributes.iter().find(|one| one.name == "otel.service.name");
        let name = name.context("no service name")?;
        ensure!(name.value == format!("shop-{language:?}") && name.confidence == "claimed");
        // Its file, as the file system has it.
        let file = actor.program.file.context("no file")?;
        ensure!(file.inode == std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&exe)?));
    }
    Ok(())
}

#[test]
fn a_chain_of_users_and_a_terminal_are_told() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    let words = clients.words(Language::Shell, scene.echo.v4(), "--chained");
    // A terminal of its own, then a shell, then su to nobody, then the script.
    let inner = format!("su -s /bin/bash nobody -c \"{}\"; true", quoted(&words));
    let script = "import pty, sys; sys.exit(pty.spawn(['/bin/bash', '-c', sys.argv[1]]) != 0)";
    let mut outer = scene.inside().command("/usr/bin/python3")?;
    outer.args(["-SE", "-c", script, &inner]).stdout(Stdio::null());
    let pid = run(&mut outer)?;
    let Flow { process, actor, .. } = scene.opened("--chained")?;
    ensure!(process.user.as_deref() == Some("nobody"), "{process:?}");
    let programs: Vec<&str> = actor.ancestry.iter().map(|one| one.comm.as_str()).collect();
    ensure!(programs.contains(&"su"), "{programs:?}");
    let python = actor.ancestry.iter().find(|one| one.pid == pid).context("no python")?;
    ensure!(python.script.as_deref() == Some("-c") && !python.ended, "{python:?}");
    ensure!(parents(&actor).contains(&std::process::id()), "{actor:?}");
    // su has given its command a session of its own, without the terminal.
    ensure!(actor.kind == "terminal" && actor.reason.contains("has a terminal"), "{actor:?}");
    let person = actor.person.context("nobody behind a terminal")?;
    ensure!(person.via == "login", "{person:?}");
    let switch = person.switches.last().context("no change of user")?;
    ensure!(
        (switch.by.as_deref(), switch.from.as_str(), switch.to.as_str())
            == (Some("su"), "root", "nobody"),
        "{person:?}"
    );
    Ok(())
}

#[test]
fn a_parent_that_ended_first_is_remembered() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    let mut words = clients.words(Language::Python, scene.echo.v4(), "--orphan");
    // It connects when its standard input ends: when the script that started it
    // has ended, which holds the other end of the pipe.
    let patient = clients.folder().join("patient.py");
    let client = std::fs::read_to_string(clients.folder().join("client.py"))?;
    std::fs::write(&patient, format!("import sys\nsys.stdin.read()\n{client}"))?;
    let starter = clients.folder().join("starter.sh");
    std::fs::write(&starter, "#!/bin/bash\nexec 4> >(exec \"$@\")\nsleep 0.5\n")?;
    run(Command::new("chmod").arg("755").arg(&starter))?;
    for word in &mut words {
        if word.ends_with("client.py") {
            *word = patient.display().to_string();
        }
    }
    let mut all = vec![starter.display().to_string()];
    all.extend(words);
    let pid = run(&mut command(&scene.inside().user(UID, UID), &all)?)?;
    let Flow { actor, .. } = scene.opened("--orphan")?;
    let told = actor
        .ancestry
        .iter()
        .find(|one| one.pid == pid && one.relation == "parent")
        .with_context(|| format!("{actor:?}"))?;
    ensure!(told.ended && told.script.as_deref() == starter.to_str(), "{told:?}");
    ensure!(parents(&actor).contains(&std::process::id()), "{actor:?}");
    Ok(())
}

#[test]
fn what_an_agent_starts_is_the_agents() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let directory = folder.path().join("directory.toml");
    std::fs::write(&directory, format!("[users.{UID}]\nteams = [\"robots\"]\n"))?;
    let kinds = folder.path().join("kinds.toml");
    std::fs::write(
        &kinds,
        "[[rule]]\nkind = \"notebook\"\nname = \"house\"\nscript = [\"*/client.pl\"]\nown = true\n",
    )?;
    let scene = Scene::with(|port| {
        Plan::unread([port])
            .setting("[identity]")
            .setting(&format!("directory = \"{}\"", directory.display()))
            .setting(&format!("kinds = \"{}\"", kinds.display()))
    })?;
    let clients = Clients::fresh()?;
    let agent = clients.folder().join("claude");
    std::fs::copy("/bin/bash", &agent)?;
    let words = clients.words(Language::Python, scene.echo.v4(), "--tool");
    let line = format!("{}; true", quoted(&words));
    let place = scene.inside().user(UID, UID);
    run(place.command(&agent)?.args(["-c", &line]))?;
    let Flow { actor, .. } = scene.opened("--tool")?;
    ensure!(
        (actor.kind.as_str(), actor.name.as_deref(), actor.confidence.as_deref())
            == ("agent", Some("claude-code"), Some("likely")),
        "{actor:?}"
    );
    ensure!(actor.teams == ["robots"], "{actor:?}");
    // By a variable it inherited, where the ancestry is gone: its own word.
    let words = clients.words(Language::Python, scene.echo.v4(), "--claimed");
    run(command(&place, &words)?.env("GEMINI_CLI", "1"))?;
    let Flow { actor, .. } = scene.opened("--claimed")?;
    ensure!((actor.kind.as_str(), actor.confidence.as_deref()) == ("agent", Some("claimed")));
    // The host's own rule goes first.
    let words = clients.words(Language::Perl, scene.echo.v4(), "--house");
    run(command(&place, &words)?.env("GEMINI_CLI", "1"))?;
    let Flow { actor, .. } = scene.opened("--house")?;
    ensure!((actor.kind.as_str(), actor.name.as_deref()) == ("notebook", Some("house")));
    // A file with a mistake doesn't replace what holds.
    std::fs::write(&kinds, "[[rule]]\nkind = \"robot\"\n")?;
    let output = scene.agent.order(&["reload"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("kinds.toml:2:8"), "{said}");
    std::fs::write(&kinds, "")?;
    scene.agent.must(&["reload"])?;
    let words = clients.words(Language::Perl, scene.echo.v4(), "--reloaded");
    run(&mut command(&place, &words)?)?;
    ensure!(scene.opened("--reloaded")?.actor.name.is_none());
    Ok(())
}

#[test]
fn secrets_in_command_lines_are_told_to_nobody() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    let mut words = clients.words(Language::Python, scene.echo.v4(), "--quiet-one");
    words.extend(["--password=hunter2", "postgres://app:hunter2@db/shop"].map(str::to_owned));
    // Its shell's own text is an ancestor's command line: what it wraps stands there too.
    let wrapped = "sudo -u app docker exec db mysql -uroot -phunter2 &>/dev/null";
    let line = format!("{wrapped}; PGPASSWORD=hunter2 {}; true", quoted(&words));
    run(scene.inside().command("/bin/bash")?.args(["-c", &line]))?;
    let flow = scene.opened("--quiet-one")?;
    ensure!(flow.process.command.contains(&"--password=***".to_owned()), "{:?}", flow.process);
    let all = scene.agent.must(&["observe", "-o", "jsonl"])?;
    ensure!(all.contains("docker exec db mysql -uroot -p***"), "{all}");
    ensure!(all.contains("--quiet-one") && !all.contains("hunter2"), "a secret was told");
    Ok(())
}

/// As a real Docker and a real containerd answered, each question of a connection of
/// its own.
const DOCKER: [(&str, &[u8]); 2] = [
    ("GET /containers/10a335c4", recorded!("docker-container.http")),
    ("GET /images/sha256:8d91125a", recorded!("docker-image.http")),
];
const CONTAINERD: [(&str, &[u8]); 3] = [
    ("/runtime.v1.RuntimeService/ListContainers", recorded!("containerd-containers.bin")),
    ("/runtime.v1.RuntimeService/PodSandboxStatus", recorded!("containerd-sandbox.bin")),
    ("/runtime.v1.ImageService/ImageStatus", recorded!("containerd-image.bin")),
];

/// Answers on a runtime's socket, these once in their order: that is enough for all,
/// as answers are kept.
fn runtime(path: &Path, answers: &'static [(&str, &[u8])]) -> Result<JoinHandle<Result<()>>> {
    let listener = UnixListener::bind(path)?;
    Ok(std::thread::spawn(move || {
        for (expected, answer) in answers {
            let (mut stream, _) = listener.accept()?;
            let mut question = [0; 4096];
            let length = stream.read(&mut question)?;
            let asked = String::from_utf8_lossy(&question[..length]).into_owned();
            ensure!(asked.contains(expected), "{asked} and not {expected}");
            stream.write_all(answer)?;
            // Its closing is waited for: what it says to our settings is of no matter.
            stream.read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }))
}

fn joined(answering: JoinHandle<Result<()>>) -> Result<()> {
    answering.join().map_err(|_| anyhow!("the runtime gave up"))?
}

#[test]
fn a_container_is_told_and_who_enters_it() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let socket = folder.path().join("docker.sock");
    let answering = runtime(&socket, &DOCKER)?;
    let scene = Scene::with(|port| {
        Plan::unread([port])
            .setting("[identity]")
            .setting(&format!("runtimes = [\"{}\"]", socket.display()))
    })?;
    let clients = Clients::fresh()?;
    let slice = scene.root.child("system.slice")?;
    let container: Cgroup = slice.child(&format!("docker-{ID}.scope"))?;
    let place = Place::new().cgroup(&container);

    // The container's first process, in a pid namespace of its own.
    let words = clients.words(Language::Python, scene.echo.v4(), "--first");
    let mut first = place.command("unshare")?;
    run(first.args(["--pid", "--fork", "--mount-proc"]).args(&words))?;
    let Flow { process, actor, .. } = scene.opened("--first")?;
    let workload = &process.workload;
    ensure!(workload.container.as_deref() == Some(ID), "{workload:?}");
    ensure!(workload.runtime.as_deref() == Some("docker"), "{workload:?}");
    ensure!(workload.image.as_deref() == Some(IMAGE), "{workload:?}");
    ensure!(workload.image_digest.as_deref() == Some(DIGEST), "{workload:?}");
    ensure!(workload.container_name.as_deref() == Some("shop-web-1"), "{workload:?}");
    ensure!(workload.managed == Some(true), "{workload:?}");
    ensure!((actor.kind.as_str(), actor.confidence.as_deref()) == ("service", Some("certain")));
    ensure!(actor.person.is_none(), "{actor:?}");

    // One that stays, and somebody who comes in from outside.
    let mut staying = place.command("unshare")?;
    let mut staying: Child =
        staying.args(["--pid", "--fork", "--kill-child", "sleep", "60"]).spawn()?;
    let inner = || -> Result<u32> {
        let children = format!("/proc/{0}/task/{0}/children", staying.id());
        Ok(std::fs::read_to_string(children)?.trim().parse()?)
    };
    until_true("the container's first process", Duration::from_secs(5), || inner().is_ok())?;
    let enter = format!(
        "import ctypes, os, sys\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         assert libc.setns(os.open('/proc/{}/ns/pid', 0), 0) == 0, os.strerror(ctypes.get_errno())\n\
         pid = os.fork()\n\
         if pid == 0:\n\
         \x20   open('{}/cgroup.procs', 'w').write('0')\n\
         \x20   os.execvp(sys.argv[1], sys.argv[1:])\n\
         sys.exit(os.waitpid(pid, 0)[1] != 0)\n",
        inner()?,
        container.path().display(),
    );
    let words = clients.words(Language::Python, scene.echo.v4(), "--entered");
    let mut entering = scene.inside().command("/usr/bin/python3")?;
    let entered = run(entering.args(["-SE", "-c", &enter]).args(&words));
    staying.kill()?;
    staying.wait()?;
    entered?;
    let Flow { process, actor, .. } = scene.opened("--entered")?;
    ensure!(process.workload.container.as_deref() == Some(ID), "{process:?}");
    ensure!(process.workload.image.as_deref() == Some(IMAGE), "the answer was not kept");
    ensure!(actor.kind == "unplaced" && actor.reason.contains("entered container"), "{actor:?}");
    ensure!(actor.person.context("nobody came in")?.via == "exec");

    // A user names cgroups below his own slice as he likes.
    let mut cgroup = scene.root.child("user.slice")?;
    let mut around = Vec::new();
    for part in ["user-1000.slice", &format!("docker-{ID}.scope")] {
        let inner = cgroup.child(part)?;
        around.push(std::mem::replace(&mut cgroup, inner));
    }
    let words = clients.words(Language::Python, scene.echo.v4(), "--forged");
    run(&mut command(&Place::new().cgroup(&cgroup), &words)?)?;
    let Flow { process, actor, .. } = scene.opened("--forged")?;
    ensure!(process.workload.container.as_deref() == Some(ID), "{process:?}");
    ensure!(process.workload.image.is_none(), "root's answer is a user's: {process:?}");
    ensure!(actor.kind != "service", "{actor:?}");
    joined(answering)
}

#[test]
fn a_pod_is_told_by_the_kubelets_interface() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let socket = folder.path().join("containerd.sock");
    let answering = runtime(&socket, &CONTAINERD)?;
    let scene = Scene::with(|port| {
        Plan::unread([port])
            .setting("[identity]")
            .setting(&format!("runtimes = [\"{}\"]", socket.display()))
    })?;
    let clients = Clients::fresh()?;
    let mut cgroup = scene.root.child("kubepods")?;
    let mut around = Vec::new();
    for part in ["burstable", &format!("pod{POD}"), IN_POD] {
        let inner = cgroup.child(part)?;
        around.push(std::mem::replace(&mut cgroup, inner));
    }
    let words = clients.words(Language::Python, scene.echo.v4(), "--in-pod");
    run(&mut command(&Place::new().cgroup(&cgroup), &words)?)?;
    let workload = scene.opened("--in-pod")?.process.workload;
    ensure!(workload.container.as_deref() == Some(IN_POD), "{workload:?}");
    ensure!(workload.pod.as_deref() == Some(POD), "{workload:?}");
    ensure!(workload.image.as_deref() == Some("registry.example/shop/web:1.2"), "{workload:?}");
    ensure!(workload.image_digest.as_deref() == Some(POD_DIGEST), "{workload:?}");
    ensure!(workload.pod_name.as_deref() == Some("web-5c9f"), "{workload:?}");
    ensure!(workload.namespace.as_deref() == Some("shop"), "{workload:?}");
    let labels = workload.labels.iter().map(|(name, value)| format!("{name}={value}"));
    let labels = labels.collect::<Vec<_>>().join(" ");
    ensure!(labels == "app=web io.kubernetes.container.name=web team=shop", "{labels}");
    ensure!(workload.managed == Some(true), "{workload:?}");
    joined(answering)
}

const CLUSTER_POD: &str = "0c1a4a2e-5a77-4a3b-9c65-3f0d5a7e8b90";

/// A pod's token as the API server makes it, but for the signature.
fn token(namespace: &str, account: &str) -> Result<String> {
    let payload = format!(
        r#"{{"iss":"https://kubernetes.default.svc","kubernetes.io":{{"namespace":"{namespace}","pod":{{"name":"web-5c9f","uid":"{CLUSTER_POD}"}},"serviceaccount":{{"name":"{account}","uid":"9fd2"}}}},"sub":"system:serviceaccount:{namespace}:{account}"}}"#
    );
    let encode = "printf %s \"$0\" | basenc --base64url --wrap=0 | tr -d =";
    let encoded = Command::new("sh").args(["-c", encode, &payload]).output()?.stdout;
    Ok(format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl", String::from_utf8(encoded)?))
}

#[test]
fn a_pods_service_account_is_told_and_has_its_teams() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let directory = folder.path().join("directory.toml");
    let text = "[service_accounts.\"shop/web\"]\nteams = [\"checkout\"]\n\
                [service_accounts.\"bank/*\"]\nteams = [\"tellers\"]\n\
                [pods.\"shop/web-*\"]\ngroups = [\"shop-pods\"]\n";
    std::fs::write(&directory, text)?;
    let (kubelet, logs) = (folder.path().join("kubelet"), folder.path().join("logs"));
    let volume = kubelet
        .join("pods")
        .join(CLUSTER_POD)
        .join("volumes/kubernetes.io~projected/kube-api-access-x7z2q");
    std::fs::create_dir_all(&volume)?;
    std::fs::write(volume.join("token"), token("shop", "web")?)?;
    std::fs::create_dir_all(logs.join(format!("shop_web-5c9f_{CLUSTER_POD}")))?;
    let scene = Scene::with(|port| {
        Plan::unread([port])
            .setting("[identity]")
            .setting(&format!("directory = \"{}\"", directory.display()))
            .setting(&format!("kubelet = \"{}\"", kubelet.display()))
            .setting(&format!("pod_logs = \"{}\"", logs.display()))
    })?;
    let clients = Clients::fresh()?;
    let pods = scene.root.child("kubepods.slice")?;
    let slice = pods.child("kubepods-burstable.slice")?;
    let pod =
        slice.child(&format!("kubepods-burstable-pod{}.slice", CLUSTER_POD.replace('-', "_")))?;
    let container = pod.child(&format!("cri-containerd-{ID}.scope"))?;
    let other = token("bank", "teller")?;
    let told = |container: &Cgroup, label: &str| -> Result<Flow> {
        let words = clients.words(Language::Python, scene.echo.v4(), label);
        let mut client = Place::new().cgroup(container).command("unshare")?;
        // What the process itself shows, in a mount namespace of its own.
        let own = "mount -t tmpfs none /run && d=/run/secrets/kubernetes.io/serviceaccount && \
                   mkdir -p $d && printf %s \"$TOKEN\" > $d/token && exec \"$@\"";
        client.args(["--mount", "sh", "-c", own, "sh"]).args(&words).env("TOKEN", &other);
        run(&mut client)?;
        scene.opened(label)
    };
    let account = |flow: &Flow| {
        let found = flow.actor.attributes.iter();
        let mut found = found.filter(|it| it.name == "kubernetes.service_account");
        found.next().map(|it| (it.value.clone(), it.confidence.clone()))
    };

    // The node's word, whatever the process shows.
    let flow = told(&container, "--of-a-pod")?;
    ensure!(account(&flow) == Some(("shop/web".into(), "certain".into())), "{:?}", flow.actor);
    ensure!(flow.actor.teams == ["checkout"], "{:?}", flow.actor);
    ensure!(flow.actor.groups == ["shop-pods"], "{:?}", flow.actor);
    let workload = &flow.process.workload;
    ensure!(workload.pod.as_deref() == Some(CLUSTER_POD), "{workload:?}");

    // A pod that this node's kubelet doesn't know: its own word, which gives nothing.
    std::fs::remove_dir_all(kubelet.join("pods").join(CLUSTER_POD))?;
    std::fs::remove_dir_all(logs.join(format!("shop_web-5c9f_{CLUSTER_POD}")))?;
    scene.agent.must(&["reload"])?;
    let flow = told(&container, "--of-another")?;
    ensure!(account(&flow) == Some(("bank/teller".into(), "claimed".into())), "{:?}", flow.actor);
    ensure!(flow.actor.teams.is_empty() && flow.actor.kind == "service", "{:?}", flow.actor);
    let all = scene.agent.must(&["observe", "-o", "jsonl"])?;
    ensure!(!all.contains(&other[..60]), "a token was told");
    Ok(())
}

/// How a crowd's client is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Probe,
    Client(Language),
    /// A script under `su`.
    Su,
}

const CROWD: [(Way, usize); 5] = [
    (Way::Probe, 330),
    (Way::Client(Language::Shell), 250),
    (Way::Client(Language::Python), 200),
    (Way::Su, 120),
    (Way::Client(Language::Node), 60),
];
/// A machine's start is slow: fewer of these.
const JAVAS: usize = 40;
/// So many live at any moment, until the last two hundred.
const AT_A_TIME: usize = 200;

fn start(scene: &Scene, clients: &Clients, way: Way, label: &str) -> Result<Child> {
    let to = scene.echo.v4();
    let place = scene.inside();
    let mut command = match way {
        Way::Probe => {
            probe::command(&place.user(UID, UID), &Task::Touch { to, label: label.into() })?
        }
        Way::Client(language) => {
            command(&place.user(UID, UID), &clients.words(language, to, label))?
        }
        Way::Su => {
            let mut su = place.command("su")?;
            let words = clients.words(Language::Shell, to, label);
            // Two commands, so that the shell stays.
            let line = format!("{}; true", quoted(&words));
            su.args(["-s", "/bin/bash", "nobody", "-c", &line]);
            su
        }
    };
    Ok(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

fn is_right(clients: &Clients, way: Way, pid: u32, flow: &Flow) -> Result<()> {
    let Flow { process, actor, .. } = flow;
    ensure!(actor.complete, "it was not complete");
    let line = parents(actor);
    let own = std::process::id();
    ensure!(line.contains(&own), "the harness is none of {line:?}");
    let language = match way {
        Way::Client(language) => Some(language),
        Way::Su => Some(Language::Shell),
        Way::Probe => None,
    };
    if let Some(language) = language {
        ensure!(process.exe.as_deref() == language.program()?.to_str(), "{:?}", process.exe);
        ensure!(actor.program.script == Some(clients.script(language)), "{:?}", actor.program);
    }
    if way == Way::Su {
        ensure!(process.user.as_deref() == Some("nobody"), "{:?}", process.user);
        let su = actor.ancestry.iter().find(|one| one.pid == pid).context("no su")?;
        ensure!(su.comm == "su", "{su:?}");
        let at = line.iter().position(|one| *one == pid).context("su is no parent")?;
        ensure!(at >= 1 && line.get(at + 1) == Some(&own), "{line:?}");
    } else {
        ensure!(process.key.tgid == pid && process.uid == UID, "pid {pid}: {process:?}");
        ensure!(line.first() == Some(&own) && process.parent == Some(own), "{line:?}");
    }
    Ok(())
}

#[test]
fn a_thousand_short_lives_of_six_kinds_are_each_told_right() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    let mut all: Vec<Way> = CROWD.iter().flat_map(|(way, count)| vec![*way; *count]).collect();
    all.extend(vec![Way::Client(Language::Java); JAVAS]);
    ensure!(all.len() == 1000);
    // Mixed, the same in every run.
    let mut state = 7_u64;
    for index in (1..all.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        all.swap(index, (state >> 33) as usize % (index + 1));
    }
    let mut expected: HashMap<String, (Way, u32)> = HashMap::new();
    let mut running: Vec<(Way, Child)> = Vec::new();
    let ended = |(way, child): (Way, Child)| -> Result<()> {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{way:?}: {} {said}", output.status);
        Ok(())
    };
    for (index, way) in all.into_iter().enumerate() {
        if running.len() == AT_A_TIME {
            // Whoever ends first makes room for another.
            let first = first_ended(&mut running)?;
            ended(running.swap_remove(first))?;
        }
        let label = format!("life-{index}-");
        let child = start(&scene, &clients, way, &label).with_context(|| format!("{way:?}"))?;
        expected.insert(label, (way, child.id()));
        running.push((way, child));
    }
    running.into_iter().try_for_each(ended)?;
    until_true("every opening to be told", Duration::from_secs(30), || {
        scene.observer.events().is_ok_and(|events| {
            events.iter().filter(|event| event.event == "opened").count() >= expected.len()
        })
    })?;
    let mut wrong = Vec::new();
    for event in scene.observer.events()?.iter().filter(|event| event.event == "opened") {
        let flow = flow_of(event)?;
        let line = flow.process.command.join(" ");
        let label = expected.keys().find(|label| line.contains(label.as_str())).cloned();
        let label = label.with_context(|| format!("nobody's: {line}"))?;
        let (way, pid) = expected.remove(&label).context("told twice")?;
        if let Err(error) = is_right(&clients, way, pid, flow) {
            wrong.push(format!("{way:?} {label}: {error:#}"));
        }
    }
    ensure!(expected.is_empty(), "{} were not told of", expected.len());
    ensure!(wrong.is_empty(), "{} of 1000 are wrong, first: {}", wrong.len(), wrong[0]);
    Ok(())
}
