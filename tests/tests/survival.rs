//! The agent's parts die, hang and are replaced while clients go on: strict
//! destinations never get a byte outside of the gate, whatever the moment.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::crowd::Crowd;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::echo::Echo;
use tidegate_tests::place::Place;
use tidegate_tests::probe::{self, Connect, Load, Outcome};
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::sys;
use tidegate_tests::wait::{until, until_true};

/// The heartbeat is stale after two seconds at most.
const STALE: Duration = Duration::from_secs(2);
/// What a busy machine may add.
const MARGIN: Duration = Duration::from_millis(1_500);

fn load(echo: &Echo, label: &str) -> Load {
    Load { to: echo.v4(), threads: 6, rounds: 3, pause_us: 1_000, label: label.into(), count: 0 }
}

fn no_byte_outside(scene: &Scene) -> Result<()> {
    let trespassers = scene.echo.trespassers();
    ensure!(
        trespassers.is_empty(),
        "{} connections brought bytes outside of the gate, such as {:?}{}",
        trespassers.len(),
        trespassers.first(),
        scene.agent.tail()
    );
    Ok(())
}

/// The end of a test: nothing got out, and nothing stays.
fn finish(mut scene: Scene) -> Result<()> {
    no_byte_outside(&scene)?;
    scene.agent.detach()
}

/// A live number of outcomes, for a failing test.
fn faults(outcomes: &[Outcome]) -> String {
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    for outcome in outcomes.iter().filter(|outcome| !outcome.done()) {
        *kinds.entry(format!("{}: {:?}", outcome.step, outcome.error)).or_default() += 1;
    }
    format!("{kinds:?}")
}

#[test]
fn a_killed_enforcer_is_replaced_and_connects_wait() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let crowd = Crowd::start(&scene.inside(), &load(&scene.echo, "enforcer"))?;
    crowd.wait_done(50, 0, Duration::from_secs(10))?;
    for _ in 0..5 {
        let enforcer = scene.agent.enforcer()?;
        let since = sys::clock_us();
        sys::signal(enforcer, libc::SIGKILL)?;
        crowd
            .wait_done(50, since, Duration::from_secs(20))
            .with_context(|| format!("after the enforcer's end{}", scene.agent.tail()))?;
        ensure!(scene.agent.enforcer()? != enforcer, "the dead enforcer is still told of");
    }
    let outcomes = crowd.stop()?;
    no_byte_outside(&scene)?;
    let refused: Vec<_> = outcomes.iter().filter(|one| !one.connected()).cloned().collect();
    ensure!(
        refused.is_empty(),
        "{} of {} connects failed while there was no enforcer: {}",
        refused.len(),
        outcomes.len(),
        faults(&refused)
    );
    let restarts = scene.agent.status()?.current().map_or(0, |enforcer| enforcer.restarts);
    ensure!(restarts >= 5, "{restarts} restarts are told of");
    finish(scene)
}

#[test]
fn with_the_keeper_gone_strict_is_refused_and_a_new_one_takes_over() -> Result<()> {
    let _alone = alone();
    let mut scene = Scene::strict()?;
    let crowd = Crowd::start(&scene.inside(), &load(&scene.echo, "keeper"))?;
    crowd.wait_done(50, 0, Duration::from_secs(10))?;
    scene.agent.kill_keeper()?;
    let gone = sys::clock_us();
    let why = crowd.wait_for("a refusal", gone, Duration::from_secs(10), |one| !one.connected())?;
    // Refused, not left hanging.
    ensure!(
        why.connect_us < 1_000_000
            && [Some(libc::EPERM), Some(libc::ECONNREFUSED)].contains(&why.errno),
        "{why:?}"
    );
    // Long after the heartbeat is stale it is still so.
    until_true("many refusals", STALE * 2 + MARGIN, || {
        let late = gone + (STALE + MARGIN).as_micros() as u64;
        let outcomes = crowd.outcomes();
        outcomes.iter().filter(|one| one.at > late && !one.connected()).count() > 20
    })
    .with_context(|| faults(&crowd.outcomes()))?;
    let passed = crowd.outcomes().iter().filter(|one| one.at > gone && one.done()).count();
    ensure!(passed == 0, "{passed} connections were made without a keeper");
    scene.agent.run_again()?;
    scene.agent.wait_healthy()?;
    let back = sys::clock_us();
    crowd.wait_done(50, back, Duration::from_secs(10)).with_context(|| scene.agent.tail())?;
    let outcomes = crowd.stop()?;
    let late: Vec<_> =
        outcomes.iter().filter(|one| one.at > back && !one.done()).cloned().collect();
    ensure!(late.is_empty(), "after the takeover {} failed: {}", late.len(), faults(&late));
    finish(scene)
}

