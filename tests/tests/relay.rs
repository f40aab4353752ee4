//! Byte for byte: what either side writes, finishes or resets reaches the other
//! as if nobody stood between. Every test runs directly first.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tidegate_tests::dialer::Dialer;
use tidegate_tests::echo::{Behaviour, Echo, Record};
use tidegate_tests::kernel::memory_kib;
use tidegate_tests::place::Place;
use tidegate_tests::scene::{Scene, alone};
use tidegate_tests::stream::Stream;
use tidegate_tests::sys;
use tidegate_tests::wait::{until, until_true};

/// A connection that has introduced itself.
struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    label: String,
}

fn client(
    dialer: &mut Dialer,
    echo: &Echo,
    how: Behaviour,
    label: &str,
    direct: bool,
) -> Result<Client> {
    let mut stream = dialer.open(echo.v4())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(format!("tg1 {how} {label} {}\n", stream.local_addr()?).as_bytes())?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream.try_clone()?);
    if how != Behaviour::Mute {
        let mut greeting = String::new();
        reader.read_line(&mut greeting)?;
        let word = if direct { "direct" } else { "gated" };
        ensure!(greeting.trim_end().ends_with(word), "the server said `{greeting}`");
    }
    Ok(Client { stream, reader, label: label.into() })
}

/// Runs directly, then through the gate, each with connections of its own.
fn both_ways(
    name: &str,
    test: impl Fn(&mut dyn FnMut(Behaviour) -> Result<Client>, &Echo) -> Result<()>,
) -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    for direct in [true, false] {
        let place = if direct { Place::new() } else { scene.inside() };
        let mut dialer = Dialer::start(&place)?;
        let mut number = 0;
        let mut open = |how| {
            number += 1;
            let label = format!("{name}-{number}-{direct}");
            client(&mut dialer, &scene.echo, how, &label, direct)
        };
        test(&mut open, &scene.echo).with_context(|| {
            format!(
                "{}{}",
                if direct { "directly" } else { "through the gate" },
                scene.agent.tail()
            )
        })?;
    }
    scene.agent.wait_status("every connection to end", Duration::from_secs(10), |status| {
        status.open == 0
    })?;
    Ok(())
}

