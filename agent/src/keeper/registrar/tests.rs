use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::proc::{CLOCK_TICK, Mark};
use super::*;
use crate::model::{Kind, Relation};

fn key(pid: u32) -> ProcessKey {
    let mark = Mark::of(pid).unwrap();
    ProcessKey { tgid: pid, started: mark.started * CLOCK_TICK, exec: 1 }
}

fn ended(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits for all of an exec: the file changes first, the name and the arguments a
/// moment later.
fn settled(pid: u32, name: &str) {
    let of = |what: &str| format!("/proc/{pid}/{what}");
    let is = || {
        std::fs::read_link(of("exe")).is_ok_and(|exe| exe.file_name().is_some_and(|n| n == name))
            && std::fs::read_to_string(of("comm")).is_ok_and(|comm| comm.trim() == name)
            && std::fs::read(of("cmdline")).is_ok_and(|line| line.starts_with(name.as_bytes()))
    };
    let until = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < until, "{pid} doesn't become {name}");
        std::thread::yield_now();
    }
}

fn inode(path: &str) -> Option<u64> {
    std::fs::metadata(path).ok().map(|data| std::os::unix::fs::MetadataExt::ino(&data))
}

#[test]
fn a_line_is_remembered_beyond_its_parents_end() {
    // A shell that starts another, which waits, and ends when it is told to.
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "sh -c 'echo $$; exec sleep 60' & read _; exit 0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let child: u32 = line.trim().parse().unwrap();
    settled(child, "sleep");
    let kin = Kin::new(Arc::default(), Files::start().unwrap());
    let memory = Memory::default();
    let whole = kin.line(key(child), &memory);
    let pids: Vec<u32> = whole.iter().map(|seen| seen.pid).collect();
    let own = std::process::id();
    let parents: Vec<u32> = pids.iter().copied().filter(|pid| *pid != child).collect();
    assert_eq!(parents[..2], [shell.id(), own], "{pids:?}");
    assert!(whole.iter().all(|seen| !seen.ended));
    // The parent ends; the child is init's (or a reaper's) now.
    drop(shell.stdin.take());
    let parent = shell.id();
    shell.wait().unwrap();
    assert_ne!(Mark::of(child).unwrap().parent, parent);
    let later = kin.line(key(child), &memory);
    let parent = later.iter().find(|seen| seen.pid == parent).unwrap();
    assert!(parent.ended && parent.relation == Relation::Parent);
    assert_eq!(parent.file.as_ref().map(|file| file.inode), inode("/bin/sh"));
    assert!(later.iter().any(|seen| seen.pid == own && !seen.ended));
    Command::new("/bin/kill").arg(child.to_string()).status().unwrap();
}