#[test]
fn killed_at_any_moment_of_its_start_nothing_gets_out() -> Result<()> {
    let _alone = alone();
    let mut scene = Scene::strict()?;
    let crowd = Crowd::start(&scene.inside(), &load(&scene.echo, "stages"))?;
    crowd.wait_done(20, 0, Duration::from_secs(10))?;
    scene.agent.kill_all()?;
    for after_ms in [0, 1, 2, 4, 8, 15, 25, 40, 60, 90, 130, 180, 250, 400, 700] {
        scene.agent.run_again()?;
        // The moment is the test.
        std::thread::sleep(Duration::from_millis(after_ms));
        scene.agent.kill_all()?;
    }
    scene.agent.run_again()?;
    scene.agent.wait_healthy()?;
    crowd.wait_done(20, sys::clock_us(), Duration::from_secs(10))?;
    crowd.stop()?;
    finish(scene)
}

#[test]
fn permissive_goes_direct_once_the_heartbeat_is_stale_and_comes_back() -> Result<()> {
    let _alone = alone();
    let mut scene = Scene::permissive()?;
    let crowd = Crowd::start(&scene.inside(), &load(&scene.echo, "permissive"))?;
    crowd.wait_done(50, 0, Duration::from_secs(10))?;
    no_byte_outside(&scene)?;
    scene.agent.kill_keeper()?;
    let gone = sys::clock_us();
    let direct = |one: &Outcome| one.done() && one.direct == Some(true);
    let first = crowd.wait_for("a direct connection", gone, Duration::from_secs(15), direct)?;
    let after = Duration::from_micros(first.at - gone);
    ensure!(after < STALE + MARGIN, "it took {after:?}");
    // From then on every one.
    let since = first.at + 200_000;
    crowd.wait_done(50, since, Duration::from_secs(10))?;
    scene.agent.run_again()?;
    let status = scene.agent.wait_healthy()?;
    ensure!(status.losses.direct > 0, "the direct ones are not counted");
    let back = sys::clock_us();
    crowd.wait_for("a led connection", back, Duration::from_secs(5), |one| {
        one.done() && one.direct == Some(false)
    })?;
    let outcomes = crowd.stop()?;
    let strays = outcomes.iter().filter(|one| one.at > back && one.direct == Some(true)).count();
    ensure!(strays == 0, "{strays} went direct although the agent was back");
    Ok(())
}

#[test]
fn an_enforcer_that_hangs_counts_as_dead() -> Result<()> {
    let _alone = alone();
    for strict in [true, false] {
        let scene = if strict { Scene::strict()? } else { Scene::permissive()? };
        let crowd = Crowd::start(&scene.inside(), &load(&scene.echo, "hung"))?;
        crowd.wait_done(30, 0, Duration::from_secs(10))?;
        let enforcer = scene.agent.enforcer()?;
        sys::signal(enforcer, libc::SIGSTOP)?;
        if strict {
            scene.agent.wait_status("the hung enforcer to be noticed", STALE * 3, |status| {
                status.verdict == "failing"
                    || status.current().is_some_and(|current| current.pid != enforcer)
            })?;
        } else {
            // Direct, or through an enforcer that has replaced it. (The crowd's
            // own clients wait for answers of the hung one.)
            let plan = Connect { patience_ms: 300, ..Connect::to(scene.echo.v4(), "fresh") };
            until("a new connection to be answered", STALE + MARGIN, || {
                Ok(probe::connect(&scene.inside(), &plan)?.done().then_some(()))
            })
            .with_context(|| scene.agent.tail())?;
        }
        let _ = sys::signal(enforcer, libc::SIGCONT);
        let back = sys::clock_us();
        crowd.wait_for("a led connection", back, Duration::from_secs(15), |one| {
            one.done() && one.direct == Some(false)
        })?;
        crowd.stop()?;
        if strict {
            no_byte_outside(&scene)?;
        }
    }
    Ok(())
}

