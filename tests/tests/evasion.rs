//! What a hostile process may try. Each attempt is shown to work without the
//! agent, so that its failure means something.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegate_tests::agent::Plan;
use tidegate_tests::cgroup::Cgroup;
use tidegate_tests::dialer::Dialer;
use tidegate_tests::echo::{Echo, listen};
use tidegate_tests::matrix::attributed;
use tidegate_tests::namespace::Namespace;
use tidegate_tests::place::Place;
use tidegate_tests::probe::{
    self, BindReport, Connect, Family, FillReport, Manner, RawKind, RawReport, Report, SquatReport,
    Staying, Task,
};
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::seen::Event;
use tidegate_tests::sys::RawAddress;
use tidegate_tests::{ports, sys, wait};

fn refused_for(scene: &Scene, tgid: u32, why: &str) -> Result<Event> {
    let what = format!("process {tgid} to be refused for `{why}`");
    scene.observer.wait_for(&what, Duration::from_secs(5), |event| {
        event.is_of("refused", tgid) && event.why.as_deref() == Some(why)
    })
}

fn led(report: &Report) -> Result<()> {
    ensure!(report.done() && report.direct == Some(false), "{}", report.summary());
    Ok(())
}

#[test]
fn packets_made_by_hand_do_not_leave() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    for (to, kind) in [
        (scene.echo.v4(), RawKind::Tcp),
        (scene.echo.v4(), RawKind::WholePacket),
        (scene.echo.v6(), RawKind::Tcp),
    ] {
        let task = Task::RawSyn { to, kind };
        let direct: RawReport = probe::ask(&Place::new(), &task)?;
        ensure!(direct.errno.is_none() && direct.answered, "direct: {direct:?}");
        let tried: RawReport = probe::ask(&scene.inside(), &task)?;
        ensure!(!tried.answered, "the server answered a packet made by hand: {tried:?}");
        ensure!(tried.errno == Some(libc::EPERM), "{kind:?} to {to}: {tried:?}");
        refused_for(&scene, tried.pid, "not-led-here")?;
    }
    Ok(())
}

#[test]
fn packets_made_by_hand_do_not_reach_the_listener() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, scene.agent.listen_port()));
    for kind in [RawKind::Tcp, RawKind::WholePacket] {
        let tried: RawReport = probe::ask(&scene.inside(), &Task::RawSyn { to, kind })?;
        ensure!(!tried.answered, "the listener answered a packet made by hand: {tried:?}");
    }
    Ok(())
}

#[test]
fn nobody_dials_the_listener() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    // Make sure that this namespace has its listener.
    led(&probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "first"))?)?;
    let port = scene.agent.listen_port();
    for (ip, family) in [
        ("127.0.0.1", Family::V4),
        ("127.0.0.1", Family::Mapped),
        ("127.8.8.8", Family::V4),
        ("::1", Family::V6),
    ] {
        for manner in [Manner::Blocking, Manner::Nonblocking, Manner::IoUring, Manner::Tfo] {
            let to = SocketAddr::new(ip.parse()?, port);
            let plan = Connect {
                family,
                manner,
                patience_ms: 2_000,
                ..Connect::to(to, format!("dial-{ip}-{manner:?}"))
            };
            let tried = probe::connect(&scene.inside(), &plan)?;
            ensure!(tried.step == "connect", "{}: {}", plan.label, tried.summary());
            if ip == "127.8.8.8" && tried.errno == Some(libc::ECONNREFUSED) {
                // Nobody listens at the other addresses of the loopback.
                continue;
            }
            ensure!(tried.errno == Some(libc::EPERM), "{}: {}", plan.label, tried.summary());
            refused_for(&scene, tried.pid, "direct-dial")?;
        }
    }
    // Nor does it serve somebody whom the hooks do not govern.
    let plan =
        Connect { patience_ms: 2_000, ..Connect::to((Ipv4Addr::LOCALHOST, port).into(), "out") };
    let outsider = probe::connect(&Place::new(), &plan)?;
    ensure!(!outsider.done(), "the listener served somebody who was not led there");
    ensure!(scene.echo.records().len() == 1, "the server heard of it");
    Ok(())
}

