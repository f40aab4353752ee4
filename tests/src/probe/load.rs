//! Many clients in one process: connect, speak, close, again, until the input
//! ends; what came of each is told as a line.

use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::say;
use crate::sys;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub to: SocketAddr,
    pub threads: usize,
    /// Echoes on each connection, one after another.
    pub rounds: u64,
    /// Rest between two echoes, and between two connections.
    pub pause_us: u64,
    pub label: String,
    /// Ends after so many connections; 0: with its input.
    pub count: u64,
}

/// What came of one connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// When it began, by `sys::clock_us`.
    pub at: u64,
    pub connect_us: u64,
    /// `connect`, `greeting`, `echo`, or `done`.
    pub step: String,
    pub errno: Option<i32>,
    pub error: Option<String>,
    /// What the server said of the way.
    pub direct: Option<bool>,
    pub rounds: u64,
    pub end: u64,
}

impl Outcome {
    pub fn connected(&self) -> bool {
        self.step != "connect"
    }

    pub fn done(&self) -> bool {
        self.step == "done"
    }
}

pub fn run(plan: &Load) -> Result<()> {
    let stop = AtomicBool::new(false);
    let said = Mutex::new(());
    let left = std::sync::atomic::AtomicI64::new(if plan.count == 0 {
        i64::MAX
    } else {
        i64::try_from(plan.count)?
    });
    std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let (stop, said, left) = (&stop, &said, &left);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && left.fetch_sub(1, Ordering::Relaxed) > 0 {
                    let outcome = one(plan, thread, stop);
                    let _one_at_a_time = said.lock();
                    if say(&outcome).is_err() {
                        return;
                    }
                    drop(_one_at_a_time);
                    rest(plan);
                }
            });
        }
        if plan.count == 0 {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            stop.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

fn rest(plan: &Load) {
    if plan.pause_us > 0 {
        // Not a wait for anything: the pace of the load.
        std::thread::sleep(Duration::from_micros(plan.pause_us));
    }
}

fn one(plan: &Load, thread: usize, stop: &AtomicBool) -> Outcome {
    let mut outcome = Outcome {
        at: sys::clock_us(),
        connect_us: 0,
        step: "connect".into(),
        errno: None,
        error: None,
        direct: None,
        rounds: 0,
        end: 0,
    };
    if let Err(error) = talk(plan, thread, stop, &mut outcome) {
        outcome.errno = error.raw_os_error();
        outcome.error = Some(error.to_string());
    }
    outcome.end = sys::clock_us();
    outcome
}

fn talk(plan: &Load, thread: usize, stop: &AtomicBool, outcome: &mut Outcome) -> Result<(), Error> {
    let started = Instant::now();
    let connected = TcpStream::connect_timeout(&plan.to, Duration::from_secs(20));
    outcome.connect_us = started.elapsed().as_micros() as u64;
    let mut stream = connected?;
    outcome.step = "greeting".into();
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let own = stream.local_addr()?;
    stream.write_all(format!("tg1 echo {}-{thread} {own}\n", plan.label).as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(Error::other("closed before the greeting"));
    }
    outcome.direct = line.split_whitespace().nth(2).map(|word| word == "direct");
    outcome.step = "echo".into();
    while outcome.rounds < plan.rounds && !stop.load(Ordering::Relaxed) {
        let payload = format!("{} {}\n", outcome.rounds, plan.label);
        stream.write_all(payload.as_bytes())?;
        line.clear();
        reader.read_line(&mut line)?;
        if line != payload {
            return Err(Error::other(format!("`{}` came back", line.trim_end())));
        }
        outcome.rounds += 1;
        if plan.rounds > 1 {
            rest(plan);
        }
    }
    outcome.step = "done".into();
    Ok(())
}
