//! What the settings say of TLS and logins: the CA of a first start, and files
//! that are named and are not as they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidegate_tests::agent::Plan;
use tidegate_tests::probe::{self, Connect};
use tidegate_tests::scene::{Scene, alone};

#[test]
fn a_first_start_makes_a_ca_and_a_second_one_keeps_it() -> Result<()> {
    let _alone = alone();
    // A destination that is read: what is carried unread needs none.
    let mut scene = Scene::with(|port| Plan::postgres([port]))?;
    let folder = scene.agent.settings_file();
    let at = |name: &str| folder.with_file_name(name);
    let mode = fs::metadata(at("ca.key"))?.permissions().mode() & 0o7777;
    ensure!(mode == 0o600, "the key's mode is {mode:o}");
    let first = fs::read(at("ca.crt"))?;
    let shown = scene.agent.log();
    ensure!(!shown.contains("PRIVATE KEY"), "the key is in the log");
    scene.agent.kill_all()?;
    scene.agent.run_again()?;
    scene.agent.wait_healthy()?;
    ensure!(fs::read(at("ca.crt"))? == first, "the second start made another CA");
    Ok(())
}

#[test]
fn a_file_that_is_not_as_it_should_be_keeps_what_holds() -> Result<()> {
    let _alone = alone();
    let scene = Scene::with(|port| {
        Plan::default().setting(&format!("protect = [{{ to = {port}, protocol = \"unread\" }}]"))
    })?;
    let before = scene.agent.status()?;
    let file = scene.agent.settings_file();
    let good = fs::read_to_string(&file)?;
    let at = |name: &str| file.with_file_name(name).display().to_string();
    let written = format!(
        "protect = [{{ to = {}, roots = \"{}\", client_cert = \"{}\", client_key = \"{}\" }}]",
        scene.echo.port(),
        at("none.pem"),
        at("ca.crt"),
        at("open.key"),
    );
    fs::write(at("open.key"), "hunter2")?;
    let line = good.lines().find(|line| line.starts_with("protect")).unwrap_or_default();
    fs::write(&file, good.replace(line, &written))?;
    let order = scene.agent.order(&["reload"])?;
    let said = String::from_utf8_lossy(&order.stderr).into_owned();
    ensure!(!order.status.success(), "`reload` succeeded: {said}");
    for word in ["the running settings stay", "none.pem", "chmod 600"] {
        ensure!(said.contains(word), "`reload` doesn't speak of `{word}`: {said}");
    }
    ensure!(
        !said.contains("hunter2") && !scene.agent.log().contains("hunter2"),
        "a secret is told"
    );
    ensure!(scene.agent.status()?.generation == before.generation, "the generation moved");
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "still"))?;
    ensure!(report.direct == Some(false), "{}", report.summary());

    fs::write(&file, &good)?;
    scene.agent.must(&["reload"])?;
    scene.agent.wait_status("the new settings", Duration::from_secs(5), |status| {
        status.generation > before.generation
    })?;
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "again"))?;
    ensure!(report.direct == Some(false), "{}", report.summary());
    Ok(())
}