#[test]
fn a_port_that_an_unsettled_connect_left_is_no_key() -> Result<()> {
    let _alone = alone();
    let full = ports::fresh()?;
    let scene = Scene::with(|port| Plan::unread([port, full]))?;
    let (to, _held) = full_server(full)?;
    let gate = SocketAddr::from((Ipv4Addr::LOCALHOST, scene.agent.listen_port()));
    for _ in 0..20 {
        let source = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::fresh()?));
        let left: BindReport = probe::ask(&scene.inside(), &Task::Leave { to, source })?;
        ensure!(left.errnos == [Some(libc::EINPROGRESS)], "{left:?}");
        let plan = Connect {
            manner: Manner::Bound,
            source: Some(source),
            patience_ms: 1_000,
            ..Connect::to(gate, "heir")
        };
        for place in [scene.inside(), Place::new()] {
            let tried = probe::connect(&place, &plan)?;
            ensure!(!tried.done() && tried.seen_as.is_none(), "{}", tried.summary());
        }
    }
    Ok(())
}

#[test]
fn who_fills_the_gate_harms_himself_only() -> Result<()> {
    let _alone = alone();
    let full = ports::fresh()?;
    let scene = Scene::with(|port| {
        Plan::unread([port, full]).setting("quota_user = 64").setting("quota_cgroup = 100")
    })?;
    let second = scene.root.child("second")?;
    let (to, _held) = full_server(full)?;
    let (bad, good) = (scene.inside().user(5001, 5001), scene.inside().user(5002, 5002));
    let task = Task::Fill { to, count: 400 };

    // Another one of the same cgroup doesn't notice.
    let (filler, filled): (_, FillReport) = Staying::start(&bad, &task)?;
    ensure!(filled.other.is_empty(), "{filled:?}");
    ensure!(filled.refused > 0 && filled.under_way <= 64, "{filled:?}");
    refused_for(&scene, filled.pid, "over-quota")?;
    for index in 0..20 {
        let report = probe::connect(&good, &Connect::to(scene.echo.v4(), format!("good-{index}")))?;
        led(&report)?;
        ensure!(report.connect_us < 500_000, "it took {} µs", report.connect_us);
    }
    ensure!(scene.agent.status()?.losses.over_quota > 0, "the refusals are not counted");

    // A second user fills what the cgroup may have; another cgroup doesn't notice.
    let (filler_two, filled): (_, FillReport) = Staying::start(&good, &task)?;
    ensure!(filled.under_way <= 100 - 64 + 1 && filled.refused > 0, "{filled:?}");
    let elsewhere = Place::new().cgroup(&second).user(5003, 5003);
    led(&probe::connect(&elsewhere, &Connect::to(scene.echo.v4(), "elsewhere"))?)?;

    // Who stops may connect again.
    filler.end()?;
    filler_two.end()?;
    wait::until("the quota to come back", Duration::from_secs(10), || {
        let report = probe::connect(&bad, &Connect::to(scene.echo.v4(), "again"))?;
        Ok(report.done().then_some(()))
    })
}

#[test]
fn an_upstream_socket_cannot_be_aimed_elsewhere() -> Result<()> {
    let _alone = alone();
    let (other, open) = (Echo::start()?, Echo::start()?);
    let scene = Scene::with(|port| Plan::unread([port, other.port()]))?;
    let mut dialer = Dialer::start(&scene.inside())?;
    for aim in [
        other.v4(),
        // Not even to a place that isn't protected.
        open.v4(),
        SocketAddr::from((Ipv4Addr::LOCALHOST, scene.agent.listen_port())),
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), scene.echo.port())),
    ] {
        let client = dialer.open(scene.echo.v4())?;
        let upstream = upstream_of(scene.agent.enforcer()?, scene.echo.v4())?;
        sys::connect(upstream.as_fd(), &RawAddress::unspecified())?;
        let tried = sys::connect(upstream.as_fd(), &aim.into());
        let errno = tried.as_ref().err().and_then(std::io::Error::raw_os_error);
        ensure!(errno == Some(libc::EPERM), "aimed at {aim}: {tried:?}");
        refused_for(&scene, std::process::id(), "token-misused")?;
        drop(client);
        // The enforcer lets the dead connection go before the next is stolen.
        scene.agent.wait_status("the connection to end", Duration::from_secs(5), |status| {
            status.open == 0
        })?;
    }
    ensure!(other.records().is_empty() && open.records().is_empty(), "it got through");
    Ok(())
}

/// A duplicate of the enforcer's socket to that destination.
fn upstream_of(enforcer: u32, to: SocketAddr) -> Result<OwnedFd> {
    wait::until("the enforcer to have the upstream socket", Duration::from_secs(5), || {
        let process = sys::open_process(enforcer)?;
        for entry in std::fs::read_dir(format!("/proc/{enforcer}/fd"))? {
            let entry = entry?;
            let is_socket = std::fs::read_link(entry.path())
                .is_ok_and(|link| link.to_string_lossy().starts_with("socket:"));
            if !is_socket {
                continue;
            }
            let number = entry.file_name().to_string_lossy().parse()?;
            let Ok(socket) = sys::steal(process.as_fd(), number) else { continue };
            let gate_side = sys::socket_name(socket.as_fd()).is_ok_and(|name| {
                // The accepted socket's own name is the listener's.
                name.port() >= 32_768
            });
            if gate_side && sys::peer_name(socket.as_fd()).is_ok_and(|peer| sys::plain(peer) == to)
            {
                return Ok(Some(socket));
            }
        }
        Ok(None)
    })
}

