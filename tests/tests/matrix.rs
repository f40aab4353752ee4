//! Every way of connecting is led and attributed, or refused with an event;
//! and what a destination does reaches the client as if it were direct.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::agent::{Agent, Plan};
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::echo::{Echo, listen};
use tidegate_tests::matrix::{self, Places};
use tidegate_tests::namespace::Namespace;
use tidegate_tests::place::Place;
use tidegate_tests::postgres::{Postgres, program};
use tidegate_tests::probe::{self, Connect, Manner, Report};
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::{ports, postgres, sys};

#[test]
fn without_the_agent_every_combination_is_direct() -> Result<()> {
    let _alone = alone();
    let echo = Echo::start()?;
    let places = Places::make()?;
    let _others = others(&places, echo.port())?;
    let work = Cgroup::fresh()?;
    let mut failed = Vec::new();
    for case in matrix::cases() {
        ensure!(case.missing_here().is_none(), "{case}: {:?}", case.missing_here());
        if let Err(error) = matrix::check_direct(case, &places, &work, echo.port()) {
            failed.push(format!("{case}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn every_combination_is_led_and_attributed() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let places = Places::make()?;
    let others = others(&places, scene.echo.port())?;
    for echo in &others {
        echo.gate_is(scene.agent.listen_port());
    }
    let mut failed = Vec::new();
    for case in matrix::cases() {
        let port = scene.echo.port();
        match matrix::check_led(case, &places, &scene.work, port, &scene.observer) {
            Ok(verdict) => println!("{case}: {verdict}"),
            Err(error) => failed.push(format!("{case}: {error:#}")),
        }
    }
    let losses = scene.agent.status()?.losses;
    ensure!(failed.is_empty(), "{}\n{losses:?}{}", failed.join("\n"), scene.agent.tail());
    for echo in others.iter().chain([&scene.echo]) {
        ensure!(echo.trespassers().is_empty(), "direct: {:?}", echo.trespassers());
    }
    Ok(())
}

#[test]
fn the_first_connect_in_500_new_namespaces_never_fails() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let gate = Some(scene.agent.listen_port());
    let reports = matrix::fresh_namespaces(500, 8, &scene.work, scene.echo.port(), gate)?;
    let netns: HashSet<u64> = reports.iter().map(|report| report.netns).collect();
    ensure!(netns.len() == 500, "{} namespaces instead of 500", netns.len());
    let slowest = matrix::check_fresh(&reports, &scene.observer, &scene.agent)?;
    println!("the slowest first connect took {slowest:?}");
    // The namespaces are gone; so is what the agent kept in them.
    scene.agent.wait_status("the namespaces to be let go", Duration::from_secs(15), |status| {
        status.namespaces.iter().filter(|seen| netns.contains(&seen.cookie)).count() == 0
    })?;
    Ok(())
}

#[test]
fn without_the_agent_new_namespaces_serve_themselves() -> Result<()> {
    let _alone = alone();
    let work = Cgroup::fresh()?;
    for report in matrix::fresh_namespaces(8, 4, &work, ports::fresh()?, None)? {
        ensure!(report.done() && report.direct == Some(true), "{report:?}");
    }
    Ok(())
}

/// Across a pair of interfaces: routes and source addresses are those of the
/// client's namespace.
#[test]
fn between_two_namespaces_the_clients_own_addresses_and_devices_count() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let (client, server, echo) = joined(scene.echo.port())?;
    echo.gate_is(scene.agent.listen_port());
    let outside = Place::new().namespace(&client);
    let inside = scene.inside().namespace(&client);
    for (to, source) in [
        ("10.77.0.2", "10.77.0.1"),
        ("fd77::2", "fd77::1"),
        ("10.77.0.2", "10.77.0.3"),
        ("fd77::2", "fd77::3"),
    ] {
        let (to, source): (IpAddr, IpAddr) = (to.parse()?, source.parse()?);
        let to = SocketAddr::new(to, echo.port());
        for manner in [Manner::Blocking, Manner::Bound, Manner::Device] {
            let plan = Connect {
                manner,
                device: Some("tide".into()),
                ..Connect::to(to, format!("veth-{manner:?}-{source}")).source(source)
            };
            let direct = probe::connect(&outside, &plan)?;
            ensure!(direct.done() && direct.direct == Some(true), "direct: {direct:?}");
            let led = probe::connect(&inside, &plan)?;
            if manner == Manner::Device && led.errno.is_some() && led.step == "connect" {
                scene.observer.wait_of("refused", led.pid)?;
                continue;
            }
            ensure!(led.done() && led.direct == Some(false), "{}", led.summary());
            let event = scene.observer.wait_of("opened", led.pid)?;
            matrix::attributed(&event, &led, &plan, 0, &scene.work)?;
            let same = direct.seen_as.map(|seen| seen.ip()) == led.seen_as.map(|seen| seen.ip());
            ensure!(
                same || manner == Manner::Device,
                "{}: the server sees {:?}, direct {:?}",
                plan.label,
                led.seen_as,
                direct.seen_as
            );
        }
    }
    ensure!(echo.trespassers().iter().all(|record| {
        // Only the controls, which were made outside of the cgroup.
        record.direct() && record.label().is_some_and(|label| label.starts_with("veth-"))
    }));
    drop(server);
    Ok(())
}

#[test]
fn a_refusal_comes_as_promptly_as_a_direct_one() -> Result<()> {
    let _alone = alone();
    let closed = ports::fresh()?;
    let scene = Scene::with(|port| Plan::unread([port, closed]))?;
    let namespace = Namespace::fresh()?;
    for namespace in [None, Some(&namespace)] {
        for ip in ["127.0.0.1", "::1"] {
            for manner in [Manner::Blocking, Manner::Nonblocking, Manner::IoUring, Manner::Tfo] {
                let to = SocketAddr::new(ip.parse()?, closed);
                let plan = Connect { manner, ..Connect::to(to, format!("refused-{manner:?}")) };
                let (mut outside, mut inside) = (Place::new(), scene.inside());
                if let Some(namespace) = namespace {
                    outside = outside.namespace(namespace);
                    inside = inside.namespace(namespace);
                }
                let direct = probe::connect(&outside, &plan)?;
                let led = probe::connect(&inside, &plan)?;
                ensure!(direct.errno == Some(libc::ECONNREFUSED), "direct: {direct:?}");
                ensure!(led.errno == direct.errno, "{}: {led:?}", plan.label);
                ensure!(led.step == "connect", "refused at `{}`, not at connect", led.step);
                let late = led.connect_us.saturating_sub(direct.connect_us);
                ensure!(late < 100_000, "{manner:?} to {to}: refused {late} µs later than direct");
                scene.observer.wait_of("failed", led.pid)?;
            }
        }
    }
    Ok(())
}

#[test]
fn an_unreachable_and_a_silent_destination_are_as_they_would_be_direct() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let (client, server, _echo) = joined(scene.echo.port())?;
    // Frames to this neighbour reach nobody: connects get no answer at all.
    client.ip(&["neigh", "add", "10.77.0.66", "lladdr", "02:00:00:00:00:66", "dev", "tide"])?;
    // The peer's namespace has no route there, and says so by ICMP.
    client.ip(&["route", "add", "10.99.0.0/16", "via", "10.77.0.2"])?;
    client.ip(&["-6", "route", "add", "fd99::/64", "via", "fd77::2"])?;
    server.set("ipv4/ip_forward", "1")?;
    server.set("ipv6/conf/all/forwarding", "1")?;
    // One retransmission, so that a timeout comes in seconds.
    client.set("ipv4/tcp_syn_retries", "1")?;
    let mut failed = Vec::new();
    for (ip, errno) in [
        ("10.77.0.66", libc::ETIMEDOUT),
        ("10.99.0.1", libc::ENETUNREACH),
        ("fd99::1", libc::ENETUNREACH),
        // No route at all: connect(2) itself says so.
        ("10.55.0.1", libc::ENETUNREACH),
        ("fd55::1", libc::ENETUNREACH),
    ] {
        let to = SocketAddr::new(ip.parse()?, scene.echo.port());
        let plan = Connect { patience_ms: 60_000, ..Connect::to(to, format!("far-{ip}")) };
        let direct = probe::connect(&Place::new().namespace(&client), &plan)?;
        ensure!(
            direct.errno == Some(errno) || direct.errno == Some(libc::EHOSTUNREACH),
            "direct to {ip}: {direct:?}"
        );
        let led = probe::connect(&scene.inside().namespace(&client), &plan)?;
        let late = led.connect_us.saturating_sub(direct.connect_us);
        if led.errno != direct.errno || led.step != "connect" || late > 1_000_000 {
            failed.push(format!(
                "{ip}: direct `{}` after {} µs, led `{}` after {} µs",
                direct.summary(),
                direct.connect_us,
                led.summary(),
                led.connect_us
            ));
        }
    }
    ensure!(failed.is_empty(), "{}{}", failed.join("\n"), scene.agent.tail());
    Ok(())
}

#[test]
fn a_full_backlog_lets_the_client_wait_as_it_would_direct() -> Result<()> {
    let _alone = alone();
    let full = ports::fresh()?;
    let scene = Scene::with(|port| Plan::unread([port, full]))?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, full));
    let listener = listen(to, 0)?;
    // Fills the backlog from outside the cgroup.
    let fillers: Vec<_> = (0..4)
        .map(|_| {
            let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
            match sys::connect(socket.as_fd(), &to.into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => bail!(error),
                _ => Ok(socket),
            }
        })
        .collect::<Result<_>>()?;
    let plan = Connect { patience_ms: 700, manner: Manner::Nonblocking, ..Connect::to(to, "full") };
    let direct = probe::connect(&Place::new(), &plan)?;
    let led = probe::connect(&scene.inside(), &plan)?;
    let waited =
        |report: &Report| report.step == "connect" && report.errno == Some(libc::ETIMEDOUT);
    ensure!(waited(&direct), "direct: {direct:?}");
    ensure!(waited(&led), "the connect is settled before its destination took it: {led:?}");
    drop((fillers, listener));
    Ok(())
}