fn give(stream: &mut TcpStream, bytes: u64, seed: u64, largest: usize) -> Result<()> {
    let (mut data, mut cuts) = (Stream::new(seed), Stream::new(seed ^ 0xffff));
    let mut buffer = vec![0; largest];
    let mut left = bytes;
    while left > 0 {
        let length = cuts.chunk(largest).min(usize::try_from(left)?);
        data.fill(&mut buffer[..length]);
        stream.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    Ok(())
}

fn take(reader: &mut impl Read, bytes: u64, seed: u64) -> Result<()> {
    let mut data = Stream::new(seed);
    let mut buffer = vec![0; 64 * 1024];
    let mut got = 0;
    while got < bytes {
        let want = usize::try_from(bytes - got)?.min(buffer.len());
        let length = reader.read(&mut buffer[..want])?;
        ensure!(length > 0, "it ended after {got} of {bytes} bytes");
        if let Err(at) = data.check(&buffer[..length]) {
            bail!("byte {} is another one", got + at as u64);
        }
        got += length as u64;
    }
    Ok(())
}

fn record(echo: &Echo, label: &str) -> Result<Arc<Record>> {
    until(&format!("the server's side of {label} to end"), Duration::from_secs(10), || {
        Ok(echo
            .records()
            .into_iter()
            .find(|record| record.ended() && record.label().as_deref() == Some(label)))
    })
}

const MIB: u64 = 1024 * 1024;

#[test]
fn a_hundred_megabytes_each_way_are_the_same_bytes() -> Result<()> {
    both_ways("bulk", |open, _| {
        let mut up = open(Behaviour::Sink { seed: 5 })?;
        give(&mut up.stream, 100 * MIB, 5, 200_000)?;
        // The client has finished; the answer still comes.
        up.stream.shutdown(Shutdown::Write)?;
        let mut verdict = String::new();
        up.reader.read_to_string(&mut verdict)?;
        ensure!(verdict == format!("sunk {} ok\n", 100 * MIB), "{verdict}");

        let mut down = open(Behaviour::Source { bytes: 100 * MIB, seed: 6 })?;
        take(&mut down.reader, 100 * MIB, 6)?;
        ensure!(down.reader.read(&mut [0])? == 0, "more came than was sent");
        Ok(())
    })
}

#[test]
fn both_directions_at_once_in_pieces_of_any_size() -> Result<()> {
    both_ways("both", |open, _| {
        for (seed, largest) in [(10, 7), (11, 1500), (12, 300_000)] {
            let bytes = if largest < 100 { 200_000 } else { 16 * MIB };
            let mut both = open(Behaviour::Both { bytes, seed })?;
            let mut out = both.stream.try_clone()?;
            let giving = std::thread::spawn(move || -> Result<()> {
                give(&mut out, bytes, seed ^ 1, largest)?;
                out.shutdown(Shutdown::Write)?;
                Ok(())
            });
            take(&mut both.reader, bytes, seed)?;
            giving.join().map_err(|_| anyhow!("the giving thread panicked"))??;
            let mut verdict = String::new();
            both.reader.read_to_string(&mut verdict)?;
            ensure!(verdict == format!("sunk {bytes} ok\n"), "{verdict}");
        }
        Ok(())
    })
}

#[test]
fn a_server_that_has_finished_still_hears_the_client() -> Result<()> {
    both_ways("half", |open, echo| {
        let mut half = open(Behaviour::Half)?;
        ensure!(half.reader.read(&mut [0])? == 0, "no end came");
        for _ in 0..50 {
            half.stream.write_all(&[7; 1000])?;
        }
        half.stream.shutdown(Shutdown::Write)?;
        let record = record(echo, &half.label)?;
        let header = record.bytes() - 50_000;
        ensure!((10..100).contains(&header), "{} bytes arrived", record.bytes());
        ensure!(record.error().is_none(), "{:?}", record.error());
        Ok(())
    })
}

#[test]
fn a_servers_reset_reaches_the_client_as_one() -> Result<()> {
    both_ways("reset", |open, _| {
        let mut reset = open(Behaviour::Reset { after: 10 })?;
        reset.stream.write_all(&[1; 10])?;
        let read = reset.reader.read(&mut [0; 16]);
        let kind = read.as_ref().err().map(std::io::Error::kind);
        ensure!(kind == Some(ErrorKind::ConnectionReset), "{read:?}");
        Ok(())
    })
}

#[test]
fn a_clients_reset_reaches_the_server_as_one() -> Result<()> {
    both_ways("client-reset", |open, echo| {
        let client = open(Behaviour::Sink { seed: 1 })?;
        sys::reset_on_close(client.stream.as_fd())?;
        let label = client.label.clone();
        drop(client);
        let record = record(echo, &label)?;
        let error = record.error().context("it ended in order")?;
        ensure!(error.contains("reset"), "{error}");
        Ok(())
    })
}

#[test]
fn a_client_that_leaves_at_once_is_still_heard() -> Result<()> {
    both_ways("leaving", |open, echo| {
        for _ in 0..100 {
            let mut client = open(Behaviour::Mute)?;
            client.stream.write_all(b"last words")?;
            let label = client.label.clone();
            drop(client);
            let record = record(echo, &label)?;
            ensure!(record.error().is_none(), "{:?}", record.error());
            let header = format!("tg1 mute {label} ").len() as u64;
            ensure!(record.bytes() > header + 10 + 9, "{} bytes arrived", record.bytes());
        }
        Ok(())
    })
}

#[test]
fn single_bytes_are_not_held_back() -> Result<()> {
    both_ways("bytes", |open, _| {
        let mut echo = open(Behaviour::Echo)?;
        echo.stream.set_nodelay(true)?;
        let started = Instant::now();
        for turn in 0..1_000_u32 {
            let byte = [turn as u8];
            echo.stream.write_all(&byte)?;
            let mut back = [0];
            echo.reader.read_exact(&mut back)?;
            ensure!(back == byte, "{back:?} for {byte:?}");
        }
        // A single delayed acknowledgement per turn would make this 40 s.
        ensure!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
        Ok(())
    })
}

#[test]
fn who_does_not_read_stops_the_sender_and_costs_no_memory() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let enforcer = scene.agent.enforcer()?;
    let mut dialer = Dialer::start(&scene.inside())?;
    let before = memory_kib(enforcer)?;
    let bytes = 400 * MIB;
    let mut clients = Vec::new();
    for index in 0..8 {
        // It reads nothing before it has given everything.
        let how = Behaviour::Source { bytes, seed: 77 };
        let mut client = client(&mut dialer, &scene.echo, how, &format!("stuck-{index}"), false)?;
        client.stream.set_nonblocking(true)?;
        // Until nothing more is taken for a while.
        let mut quiet_since = Instant::now();
        until_true("the sender to be stopped", Duration::from_secs(20), || {
            if matches!(client.stream.write(&[0; 65_536]), Ok(length) if length > 0) {
                quiet_since = Instant::now();
            }
            quiet_since.elapsed() > Duration::from_millis(300)
        })?;
        clients.push(client);
    }
    let after = memory_kib(enforcer)?;
    ensure!(
        after < before + 8 * 1024,
        "eight stuck connections took the enforcer from {before} to {after} KiB"
    );
    // And what was held up goes on where it stopped.
    let mut first = clients.swap_remove(0);
    drop(clients);
    first.stream.set_nonblocking(false)?;
    take(&mut first.reader, 64 * MIB, 77)?;
    Ok(())
}

#[test]
fn a_closing_tells_how_many_bytes_went_each_way() -> Result<()> {
    let _alone = alone();
    let scene = Scene::strict()?;
    let mut dialer = Dialer::start(&scene.inside())?;
    let mut client = client(
        &mut dialer,
        &scene.echo,
        Behaviour::Source { bytes: 12_345, seed: 3 },
        "count",
        false,
    )?;
    let own = client.stream.local_addr()?;
    take(&mut client.reader, 12_345, 3)?;
    client.stream.write_all(&[0; 777])?;
    client.stream.shutdown(Shutdown::Both)?;
    drop(client);
    let closed = scene.observer.wait_for("the closing", Duration::from_secs(5), |event| {
        event.event == "closed" && event.flow.as_ref().is_some_and(|flow| flow.client == own)
    })?;
    let closing = closing_of(&closed)?;
    let header = format!("tg1 source:12345:3 count {own}\n").len() as u64;
    ensure!(closing.0 == header + 777, "{} bytes up instead of {}", closing.0, header + 777);
    let record = record(&scene.echo, "count")?;
    let greeting = format!("tg1 {} gated\n", record.peer).len() as u64;
    ensure!(closing.1 == greeting + 12_345, "{} bytes down", closing.1);
    Ok(())
}

fn closing_of(event: &tidegate_tests::seen::Event) -> Result<(u64, u64)> {
    let closing = event.closing.as_ref().context("a closing without its end")?;
    Ok((closing.bytes_up, closing.bytes_down))
}