#[test]
fn nobody_takes_the_listeners_port_while_the_agent_is_down() -> Result<()> {
    let _alone = alone();
    let mut scene = Scene::strict()?;
    let port = scene.agent.listen_port();
    scene.agent.kill_all()?;
    let at: Vec<SocketAddr> = ["0.0.0.0", "127.0.0.1", "127.0.0.77", "::", "::1"]
        .iter()
        .map(|ip| Ok(SocketAddr::new(ip.parse()?, port)))
        .collect::<Result<_>>()?;
    let namespace = Namespace::fresh()?;
    let task = Task::Bind { at: at.clone() };
    let (_control, direct): (_, BindReport) =
        Staying::start(&Place::new().namespace(&namespace), &Task::Bind { at: vec![at[1]] })?;
    ensure!(direct.errnos == [None], "without the hooks: {direct:?}");
    let fresh = Namespace::fresh()?;
    for place in [scene.inside(), scene.inside().user(4242, 4242), scene.inside().namespace(&fresh)]
    {
        let (staying, tried): (_, BindReport) = Staying::start(&place, &task)?;
        ensure!(tried.errnos.iter().all(|errno| *errno == Some(libc::EPERM)), "{tried:?}");
        staying.end()?;
    }
    scene.agent.run_again()?;
    scene.agent.wait_healthy()?;
    led(&probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), "after"))?)
}

/// A namespace's own root can leave the kernel no other port to choose for a
/// socket that listens without having bound. Then nobody is led there.
#[test]
fn a_squatter_without_a_bind_harvests_nothing() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let port = scene.agent.listen_port();
    let namespace = Namespace::fresh()?;
    let echo = Echo::start_in(&namespace, scene.echo.port())?;
    echo.gate_is(port);
    let inside = scene.inside().namespace(&namespace);
    namespace.set("ipv4/ip_local_port_range", &format!("{port} {port}"))?;
    let (squatter, squat): (_, SquatReport) = Staying::start(&inside, &Task::Squat)?;
    namespace.set("ipv4/ip_local_port_range", "32768 60999")?;
    let plan = Connect { patience_ms: 3_000, ..Connect::to(echo.v4(), "victim") };
    let victim = probe::connect(&inside, &plan)?;
    let harvest = squatter.end()?;
    ensure!(harvest.is_empty(), "the squatter ({squat:?}) got {harvest}");
    ensure!(!victim.done() || victim.direct == Some(false), "{}", victim.summary());
    ensure!(echo.trespassers().is_empty(), "{:?}", echo.trespassers());
    Ok(())
}

/// Its own loopback is where a connect is led: without one it fails shut.
#[test]
fn a_namespace_whose_loopback_is_down_stays_shut() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let (client, server) = (Namespace::bare()?, Namespace::fresh()?);
    let (here, there): (IpAddr, IpAddr) = ("10.78.0.1".parse()?, "10.78.0.2".parse()?);
    client.join(&server, "shut", &[(here, 24)], &[(there, 24)])?;
    let echo = Echo::start_in(&server, scene.echo.port())?;
    echo.gate_is(scene.agent.listen_port());
    let plan = Connect {
        patience_ms: 2_000,
        manner: Manner::Nonblocking,
        ..Connect::to(SocketAddr::new(there, echo.port()), "shut")
    };
    let direct = probe::connect(&Place::new().namespace(&client), &plan)?;
    ensure!(direct.done() && direct.direct == Some(true), "direct: {}", direct.summary());
    echo.forget();
    let tried = probe::connect(&scene.inside().namespace(&client), &plan)?;
    ensure!(tried.direct != Some(true), "{}", tried.summary());
    ensure!(echo.trespassers().is_empty(), "{:?}", echo.trespassers());
    ensure!(echo.records().iter().all(|record| !record.direct()), "{:?}", echo.records());
    Ok(())
}

