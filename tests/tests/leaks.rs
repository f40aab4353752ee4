//! 10,000 connections later everything is where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::Agent;
use tidegate_tests::crowd::Crowd;
use tidegate_tests::kernel::{descriptors, map_entries, memory_kib};
use tidegate_tests::probe::Load;
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::wait::until;

/// What the agent holds: entries of each pinned map, descriptors, memory.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    maps: Vec<(String, usize)>,
    descriptors: BTreeMap<u32, usize>,
    /// By process, with what it does.
    memory_kib: BTreeMap<u32, (String, u64)>,
}

fn holdings(agent: &Agent) -> Result<Holdings> {
    let mut found = Holdings {
        maps: map_entries(&agent.bpffs().join("tidegate"))?,
        descriptors: BTreeMap::new(),
        memory_kib: BTreeMap::new(),
    };
    for pid in agent.processes()? {
        // The canary's process comes and goes.
        if let (Ok(count), Ok(memory)) = (descriptors(pid), memory_kib(pid)) {
            found.descriptors.insert(pid, count);
            found.memory_kib.insert(pid, (role(pid), memory));
        }
    }
    Ok(found)
}

/// `enforcer`, `audit index`; nothing for the keeper.
fn role(pid: u32) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = words.split(|byte| *byte == 0).skip(1).take(2);
    let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
    words.collect::<Vec<_>>().join(" ")
}

/// The index fills its cache up to a limit of its own, whenever the host is idle.
const INDEX: &str = "audit index";
const INDEX_MOST_KIB: u64 = 32 * 1024;

fn total(memory_kib: &BTreeMap<u32, (String, u64)>) -> u64 {
    memory_kib.values().filter(|(role, _)| role != INDEX).map(|(_, memory)| memory).sum()
}

fn crowd(scene: &Scene, count: u64, label: &str) -> Result<()> {
    let load = Load {
        to: scene.echo.v4(),
        threads: 8,
        rounds: 1,
        pause_us: 0,
        label: label.into(),
        count,
    };
    let outcomes = Crowd::start(&scene.inside(), &load)?.stop()?;
    let failed: Vec<_> = outcomes.iter().filter(|one| !one.done()).collect();
    ensure!(outcomes.len() as u64 == count, "{} of {count} connections", outcomes.len());
    ensure!(failed.is_empty(), "{} failed, such as {:?}", failed.len(), failed.first());
    Ok(())
}

#[test]
fn ten_thousand_connections_leave_nothing() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    // What is taken once is taken now.
    crowd(&scene, 1_000, "warm")?;
    settled(&scene, 1_000)?;
    let before = holdings(&scene.agent)?;
    ensure!(!before.maps.is_empty(), "no map is pinned in {}", scene.agent.bpffs().display());
    crowd(&scene, 10_000, "many")?;
    settled(&scene, 11_000)?;
    let mut last = None;
    until("maps and descriptors to be where they were", Duration::from_secs(15), || {
        let now = holdings(&scene.agent)?;
        // The canary's own connection may be under way on either side.
        let same_maps = now
            .maps
            .iter()
            .zip(&before.maps)
            .all(|((name, now), (was_name, was))| name == was_name && *now <= *was + 1);
        let same_descriptors = before
            .descriptors
            .iter()
            .all(|(pid, was)| now.descriptors.get(pid).is_none_or(|now| *now <= *was + 4));
        last = Some(now);
        Ok((same_maps && same_descriptors).then_some(()))
    })
    .with_context(|| format!("before: {before:?}\nnow: {last:?}"))?;
    let after = last.context("no holdings")?;
    // The newest 10,000 events are kept by design; they are 11,000 by now.
    ensure!(
        total(&after.memory_kib) < total(&before.memory_kib) + 48 * 1024,
        "memory went from {:?} to {:?} KiB",
        before.memory_kib,
        after.memory_kib
    );
    // Events being full, more of them take nothing more: 4 MiB are 200 bytes for each.
    for connections in [16_000, 21_000, 26_000, 31_000] {
        crowd(&scene, 5_000, "more")?;
        settled(&scene, connections)?;
    }
    let again = holdings(&scene.agent)?.memory_kib;
    ensure!(
        total(&again) < total(&after.memory_kib) + 4 * 1024,
        "memory goes on growing: {:?} to {again:?} KiB",
        after.memory_kib
    );
    let index = again.values().find(|(role, _)| role == INDEX);
    let (_, index) = index.context("nobody keeps the index")?;
    ensure!(*index < INDEX_MOST_KIB, "the index takes {index} KiB");
    ensure!(scene.echo.trespassers().is_empty());
    Ok(())
}

/// Every connection is over, and whoever observes has caught up: what he hasn't read
/// yet is held for him.
fn settled(scene: &Scene, connections: usize) -> Result<()> {
    scene.agent.wait_status("every connection to be over", Duration::from_secs(15), |status| {
        status.open == 0 && status.connecting == 0
    })?;
    until("the observer to have read all", Duration::from_secs(60), || {
        let told = scene.observer.count(|event| event.event == "closed")?;
        Ok((told >= connections).then_some(()))
    })
}
