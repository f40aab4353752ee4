//! The real agent, started as its user starts it: the binary, in the
//! background, *inside* the cgroup that it attaches to (on a host that is the
//! root, which contains the agent too).

mod log;
mod observer;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

pub use log::Verified;
pub use observer::Observer;

use crate::cgroup::Cgroup;
use crate::folder::TempFolder;
use crate::place::Place;
use crate::seen::Status;
use crate::wait::{self, until_true};
use crate::{ports, sys};

/// How long a healthy start may take on a busy machine.
const START: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// As `--protect` takes them.
    pub protect: Vec<String>,
    /// More lines for the settings' file.
    pub settings: String,
    /// What follows from a decision: `enforce`, `shadow` or `off`.
    pub policy: Option<String>,
    /// Another binary than the usual one.
    pub binary: Option<PathBuf>,
    /// Where the log lies, instead of in the agent's own folder.
    pub log: Option<PathBuf>,
    /// Of the agent's environment.
    pub variables: Vec<(String, PathBuf)>,
}

impl Plan {
    /// Destinations at which PostgreSQL is spoken, carried as if nobody were in
    /// between: nothing is decided, unless [`Self::policy`] says so.
    pub fn postgres(targets: impl IntoIterator<Item = impl ToString>) -> Self {
        let protect = targets.into_iter().map(|target| target.to_string()).collect();
        Self { protect, ..Self::default() }.policy("off")
    }

    /// Destinations that are carried as they come: an echo speaks no protocol.
    pub fn unread(targets: impl IntoIterator<Item = impl ToString>) -> Self {
        let unread = |target: &dyn ToString| format!("{},unread", target.to_string());
        let protect = targets.into_iter().map(|target| unread(&target)).collect();
        Self { protect, ..Self::default() }
    }

    /// `enforce`, `shadow` or `off`.
    pub fn policy(mut self, mode: &str) -> Self {
        self.policy = Some(mode.into());
        self
    }

    /// A line for the settings' file. Those of a table are written `policy.bare = true`,
    /// until a line `[table]` begins one.
    pub fn setting(mut self, line: &str) -> Self {
        let _ = writeln!(self.settings, "{line}");
        self
    }
}

pub struct Agent {
    plan: Plan,
    binary: PathBuf,
    child: Child,
    attached: PathBuf,
    home: Cgroup,
    listen_port: u16,
    bpffs: PathBuf,
    log: Arc<Mutex<String>>,
    folder: TempFolder,
    ended: bool,
}

impl Agent {
    /// Attached to `cgroup`, and healthy.
    pub fn start(cgroup: &Cgroup, plan: Plan) -> Result<Self> {
        let binary = plan.binary.clone().map_or_else(binary, Ok)?;
        let folder = TempFolder::fresh()?;
        let bpffs = folder.bpffs()?;
        let home = cgroup.child("agent")?;
        let listen_port = ports::fresh()?;
        // Of the host's own policies nothing gets in.
        let policies = folder.path().join("policies");
        std::fs::create_dir(&policies)?;
        let log_folder = plan.log.clone().unwrap_or_else(|| folder.path().join("log"));
        let mode = plan.policy.as_ref().map(|mode| format!("policy.mode = \"{mode}\"\n"));
        std::fs::write(
            folder.path().join("tidegate.toml"),
            format!(
                "bpffs = \"{}\"\nca.certificate = \"{1}/ca.crt\"\nca.key = \"{1}/ca.key\"\nlogins = \"{1}/logins\"\nclasses = \"{1}/classes.toml\"\n\
                 control = \"{1}/control.sock\"\naudit.folder = \"{5}\"\npolicy.folder = \"{2}\"\npolicy.enforce_file = \"{1}/enforced.toml\"\n{3}{4}",
                bpffs.display(),
                folder.path().display(),
                policies.display(),
                mode.unwrap_or_default(),
                plan.settings,
                log_folder.display(),
            ),
        )?;
        let log = Arc::<Mutex<String>>::default();
        let child = spawn(&binary, &plan, cgroup.path(), &home, listen_port, &folder, &log)?;
        let attached = cgroup.path().to_path_buf();
        let mut agent = Self {
            plan,
            binary,
            child,
            attached,
            home,
            listen_port,
            bpffs,
            log,
            folder,
            ended: false,
        };
        agent.wait_healthy()?;
        Ok(agent)
    }