#[test]
fn an_upgrade_under_load_fails_no_connect() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let short = Crowd::start(&scene.inside(), &load(&scene.echo, "short"))?;
    let long = Load { rounds: u64::MAX, threads: 3, ..load(&scene.echo, "long") };
    let long = Crowd::start(&scene.inside(), &long)?;
    short.wait_done(50, 0, Duration::from_secs(10))?;
    for by_signal in [false, true, false] {
        let old = scene.agent.enforcer()?;
        if by_signal {
            sys::signal(scene.agent.keeper()?, libc::SIGUSR2)?;
        } else {
            scene.agent.must(&["upgrade"])?;
        }
        let since = sys::clock_us();
        short.wait_done(50, since, Duration::from_secs(10))?;
        scene.agent.wait_status("the new enforcer", Duration::from_secs(5), |status| {
            status.current().is_some_and(|current| current.pid != old)
        })?;
    }
    // The long ones are where they were: nothing of theirs has ended.
    ensure!(long.outcomes().is_empty(), "a session ended: {:?}", long.outcomes());
    let (short, long) = (short.stop()?, long.stop()?);
    ensure!(short.iter().all(Outcome::done), "of {}: {}", short.len(), faults(&short));
    ensure!(long.len() == 3 && long.iter().all(Outcome::done), "{}", faults(&long));
    scene.agent.wait_status("the old enforcers to end", Duration::from_secs(10), |status| {
        status.enforcers.len() == 1
    })?;
    finish(scene)
}

#[test]
fn a_drained_enforcer_ends_its_sessions_at_the_deadline() -> Result<()> {
    let _alone = alone();
    let scene =
        Scene::with(|port| Plan::unread([port]).setting("[enforcer]").setting("drain = \"1s\""))?;
    let mut dialer = Dialer::start(&scene.inside())?;
    let mut stream = greeted(&mut dialer, &scene.echo, "idle")?;
    let old = scene.agent.enforcer()?;
    scene.agent.must(&["upgrade"])?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut rest = [0; 1];
    let ended = stream.read(&mut rest);
    ensure!(
        matches!(&ended, Ok(0))
            || ended.as_ref().err().map(std::io::Error::kind)
                == Some(std::io::ErrorKind::ConnectionReset),
        "{ended:?}"
    );
    until_true("the old enforcer's process to end", Duration::from_secs(5), || {
        !std::path::Path::new(&format!("/proc/{old}")).exists()
    })?;
    let closed = scene.observer.wait_of("closed", dialer.pid())?;
    let end = closed.closing.context("no closing")?.end;
    ensure!(end == "drained", "the closing says `{end}`");
    Ok(())
}

#[test]
fn detach_leaves_nothing_behind() -> Result<()> {
    let _alone = alone();
    let mut scene = Scene::strict()?;
    ensure!(!scene.agent.leftovers()?.is_empty(), "nothing is attached to begin with");
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "before"))?;
    ensure!(report.direct == Some(false), "{}", report.summary());
    // Says so itself when anything is left.
    scene.agent.detach()?;
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "after"))?;
    ensure!(report.direct == Some(true), "{}", report.summary());
    Ok(())
}

