//! The core of the matrix as one program that needs no other: for a virtual
//! machine that has the agent and nothing else. `RESULT <test> ok`, or
//! `RESULT <test> failed <why>`, a line each; exit code 1 when any failed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::agent::{Agent, Observer, Plan};
use tidegate_tests::cgroup::{self, Cgroup};
use tidegate_tests::echo::Echo;
use tidegate_tests::matrix::{self, Places};
use tidegate_tests::place::Place;
use tidegate_tests::probe::{self, BindReport, Connect, RawKind, RawReport, Report, Staying, Task};
use tidegate_tests::{folder, ports, sys};

const USAGE: &str = "usage: matrix --core --agent /path/to/tidegate";

fn main() -> ExitCode {
    probe::i_am_the_probe();
    let mut arguments = std::env::args().skip(1);
    let mut agent = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "probe" => return probe::run_text(&arguments.next().unwrap_or_default()),
            // The only part there is.
            "--core" => {}
            "--agent" => agent = arguments.next().map(PathBuf::from),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let Some(agent) = agent else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut results = Results::default();
    if let Err(error) = run(&agent, &mut results) {
        results.say("matrix", &Err(error));
    }
    if results.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Results {
    failed: usize,
}

impl Results {
    fn say(&mut self, test: &str, result: &Result<String>) {
        match result {
            Ok(note) => println!("RESULT {test} ok {note}"),
            Err(error) => {
                self.failed += 1;
                // One line, whatever the text is.
                let why = format!("{error:#}").replace('\n', " | ");
                println!("RESULT {test} failed {why}");
            }
        }
    }
}

/// What a bare machine lacks.
fn prepare() -> Result<()> {
    if !Path::new("/proc/self/mountinfo").exists() {
        std::fs::create_dir_all("/proc")?;
        folder::mount("proc", Path::new("/proc"))?;
    }
    if !Path::new("/sys/kernel").exists() {
        std::fs::create_dir_all("/sys")?;
        folder::mount("sysfs", Path::new("/sys"))?;
    }
    if cgroup::mount_point().is_err() {
        let point = ["/sys/fs/cgroup", "/cgroup2"]
            .into_iter()
            .map(Path::new)
            .find(|point| point.exists() || std::fs::create_dir_all(point).is_ok())
            .context("nowhere to mount cgroup2")?;
        folder::mount("cgroup2", point)?;
    }
    std::fs::create_dir_all(std::env::temp_dir())?;
    sys::loopback_up().context("cannot bring the loopback up")
}

fn run(agent: &Path, results: &mut Results) -> Result<()> {
    prepare()?;
    let echo = Echo::start()?;
    let port = echo.port();
    let places = Places::make()?;
    let others = [Echo::start_in(&places.other, port)?, Echo::start_in(&places.fast_open, port)?];
    let root = Cgroup::fresh()?;
    let work = root.child("work")?;

    let mut controls = Vec::new();
    for case in matrix::cases() {
        let control = match case.missing_here() {
            Some(why) => Err(anyhow::anyhow!("{why}")),
            None => matrix::check_direct(case, &places, &work, port),
        };
        controls.push((case, control));
    }
    for echo in others.iter().chain([&echo]) {
        echo.forget();
    }

    let closed = ports::fresh()?;
    let plan = Plan { binary: Some(agent.to_path_buf()), ..Plan::unread([port, closed]) };
    let mut agent = Agent::start(&root, plan)?;
    results.say("start", &Ok(String::new()));
    for echo in others.iter().chain([&echo]) {
        echo.gate_is(agent.listen_port());
    }
    let observer = agent.observe()?;
    for (case, control) in controls {
        let missing = case.missing_here();
        let result = match (control, missing) {
            // Nobody can connect in that way here: that holds too.
            (_, Some(why)) => Ok(format!("({why})")),
            (Err(error), None) => Err(error),
            (Ok(()), None) => matrix::check_led(case, &places, &work, port, &observer),
        };
        results.say(&case.to_string(), &result);
    }
    results.say("not-one-byte-direct", &nothing_direct(&others, &echo));
    results.say("fresh-namespaces", &fresh(&agent, &observer, &work, port));
    results.say("refused-upstream", &refused(&work, closed));
    results.say("direct-dial", &dial(&agent, &work));
    results.say("raw-packets", &raw(&work, &echo));
    results.say("listener-port-while-down", &squat(&mut agent, &work));
    results.say("detach", &agent.detach().map(|()| String::new()));
    Ok(())
}

fn nothing_direct(others: &[Echo], echo: &Echo) -> Result<String> {
    for echo in others.iter().chain([echo]) {
        ensure!(echo.trespassers().is_empty(), "direct: {:?}", echo.trespassers());
    }
    Ok(String::new())
}

fn fresh(agent: &Agent, observer: &Observer, work: &Cgroup, port: u16) -> Result<String> {
    let gate = Some(agent.listen_port());
    let reports = matrix::fresh_namespaces(50, 4, work, port, gate)?;
    let slowest = matrix::check_fresh(&reports, observer, agent)?;
    Ok(format!("(50, the slowest {} ms)", slowest.as_millis()))
}

/// A connect to a port that is protected, and that nobody listens on.
fn refused(work: &Cgroup, closed: u16) -> Result<String> {
    let closed = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), closed);
    let direct = probe::connect(&Place::new(), &Connect::to(closed, "closed"))?;
    let led: Report = probe::connect(&Place::new().cgroup(work), &Connect::to(closed, "closed"))?;
    ensure!(direct.errno == Some(libc::ECONNREFUSED), "direct: {}", direct.summary());
    ensure!(led.errno == direct.errno, "{}", led.summary());
    Ok(format!("({} µs, direct {} µs)", led.connect_us, direct.connect_us))
}

fn dial(agent: &Agent, work: &Cgroup) -> Result<String> {
    for ip in ["127.0.0.1", "::1"] {
        let to = SocketAddr::new(ip.parse()?, agent.listen_port());
        let tried = probe::connect(&Place::new().cgroup(work), &Connect::to(to, "dial"))?;
        ensure!(tried.errno == Some(libc::EPERM), "{ip}: {}", tried.summary());
    }
    Ok(String::new())
}

fn raw(work: &Cgroup, echo: &Echo) -> Result<String> {
    for (to, kind) in
        [(echo.v4(), RawKind::Tcp), (echo.v4(), RawKind::WholePacket), (echo.v6(), RawKind::Tcp)]
    {
        let task = Task::RawSyn { to, kind };
        let direct: RawReport = probe::ask(&Place::new(), &task)?;
        ensure!(direct.answered, "without the hooks: {direct:?}");
        let tried: RawReport = probe::ask(&Place::new().cgroup(work), &task)?;
        ensure!(!tried.answered && tried.errno == Some(libc::EPERM), "{kind:?} {to}: {tried:?}");
    }
    Ok(String::new())
}

fn squat(agent: &mut Agent, work: &Cgroup) -> Result<String> {
    agent.kill_all()?;
    let at = ["0.0.0.0", "127.0.0.1", "::", "::1"]
        .iter()
        .map(|ip| Ok(SocketAddr::new(ip.parse()?, agent.listen_port())))
        .collect::<Result<_>>()?;
    let place = Place::new().cgroup(work);
    let (squatter, tried): (_, BindReport) = Staying::start(&place, &Task::Bind { at })?;
    squatter.end()?;
    if tried.errnos.iter().any(|errno| *errno != Some(libc::EPERM)) {
        bail!("{tried:?}");
    }
    agent.run_again()?;
    agent.wait_healthy()?;
    Ok(String::new())
}
