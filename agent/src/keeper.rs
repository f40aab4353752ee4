//! The keeper: root, and small. It owns what needs root: the kernel programs
//! and their pins, a listener in every network namespace, the sockets towards
//! the databases, the facts about processes. It hands connections over and
//! never reads a byte of them.
//!
//! INVARIANT: when the keeper ends, in whatever way, what the kernel refuses
//! stays refused.

mod abi;
mod attempts;
mod btf;
pub mod ca;
pub mod canary;
mod destinations;
pub mod direct;
mod enforcers;
mod existing;
mod gate;
mod hooks;
mod marks;
mod memory;
mod names;
mod namespaces;
mod notary;
mod observers;
mod packet;
mod parsers;
mod processes;
mod registrar;
mod serving;
mod signer;
mod sys;
mod teller;
mod terms;
mod upstream;
mod watching;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use registrar::{Greeting, greet as greet_runtime};
pub use terms::bundle as system_bundle;

use abi::Plain;
use destinations::Destinations;
use enforcers::{Enforcers, Recipe};
use gate::{Gate, Orders, Parts};
use hooks::{Attachment, Maps, Pins};
use namespaces::Namespaces;
use observers::Observers;
use processes::Processes;
use registrar::Registrar;
use teller::Teller;
use terms::Prepared;
use tidegate_ebpf::Token;

use crate::config::{FALLBACK_UID, Settings};
use crate::control::Server;
use crate::identity::Known;
use crate::model::{Adopted, EventKind};

/// For how long the kernel holds SYNs back for a keeper that is starting.
const START_WITHIN: Duration = Duration::from_secs(30);

