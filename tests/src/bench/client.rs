//! The client of every path: one process, one thread where it can be.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{piped, raise_descriptors};
use crate::place::Place;
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    Up,
    Down,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Request and response of one size, each connection one at a time.
    Turns {
        size: usize,
        connections: usize,
        milliseconds: u64,
    },
    Bulk {
        direction: Direction,
        bytes: u64,
    },
    /// Connect, and one byte back.
    Connects {
        count: usize,
        parallel: usize,
    },
    /// So many connections that do nothing, until the input ends.
    Idle {
        connections: usize,
    },
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Turns, bytes or connections.
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// A client at work.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(place: &Place<'_>, to: SocketAddr, job: &Job) -> Result<Self> {
        let mut command = place.command(std::env::current_exe()?)?;
        command.arg("client").arg(serde_json::to_string(&(to, job))?);
        let mut child = piped(&mut command).spawn()?;
        let out = BufReader::new(child.stdout.take().context("the client has no output")?);
        Ok(Self { child, out })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn answer(self) -> Result<Answer> {
        let (mut running, answer) = self.ready()?;
        ensure!(running.child.wait()?.success(), "the bench's client failed");
        Ok(answer)
    }

    /// Its answer, while it goes on.
    pub fn ready(mut self) -> Result<(Self, Answer)> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        let answer = serde_json::from_str(&line)
            .with_context(|| format!("the bench's client said `{line}`"))?;
        Ok((self, answer))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn main(text: &str) -> Result<()> {
    let (to, job): (SocketAddr, Job) = serde_json::from_str(text)?;
    raise_descriptors()?;
    match job {
        Job::Turns { size, connections, milliseconds } => {
            say(turns(to, size, connections, Duration::from_millis(milliseconds))?)
        }
        Job::Bulk { direction, bytes } => say(bulk(to, direction, bytes)?),
        Job::Connects { count, parallel } => say(connects(to, count, parallel)?),
        Job::Idle { connections } => {
            let held: Vec<TcpStream> =
                (0..connections).map(|_| first_byte(to)).collect::<Result<_>>()?;
            say(Answer::default())?;
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(held);
            Ok(())
        }
    }
}

fn say(answer: Answer) -> Result<()> {
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

fn open(to: SocketAddr, header: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.write_all(header)?;
    Ok(stream)
}

fn first_byte(to: SocketAddr) -> Result<TcpStream> {
    let mut stream = open(to, b"f")?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

struct Turning {
    stream: TcpStream,
    left: usize,
    since: Instant,
}

fn turns(to: SocketAddr, size: usize, connections: usize, time: Duration) -> Result<Answer> {
    let mut header = vec![b'e'];
    header.extend_from_slice(&u32::try_from(size)?.to_le_bytes());
    let request = vec![7; size];
    let mut all = Vec::new();
    let mut polls = Vec::new();
    for _ in 0..connections {
        let stream = open(to, &header)?;
        polls.push(libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        all.push(Turning { stream, left: size, since: Instant::now() });
    }
    let mut times: Vec<u32> = Vec::with_capacity(200_000);
    for one in &mut all {
        one.stream.set_nonblocking(true)?;
        one.since = Instant::now();
        one.stream.write_all(&request)?;
    }
    // The first tenth warms up.
    let begun = Instant::now();
    let (from, until) = (begun + time / 10, begun + time + time / 10);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // SAFETY: as many pollfds as said.
        let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 5_000) };
        ensure!(sys::check(ready)? > 0, "no answer for five seconds");
        let now = Instant::now();
        if now > until {
            break;
        }
        for (one, poll) in all.iter_mut().zip(&polls) {
            if poll.revents == 0 {
                continue;
            }
            match one.stream.read(&mut buffer) {
                Ok(0) => bail!("a connection ended"),
                Ok(length) => one.left = one.left.checked_sub(length).context("too many bytes")?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if one.left == 0 {
                let now = Instant::now();
                if now > from {
                    times.push((now - one.since).as_nanos().min(u128::from(u32::MAX)) as u32);
                }
                one.left = size;
                one.since = now;
                one.stream.write_all(&request)?;
            }
        }
    }
    Ok(answer(times, time))
}

fn bulk(to: SocketAddr, direction: Direction, bytes: u64) -> Result<Answer> {
    let mut header = vec![if direction == Direction::Up { b'u' } else { b'd' }];
    header.extend_from_slice(&bytes.to_le_bytes());
    let mut stream = open(to, &header)?;
    let mut buffer = vec![0; 256 * 1024];
    let begun = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let length = buffer.len().min(usize::try_from(left)?);
        let done = match direction {
            Direction::Up => stream.write(&buffer[..length])?,
            Direction::Down => stream.read(&mut buffer[..length])?,
        };
        ensure!(done > 0, "it ended with {left} bytes to go");
        left -= done as u64;
    }
    if direction == Direction::Up {
        stream.read_exact(&mut buffer[..1])?;
    }
    let time = begun.elapsed();
    Ok(Answer { per_second: bytes as f64 / time.as_secs_f64(), ..Answer::default() })
}

fn connects(to: SocketAddr, count: usize, parallel: usize) -> Result<Answer> {
    let begun = Instant::now();
    let mut times = Vec::with_capacity(count);
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..parallel)
            .map(|_| {
                scope.spawn(move || -> Result<Vec<u32>> {
                    let mut times = Vec::new();
                    for _ in 0..count / parallel {
                        let since = Instant::now();
                        let stream = first_byte(to)?;
                        times.push(since.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
                        drop(stream);
                    }
                    Ok(times)
                })
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(more) => times.extend(more?),
                Err(_) => bail!("a thread of the client panicked"),
            }
        }
        Ok(())
    })?;
    Ok(answer(times, begun.elapsed()))
}

fn answer(mut times: Vec<u32>, over: Duration) -> Answer {
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(place).map_or(0.0, |nanos| f64::from(*nanos) / 1000.0)
    };
    Answer {
        per_second: times.len() as f64 / over.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
    }
}