#[test]
fn libpq_fails_over_to_the_host_that_lives() -> Result<()> {
    let _alone = alone();
    let postgres = Postgres::start()?;
    let dead = ports::fresh()?;
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;
    let agent = Agent::start(&root, Plan::postgres([postgres.port(), dead]))?;
    let observer = agent.observe()?;
    let dsn = format!(
        "host=127.0.0.1,::1,127.0.0.1 port={dead},{dead},{} user=app password=tide dbname=app \
         target_session_attrs=read-write connect_timeout=5",
        postgres.port()
    );
    let mut psql = Place::new().cgroup(&work).command(program("psql")?)?;
    psql.args(["-XAtq", "-c", "SELECT inet_client_port()"]).arg(&dsn);
    let started = std::time::Instant::now();
    let port: u16 = postgres::run(&mut psql)?.trim().parse().context("no port")?;
    ensure!(started.elapsed() < Duration::from_secs(4), "it took {:?}", started.elapsed());
    let opened = observer.wait_for("the connection", Duration::from_secs(5), |event| {
        event.event == "opened"
            && event.flow.as_ref().is_some_and(|flow| flow.destination.port() == postgres.port())
    })?;
    let flow = opened.flow.context("no flow")?;
    ensure!(flow.client.port() != port, "the server saw psql's own port: it was direct");
    let failed = observer.events()?.iter().filter(|event| event.event == "failed").count();
    ensure!(failed == 2, "{failed} failed connects instead of 2");
    Ok(())
}

fn others(places: &Places, port: u16) -> Result<[Echo; 2]> {
    Ok([Echo::start_in(&places.other, port)?, Echo::start_in(&places.fast_open, port)?])
}

/// Two namespaces with a pair of interfaces, and a server in the second.
fn joined(port: u16) -> Result<(Namespace, Namespace, Echo)> {
    let (client, server) = (Namespace::fresh()?, Namespace::fresh()?);
    let here: &[(IpAddr, u8)] = &[
        ("10.77.0.1".parse()?, 24),
        ("10.77.0.3".parse()?, 24),
        ("fd77::1".parse()?, 64),
        ("fd77::3".parse()?, 64),
    ];
    let there: &[(IpAddr, u8)] = &[("10.77.0.2".parse()?, 24), ("fd77::2".parse()?, 64)];
    client.join(&server, "tide", here, there)?;
    let echo = Echo::start_in(&server, port)?;
    Ok((client, server, echo))
}