    pub fn listen_port(&self) -> u16 {
        self.listen_port
    }

    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    pub fn control(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    pub fn settings_file(&self) -> PathBuf {
        self.folder.path().join("tidegate.toml")
    }

    /// The certificate of its own authority, as it has made it.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The folder of policies that it reads; empty at the start.
    pub fn policies(&self) -> PathBuf {
        self.folder.path().join("policies")
    }

    /// Where the log and its keys lie.
    pub fn log_folder(&self) -> PathBuf {
        self.plan.log.clone().unwrap_or_else(|| self.folder.path().join("log"))
    }

    /// The cgroup that the agent itself lives in.
    pub fn home(&self) -> &Cgroup {
        &self.home
    }

    /// The process that was started as `tidegate run`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every process of the agent's.
    pub fn processes(&self) -> Result<Vec<u32>> {
        self.home.processes()
    }

    /// Runs `tidegate <arguments> --control <this one's>`.
    pub fn order(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments)?
            .output()
            .with_context(|| format!("cannot run {}", self.binary.display()))
    }

    /// [`Self::order`], which must succeed.
    pub fn must(&self, arguments: &[&str]) -> Result<String> {
        let output = self.order(arguments)?;
        ensure!(
            output.status.success(),
            "`tidegate {}` failed ({}): {}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.tail()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Place::new().command(&self.binary)?;
        command.args(arguments).arg("--control").arg(self.control());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        Ok(command)
    }

    /// What the agent says of itself, whatever the exit code.
    pub fn status(&self) -> Result<Status> {
        let output = self.order(&["status", "-o", "json"])?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "`tidegate status` ({}) gave no report: {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// Waits until the report is as wanted.
    pub fn wait_status(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status> {
        let mut last = None;
        wait::until(what, within, || {
            let status = match self.status() {
                Ok(status) => status,
                Err(error) => {
                    last = Some(format!("{error:#}"));
                    return Ok(None);
                }
            };
            if wanted(&status) {
                return Ok(Some(status));
            }
            last = Some(format!("{status:#?}"));
            Ok(None)
        })
        .with_context(|| format!("last: {}{}", last.unwrap_or_default(), self.tail()))
    }

    pub fn wait_healthy(&mut self) -> Result<Status> {
        let started = std::time::Instant::now();
        loop {
            match self.status() {
                Ok(status) if status.verdict == "healthy" => return Ok(status),
                // A process under the cgroup with CAP_NET_RAW (the harness's
                // own probes run as root) is worth a look, not a failure.
                Ok(status) if status.verdict == "degraded" && status.canary.crossed > 0 => {
                    return Ok(status);
                }
                Ok(status) if started.elapsed() > START => {
                    bail!("the agent is not healthy: {status:#?}{}", self.tail())
                }
                Err(error) if started.elapsed() > START => {
                    return Err(error.context(self.tail()));
                }
                _ => {}
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("`tidegate run` has ended ({status}){}", self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The pid of the keeper, as it says itself.
    pub fn keeper(&self) -> Result<u32> {
        Ok(self.status()?.keeper)
    }

    /// The pid of the enforcer that gets new connections.
    pub fn enforcer(&self) -> Result<u32> {
        let status = self.status()?;
        Ok(status.current().ok_or_else(|| anyhow!("no enforcer: {status:#?}"))?.pid)
    }

    pub fn observe(&self) -> Result<Observer> {
        Observer::start(self.command(&["observe", "-f", "-o", "jsonl"])?)
    }

    /// kill -9 of the keeper. The pins stay.
    pub fn kill_keeper(&mut self) -> Result<()> {
        let keeper = self.keeper()?;
        sys::signal(keeper, libc::SIGKILL)?;
        if keeper == self.child.id() {
            self.child.wait()?;
        }
        self.ended = true;
        Ok(())
    }

    /// kill -9 of every process of the agent's.
    pub fn kill_all(&mut self) -> Result<()> {
        self.home.kill()?;
        self.child.wait()?;
        self.ended = true;
        Ok(())
    }

    /// Ends it in order. The pins stay.
    pub fn stop(&mut self) -> Result<()> {
        sys::signal(self.child.id(), libc::SIGTERM)?;
        let ended = until_true("`tidegate run` to end", Duration::from_secs(10), || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        });
        ended.with_context(|| self.tail())
    }

    /// `tidegate run` once more, with the same settings.
    pub fn run_again(&mut self) -> Result<()> {
        self.child = spawn(
            &self.binary,
            &self.plan,
            &self.attached,
            &self.home,
            self.listen_port,
            &self.folder,
            &self.log,
        )?;
        self.ended = false;
        Ok(())
    }

    /// `tidegate detach`, and the proof that nothing is left.
    pub fn detach(&mut self) -> Result<()> {
        self.must(&["detach"])?;
        let ended = until_true("`tidegate run` to end", Duration::from_secs(10), || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        });
        ended.with_context(|| self.tail())?;
        self.ended = true;
        until_true("the agent's processes to end", Duration::from_secs(5), || {
            self.home.processes().is_ok_and(|left| left.is_empty())
        })?;
        let left = self.leftovers()?;
        ensure!(left.is_empty(), "after `detach` there is still {}", left.join(", "));
        Ok(())
    }

    /// Pins and programs that are still there.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        // The kernel puts two files of its own (`*.debug`) beside ours.
        let ours = self.bpffs.join("tidegate");
        if ours.exists() {
            pins(&ours, &mut left)?;
        }
        let programs = programs(&self.attached)?;
        if programs > 0 {
            left.push(format!("{programs} attached programs"));
        }
        Ok(left)
    }

    /// The end of the agent's log, as part of a failure's text.
    pub fn tail(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("\n--- the agent's log ---\n{}\n---", lines[from..].join("\n"))
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        if !self.ended
            && let Err(error) = self.detach()
            && !std::thread::panicking()
        {
            eprintln!("{error:#}");
        }
        if let Err(error) = self.home.kill() {
            eprintln!("{error:#}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TIDEGATE_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "TIDEGATE_BIN names {}, which is no file", path.display());
        return Ok(path);
    }
    let target = target_folder();
    let path = target.join("release/tidegate");
    ensure!(
        path.is_file(),
        "{} is not there: run `cargo xtask build`, or name a binary in TIDEGATE_BIN",
        path.display()
    );
    Ok(path)
}

/// The workspace's target folder.
pub fn target_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// How many cgroup programs are attached there.
pub fn programs(cgroup: &Path) -> Result<u32> {
    let folder = File::open(cgroup)?;
    sys::programs_attached(folder.as_fd()).context("cannot ask which programs are attached")
}

fn pins(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            pins(&entry.path(), found)?;
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    Ok(())
}

fn spawn(
    binary: &Path,
    plan: &Plan,
    attached: &Path,
    home: &Cgroup,
    listen_port: u16,
    folder: &TempFolder,
    log: &Arc<Mutex<String>>,
) -> Result<Child> {
    let mut command = Place::new().cgroup(home).command(binary)?;
    command.arg("run").arg("--config").arg(folder.path().join("tidegate.toml"));
    command.arg("--cgroup").arg(attached);
    command.arg("--listen-port").arg(listen_port.to_string());
    command.arg("--control").arg(folder.path().join("control.sock"));
    for target in &plan.protect {
        command.arg("--protect").arg(target);
    }
    command.env("NO_COLOR", "1");
    for (name, value) in &plan.variables {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child =
        command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
    let stderr = child.stderr.take().context("no stderr")?;
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    });
    Ok(child)
}
