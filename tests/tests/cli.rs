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
use tidegate_tests::seen::Status;
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

#[test]
fn a_broken_policy_keeps_the_running_set_and_a_right_one_is_taken() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let agent = &scene.agent;
    let before = agent.status()?;
    let generation = |status: &Status| -> Result<String> {
        status.policy.generation.clone().with_context(|| format!("{:?}", status.policy))
    };
    let first = generation(&before)?;
    ensure!(before.policy.mode == "enforce" && before.policy.packs.is_empty(), "{before:#?}");
    let page = agent.must(&["status"])?;
    ensure!(page.contains(&format!("enforced; generation {first}")), "{page}");

    let file = agent.policies().join("own.cedar");
    std::fs::write(&file, "\n@id(\"own\")\nforbid (principal, action, resorce);\n")?;
    let order = agent.order(&["reload"])?;
    let said = String::from_utf8_lossy(&order.stderr).into_owned();
    ensure!(!order.status.success(), "`reload` of a broken policy succeeded");
    for word in ["the running settings stay", &format!("{}:3: ", file.display())] {
        ensure!(said.contains(word), "`reload` doesn't speak of `{word}`: {said}");
    }
    let after = agent.status()?;
    ensure!(after.generation == before.generation, "the generation of settings moved");
    ensure!(generation(&after)? == first && after.policy.files.is_empty(), "{:?}", after.policy);
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "still"))?;
    ensure!(report.direct == Some(false), "{}", report.summary());

    std::fs::write(&file, "\n@id(\"own\")\nforbid (principal, action, resource);\n")?;
    agent.must(&["reload"])?;
    let own = agent.status()?;
    let second = generation(&own)?;
    ensure!(second != first && own.generation > before.generation, "{:?}", own.policy);
    ensure!(own.policy.files == [file.display().to_string()], "{:?}", own.policy);
    // The same files make the same generation for whoever reads them.
    let lint = Command::new(binary()?).args(["policy", "lint"]).arg(&file).output()?;
    let lint = String::from_utf8_lossy(&lint.stdout).into_owned();
    ensure!(lint.contains(&format!("generation {second}")), "{second} isn't in: {lint}");

    let settings = std::fs::read_to_string(agent.settings_file())?;
    let packed = format!("{settings}\npolicy.packs = [\"read-only\"]\npolicy.mode = \"shadow\"\n");
    std::fs::write(agent.settings_file(), packed)?;
    agent.must(&["reload"])?;
    let packed = agent.status()?;
    ensure!(packed.policy.packs == ["read-only"] && packed.policy.mode == "shadow");
    ensure!(generation(&packed)? != second, "{:?}", packed.policy);

    std::fs::write(agent.settings_file(), format!("{settings}\npolicy.mode = \"off\"\n"))?;
    std::fs::write(&file, "broken")?;
    agent.must(&["reload"])?;
    let off = agent.status()?;
    ensure!(off.policy.mode == "off" && off.policy.generation.is_none(), "{:?}", off.policy);
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "on"))?;
    ensure!(report.direct == Some(false), "{}", report.summary());
    Ok(())
}

#[test]
fn an_agent_does_not_start_with_a_broken_policy() -> Result<()> {
    let _alone = alone();
    let folder = TempFolder::fresh()?;
    let root = Cgroup::fresh()?;
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies)?;
    std::fs::write(policies.join("a.cedar"), "forbid (principal, action, resorce);\n")?;
    std::fs::write(
        policies.join("b.cedar"),
        "\n@advise(\"x\")\npermit (principal, action, resource);\n",
    )?;
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, format!("policy.folder = \"{}\"\n", policies.display()))?;
    let output = Place::new()
        .cgroup(&root)
        .command(binary()?)?
        .args(["run", "--policy", "shadow", "--config"])
        .arg(&file)
        .arg("--cgroup")
        .arg(root.path())
        .arg("--control")
        .arg(folder.path().join("control.sock"))
        .output()?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    for word in ["a.cedar:1: ", "b.cedar:2: ", "did you mean `@advice`"] {
        ensure!(said.contains(word), "it doesn't speak of `{word}`: {said}");
    }
    ensure!(tidegate_tests::agent::programs(root.path())? == 0, "something is attached");
    Ok(())
}
