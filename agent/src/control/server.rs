//! The keeper's end: one thread accepts, one serves each client.
//!
//! Never lets a client hold the keeper up: lines and clients are bounded, and
//! one that doesn't read is hung up on.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Uid, geteuid};

use super::{Answer, ControlError, Order, caller, line};
use crate::model::Caller;

pub(super) const LONGEST_ORDER: usize = 64 * 1024;
/// A status lists every namespace and adopted connection of a large host.
pub(super) const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
const MOST_CLIENTS: usize = 64;
/// For a client to send its order, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before accepting again when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// The socket, listening; nobody is answered before [`Server::serve`].
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
    /// Whoever is in it may speak about holds.
    group: Option<u32>,
}

/// Answers until it is dropped, which hangs up on everybody and takes the
/// socket away.
#[derive(Debug)]
pub struct Serving {
    listener: UnixListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    _file: SocketFile,
}

/// The client whose order is being carried out.
#[derive(Debug)]
pub struct Asker {
    stream: UnixStream,
    gone: bool,
    caller: Caller,
}

impl Server {
    /// Listens at `path`, making its folder if needed. A socket that nobody
    /// listens at is taken over.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Bind { path: path.into(), source };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
        }
        clear_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let identity = identity(path).map_err(failed)?;
        Ok(Self { listener, file: SocketFile { path: path.into(), identity }, group: None })
    }

    /// Lets in who is in this group, for what is about holds.
    pub fn admit(&mut self, group: u32) -> Result<(), ControlError> {
        let path = &self.file.path;
        let failed = |source| ControlError::Bind { path: path.clone(), source };
        std::os::unix::fs::chown(path, None, Some(group)).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed)?;
        self.group = Some(group);
        Ok(())
    }

    /// Hands every order to `handler`, on a thread of the client's own.
    pub fn serve<H>(self, handler: H) -> Result<Serving, ControlError>
    where
        H: Fn(Order, &mut Asker) + Send + Sync + 'static,
    {
        let shared = Arc::new(Shared { group: self.group, ..Shared::default() });
        let listener = self.listener.try_clone()?;
        let (accepting, handler) = (Arc::clone(&shared), Arc::new(handler));
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &accepting, &handler))?;
        Ok(Serving { listener: self.listener, shared, accepting: Some(thread), _file: self.file })
    }
}

impl Asker {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Sends an answer; false once the client has gone.
    pub fn send(&mut self, answer: &Answer) -> bool {
        if !self.gone {
            let sent = match line::write(&mut self.stream, answer, LONGEST_ANSWER) {
                Err(ControlError::TooLong(_)) => {
                    let error = "the answer is too long to send".into();
                    line::write(&mut self.stream, &Answer::Failed { error }, LONGEST_ANSWER)
                }
                other => other,
            };
            self.gone = sent.is_err();
        }
        !self.gone
    }

    /// Whether the client has hung up. Who waits for events to send asks this
    /// between them, or a client that left would keep its thread.
    pub fn is_gone(&mut self) -> bool {
        if !self.gone {
            let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
            let polled = poll(&mut fds, Some(&Timespec::default()));
            let hung_up = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
            self.gone = polled.is_ok() && fds.iter().any(|fd| fd.revents().intersects(hung_up));
        }
        self.gone
    }
}

#[derive(Debug, Default)]
struct Shared {
    group: Option<u32>,
    ending: AtomicBool,
    clients: Mutex<HashMap<u64, UnixStream>>,
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, HashMap<u64, UnixStream>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the thread in accept(2).
        if rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both).is_ok()
            && let Some(thread) = self.accepting.take()
        {
            drop(thread.join());
        }
        for stream in self.shared.clients().values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn accept<H>(listener: &UnixListener, shared: &Arc<Shared>, handler: &Arc<H>)
where
    H: Fn(Order, &mut Asker) + Send + Sync + 'static,
{
    for number in 0.. {
        let accepted = listener.accept();
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        match accepted {
            Ok((stream, _)) => welcome(stream, number, shared, handler),
            Err(error) => {
                tracing::warn!("cannot accept on the control socket: {error}");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn welcome<H>(stream: UnixStream, number: u64, shared: &Arc<Shared>, handler: &Arc<H>)
where
    H: Fn(Order, &mut Asker) + Send + Sync + 'static,
{
    let patient = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    let (Ok(()), Ok(copy)) = (patient, stream.try_clone()) else { return };
    let mut asker = Asker { stream, gone: false, caller: Caller::default() };
    let full = match permitted(&asker.stream, shared.group) {
        Ok((caller, full)) => {
            asker.caller = caller;
            full
        }
        Err(error) => {
            asker.send(&Answer::Denied { error });
            return;
        }
    };
    {
        let mut clients = shared.clients();
        if clients.len() >= MOST_CLIENTS {
            drop(clients);
            let error =
                format!("{MOST_CLIENTS} commands are speaking with the agent: end one of them");
            asker.send(&Answer::Failed { error });
            return;
        }
        clients.insert(number, copy);
    }
    let place = Place { number, shared: Arc::clone(shared) };
    let handler = Arc::clone(handler);
    let spawned = std::thread::Builder::new().name("control-client".into()).spawn(move || {
        let _place = place;
        attend(&mut asker, full, &*handler);
    });
    if let Err(error) = spawned {
        tracing::warn!("cannot serve a client of the control socket: {error}");
    }
}

/// `full`: it may give any order.
fn attend(asker: &mut Asker, full: bool, handler: &impl Fn(Order, &mut Asker)) {
    let order: Result<Option<Order>, ControlError> = asker
        .stream
        .try_clone()
        .map_err(ControlError::from)
        .and_then(|stream| line::read(&mut BufReader::new(stream), LONGEST_ORDER));
    match order {
        Ok(Some(order)) if full || order.is_about_holds() => handler(order, asker),
        Ok(Some(_)) => {
            asker.send(&Answer::Denied { error: ONLY_ROOT.into() });
        }
        // It came to see whether somebody is there.
        Ok(None) | Err(ControlError::Ended) => {}
        Err(error) => {
            asker.send(&Answer::Failed { error: error.to_string() });
        }
    }
}

/// The kernel says who called; what the socket's mode says could be changed. True:
/// he may give any order.
fn permitted(stream: &UnixStream, group: Option<u32>) -> Result<(Caller, bool), String> {
    let peer =
        socket_peercred(stream).map_err(|error| format!("cannot tell who is calling: {error}"))?;
    let caller = caller::of(peer.pid, peer.uid, peer.gid);
    let full = may_ask(peer.uid, geteuid());
    if full || group.is_some_and(|group| caller.gids.contains(&group)) {
        Ok((caller, full))
    } else {
        Err(ONLY_ROOT.into())
    }
}

const ONLY_ROOT: &str = "only root may speak with the agent: run this as root";

pub(super) fn may_ask(caller: Uid, own: Uid) -> bool {
    caller.is_root() || caller == own
}

/// A client's place among [`MOST_CLIENTS`], given back however its thread ends.
struct Place {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.clients().remove(&self.number);
    }
}

/// Removed at the end, if it is still the one that was made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn clear_stale(path: &Path) -> Result<(), ControlError> {
    let failed = |source| ControlError::Bind { path: path.into(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ControlError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ControlError::AlreadyRunning { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}