#[test]
fn a_long_line_is_looked_at_further_than_it_is_told() {
    // Shells within shells; the last tells its pid and waits.
    let depth = MOST_ANCESTORS + 4;
    let script =
        "if [ $1 -gt 0 ]; then sh -c \"$0\" \"$0\" $(($1 - 1)); else echo $$; read _; fi; :";
    let mut first = Command::new("/bin/sh")
        .args(["-c", script, script, &depth.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let last: u32 = line.trim().parse().unwrap();
    let (_, actor) = answer(last, "sh");
    let line =
        Kin::new(Arc::default(), Files::start().unwrap()).line(key(last), &Memory::default());
    drop(first.stdin.take());
    first.wait().unwrap();
    assert!(line.iter().any(|seen| seen.pid == std::process::id()), "{}", line.len());
    assert_eq!((actor.ancestry.len(), actor.ancestry_cut), (MOST_ANCESTORS, true));
}

#[test]
fn what_a_process_was_before_is_remembered() {
    let mut shell = Command::new("/bin/bash")
        .arg0("bash")
        .args(["-c", "read _; exec sleep 60"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    settled(shell.id(), "bash");
    let kin = Kin::new(Arc::default(), Files::start().unwrap());
    let memory = Memory::default();
    kin.remember(key(shell.id()), &memory);
    drop(shell.stdin.take());
    settled(shell.id(), "sleep");
    let line = kin.line(key(shell.id()), &memory);
    assert_eq!((line[0].program(), line[0].relation), ("sleep", Relation::Parent));
    assert_eq!((line[1].program(), line[1].relation), ("bash", Relation::Before));
    assert_eq!(line[1].pid, shell.id());
    let inodes = |at: usize| line[at].file.as_ref().map(|file| file.inode);
    assert_eq!([inodes(0), inodes(1)], [inode("/bin/sleep"), inode("/bin/bash")]);
    assert_eq!(line[2].pid, std::process::id());
    ended(shell);
}

/// Until it has ended: an agent that becomes one harmless program after the other.
#[test]
fn no_program_of_a_process_is_forgotten_in_silence() {
    let folder = std::env::temp_dir().join(format!("tidegate-programs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..12 {
        std::os::unix::fs::symlink("/bin/bash", folder.join(format!("bash{number}"))).unwrap();
    }
    let folder = &folder;
    let steps = |by: &str, of: &str, count: u32| {
        let script = format!("read _ || exit; exec {by} -c \"$0\" \"$0\" {of}");
        let mut shell = Command::new("/bin/bash")
            .arg0("bash")
            .args(["-c", &script, &script, &count.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        settled(shell.id(), "bash");
        let kin = Kin::new(Arc::default(), Files::start().unwrap());
        let memory = Memory::default();
        let mut lines = Vec::new();
        for exec in 1..=count {
            let mark = Mark::of(shell.id()).unwrap();
            let key = ProcessKey { exec: u64::from(exec), ..key(shell.id()) };
            kin.remember(key, &memory);
            lines.push(kin.line(key, &memory));
            std::io::Write::write_all(shell.stdin.as_mut().unwrap(), b"\n").unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            while Mark::of(shell.id()).is_none_or(|now| now.is_same_program(&mark)) {
                assert!(Instant::now() < until, "no exec");
                std::thread::yield_now();
            }
            let line = format!("/proc/{}/cmdline", shell.id());
            while !std::fs::read(&line).is_ok_and(|line| line.windows(4).any(|w| w == b"\0-c\0")) {
                assert!(Instant::now() < until, "no arguments");
                std::thread::yield_now();
            }
        }
        ended(shell);
        lines
    };
    let before =
        |line: &Vec<Seen>| line.iter().take_while(|seen| seen.pid == line[0].pid).count() - 1;
    // Each another one.
    let lines = steps(&format!("{}/bash$1", folder.display()), "$(($1 - 1))", 11);
    for (at, line) in lines.iter().enumerate() {
        assert_eq!((before(line), line[0].forgotten), (at.min(8), at > 8), "{at}");
    }
    let first = lines[8][8].arguments.last().cloned();
    assert_eq!(first.as_deref(), Some("11"));
    // A daemon that starts itself anew, each time with other arguments.
    let lines = steps("bash", "$(($1 - 1))", 11);
    for (at, line) in lines.iter().enumerate() {
        let kept = if at > 8 { at - 8 } else { at };
        assert_eq!((before(line), line[0].forgotten), (kept, false), "{at}");
        let first = line[kept].arguments.last().cloned();
        assert_eq!(first.as_deref(), Some("11"), "{at}");
    }
    // The same one, again and again.
    for line in steps("bash", "$1", 11) {
        assert_eq!((before(&line), line[0].forgotten), (0, false));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// As `setproctitle`, `process.title` and an agent that hides do.
#[test]
fn a_script_is_not_undone_by_arguments_that_are_written_over() {
    let folder = std::env::temp_dir().join(format!("tidegate-title-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = folder.join("agent.pl");
    let text = "$| = 1; <STDIN>; $0 = 'app: worker'; $p = fork;\n\
                if ($p) { print \"$p\\n\"; wait } else { sleep 60 }\n";
    std::fs::write(&script, text).unwrap();
    let mut perl = Command::new("/usr/bin/perl")
        .arg0("perl")
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    settled(perl.id(), "perl");
    let kin = Kin::new(Arc::default(), Files::start().unwrap());
    let memory = Memory::default();
    let own = key(perl.id());
    kin.remember(own, &memory);
    std::io::Write::write_all(perl.stdin.as_mut().unwrap(), b"\n").unwrap();
    let mut line = String::new();
    BufReader::new(perl.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let worker: u32 = line.trim().parse().unwrap();
    // What can change is looked at again in a while.
    let until = Instant::now() + Duration::from_secs(20);
    let renamed = loop {
        let line = kin.line(own, &memory);
        if line[0].arguments.first().is_some_and(|title| title.contains("worker")) {
            break line;
        }
        assert!(Instant::now() < until, "{line:?}");
        std::thread::yield_now();
    };
    let forked = kin.line(key(worker), &memory);
    let again = kin.line(ProcessKey { exec: own.exec + 1, ..own }, &memory);
    Command::new("/bin/kill").arg(worker.to_string()).status().unwrap();
    ended(perl);
    std::fs::remove_dir_all(&folder).unwrap();
    let expected = script.to_str();
    assert_eq!(renamed[0].script.as_deref(), expected);
    // Its worker has no other.
    assert_eq!(forked[0].script.as_deref(), expected);
    // The kernel has seen an exec: another program, however much it looks like it.
    assert_eq!(again[0].script, None);
    assert_eq!((again[1].script.as_deref(), again[1].relation), (expected, Relation::Before));
}

#[test]
fn another_process_of_the_same_number_is_not_taken() {
    let child = Command::new("sleep").arg("60").spawn().unwrap();
    settled(child.id(), "sleep");
    let right = key(child.id());
    let wrong = ProcessKey { started: right.started + 5_000_000_000, ..right };
    let kin = Kin::new(Arc::default(), Files::start().unwrap());
    let memory = Memory::default();
    assert!(kin.line(wrong, &memory).is_empty());
    assert!(!kin.line(right, &memory).is_empty());
    ended(child);
}

fn connect(uid: u32, cookie: u64) -> Box<RawFlow> {
    let zeroes = [0; size_of::<tidegate_ebpf::Attempt>()];
    let mut flow = crate::keeper::abi::read::<tidegate_ebpf::Attempt>(&zeroes).unwrap().flow;
    (flow.uid, flow.cookie) = (uid, cookie);
    Box::new(flow)
}

#[test]
fn a_user_who_floods_waits_for_itself() {
    let mut turns = Turns::default();
    for (uid, cookie) in [(1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (3, 6)] {
        turns.push(connect(uid, cookie));
    }
    let order: Vec<u64> = std::iter::from_fn(|| turns.pop()).map(|flow| flow.cookie).collect();
    assert_eq!(order, [1, 4, 5, 2, 6, 3]);
    assert!(turns.is_empty() && turns.waiting.is_empty());
}

fn registrar() -> (Registrar, std::sync::mpsc::Receiver<Order>) {
    let (orders, orders_rx) = Orders::new().unwrap();
    let settings = IdentitySettings { runtimes: Vec::new(), ..IdentitySettings::default() };
    let mount = crate::host::cgroup2_mount(Path::new("/")).unwrap_or("/sys/fs/cgroup".into());
    let registrar = Registrar::start(known(&settings).unwrap(), &settings, &mount, orders).unwrap();
    (registrar, orders_rx)
}

fn ask(registrar: &Registrar, pid: u32, comm: &str) {
    let right = key(pid);
    let mut flow = connect(0, 7);
    (flow.tgid, flow.tid, flow.started, flow.exec) = (right.tgid, right.tgid, right.started, 1);
    flow.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    registrar.ask(&flow);
}

fn answer(pid: u32, comm: &str) -> (Process, Arc<Actor>) {
    let (registrar, orders_rx) = registrar();
    ask(&registrar, pid, comm);
    let order = orders_rx.recv_timeout(Duration::from_secs(20)).unwrap();
    let Order::Known(answer) = order else { panic!("another order") };
    assert_eq!(answer.cookie, 7);
    (answer.process, answer.actor)
}

#[test]
fn the_registrar_answers() {
    let child = Command::new("sleep")
        .arg0("sleep-with-a-secret")
        .args(["60"])
        .env("OTEL_SERVICE_NAME", "shop")
        .env("CLAUDECODE", "1")
        .spawn()
        .unwrap();
    settled(child.id(), "sleep");
    let (process, actor) = answer(child.id(), "sleep");
    ended(child);
    assert_eq!(process.comm, "sleep");
    assert!(process.exe.is_some() && process.parent == Some(std::process::id()));
    assert_eq!(process.command, ["sleep-with-a-secret", "60"]);
    assert!(actor.complete, "{actor:?}");
    assert_eq!((actor.kind, actor.name.as_deref()), (Kind::Agent, Some("claude-code")));
    assert_eq!(actor.attribute("otel.service.name").unwrap().value, "shop");
    assert_eq!(actor.ancestry[0].pid, std::process::id());
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(actor.boot, boot.trim());
}

/// A shell of its own file starts another program, and ends before anything connects.
/// Its file is known from its exec, its hash from the file that still lies there: with
/// the connect, or in a record of its own.
#[test]
fn an_ancestor_that_ended_before_any_connect_has_its_file_and_its_hash() {
    let folder = std::env::temp_dir().join(format!("tidegate-kin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("starter");
    std::fs::copy("/bin/bash", &program).unwrap();
    let (registrar, orders_rx) = registrar();
    let told = |is_deleted: bool| {
        let mut shell = Command::new(&program)
            .args(["-c", "sleep 60 & echo $!; read _; exit 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let child: u32 = line.trim().parse().unwrap();
        settled(child, "sleep");
        let (own, parent) = (key(shell.id()), shell.id());
        registrar.started(own);
        registrar.started(key(child));
        let until = Instant::now() + Duration::from_secs(20);
        for (pid, started) in [(parent, own.started), (child, key(child).started)] {
            while !registrar.desk.office.kin.knows((pid, started / CLOCK_TICK)) {
                assert!(Instant::now() < until, "the exec of {pid} isn't read");
                std::thread::yield_now();
            }
        }
        drop(shell.stdin.take());
        shell.wait().unwrap();
        if is_deleted {
            std::fs::remove_file(&program).unwrap();
        }
        ask(&registrar, child, "sleep");
        let order = orders_rx.recv_timeout(Duration::from_secs(20)).unwrap();
        Command::new("/bin/kill").arg(child.to_string()).status().unwrap();
        let Order::Known(answer) = order else { panic!("another order") };
        let actor = answer.actor;
        let found = actor.ancestry.iter().find(|one| one.pid == parent).unwrap();
        assert!(found.ended, "{found:?}");
        (found.file.clone().unwrap(), actor)
    };
    let right = inode(program.to_str().unwrap()).unwrap();
    let sum = Command::new("sha256sum").arg(&program).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap().split(' ').next().unwrap().to_owned();
    let (file, actor) = told(false);
    assert_eq!((file.inode, actor.complete), (right, true), "{actor:?}");
    assert!(file.build_id.is_some());
    let hash = file.sha256.unwrap_or_else(|| {
        let order = orders_rx.recv_timeout(Duration::from_secs(20)).unwrap();
        let Order::Enriched(enriched) = order else { panic!("another order") };
        let name = format!("sha256.{}:{}", file.device, file.inode);
        enriched.facts.iter().find(|fact| fact.name == name).unwrap().value.clone()
    });
    assert_eq!(hash, sum);
    // It is kept; the file may go.
    let (file, actor) = told(true);
    assert_eq!((file.sha256, actor.complete), (Some(sum), true));
    // Where it went before anybody asked, that is said.
    std::fs::copy("/bin/bash", &program).unwrap();
    let (file, actor) = told(true);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((file.sha256, actor.complete), (None, false));
    assert!(file.build_id.is_some());
}

#[test]
fn files_with_mistakes_are_told_together() {
    let folder = std::env::temp_dir().join(format!("tidegate-known-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (kinds, directory) = (folder.join("kinds.toml"), folder.join("directory.toml"));
    std::fs::write(&kinds, "x = 1\n").unwrap();
    std::fs::write(&directory, "y = 1\n").unwrap();
    let mut settings = IdentitySettings {
        kinds: Some(kinds.clone()),
        directory: Some(directory.clone()),
        ..IdentitySettings::default()
    };
    let error = known(&settings).unwrap_err();
    assert!(error.contains("kinds.toml:1:1: unknown key `x`"), "{error}");
    assert!(error.contains("directory.toml:1:1: unknown key `y`"), "{error}");
    settings.kinds = Some(folder.join("nowhere"));
    assert!(known(&settings).unwrap_err().contains("cannot read `"));
    std::fs::remove_dir_all(&folder).unwrap();
}
