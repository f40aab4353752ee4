//! The matrix: every way in which a process can connect, from every kind of
//! place. Each combination is led through the gate, attributed and truthful;
//! or refused with an event; never silently direct.
//!
//! Shared by the suite and by the `matrix` binary, which runs in a virtual
//! machine that has no other program: nothing in here starts one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::agent::{Agent, Observer};
use crate::cgroup::Cgroup;
use crate::namespace::Namespace;
use crate::place::Place;
use crate::probe::{self, Connect, Family, Manner, Report, Task};
use crate::seen::{Event, Flow};
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Where {
    /// The namespace that the agent runs in.
    Host,
    Other,
    /// Another one, in which every SYN may carry data, and every listener
    /// takes it.
    OtherFastOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    pub family: Family,
    pub manner: Manner,
    pub place: Where,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}-{:?}-{:?}", self.family, self.manner, self.place);
        f.write_str(&text.to_lowercase())
    }
}

/// Not root, so that attribution has something to tell apart.
const UID: u32 = 4_242;

/// Every combination.
pub fn cases() -> Vec<Case> {
    use Manner::{
        Blocking, Bound, Device, IoUring, IoUringAsync, Mark, Mptcp, Nonblocking, Tfo, TfoConnect,
    };
    let manners =
        [Blocking, Nonblocking, Tfo, TfoConnect, IoUring, IoUringAsync, Mptcp, Bound, Device, Mark];
    let mut cases = Vec::new();
    for place in [Where::Host, Where::Other, Where::OtherFastOpen] {
        for family in [Family::V4, Family::V6, Family::Mapped] {
            for manner in manners {
                if place != Where::OtherFastOpen || matches!(manner, Tfo | TfoConnect) {
                    cases.push(Case { family, manner, place });
                }
            }
        }
    }
    cases
}

impl Case {
    pub fn plan(&self, port: u16) -> Connect {
        let ip = match self.family {
            Family::V4 | Family::Mapped => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        Connect {
            family: self.family,
            manner: self.manner,
            device: (self.manner == Manner::Device).then(|| "lo".into()),
            mark: (self.manner == Manner::Mark).then_some(0x7469_6465),
            ..Connect::to(SocketAddr::new(ip, port), format!("matrix-{self}"))
        }
    }

    fn uid(&self) -> u32 {
        // A mark needs NET_ADMIN.
        if self.manner == Manner::Mark { 0 } else { UID }
    }

    /// A way that the kernel may not have: nothing to test then.
    pub fn missing_here(&self) -> Option<&'static str> {
        match self.manner {
            Manner::IoUring | Manner::IoUringAsync if !has_io_uring() => {
                Some("this kernel has no io_uring")
            }
            Manner::Mptcp
                if sys::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP).is_err() =>
            {
                Some("this kernel has no MPTCP")
            }
            _ => None,
        }
    }
}

fn has_io_uring() -> bool {
    // SAFETY: without a place for the parameters it fails with EFAULT or
    // EINVAL where there is io_uring, and with ENOSYS or EPERM where not.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, std::ptr::null_mut::<u8>()) };
    done >= 0
        || !matches!(
            std::io::Error::last_os_error().raw_os_error(),
            Some(libc::ENOSYS | libc::EPERM)
        )
}

/// The namespaces besides the host's, each with its own server.
pub struct Places {
    pub other: Namespace,
    pub fast_open: Namespace,
}

impl Places {
    pub fn make() -> Result<Self> {
        let fast_open = Namespace::fresh()?;
        // Client and server, data without a cookie on both sides, all listeners.
        fast_open.set("ipv4/tcp_fastopen", "1543")?;
        Ok(Self { other: Namespace::fresh()?, fast_open })
    }

    pub fn place<'a>(&'a self, case: Case, work: &'a Cgroup) -> Place<'a> {
        let place = Place::new().cgroup(work).user(case.uid(), case.uid());
        match case.place {
            Where::Host => place,
            Where::Other => place.namespace(&self.other),
            Where::OtherFastOpen => place.namespace(&self.fast_open),
        }
    }
}

/// Without the agent every combination must reach the server directly: else
/// the matrix would prove nothing.
pub fn check_direct(case: Case, places: &Places, work: &Cgroup, port: u16) -> Result<()> {
    let report = probe::connect(&places.place(case, work), &case.plan(port))?;
    ensure!(report.done(), "without the agent: {}", report.summary());
    ensure!(report.direct == Some(true), "without the agent it was not direct: {report:?}");
    truthful(&report, case.plan(port).to)
}

