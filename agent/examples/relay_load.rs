//! Measures the enforcer's relay against HAProxy: the same load, the same
//! machine, rounds interleaved.
//!
//! `cargo run --release -p tidegate --example relay_load -- [SECONDS] [ROUNDS]`
//! as root, after `cargo build --release -p tidegate`; wants `haproxy`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use tidegate::channel::{Channel, ChannelError, ToEnforcer, ToKeeper, pair};
use tidegate::model::{
    Flow, FlowId, Mode, OriginalDestination, Peer, Process, ProcessKey, SocketKind, Source,
    Timestamp, Workload,
};

const ECHO: u16 = 41_100;
const GATE: u16 = 41_101;
const HAPROXY: u16 = 41_102;
const HAPROXY_SPLICE: u16 = 41_103;
const BULK: usize = 1 << 30;

struct Killed(Child);
impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    serve()?;
    let enforcer = gate()?;
    let haproxy = haproxy()?;
    let pids = [0, enforcer.0.id(), haproxy.0.id(), haproxy.0.id()];
    let paths =
        [("direct", ECHO), ("tidegate", GATE), ("haproxy", HAPROXY), ("splice", HAPROXY_SPLICE)];
    for (_, port) in paths {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            anyhow::ensure!(began.elapsed() < Duration::from_secs(10), "port {port} is not served");
            std::thread::yield_now();
        }
    }
    println!(
        "{:<14} {:>10} {:>10} {:>10} {:>10}  of haproxy, of splice; p99 µs",
        "", "direct", "tidegate", "haproxy", "splice"
    );
    for size in [100, 1_000] {
        for connections in [1, 8, 32] {
            let mut seen = vec![Vec::new(); paths.len()];
            let mut p99 = vec![Vec::new(); paths.len()];
            let mut spent = vec![Vec::new(); paths.len()];
            for _ in 0..rounds {
                for (place, (_, port)) in paths.iter().enumerate() {
                    let before = cpu(pids[place]);
                    let (rate, late) = requests(*port, size, connections, seconds)?;
                    spent[place].push((cpu(pids[place]) - before) / (rate * seconds) * 1e6);
                    seen[place].push(rate);
                    p99[place].push(late);
                }
            }
            show(&format!("{size} B x {connections}"), &mut seen, Some(&mut p99));
            show("  cpu µs each", &mut spent, None);
        }
    }
    for up in [false, true] {
        let mut seen = vec![Vec::new(); paths.len()];
        for _ in 0..rounds {
            for (place, (_, port)) in paths.iter().enumerate() {
                seen[place].push(bulk(*port, up)?);
            }
        }
        show(if up { "bulk up MB/s" } else { "bulk down MB/s" }, &mut seen, None);
    }
    Ok(())
}

/// Seconds of processor time that a process has used.
fn cpu(pid: u32) -> f64 {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks = |place: usize| after.split_whitespace().nth(place).and_then(|t| t.parse::<f64>().ok());
    (ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn show(name: &str, seen: &mut [Vec<f64>], late: Option<&mut [Vec<f64>]>) {
    let medians: Vec<f64> = seen.iter_mut().map(|v| median(v)).collect();
    print!("{name:<14}");
    for value in &medians {
        print!(" {value:>10.1}");
    }
    print!("  {:.3} {:.3}", medians[1] / medians[2], medians[1] / medians[3]);
    if let Some(late) = late {
        let late: Vec<String> = late.iter_mut().map(|v| format!("{:.0}", median(v))).collect();
        print!("; {}", late.join(" "));
    }
    println!();
}

/// Answers as many bytes as it was asked with; the first byte says how:
/// 0 echo, 1 send a bulk, 2 take one and answer a byte.
fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", ECHO))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut block = vec![0; 256 * 1024];
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind[0] {
        0 => loop {
            let read = stream.read(&mut block)?;
            if read == 0 {
                return Ok(());
            }
            stream.write_all(&block[..read])?;
        },
        1 => {
            let mut left = BULK;
            while left > 0 {
                left -= stream.write(&block[..left.min(256 * 1024)])?;
            }
        }
        _ => {
            let mut left = BULK;
            while left > 0 {
                left -= stream.read(&mut block)?;
            }
            stream.write_all(&[1])?;
        }
    }
    Ok(())
}

fn requests(
    port: u16,
    size: usize,
    connections: usize,
    seconds: f64,
) -> anyhow::Result<(f64, f64)> {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let late = Arc::new(Mutex::new(Vec::new()));
    let mut threads = Vec::new();
    for _ in 0..connections {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.write_all(&[0])?;
        let (stop, count, late) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&late));
        threads.push(std::thread::spawn(move || -> std::io::Result<()> {
            let ask = vec![7; size];
            let mut got = vec![0; size];
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                stream.write_all(&ask)?;
                stream.read_exact(&mut got)?;
                times.push(began.elapsed().as_secs_f64() * 1e6);
            }
            count.fetch_add(times.len() as u64, Ordering::Relaxed);
            late.lock().unwrap_or_else(|e| e.into_inner()).extend(times);
            Ok(())
        }));
    }
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    stop.store(true, Ordering::Relaxed);
    let elapsed = began.elapsed().as_secs_f64();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    let mut late = std::mem::take(&mut *late.lock().unwrap_or_else(|e| e.into_inner()));
    late.sort_by(f64::total_cmp);
    let p99 = late.get(late.len() * 99 / 100).copied().unwrap_or_default();
    Ok((count.load(Ordering::Relaxed) as f64 / elapsed, p99))
}

