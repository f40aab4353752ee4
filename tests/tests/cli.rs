//! What the command line says of a live agent, and of none.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_tests::agent::binary;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::folder::TempFolder;
use tidegate_tests::place::Place;
use tidegate_tests::probe::{self, Connect};
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::sys;
use tidegate_tests::wait::until;

#[test]
fn status_tells_the_truth_of_a_healthy_agent() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let status = scene.agent.status()?;
    ensure!(status.schema == 1, "schema {}", status.schema);
    ensure!(status.listen_port == scene.agent.listen_port());
    ensure!(status.cgroup.ends_with(&scene.root.name()?), "{}", status.cgroup);
    ensure!(status.hooks.iter().filter(|hook| hook.attached).count() >= 8, "{:?}", status.hooks);
    ensure!(
        status.hooks.iter().all(|hook| hook.attached || hook.cost.is_some()),
        "a missing hook doesn't say what it costs: {:?}",
        status.hooks
    );
    ensure!(status.destinations.len() == 1 && status.destinations[0].mode == "strict");
    let fences =
        status.current().and_then(|it| it.fences.clone()).context("the enforcer has no fences")?;
    ensure!(fences.uid != 0 && fences.no_capabilities && fences.no_new_privs, "{fences:?}");
    ensure!(fences.not_dumpable, "{fences:?}");
    // What /proc says of it too.
    let enforcer = scene.agent.enforcer()?;
    let proc = std::fs::read_to_string(format!("/proc/{enforcer}/status"))?;
    for line in [
        format!("Uid:\t{0}\t{0}\t{0}\t{0}", fences.uid),
        "CapEff:\t0000000000000000".into(),
        "CapPrm:\t0000000000000000".into(),
        "CapBnd:\t0000000000000000".into(),
        "NoNewPrivs:\t1".into(),
        "Seccomp:\t2".into(),
    ] {
        ensure!(proc.contains(&line), "the enforcer has not `{line}`: {proc}");
    }
    let before = status.canary.crossed;
    scene.agent.wait_status("canaries to go on crossing", Duration::from_secs(10), |status| {
        status.canary.crossed > before + 1
    })?;
    Ok(())
}

#[test]
fn status_and_its_exit_code_tell_of_a_hung_enforcer() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let healthy = scene.agent.order(&["status"])?;
    ensure!(healthy.status.success(), "{healthy:?}");
    sys::signal(scene.agent.enforcer()?, libc::SIGSTOP)?;
    let failing = until("a failing status", Duration::from_secs(8), || {
        let output = scene.agent.order(&["status"])?;
        Ok((!output.status.success()).then_some(output))
    });
    // Either it is told of, or it was replaced meanwhile: which is told too.
    match failing {
        Ok(output) => ensure!(output.status.code() == Some(1), "{output:?}"),
        Err(error) => {
            let restarts = scene.agent.status()?.current().map_or(0, |it| it.restarts);
            ensure!(restarts > 0, "{error:#}");
        }
    }
    Ok(())
}

#[test]
fn powerful_processes_are_listed() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let mut sleeper = scene.inside().command("sleep")?.arg("600").spawn()?;
    let mut weak = scene.inside().user(4242, 4242).command("sleep")?.arg("601").spawn()?;
    let listed = scene.agent.wait_status("a root process", Duration::from_secs(20), |status| {
        status.powerful.iter().any(|process| process.key.tgid == sleeper.id())
    });
    let not_listed = scene.agent.status()?;
    sleeper.kill()?;
    sleeper.wait()?;
    weak.kill()?;
    weak.wait()?;
    listed?;
    ensure!(not_listed.powerful.iter().all(|process| process.key.tgid != weak.id()));
    Ok(())
}

#[test]
fn observe_tells_each_connection_for_people_and_machines() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "watched"))?;
    scene.observer.wait_of("closed", report.pid)?;
    let table = scene.agent.must(&["observe"])?;
    ensure!(table.contains("probe") && table.contains(&scene.echo.v4().to_string()), "{table}");
    ensure!(!table.contains('\u{1b}'), "colours although NO_COLOR is set: {table:?}");
    let lines = scene.agent.must(&["observe", "-o", "jsonl"])?;
    let mut kinds = Vec::new();
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).context("a line is no JSON")?;
        ensure!(event["schema"] == 1, "{line}");
        kinds.push(event["event"].as_str().unwrap_or_default().to_string());
    }
    ensure!(kinds.contains(&"opened".into()) && kinds.contains(&"closed".into()), "{kinds:?}");
    Ok(())
}

#[test]
fn without_an_agent_status_says_so_with_its_own_exit_code() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    for order in ["status", "observe", "reload", "upgrade"] {
        let output = Command::new(binary()?)
            .arg(order)
            .arg("--control")
            .arg(folder.path().join("none.sock"))
            .output()?;
        ensure!(output.status.code() == Some(7), "`{order}`: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("tidegate run"), "`{order}` doesn't say what to do: {said}");
        ensure!(output.stdout.is_empty(), "`{order}` writes its error to stdout");
    }
    Ok(())
}

#[test]
fn doctor_says_whether_the_host_can_carry_it() -> Result<()> {
    let _alone = alone();
    let output = Command::new(binary()?).args(["doctor", "-o", "json"]).output()?;
    ensure!(matches!(output.status.code(), Some(0 | 6)), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).context("no JSON")?;
    ensure!(report["schema"].is_u64(), "no schema version: {report}");
    let text = Command::new(binary()?).arg("doctor").env("NO_COLOR", "1").output()?;
    ensure!(!text.stdout.is_empty(), "nothing for people");
    Ok(())
}

#[test]
fn every_mistake_of_a_settings_file_is_told_at_once() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let root = Cgroup::fresh()?;
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, "listen_prot = 1\non_existing = \"ignore\"\nquota_user = \"many\"\n")?;
    let output = Place::new()
        .cgroup(&root)
        .command(binary()?)?
        .args(["run", "--config"])
        .arg(&file)
        .arg("--cgroup")
        .arg(root.path())
        .arg("--control")
        .arg(folder.path().join("control.sock"))
        .output()?;
    ensure!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for word in ["listen_prot", "listen_port", "ignore", "adopt", "quota_user", ":1", ":2", ":3"] {
        ensure!(said.contains(word), "it doesn't speak of `{word}`: {said}");
    }
    Ok(())
}
