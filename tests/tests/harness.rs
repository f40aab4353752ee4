//! The harness itself: what the other suites lean on must be able to fail.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::programs;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::crowd::Crowd;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::echo::Echo;
use tidegate_tests::namespace::Namespace;
use tidegate_tests::place::Place;
use tidegate_tests::probe::{self, Connect, Load, Report, Staying, Task};
use tidegate_tests::scene::alone;
use tidegate_tests::wait::until_true;
use tidegate_tests::{cgroup, sys};

/// A relay of the simplest kind, as something to be told apart from a client.
fn relay(to: std::net::SocketAddr) -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(to) else { continue };
            for (mut from, mut into) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut into);
                    let _ = into.shutdown(Shutdown::Write);
                });
            }
        }
    });
    Ok(at)
}

#[test]
fn the_server_tells_a_relay_from_a_client() -> Result<()> {
    let _alone = alone();
    let echo = Echo::start()?;
    let direct = probe::connect(&Place::new(), &Connect::to(echo.v4(), "direct"))?;
    ensure!(direct.done() && direct.direct == Some(true), "{direct:?}");
    ensure!(direct.seen_as == direct.socket_name, "{direct:?}");
    let relayed = probe::connect(&Place::new(), &Connect::to(relay(echo.v4())?, "relayed"))?;
    ensure!(relayed.done() && relayed.direct == Some(false), "{relayed:?}");
    let caught: Vec<_> = echo.trespassers().iter().map(|record| record.label()).collect();
    ensure!(caught == [Some("direct".into())], "{caught:?}");
    Ok(())
}

#[test]
fn a_byte_without_a_name_is_a_trespass() -> Result<()> {
    let _alone = alone();
    let echo = Echo::start()?;
    let mut stream = TcpStream::connect(echo.v4())?;
    stream.write_all(b"x")?;
    drop(stream);
    until_true("the server to have noticed", Duration::from_secs(5), || {
        echo.trespassers().len() == 1
    })?;
    // Connecting alone is none.
    drop(TcpStream::connect(echo.v4())?);
    until_true("the server to have noticed", Duration::from_secs(5), || {
        echo.records().iter().filter(|record| record.ended()).count() == 2
    })?;
    ensure!(echo.trespassers().len() == 1);
    Ok(())
}

#[test]
fn a_probe_runs_where_and_as_whom_it_should() -> Result<()> {
    let _alone = alone();
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let namespace = Namespace::fresh()?;
    let echo = Echo::start_in(&namespace, 20_111)?;
    let place = Place::new().cgroup(&work).namespace(&namespace).user(4242, 4343);
    let mut child = probe::command(&place, &Task::Bind { at: vec![] })?;
    let mut child = child.stdin(std::process::Stdio::piped()).spawn()?;
    let pid = child.id();
    until_true("the probe to be in its cgroup", Duration::from_secs(5), || {
        work.processes().is_ok_and(|members| members == [pid])
    })?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(status.contains("Uid:\t4242\t4242") && status.contains("Gid:\t4343"), "{status}");
    root.kill()?;
    ensure!(!child.wait()?.success());
    let report = probe::connect(&place, &Connect::to(echo.v4(), "there"))?;
    ensure!(report.done() && report.uid == 4242, "{report:?}");
    ensure!(report.netns == namespace.cookie() && report.netns != sys::namespace_cookie()?);
    ensure!(echo.records().len() == 1);
    Ok(())
}

#[test]
fn a_cgroup_goes_with_all_its_members() -> Result<()> {
    let _alone = alone();
    let root = Cgroup::fresh()?;
    let path = root.path().to_path_buf();
    let (a, b) = (root.child("a")?, root.child("b")?);
    ensure!(programs(root.path())? == 0);
    let mut sleepers = Vec::new();
    for cgroup in [&a, &b] {
        sleepers.push(Place::new().cgroup(cgroup).command("sleep")?.arg("600").spawn()?);
    }
    ensure!(root.processes()?.len() == 2);
    cgroup::remove(&path)?;
    ensure!(!path.exists());
    for mut sleeper in sleepers {
        ensure!(!sleeper.wait()?.success());
    }
    Ok(())
}

#[test]
fn a_dialler_connects_and_hands_over() -> Result<()> {
    let _alone = alone();
    let echo = Echo::start()?;
    let mut dialer = Dialer::start(&Place::new())?;
    let mut stream = dialer.open(echo.v4())?;
    stream.write_all(format!("tg1 echo dialled {}\n", stream.local_addr()?).as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting)?;
    ensure!(greeting.trim_end().ends_with("direct"), "{greeting}");
    let refused = dialer.connect((Ipv4Addr::LOCALHOST, 1).into())?;
    let errno = refused.err().and_then(|error| error.raw_os_error());
    ensure!(errno == Some(libc::ECONNREFUSED), "{errno:?}");
    Ok(())
}

#[test]
fn forks_passes_and_reconnects_tell_whose_they_are() -> Result<()> {
    let _alone = alone();
    let echo = Echo::start()?;
    for pass in [false, true] {
        let connect = Connect::to(echo.v4(), "child");
        let task = if pass { Task::Pass { connect } } else { Task::Fork { connect } };
        let report: Report = probe::ask(&Place::new(), &task)?;
        ensure!(report.done() && report.direct == Some(true), "{report:?}");
        ensure!(report.parent != std::process::id(), "{report:?}");
    }
    let task = Task::Reconnect { to: vec![echo.v4(), echo.v4()] };
    let reports: Vec<Report> = probe::ask(&Place::new(), &task)?;
    ensure!(reports.len() == 2 && reports.iter().all(Report::done), "{reports:?}");
    Ok(())
}

#[test]
fn a_crowd_counts_what_came_of_each() -> Result<()> {
    let _alone = alone();
    let echo = Echo::start()?;
    let load = Load {
        to: echo.v4(),
        threads: 4,
        rounds: 2,
        pause_us: 500,
        label: "crowd".into(),
        count: 0,
    };
    let crowd = Crowd::start(&Place::new(), &load)?;
    crowd.wait_done(50, 0, Duration::from_secs(10))?;
    let since = sys::clock_us();
    drop(echo);
    let lost =
        crowd.wait_for("a refusal", since, Duration::from_secs(5), |one| !one.connected())?;
    ensure!(lost.errno == Some(libc::ECONNREFUSED), "{lost:?}");
    let outcomes = crowd.stop()?;
    ensure!(outcomes.iter().filter(|one| one.done()).all(|one| one.direct == Some(true)));
    Ok(())
}

#[test]
fn an_unbound_listener_is_given_the_only_port_there_is() -> Result<()> {
    let _alone = alone();
    let namespace = Namespace::fresh()?;
    namespace.set("ipv4/ip_local_port_range", "21999 21999")?;
    let place = Place::new().namespace(&namespace);
    let (squatter, squat): (_, probe::SquatReport) = Staying::start(&place, &Task::Squat)?;
    ensure!(squat.errno.is_none() && squat.port == 21_999, "{squat:?}");
    let mut got = String::new();
    namespace.within(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 21_999));
        if stream.is_err() {
            // Its own port cannot be the range's only one.
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999")?;
            stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 21_999));
        }
        stream?.read_to_string(&mut got).context("no answer")?;
        Ok(())
    })?;
    ensure!(got == "squatted\n", "{got}");
    ensure!(!squatter.end()?.is_empty());
    Ok(())
}
