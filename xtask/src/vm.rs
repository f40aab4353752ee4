//! `cargo xtask vm`: the core of the matrix on other kernels.
//!
//! Debian's own 6.1 and 6.12 are booted in an emulated machine with nothing but
//! the agent, the matrix and a busybox; the host's kernel runs the same matrix
//! natively, and a table of kernel × test is printed.
//!
//! INVARIANT: a kernel that does not come up, a suite that does not reach its
//! end, and a test that another kernel reported and this one did not, are
//! failures. Kernels are kept under `target/vm` until that is removed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::setup::{self, locate, need};
use crate::workspace::Profile;
use crate::{build, step, test, workspace};

mod initramfs;
mod kernel;
mod report;

use report::Report;

/// The oldest kernel that we promise, and the next with long support.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// Everything is interpreted here: about twenty times slower than the host.
const BOOT_LIMIT: Duration = Duration::from_secs(180);
const SUITE_LIMIT: Duration = Duration::from_secs(20 * 60);

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Only boot, and look at what the kernel offers
    #[arg(long)]
    boot_only: bool,
    /// Only these kernels: 6.1, 6.12, host
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
}

/// `cargo xtask vm`
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments
        .kernels
        .iter()
        .find(|wanted| *wanted != "host" && !SERIES.contains(&wanted.as_str()))
    {
        bail!("no kernel `{unknown}` here: there are {} and host", SERIES.join(", "));
    }
    let wanted = |name: &str| {
        arguments.kernels.is_empty() || arguments.kernels.iter().any(|kernel| kernel == name)
    };

    let payload = if arguments.boot_only {
        need(setup::VM)?;
        None
    } else {
        test::as_root("the matrix attaches kernel programs to a cgroup of its own", "vm")?;
        need(setup::VM)?;
        let agent = build::agent(Profile::Release)?;
        Some(Payload { agent, matrix: build::companion("matrix")? })
    };

    let folder = workspace::root().join("target/vm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let mut reports = Vec::new();
    for series in SERIES.iter().filter(|series| wanted(series)) {
        let kernel = kernel::obtain(series)?;
        let archive = folder.join(format!("initramfs-{series}"));
        initramfs::write(&archive, &kernel, payload.as_ref())?;
        let name = format!("kernel {series}");
        step::say(&name, &format!("booting {}", kernel.version));
        reports.push(boot(&name, &kernel, &archive)?);
    }
    if let (Some(payload), true) = (&payload, wanted("host")) {
        step::say("kernel of the host", "running the matrix natively");
        reports.push(natively(payload)?);
    }

    println!("\n{}", report::table(&reports));
    let complaints = report::complaints(&reports);
    if !complaints.is_empty() {
        bail!("not every kernel passed:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

/// What runs in the guest.
struct Payload {
    agent: PathBuf,
    matrix: PathBuf,
}

fn boot(name: &str, kernel: &kernel::Kernel, archive: &Path) -> Result<Report> {
    let emulator = locate("qemu-system-x86_64")
        .context("qemu-system-x86_64 is not there, though `setup` had it: is PATH as it was?")?;
    let mut command = Command::new(emulator);
    command
        .args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024"])
        .args(["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(archive)
        .args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1"]);
    follow(command, name, true)
}

fn natively(payload: &Payload) -> Result<Report> {
    let mut command = Command::new(&payload.matrix);
    command.arg("--core").arg("--agent").arg(&payload.agent);
    follow(command, "host", false)
}

/// Runs a command to its end, or to its deadline, reading what it reports.
fn follow(mut command: Command, name: &str, guest: bool) -> Result<Report> {
    let began = Instant::now();
    let mut child = Running(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start `{}`", step::line(&command)))?,
    );
    let output = child.0.stdout.take().context("its output is not ours to read")?;
    // reader --lines--> here; ends with the output
    let (lines_tx, lines_rx) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if lines_tx.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });

    let console =
        workspace::root().join("target/vm").join(format!("{}.log", name.replace(' ', "-")));
    let mut log =
        File::create(&console).with_context(|| format!("cannot write `{}`", console.display()))?;
    let mut report = Report::new(name);
    let mut deadline = began + if guest { BOOT_LIMIT } else { SUITE_LIMIT };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines_rx.recv_timeout(left) {
            Ok(line) => {
                writeln!(log, "{line}")?;
                let was_up = report.kernel.is_some();
                report.line(&line);
                if let (false, Some(kernel)) = (was_up, &report.kernel) {
                    let seconds = began.elapsed().as_secs_f64();
                    step::say(name, &format!("{kernel} is up after {seconds:.1} s"));
                    deadline = Instant::now() + SUITE_LIMIT;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                report.late = true;
                break;
            }
        }
    }
    if report.late {
        let _ = child.0.kill();
    }
    let status = child.0.wait()?;
    let _ = reader.join();
    if !guest {
        report.exit = status.code();
    }
    let seconds = began.elapsed().as_secs_f64();
    step::say(name, &format!("ended after {seconds:.1} s; all it said: {}", console.display()));
    Ok(report)
}

/// Ended with us, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
