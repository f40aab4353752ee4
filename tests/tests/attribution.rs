//! 2,000 short lives: each connection belongs to its process, none is lost,
//! none is mixed up.

use std::collections::HashMap;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::echo::Echo;
use tidegate_tests::place::Place;
use tidegate_tests::probe::{self, Task};
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::wait::until_true;

const LIVES: usize = 2_000;
const AT_A_TIME: usize = 64;

/// Label → pid of every life.
fn live(place: &Place<'_>, echo: &Echo, lives: usize) -> Result<HashMap<String, u32>> {
    let mut running: Vec<Child> = Vec::new();
    let mut pids = HashMap::new();
    let ended = |child: Child| -> Result<()> {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    for index in 0..lives {
        if running.len() == AT_A_TIME {
            ended(running.remove(0))?;
        }
        let label = format!("life-{index}-");
        let to = if index % 2 == 0 { echo.v4() } else { echo.v6() };
        let task = Task::Touch { to, label: label.clone() };
        let child = probe::command(place, &task)?.spawn()?;
        pids.insert(label, child.id());
        running.push(child);
    }
    running.into_iter().try_for_each(ended)?;
    Ok(pids)
}

/// The server has heard of each exactly once.
fn heard(echo: &Echo, pids: &HashMap<String, u32>) -> Result<()> {
    until_true("the server to have heard everybody", Duration::from_secs(30), || {
        let records = echo.records();
        records.len() >= pids.len() && records.iter().all(|record| record.ended())
    })
    .with_context(|| format!("it heard {}", echo.records().len()))?;
    let mut heard: HashMap<String, usize> = HashMap::new();
    for record in echo.records() {
        let label = record.label().with_context(|| format!("somebody unknown: {record:?}"))?;
        *heard.entry(label).or_default() += 1;
    }
    for label in pids.keys() {
        ensure!(heard.remove(label) == Some(1), "{label} was not heard exactly once");
    }
    ensure!(heard.is_empty(), "heard as well: {heard:?}");
    Ok(())
}

#[test]
fn without_the_agent_every_short_life_is_heard() -> Result<()> {
    let _alone = alone();
    let echo = Echo::start()?;
    let work = Cgroup::fresh()?;
    let pids = live(&Place::new().cgroup(&work), &echo, 200)?;
    heard(&echo, &pids)?;
    ensure!(echo.trespassers().len() == 200, "some were not direct");
    Ok(())
}

#[test]
fn every_one_of_2000_short_lives_is_attributed() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let pids = live(&scene.inside().user(4242, 4242), &scene.echo, LIVES)?;
    heard(&scene.echo, &pids)?;
    ensure!(scene.echo.trespassers().is_empty(), "{:?}", scene.echo.trespassers());
    until_true("every closing to be told", Duration::from_secs(20), || {
        scene.observer.events().is_ok_and(|events| {
            events.iter().filter(|event| event.event == "closed").count() >= LIVES
        })
    })?;
    let events = scene.observer.events()?;
    let cgroup = scene.work.id()?;
    let name = scene.work.name()?;
    let mut told: HashMap<String, usize> = HashMap::new();
    for event in events.iter().filter(|event| event.event == "opened") {
        let flow = event.flow.as_ref().context("an opening without a flow")?;
        let process = &flow.process;
        let command = process.command.join(" ");
        let (label, pid) = pids
            .iter()
            .find(|(label, _)| command.contains(label.as_str()))
            .with_context(|| format!("nobody's command line: `{command}`"))?;
        ensure!(process.key.tgid == *pid, "{label}: tgid {} for {pid}", process.key.tgid);
        ensure!(process.uid == 4242, "{label}: uid {}", process.uid);
        ensure!(process.cgroup_id == cgroup, "{label}: cgroup {:?}", process.cgroup);
        ensure!(
            process.cgroup.is_none() || process.cgroup.as_deref() == Some(name.as_str()),
            "{label}: cgroup {:?}",
            process.cgroup
        );
        ensure!(process.comm == "probe", "{label}: comm `{}`", process.comm);
        *told.entry(label.clone()).or_default() += 1;
    }
    for label in pids.keys() {
        let times = told.get(label).copied().unwrap_or_default();
        ensure!(times == 1, "{label} was told of {times} times");
    }
    for event in events.iter().filter(|event| event.event == "closed") {
        let closing = event.closing.as_ref().context("a closing without its end")?;
        ensure!(closing.bytes_up > 0 && closing.end == "closed", "{closing:?}");
    }
    let losses = scene.agent.status()?.losses;
    ensure!(losses.events == 0, "{} events were lost", losses.events);
    Ok(())
}
