//! What an attack on the gate once found, so that it stays mended.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tidegate_tests::place::Place;
use tidegate_tests::probe::{self, Connect};
use tidegate_tests::scene::{Scene, alone};

/// A script in the attached cgroup, with the first line that it printed.
struct Script {
    child: Child,
    first: String,
}

impl Script {
    fn start(place: &Place<'_>, text: &str, arguments: &[String]) -> Result<Self> {
        let mut command = place.command("python3")?;
        command.args(["-c", text]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start python3")?;
        let mut first = String::new();
        BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut first)?;
        Ok(Self { child, first: first.trim().to_owned() })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects that never complete: the answer to their SYN is dropped by the
/// client's own socket, for its TTL.
const NEVER_COMPLETE: &str = "
import socket, sys, time
held = []
for _ in range(600):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_IP, 21, 255)
    s.setblocking(False)
    try:
        s.connect(('127.0.0.1', int(sys.argv[1])))
    except BlockingIOError:
        pass
    held.append(s)
print(len(held), flush=True)
time.sleep(60)
";

#[test]
fn who_never_completes_a_handshake_costs_the_others_nothing() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let enforcer = scene.agent.enforcer()?;
    let port = scene.echo.port().to_string();
    let script = Script::start(&scene.inside(), NEVER_COMPLETE, &[port])?;
    ensure!(script.first == "600", "{}", script.first);
    // Longer than an enforcer may seem dead.
    let until = Instant::now() + Duration::from_secs(13);
    let mut connects = 0;
    while Instant::now() < until {
        connects += 1;
        let label = format!("other-{connects}");
        let report = probe::connect(&scene.inside(), &Connect::to(scene.echo.v4(), label))?;
        ensure!(report.done() && report.direct == Some(false), "{}", report.summary());
        ensure!(report.connect_us < 500_000, "it took {} µs", report.connect_us);
    }
    let status = scene.agent.status()?;
    ensure!(status.connecting >= 600, "{} connecting", status.connecting);
    ensure!(scene.agent.enforcer()? == enforcer, "the enforcer was ended");
    Ok(())
}

#[test]
fn the_logs_bookkeeping_gives_way_and_nobody_else_does() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", scene.agent.enforcer()?))? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let (start, rest) = stat.rsplit_once(')').context("no name")?;
        let name = start.split_once('(').context("no name")?.1;
        // The 19th of all; the name is the second.
        let nice = rest.split_whitespace().nth(16).context("no niceness")?;
        found.push((name.to_owned(), nice.to_owned()));
    }
    let of = |name: &str| found.iter().filter(|one| one.0.starts_with(name)).collect::<Vec<_>>();
    ensure!(!of("worker-").is_empty() && of("sequencer").len() == 1, "{found:?}");
    ensure!(found.iter().all(|one| (one.1 == "5") == (one.0 == "sequencer")), "{found:?}");
    ensure!(of("worker-").iter().all(|one| one.1 == "0"), "{found:?}");
    Ok(())
}

#[test]
fn keys_of_logins_have_memory_that_is_never_swapped() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.agent.enforcer()?))?;
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let locked = locked.and_then(|rest| rest.split_whitespace().next()).context("no VmLck")?;
    ensure!(locked.parse::<u64>()? >= 4, "{locked} KiB are locked");
    Ok(())
}

/// To the unspecified address, from a bound one: the kernel has rules of its
/// own for where that goes.
const UNSPECIFIED: &str = "
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[2] else socket.AF_INET
s = socket.socket(family)
s.settimeout(5)
s.bind((sys.argv[1], 0))
s.connect((sys.argv[2], int(sys.argv[3])))
print(s.getpeername()[0], flush=True)
";

#[test]
fn the_unspecified_address_is_where_the_kernel_would_go() -> Result<()> {
    let _alone = alone();
    for scene in [Scene::strict()?, Scene::permissive()?] {
        for (from, to, peer) in [
            ("::ffff:127.0.0.1", "::", "::ffff:127.0.0.1"),
            ("::1", "::", "::1"),
            ("::ffff:127.0.0.9", "::ffff:0.0.0.0", "::ffff:127.0.0.9"),
            ("127.0.0.1", "0.0.0.0", "127.0.0.1"),
        ] {
            let arguments = [from.to_owned(), to.to_owned(), scene.echo.port().to_string()];
            let direct = Script::start(&Place::new(), UNSPECIFIED, &arguments)?;
            let led = Script::start(&scene.inside(), UNSPECIFIED, &arguments)?;
            // Wherever the kernel goes, and if nobody listens there, so do we.
            ensure!(led.first == direct.first, "{from} to {to}: {} {}", led.first, direct.first);
            if direct.first.is_empty() {
                continue;
            }
            ensure!(led.first == peer, "{from} to {to}: {}", led.first);
            let pid = led.child.id();
            scene.observer.wait_for("its opening", Duration::from_secs(5), |event| {
                event.is_of("opened", pid)
            })?;
        }
    }
    Ok(())
}

/// A SYN behind a fragment header and destination options.
const HIDDEN_TCP: &str = "
import socket, struct, sys
tcp = struct.pack('!HHIIBBHHH', 40000, int(sys.argv[1]), 1, 0, 0x50, 2, 65535, 0, 0)
options = bytes([6, 0, 1, 4, 0, 0, 0, 0])
fragment = bytes([60, 0, 0, 0, 0, 0, 0, 7])
payload = fragment + options + tcp
loopback = socket.inet_pton(socket.AF_INET6, '::1')
packet = struct.pack('!IHBB', 0x60000000, len(payload), 44, 64) + loopback * 2 + payload
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
try:
    s.sendto(packet, ('::1', 0))
    print('sent', flush=True)
except PermissionError:
    print('refused', flush=True)
";

#[test]
fn tcp_behind_fragment_and_options_does_not_leave() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let port = [scene.echo.port().to_string()];
    let direct = Script::start(&Place::new(), HIDDEN_TCP, &port)?;
    ensure!(direct.first == "sent", "without the agent: {}", direct.first);
    let inside = Script::start(&scene.inside(), HIDDEN_TCP, &port)?;
    ensure!(inside.first == "refused", "{}", inside.first);
    let pid = inside.child.id();
    scene.observer.wait_for("its refusal", Duration::from_secs(5), |event| {
        event.is_of("refused", pid) && event.why.as_deref() == Some("not-led-here")
    })?;
    Ok(())
}