fn bulk(port: u16, up: bool) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut block = vec![0; 256 * 1024];
    let began = Instant::now();
    stream.write_all(&[if up { 2 } else { 1 }])?;
    let mut left = BULK;
    while left > 0 {
        left -= if up {
            stream.write(&block[..left.min(256 * 1024)])?
        } else {
            stream.read(&mut block)?
        };
    }
    if up {
        stream.read_exact(&mut [0])?;
    }
    Ok(BULK as f64 / 1e6 / began.elapsed().as_secs_f64())
}

/// Plays the keeper: accepts, connects on, hands over in turn.
fn gate() -> anyhow::Result<Killed> {
    let mut command = Command::new("target/release/tidegate");
    command.args(["enforcer", "--user", "61843:61843"]);
    let mut channels: Vec<Channel<ToEnforcer, ToKeeper>> = Vec::new();
    let mut theirs: Vec<OwnedFd> = Vec::new();
    for _ in 0..2 {
        let (our, their) = pair()?;
        rustix::io::fcntl_setfd(&their, FdFlags::empty())?;
        command.arg("--channel").arg(their.as_raw_fd().to_string());
        channels.push(our);
        theirs.push(their);
    }
    let child = Killed(command.spawn()?);
    let listener = TcpListener::bind(("127.0.0.1", GATE))?;
    std::thread::spawn(move || {
        for (number, accepted) in listener.incoming().flatten().enumerate() {
            let Ok(upstream) = TcpStream::connect(("127.0.0.1", ECHO)) else { continue };
            let channel = &channels[number % 2];
            while let Ok(received) = channel.receive() {
                if let ToKeeper::Hello { fences, .. } = received.message {
                    eprintln!("{fences:?}");
                }
            }
            let message = ToEnforcer::Handover { flow: Box::new(flow(number as u64)) };
            while let Err(ChannelError::WouldBlock) =
                channel.send(&message, &[accepted.as_fd(), upstream.as_fd()])
            {
                std::thread::yield_now();
            }
        }
    });
    Ok(child)
}

fn haproxy() -> anyhow::Result<Killed> {
    let settings = std::env::temp_dir().join(format!("relay-load-{}.cfg", std::process::id()));
    std::fs::write(
        &settings,
        format!(
            "global\n nbthread 2\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 5s\n \
             timeout client 60s\n timeout server 60s\n\
             listen plain\n bind 127.0.0.1:{HAPROXY}\n server s 127.0.0.1:{ECHO}\n\
             listen splice\n bind 127.0.0.1:{HAPROXY_SPLICE}\n option splice-auto\n \
             server s 127.0.0.1:{ECHO}\n"
        ),
    )?;
    let child = Command::new("/usr/sbin/haproxy")
        .arg("-f")
        .arg(&settings)
        .arg("-db")
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(settings)?;
    Ok(Killed(child))
}

fn flow(number: u64) -> Flow {
    let process = Process {
        key: ProcessKey { tgid: 1, started: 2, exec: 3 },
        tid: 1,
        uid: 1000,
        gid: 1000,
        user: None,
        comm: "client".into(),
        command: vec!["client".into()],
        command_cut: false,
        command_source: Source::Kernel,
        exe: Some(PathBuf::from("/bin/client")),
        parent: None,
        login_uid: None,
        cgroup_id: 7,
        cgroup: None,
        workload: Workload::default(),
    };
    Flow {
        id: FlowId { cookie: number, connected_at: 1 },
        opened: Timestamp::now(),
        process,
        client: Peer(([127, 0, 0, 1], 1).into()),
        destination: OriginalDestination(([127, 0, 0, 1], 2).into()),
        netns: 1,
        rule: "5432".into(),
        mode: Mode::Strict,
        socket: SocketKind::Ipv4,
        generation: 1,
    }
}