#[test]
fn broken_settings_never_replace_the_running_ones() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let before = scene.agent.status()?;
    let file = scene.agent.settings_file();
    let good = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{good}\nlisten_prot = 7\non_existing = \"ignore\"\n"))?;
    let order = scene.agent.order(&["reload"])?;
    ensure!(!order.status.success(), "`reload` of a broken file succeeded");
    let said = String::from_utf8_lossy(&order.stderr).into_owned();
    for word in ["listen_prot", "listen_port", "ignore"] {
        ensure!(said.contains(word), "`reload` doesn't speak of `{word}`: {said}");
    }
    sys::signal(scene.agent.keeper()?, libc::SIGHUP)?;
    until_true("the mistake to be logged", Duration::from_secs(5), || {
        scene.agent.log().contains("listen_prot")
    })
    .with_context(|| scene.agent.tail())?;
    let after = scene.agent.status()?;
    ensure!(after.generation == before.generation, "the generation moved");
    let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "still"))?;
    ensure!(report.direct == Some(false), "{}", report.summary());

    std::fs::write(&file, format!("{good}\nquota_user = 77\n"))?;
    sys::signal(scene.agent.keeper()?, libc::SIGHUP)?;
    scene.agent.wait_status("the new settings", Duration::from_secs(5), |status| {
        status.generation > before.generation
    })?;
    Ok(())
}

#[test]
fn connections_older_than_the_agent_are_adopted_or_ended() -> Result<()> {
    let _alone = alone();
    for adopt in [true, false] {
        let echo = Echo::start()?;
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        // One session without an end.
        let older = Load { rounds: u64::MAX, threads: 1, ..load(&echo, "older") };
        let older = Crowd::start(&Place::new().cgroup(&work), &older)?;
        let bytes = || echo.records().first().map_or(0, |record| record.bytes());
        until_true("the session to be under way", Duration::from_secs(5), || bytes() > 100)?;
        let own = echo.records().first().context("no session")?.peer;
        let word = if adopt { "adopt" } else { "kill" };
        let plan = Plan::unread([echo.port()]).setting(&format!("on_existing = \"{word}\""));
        let agent = Agent::start(&root, plan)?;
        let observer = agent.observe()?;
        let event = observer.wait_of("existing", older.pid())?;
        ensure!(event.client == Some(own) && event.destination == Some(echo.v4()), "{event:?}");
        ensure!(event.adopted == Some(adopt), "{event:?}");
        if adopt {
            let listed = agent.status()?.adopted;
            ensure!(listed.iter().any(|one| one.client == own), "{listed:?}");
            let now = bytes();
            until_true("the adopted session to go on", Duration::from_secs(5), || {
                bytes() > now + 100
            })?;
            let outcomes = older.stop()?;
            ensure!(outcomes.len() == 1 && outcomes.iter().all(Outcome::done), "{outcomes:?}");
            agent.wait_status(
                "the ended one to leave the list",
                Duration::from_secs(20),
                |it| it.adopted.is_empty(),
            )?;
        } else {
            let ended = older.wait_for("its end", 0, Duration::from_secs(5), |one| !one.done())?;
            ensure!(ended.direct == Some(true), "{ended:?}");
            drop(older);
        }
        // New ones are led.
        echo.gate_is(agent.listen_port());
        let report = probe::connect(&Place::new().cgroup(&work), &Connect::to(echo.v4(), "newer"))?;
        ensure!(report.direct == Some(false), "{}", report.summary());
    }
    Ok(())
}

/// Connected, introduced and answered.
fn greeted(dialer: &mut Dialer, echo: &Echo, label: &str) -> Result<std::net::TcpStream> {
    let mut stream = dialer.open(echo.v4())?;
    stream.write_all(format!("tg1 echo {label} {}\n", stream.local_addr()?).as_bytes())?;
    let mut greeting = Vec::new();
    until("the greeting", Duration::from_secs(5), || {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        greeting.extend_from_slice(&byte);
        Ok((byte == *b"\n").then_some(()))
    })?;
    Ok(stream)
}
