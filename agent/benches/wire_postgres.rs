//! What the codec and the session machine cost, with no socket in the way:
//! rows that pass, and a pgbench-like exchange. Prints a table; run it by
//! `cargo bench -p tidegate --bench wire_postgres`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement, not the agent")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::wire::limits::Limits;
use tidegate::wire::postgres::session::{
    ClientStep, Common, Gate, Parameters, ServerStep, Session, Settled, SqlEffects,
};
use tidegate::wire::postgres::{Framer, Side, Splice, Transaction, Version};

#[derive(Debug)]
struct Open;

impl Gate for Open {
    type Permit = u64;
    type Screened = ();
}

struct Machine {
    session: Session<Open>,
    client: Framer,
    server: Framer,
    splice: Splice,
    frames: u64,
    bytes: u64,
}

impl Machine {
    fn new() -> Self {
        let limits = Arc::new(Limits { chunk: 64 * 1024, ..Limits::default() });
        let settled = Settled {
            version: Version { major: 3, minor: 0 },
            parameters: Parameters::default(),
            key: None,
            replication: false,
            transaction: Transaction::Idle,
        };
        Self {
            client: Framer::new(Side::Client, Arc::clone(&limits)),
            server: Framer::new(Side::Server, Arc::clone(&limits)),
            session: Session::new(Common { limits, ..Common::default() }, settled),
            splice: Splice::default(),
            frames: 0,
            bytes: 0,
        }
    }

    fn client(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.client.feed(bytes);
            bytes = &bytes[taken..];
            while let Some(frame) = self.client.frame().unwrap() {
                self.frames += 1;
                self.splice.pass(match self.session.client(&frame).unwrap() {
                    ClientStep::Plain(pass) => pass,
                    ClientStep::Wait => unreachable!(),
                    ClientStep::Runs(request) => {
                        self.session.release(request.ticket, 1, SqlEffects::nothing()).unwrap()
                    }
                });
            }
            self.bytes += write(&mut self.splice, &mut self.client);
        }
    }

    fn server(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.server.feed(bytes);
            bytes = &bytes[taken..];
            while let Some(frame) = self.server.frame().unwrap() {
                self.frames += 1;
                match self.session.server(&frame).unwrap() {
                    ServerStep::Plain(pass) => self.splice.pass(pass),
                    ServerStep::Shows(shown) => self.splice.pass(shown.unchanged(&())),
                    ServerStep::Refused(_) | ServerStep::Ours => unreachable!(),
                }
            }
            self.bytes += write(&mut self.splice, &mut self.server);
        }
        self.session.outcomes().for_each(drop);
    }
}

/// Stands for the write: the slices are looked at, not copied.
fn write(splice: &mut Splice, framer: &mut Framer) -> u64 {
    let length: usize = splice.slices(framer).map(|bytes| black_box(bytes).len()).sum();
    splice.written(length);
    framer.consume_framed();
    length as u64
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat()
}

fn measure(name: &str, machine: &mut Machine, mut turn: impl FnMut(&mut Machine)) {
    turn(machine);
    (machine.frames, machine.bytes) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(800) {
        turn(machine);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name:<34} {:>9.1} M frames/s {:>8.1} ns/frame {:>8.2} GB/s",
        machine.frames as f64 / seconds / 1e6,
        seconds * 1e9 / machine.frames as f64,
        machine.bytes as f64 / seconds / 1e9,
    );
}

fn main() {
    for cell in [8, 100, 400, 8000, 200_000] {
        let mut machine = Machine::new();
        machine.client(&message(b'Q', b"select * from t\0"));
        let column = b"\0\x01a\0\0\0\x40\0\0\x02\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        machine.server(&message(b'T', column));
        let mut row = b"\0\x01".to_vec();
        row.extend((cell as u32).to_be_bytes());
        row.resize(row.len() + cell, b'x');
        let row = message(b'D', &row);
        let stream = row.repeat((1 << 20) / row.len() + 1);
        measure(&format!("DataRow, {} bytes", row.len()), &mut machine, |machine| {
            machine.server(&stream);
        });
    }
    let bind = message(b'B', b"\0P0_1\0\0\0\0\x01\0\0\0\x0512345\0\x01\0\0");
    let requests =
        [bind, message(b'D', b"P\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
    let column = b"\0\x01abalance\0\0\0\x40\0\0\x03\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
    let answers = [
        message(b'2', b""),
        message(b'T', column),
        message(b'D', b"\0\x01\0\0\0\x05-1234"),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat();
    let mut machine = Machine::new();
    let parse = b"P0_1\0SELECT abalance FROM pgbench_accounts WHERE aid = $1;\0\0\0";
    machine.client(&[message(b'P', parse), message(b'S', b"")].concat());
    machine.server(&[message(b'1', b""), message(b'Z', b"I")].concat());
    measure("pgbench -S -M prepared, 9 frames", &mut machine, |machine| {
        for _ in 0..1000 {
            machine.client(&requests);
            machine.server(&answers);
        }
    });
    let query = message(b'Q', b"SELECT abalance FROM pgbench_accounts WHERE aid = 12345;\0");
    let mut machine = Machine::new();
    measure("pgbench -S -M simple, 5 frames", &mut machine, |machine| {
        for _ in 0..1000 {
            machine.client(&query);
            machine.server(&answers[5..]);
        }
    });
}