#[test]
fn marks_and_the_enforcers_own_user_change_nothing() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    for mark in [1, 0x1337, 0xffff_ffff, 1337, 0x0200] {
        let plan = Connect {
            manner: Manner::Mark,
            mark: Some(mark),
            ..Connect::to(scene.echo.v4(), format!("mark-{mark}"))
        };
        led(&probe::connect(&scene.inside(), &plan)?)?;
    }
    let status = scene.agent.status()?;
    let fences = status.current().and_then(|enforcer| enforcer.fences.clone());
    let uid = fences.context("the enforcer has no fences")?.uid;
    ensure!(uid != 0, "the enforcer runs as root");
    let plan = Connect::to(scene.echo.v4(), "same-user");
    let report = probe::connect(&scene.inside().user(uid, uid), &plan)?;
    led(&report)?;
    let event = scene.observer.wait_of("opened", report.pid)?;
    attributed(&event, &report, &plan, uid, &scene.work)?;
    Ok(())
}

#[test]
fn a_socket_is_governed_by_where_it_was_made() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let beside = scene.root.child("beside")?;
    let outside = Cgroup::fresh()?;
    for (name, to) in [("beside", &beside), ("outside", &outside)] {
        let plan = Connect {
            leave_to: Some(to.path().join("cgroup.procs")),
            ..Connect::to(scene.echo.v4(), format!("left-{name}"))
        };
        let report = probe::connect(&scene.inside(), &plan)?;
        led(&report)?;
        let event = scene.observer.wait_of("opened", report.pid)?;
        // It is told where the process was when it connected.
        attributed(&event, &report, &plan, 0, to)?;
    }
    ensure!(scene.echo.trespassers().is_empty(), "{:?}", scene.echo.trespassers());
    Ok(())
}

#[test]
fn the_connector_is_told_whoever_uses_the_socket() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let connect = Connect::to(scene.echo.v4(), "forked");
    let forked: Report = probe::ask(&scene.inside(), &Task::Fork { connect })?;
    led(&forked)?;
    let event = scene.observer.wait_of("opened", forked.pid)?;
    ensure!(event.whose().context("nobody")?.key.tgid == forked.pid);

    let connect = Connect::to(scene.echo.v4(), "passed");
    let passed: Report = probe::ask(&scene.inside(), &Task::Pass { connect })?;
    led(&passed)?;
    ensure!(passed.parent != passed.pid, "{passed:?}");
    let event = scene.observer.wait_of("opened", passed.parent)?;
    let flow = event.flow.context("no flow")?;
    ensure!(Some(flow.client) == passed.socket_name.map(sys::plain), "{flow:?}");

    // Over a unix socket too: the test speaks, the dialler is told.
    let mut dialer = Dialer::start(&scene.inside())?;
    let stream = dialer.open(scene.echo.v4())?;
    let event = scene.observer.wait_of("opened", dialer.pid())?;
    let flow = event.flow.context("no flow")?;
    ensure!(flow.client == stream.local_addr()?, "{flow:?}");
    ensure!(stream.peer_addr()? == scene.echo.v4(), "getpeername in another process");
    Ok(())
}

/// What one connect left in a socket must not govern the next.
#[test]
fn a_socket_that_connects_again_is_judged_again() -> Result<()> {
    let _alone = alone();
    let open = Echo::start()?;
    let scene = Scene::strict()?;
    let protected = scene.echo.v4();
    let to = vec![protected, open.v4(), protected, open.v4()];
    let direct: Vec<Report> = probe::ask(&Place::new(), &Task::Reconnect { to: to.clone() })?;
    ensure!(direct.iter().all(Report::done), "without the agent: {direct:?}");
    scene.echo.forget();
    open.forget();
    let reports: Vec<Report> = probe::ask(&scene.inside(), &Task::Reconnect { to: to.clone() })?;
    for (report, to) in reports.iter().zip(&to) {
        ensure!(report.done(), "{}: {}", report.label, report.summary());
        ensure!(report.direct == Some(*to != protected), "{}: {}", report.label, report.summary());
        ensure!(
            report.peer_name == Some(*to),
            "{}: getpeername {:?}",
            report.label,
            report.peer_name
        );
    }
    let pid = reports.first().context("no report")?.pid;
    wait::until_true("both openings to be told", Duration::from_secs(5), || {
        scene.observer.events().is_ok_and(|events| {
            events.iter().filter(|event| event.is_of("opened", pid)).count() == 2
        })
    })
}

/// Takes no more connections: what connects there stays unsettled.
fn full_server(port: u16) -> Result<(SocketAddr, (std::net::TcpListener, Vec<OwnedFd>))> {
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let listener = listen(to, 0)?;
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)?;
        let _ = sys::connect(socket.as_fd(), &to.into());
        fillers.push(socket);
    }
    Ok((to, (listener, fillers)))
}