/// With the agent. What it came to, in words.
pub fn check_led(
    case: Case,
    places: &Places,
    work: &Cgroup,
    port: u16,
    observer: &Observer,
) -> Result<String> {
    let plan = case.plan(port);
    let report = probe::connect(&places.place(case, work), &plan)?;
    ensure!(
        report.direct != Some(true),
        "SILENTLY DIRECT: the server saw {:?} itself",
        report.socket_name
    );
    if !report.done() {
        // Only where a socket is tied to a device that isn't the listener's.
        ensure!(case.manner == Manner::Device, "{}", report.summary());
        ensure!(report.step == "connect", "refused too late: {}", report.summary());
        ensure!(report.errno == Some(libc::EPERM), "{}", report.summary());
        let event = observer.wait_of("refused", report.pid)?;
        ensure!(
            event.why.as_deref() == Some("bound-to-device"),
            "the refusal's reason is {:?}",
            event.why
        );
        return Ok("refused, with an event".into());
    }
    let event = observer.wait_of("opened", report.pid)?;
    attributed(&event, &report, &plan, case.uid(), work)?;
    if case.manner != Manner::Mptcp {
        truthful(&report, plan.to)?;
        return Ok("led".into());
    }
    let flow = event.flow.ok_or_else(|| anyhow!("no flow"))?;
    ensure!(flow.socket == "mptcp", "an MPTCP socket is called `{}`", flow.socket);
    Ok(match truthful(&report, plan.to) {
        Ok(()) => "led".into(),
        Err(_) => "led (getpeername shows the listener: MPTCP's known limit)".into(),
    })
}

/// getpeername(2) names the destination.
fn truthful(report: &Report, to: SocketAddr) -> Result<()> {
    let name = report.peer_name.context("no getpeername")?;
    ensure!(sys::plain(name) == to, "getpeername says {name} instead of {to}");
    Ok(())
}

/// The event tells of exactly this connection.
pub fn attributed(
    event: &Event,
    report: &Report,
    plan: &Connect,
    uid: u32,
    work: &Cgroup,
) -> Result<Flow> {
    let flow = event.flow.clone().ok_or_else(|| anyhow!("an opening without a flow"))?;
    let process = &flow.process;
    ensure!(process.key.tgid == report.pid, "tgid {} for {}", process.key.tgid, report.pid);
    ensure!(process.uid == uid, "uid {} for {uid}", process.uid);
    ensure!(
        process.cgroup_id == work.id()?,
        "cgroup {} ({:?}) for {}",
        process.cgroup_id,
        process.cgroup,
        work.id()?
    );
    ensure!(
        process.cgroup.as_deref() == Some(work.name()?.as_str()),
        "cgroup {:?} for {}",
        process.cgroup,
        work.name()?
    );
    ensure!(
        process.command.iter().any(|argument| argument.contains(&plan.label)),
        "the command line {:?} is not that of {}",
        process.command,
        plan.label
    );
    ensure!(flow.destination == plan.to, "destination {} for {}", flow.destination, plan.to);
    ensure!(flow.netns == report.netns, "network namespace {} for {}", flow.netns, report.netns);
    let own = report.socket_name.map(sys::plain);
    ensure!(Some(flow.client) == own, "client {} for {own:?}", flow.client);
    let family = match plan.family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
        Family::Mapped => "v4-mapped",
    };
    ensure!(
        flow.socket == family || plan.manner == Manner::Mptcp,
        "the socket is called `{}`, not `{family}`",
        flow.socket
    );
    Ok(flow)
}

/// The first connect in each of so many network namespaces that are made for
/// it, some at a time. Each serves its own destination.
pub fn fresh_namespaces(
    count: usize,
    at_a_time: usize,
    work: &Cgroup,
    port: u16,
    gate: Option<u16>,
) -> Result<Vec<Report>> {
    let mut running: Vec<Child> = Vec::new();
    let mut reports = Vec::new();
    let place = Place::new().cgroup(work).new_namespace();
    for index in 0..count {
        if running.len() == at_a_time {
            reports.push(probe::answer(running.remove(0))?);
        }
        let ip = if index % 2 == 0 {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        };
        let plan = Connect {
            serve: true,
            gate,
            ..Connect::to(SocketAddr::new(ip, port), format!("fresh-{index}"))
        };
        running.push(probe::command(&place, &Task::Connect(plan))?.spawn()?);
    }
    for child in running {
        reports.push(probe::answer(child)?);
    }
    Ok(reports)
}

/// Every one was led and answered; and the slowest's time.
pub fn check_fresh(reports: &[Report], observer: &Observer, agent: &Agent) -> Result<Duration> {
    let mut slowest = 0;
    for report in reports {
        if !report.done() || report.direct != Some(false) {
            bail!("{}: {}{}", report.label, report.summary(), agent.tail());
        }
        let event = observer.wait_of("opened", report.pid)?;
        let flow = event.flow.ok_or_else(|| anyhow!("no flow"))?;
        ensure!(flow.netns == report.netns, "{} is attributed to another namespace", report.label);
        slowest = slowest.max(report.connect_us);
    }
    Ok(Duration::from_micros(slowest))
}
