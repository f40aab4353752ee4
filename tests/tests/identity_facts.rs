//! What is in a program's file, whose rights it has, by which login it came: of the
//! process, and of those that it descends from, also where they ended before it
//! connected.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::clients::{Clients, Language};
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::seen::{Ancestor, ProgramFile};

/// Nobody's uid.
const UID: u32 = 4242;

fn run(command: &mut Command) -> Result<u32> {
    let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {} {said}", output.status);
    Ok(pid)
}

fn told(program: &str, arguments: &[&str], file: &Path) -> Result<String> {
    let output = Command::new(program).args(arguments).arg(file).output()?;
    ensure!(output.status.success(), "{program}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// As others tell it of the file on the disk.
fn told_by_others(path: &Path) -> Result<ProgramFile> {
    let data = std::fs::metadata(path)?;
    let notes = told("readelf", &["-n"], path)?;
    let (_, build_id) = notes.split_once("Build ID: ").context("it has no build id")?;
    let sum = told("sha256sum", &[], path)?;
    Ok(ProgramFile {
        device: data.dev(),
        inode: data.ino(),
        build_id: build_id.lines().next().map(|line| line.trim().to_owned()),
        sha256: sum.split(' ').next().map(str::to_owned),
    })
}

/// Asks until the hash is there: that of a large file may come with a later connect.
/// What else is known of it must be there at once.
fn whole(
    expected: &ProgramFile,
    mut ask: impl FnMut(usize) -> Result<Option<ProgramFile>>,
) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(30);
    for number in 0.. {
        let found = ask(number)?.context("no file")?;
        if found == *expected {
            return Ok(());
        }
        let unhashed = ProgramFile { sha256: None, ..expected.clone() };
        ensure!(found == unhashed, "{found:?} and not {expected:?}");
        if Instant::now() > until {
            break;
        }
    }
    bail!("no hash within 30 s: {expected:?}")
}

#[test]
fn a_programs_file_is_told_with_its_build_id_and_its_hash() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    for language in [Language::Python, Language::Perl, Language::Shell] {
        let expected = told_by_others(&language.program()?)?;
        whole(&expected, |number| {
            let label = format!("--{language:?}-{number}");
            let words = clients.words(language, scene.echo.v4(), &label);
            let mut client = scene.inside().user(UID, UID).command(&words[0])?;
            run(client.args(&words[1..]))?;
            Ok(scene.opened(&label)?.actor.program.file)
        })?;
    }
    Ok(())
}

#[test]
fn an_ancestor_that_ended_first_has_its_file_too() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    // A program that nobody else runs, so that no other connect has its file hashed.
    let starter = clients.folder().join("starter");
    std::fs::copy("/bin/bash", &starter)?;
    let expected = told_by_others(&starter)?;
    // It connects when its standard input ends: when who started it has ended, which
    // holds the other end of the pipe.
    let patient = clients.folder().join("patient.py");
    let client = std::fs::read_to_string(clients.folder().join("client.py"))?;
    std::fs::write(&patient, format!("import sys\nsys.stdin.read()\n{client}"))?;
    let to = scene.echo.v4();
    let ask = |number: usize| -> Result<(Ancestor, bool)> {
        let label = format!("--orphan-{number}");
        let line = format!(
            "exec 4> >(exec /usr/bin/python3 -SE {} {} {} {label}); sleep 0.5; true",
            patient.display(),
            to.ip(),
            to.port()
        );
        let mut started = scene.inside().user(UID, UID).command(&starter)?;
        let pid = run(started.args(["-c", &line]))?;
        let actor = scene.opened(&label)?.actor;
        let found = actor.ancestry.iter().find(|one| one.pid == pid && one.relation == "parent");
        let found = found.with_context(|| format!("{actor:?}"))?.clone();
        ensure!(found.ended, "{found:?}");
        Ok((found, actor.complete))
    };
    whole(&expected, |number| {
        let (found, complete) = ask(number)?;
        ensure!(complete, "not complete: {found:?}");
        Ok(found.file)
    })?;
    // Where its file has gone before anybody asked what is in it, it says so.
    std::fs::remove_file(&starter)?;
    std::fs::copy("/bin/bash", &starter)?;
    let inode = std::fs::metadata(&starter)?.ino();
    let label = "--gone";
    let line = format!(
        "rm {}; exec 4> >(exec /usr/bin/python3 -SE {} {} {} {label}); sleep 0.5; true",
        starter.display(),
        patient.display(),
        to.ip(),
        to.port()
    );
    let mut started = scene.inside().command(&starter)?;
    let pid = run(started.args(["-c", &line]))?;
    let actor = scene.opened(label)?.actor;
    let found = actor.ancestry.iter().find(|one| one.pid == pid && one.relation == "parent");
    let file = found.and_then(|one| one.file.clone()).with_context(|| format!("{actor:?}"))?;
    ensure!((file.inode, file.sha256) == (inode, None) && !actor.complete, "{actor:?}");
    Ok(())
}

/// A process that has one right of note, by a login with an audit session of its own;
/// and its parent, which has more.
#[test]
fn rights_of_note_and_the_audit_session_are_told() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let clients = Clients::fresh()?;
    let words = clients.words(Language::Python, scene.echo.v4(), "--logged-in");
    let line = format!(
        "cat /proc/self/sessionid && setpriv --bounding-set -all,+net_raw,+chown {}; true",
        words.join(" ")
    );
    // What logs in is another program than what then runs, as with sshd.
    let login = format!("echo {UID} > /proc/self/loginuid && exec /bin/bash -c '{line}'");
    let mut shell = scene.inside().command("/bin/bash")?;
    let child = shell
        .args(["-c", &login])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    let (out, said) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.is_empty(), "{} {said}", output.status);
    let session: u32 = out.trim().parse().with_context(|| format!("no audit session: {out}"))?;
    let actor = scene.opened("--logged-in")?.actor;
    let parent = actor.ancestry.iter().find(|one| one.pid == pid && one.relation == "parent");
    let parent = parent.context("no shell")?;
    ensure!(actor.program.capabilities == ["NET_RAW"], "{:?}", actor.program);
    ensure!(actor.program.login_session == Some(session), "{:?} {session}", actor.program);
    for right in ["NET_RAW", "SYS_ADMIN", "SETUID"] {
        ensure!(parent.capabilities.iter().any(|one| one == right), "{right}: {parent:?}");
    }
    ensure!((parent.login_uid, parent.login_session) == (Some(UID), Some(session)), "{parent:?}");
    // Who has none, and came by no login, says so.
    let words = clients.words(Language::Python, scene.echo.v4(), "--of-nobody");
    let mut client = scene.inside().user(UID, UID).command(&words[0])?;
    run(client.args(&words[1..]))?;
    let actor = scene.opened("--of-nobody")?.actor;
    ensure!(actor.program.capabilities.is_empty(), "{:?}", actor.program);
    let own = std::fs::read_to_string("/proc/self/sessionid")?;
    let own = own.trim().parse::<u32>().ok().filter(|session| *session != u32::MAX);
    ensure!(actor.program.login_session == own, "{:?}", actor.program);
    Ok(())
}