/// Reads the settings again, as the command line named them.
pub type Reload = Box<dyn Fn() -> Result<Settings, String> + Send>;

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("this binary was built without its kernel programs: build it with `cargo xtask build`")]
    NoPrograms,
    #[error("the keeper needs root: it loads kernel programs and enters network namespaces")]
    NotRoot,
    #[error("no cgroup2 is mounted: mount it (`mount -t cgroup2 none /sys/fs/cgroup/unified`)")]
    NoCgroup2,
    #[error("cannot attach to cgroup {path}: {reason}", path = .path.display())]
    Cgroup { path: PathBuf, reason: String },
    #[error("cannot mount bpffs at {path}: {error}", path = .path.display())]
    Bpffs { path: PathBuf, error: io::Error },
    #[error("cannot pin at {path}: {error}", path = .path.display())]
    Pin { path: PathBuf, error: io::Error },
    #[error(
        "cannot load the kernel programs: {0:#} (`tidegate doctor` says what this kernel lacks)"
    )]
    Load(anyhow::Error),
    #[error(
        "cannot use map {name}: {reason} (pinned by another version? `tidegate detach` removes it)"
    )]
    Map { name: &'static str, reason: String },
    #[error("cannot attach {hook}: {reason} (`tidegate doctor` says what this kernel lacks)")]
    Attach { hook: &'static str, reason: String },
    #[error("{0}")]
    Listen(String),
    #[error("{0}")]
    Terms(String),
    #[error("{0}")]
    Log(#[from] notary::NotaryError),
    #[error("{0}")]
    Identity(String),
    #[error("cannot start the enforcer: {0}")]
    Enforcer(io::Error),
    #[error("cannot serve the control socket {path}: {reason}", path = .path.display())]
    Control { path: PathBuf, reason: String },
    #[error("the keeper cannot go on: {0}")]
    Io(#[from] io::Error),
}

impl KeeperError {
    fn map(name: &'static str, error: &impl ToString) -> Self {
        Self::Map { name, reason: error.to_string() }
    }
}

/// Runs until it is told to end.
pub fn run(settings: Settings, reload: Reload) -> Result<(), KeeperError> {
    if !rustix::process::geteuid().is_root() {
        return Err(KeeperError::NotRoot);
    }
    watching::block_signals()?;
    raise_open_files();
    ca::ensure(&settings);
    let prepared = terms::prepare(&settings).map_err(KeeperError::Terms)?;
    let known = registrar::known(&settings.identity).map_err(KeeperError::Identity)?;
    let mount = crate::host::cgroup2_mount(Path::new("/")).ok_or(KeeperError::NoCgroup2)?;
    let cgroup = settings.cgroup.clone().unwrap_or_else(|| mount.clone());
    let attachment = Attachment::new(&mount, &cgroup)?;
    let mut server = serving::bind(&settings)?;
    serving::admit(&mut server, &settings);
    let pins = Pins::new(&settings.bpffs);
    let first = !pins.are_there();
    let outcome = keep(settings, (prepared, known), reload, attachment, &mount, server);
    if first && outcome.is_err() {
        // An agent that never worked must not leave the gate shut; one that
        // takes over leaves it as it found it.
        let _ = pins.remove();
    }
    outcome
}

/// Prepares everything, then turns. An error comes before the first turn only.
fn keep(
    settings: Settings,
    (prepared, known): (Prepared, Known),
    reload: Reload,
    attachment: Attachment,
    mount: &Path,
    server: Server,
) -> Result<(), KeeperError> {
    let cgroup = attachment.path.clone();
    let (mut hooks, mut maps) = hooks::load(&settings.bpffs, attachment, settings.debug_programs)?;
    let programs_log = if settings.debug_programs {
        Some(Box::new(hooks.log_lines()?) as Box<dyn FnMut() + Send>)
    } else {
        None
    };
    let previous = maps.previous();
    let generation = previous.map_or(1, |previous| previous.generation.wrapping_add(1));
    let lost_before = gate::losses(&maps).events;
    maps.forget();
    // What older connections send isn't dropped before they were dealt with.
    let mut kernel = kernel_settings(&settings, generation, hooks.attachment());
    kernel.dropping = u32::from(previous.is_some());
    maps.write_settings(kernel)?;
    maps.expect_keeper(START_WITHIN)?;

    let perch = canary::Perch::new()?;
    let to = perch.address;
    let mut destinations = Destinations::new(&maps, settings.listen_port);
    destinations.set(&settings.protect);
    destinations.set_canary(to);
    let resolved = watching::resolve_all(&destinations.hosts());
    let all_resolved = resolved.iter().all(|(_, answer)| answer.is_ok());
    for (host, answer) in resolved {
        destinations.resolved(&host, answer, settings.resolve_grace);
    }
    destinations.install(&mut maps)?;

    let observers = Arc::new(Observers::default());
    let teller = Teller::start(Arc::clone(&observers), mount.to_owned())?;
    let mut processes = Processes::new(mount);
    let mut namespaces = Namespaces::new(settings.listen_port)?;
    let own = (namespaces.own_cookie(), std::process::id());
    let mut tokens = Tokens(&mut maps);
    namespaces
        .open(own.0, own.1, own.1, &mut |socket, token| tokens.bind(socket, token))
        .map_err(|error| KeeperError::Listen(error.to_string()))?;
    let keeper_is_inside = processes::cgroup_of(own.1)
        .is_some_and(|path| mount.join(path.trim_start_matches('/')).starts_with(&cgroup));
    let nest = canary::Nest::new(&cgroup, keeper_is_inside, to)?;
    let canary_pid = Arc::new(AtomicU32::new(nest.pid()));

    hooks.attach_all()?;
    let adopted = deal_with_existing(
        &settings,
        &cgroup,
        &destinations,
        &mut maps,
        &mut processes,
        &observers,
    );
    kernel.dropping = 1;
    maps.write_settings(kernel)?;

    let (orders, orders_rx) = Orders::new()?;
    let canary_every = settings.canary_every;
    let control_path = settings.control.clone();
    let watch = watching::Watch {
        below: cgroup
            .strip_prefix(mount)
            .map_or_else(|_| "/".into(), |below| format!("/{}", below.display())),
        mount: mount.to_owned(),
        adopted: adopted.clone(),
        resolve_every: settings.resolve_every,
        all_resolved,
    };
    let Prepared { mut terms, grounds, notes } = prepared;
    let changeable = gate::Changeable::of(&settings, &terms, &known);
    let registrar = Registrar::start(known, &settings.identity, mount, orders.clone())?;
    terms.generation = generation;
    for note in &notes {
        tracing::warn!("{note}");
    }
    let owner = user_of(&settings);
    let notary = notary::Notary::of(&settings, owner)?;
    observers.note_to(notary.clone());
    let recipe = recipe(&settings, owner, notary.clone());
    let memory = memory::Memory::open(settings.classes.filled())?;
    let enforcers = Enforcers::new(recipe, crate::channel::seal_terms(&terms)?, memory);
    let parts = Parts {
        settings,
        maps,
        hooks,
        destinations,
        namespaces,
        processes: Processes::never_waiting(mount),
        registrar,
        enforcers,
        observers: Arc::clone(&observers),
        teller,
        lost_before,
        canary_pid: Arc::clone(&canary_pid),
        adopted,
        cgroup: cgroup.display().to_string(),
        generation,
        changeable,
        grounds,
        notes,
        notary,
        programs_log,
    };
    let mut gate = Gate::new(parts, &orders, orders_rx)?;
    gate.prepare()?;

    let reload: Arc<serving::SharedReload> = Arc::new(std::sync::Mutex::new(reload));
    start("perch", move || perch.serve())?;
    let canary = start("canary", {
        let orders = orders.clone();
        move || canary::fly(nest, to, canary_every, &canary_pid, &orders)
    })?;
    start("census", {
        let orders = orders.clone();
        move || watch.run(&orders)
    })?;
    start("signals", {
        let (orders, reload) = (orders.clone(), Arc::clone(&reload));
        move || watching::signals(&orders, &reload)
    })?;
    let busy = Arc::new(serving::Busy::default());
    let control =
        serving::start(server, orders, observers, reload, Arc::clone(&busy), &control_path)?;
    tracing::info!("the gate is up at {}", cgroup.display());
    gate.run();
    // Whoever ordered the end is told of it.
    busy.wait();
    drop(control);
    // It tidies its cgroup up.
    let _ = canary.join();
    Ok(())
}

/// Takes away whatever an agent that isn't running any more has left attached
/// or pinned; returns what was removed.
pub fn detach(settings: &Settings) -> Result<Vec<String>, KeeperError> {
    if !rustix::process::geteuid().is_root() {
        return Err(KeeperError::NotRoot);
    }
    let removed = Pins::new(&settings.bpffs).remove()?;
    if let Some(cgroup) = &settings.cgroup {
        canary::tidy(cgroup);
    }
    Ok(removed)
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

/// Held while a program is started: what is meant to be inherited by one must not be
/// by another.
fn spawning() -> MutexGuard<'static, ()> {
    static SPAWNING: Mutex<()> = Mutex::new(());
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Four descriptors for each network namespace, one for each connect under way.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// Who the enforcer runs as.
fn user_of(settings: &Settings) -> (u32, u32) {
    user(&settings.enforcer.user).unwrap_or_else(|| {
        tracing::info!(
            "there is no user `{}`: the enforcer runs as uid {FALLBACK_UID}",
            settings.enforcer.user
        );
        (FALLBACK_UID, FALLBACK_UID)
    })
}

fn recipe(settings: &Settings, (uid, gid): (u32, u32), log: Option<notary::Notary>) -> Recipe {
    let binary = PathBuf::from("/proc/self/exe");
    Recipe { binary, uid, gid, workers: settings.enforcer.workers, log }
}

/// uid and gid of a user in /etc/passwd.
fn user(name: &str) -> Option<(u32, u32)> {
    std::fs::read_to_string("/etc/passwd").ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn stale_after(settings: &Settings) -> Duration {
    (settings.canary_every * 4).min(Duration::from_secs(2)).max(settings.canary_every * 2)
}

fn kernel_settings(
    settings: &Settings,
    generation: u32,
    attachment: &Attachment,
) -> tidegate_ebpf::Settings {
    tidegate_ebpf::Settings {
        schema: tidegate_ebpf::SCHEMA,
        generation,
        listen_port: u32::from(settings.listen_port),
        quota_user: settings.quota_user,
        quota_cgroup: settings.quota_cgroup,
        keeper: std::process::id(),
        stale_after: u64::try_from(stale_after(settings).as_nanos()).unwrap_or(u64::MAX),
        cgroup: attachment.id,
        cgroup_level: attachment.level,
        debug: u32::from(settings.debug_programs),
        dropping: 1,
        reserved: 0,
    }
}

fn deal_with_existing(
    settings: &Settings,
    cgroup: &Path,
    destinations: &Destinations,
    maps: &mut Maps,
    processes: &mut Processes,
    observers: &Observers,
) -> Vec<Adopted> {
    let mut tokens = Tokens(maps);
    let governed = existing::Governed::new(cgroup);
    let found =
        existing::deal(&governed, settings.on_existing, destinations, processes, &mut tokens);
    let mut adopted = Vec::new();
    for one in found {
        observers.tell(EventKind::Existing {
            process: Box::new(one.adopted.process.clone()),
            destination: one.adopted.destination,
            client: one.adopted.client,
            mode: one.mode,
            adopted: one.kept,
        });
        if one.kept {
            adopted.push(one.adopted);
        }
    }
    adopted
}

/// The kernel's notes on the agent's own sockets.
struct Tokens<'a>(&'a mut Maps);

impl Tokens<'_> {
    fn has(&self, socket: BorrowedFd<'_>) -> bool {
        self.0.tokens.get(&socket.as_raw_fd(), 0).is_ok()
    }

    fn bind(&mut self, socket: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.0.tokens.insert(&socket.as_raw_fd(), Plain(token), 0).map_err(io::Error::other)
    }
}
