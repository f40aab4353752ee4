//! A listener in every network namespace that has clients, and the raw sockets
//! by which held SYNs come back.
//!
//! INVARIANT: the calling thread is in its own network namespace again when a
//! function here returns, also when it fails.
//!
//! A listening socket keeps its namespace alive: so namespaces that nobody
//! else lives in are given up (`sweep`), and made again when one turns up.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::net::{SendFlags, ipproto, sendto, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tidegate_ebpf::{Endpoint, TOKEN_INJECTOR, TOKEN_LISTENER, Token};

use super::sys;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;
const SEARCH_EVERY: Duration = Duration::from_millis(200);
/// Of a process's descriptors so many are looked at.
const MOST_DESCRIPTORS: usize = 512;

/// Binds a socket to its purpose in the kernel.
pub type Bind<'a> = &'a mut dyn FnMut(BorrowedFd<'_>, Token) -> io::Result<()>;

#[derive(Debug)]
pub struct NetworkNamespace {
    pub cookie: u64,
    pub inode: u64,
    handle: File,
    pub listen4: OwnedFd,
    /// `None`: this namespace has no IPv6.
    pub listen6: Option<OwnedFd>,
    raw4: OwnedFd,
    raw6: Option<OwnedFd>,
    /// Connections and attempts that need it.
    pub in_use: u64,
    /// Sweeps in a row in which nobody lived here.
    absent: u32,
}

#[derive(Debug)]
pub struct Namespaces {
    own: File,
    own_inode: u64,
    own_cookie: u64,
    port: u16,
    known: HashMap<u64, NetworkNamespace>,
    /// When the host's processes were last searched for a namespace.
    searched: Cell<Option<Instant>>,
}

impl Namespaces {
    pub fn new(port: u16) -> io::Result<Self> {
        let own = File::open("/proc/thread-self/ns/net")?;
        let own_inode = own.metadata()?.ino();
        let own_cookie = current_cookie()?;
        Ok(Self {
            own,
            own_inode,
            own_cookie,
            port,
            known: HashMap::new(),
            searched: Cell::new(None),
        })
    }

    pub fn own_cookie(&self) -> u64 {
        self.own_cookie
    }

    pub fn get(&self, cookie: u64) -> Option<&NetworkNamespace> {
        self.known.get(&cookie)
    }

    pub fn get_mut(&mut self, cookie: u64) -> Option<&mut NetworkNamespace> {
        self.known.get_mut(&cookie)
    }

    pub fn iter(&self) -> impl Iterator<Item = &NetworkNamespace> {
        self.known.values()
    }

    /// Makes the listeners of the namespace with this cookie, which the thread
    /// `tid` of `tgid` was seen in.
    pub fn open(
        &mut self,
        cookie: u64,
        tgid: u32,
        tid: u32,
        token: Bind<'_>,
    ) -> io::Result<&NetworkNamespace> {
        let handle = if cookie == self.own_cookie {
            self.own.try_clone()?
        } else {
            self.find(cookie, tgid, tid)?
        };
        let inode = handle.metadata()?.ino();
        let port = self.port;
        let (listen4, listen6, raw4, raw6) = self.inside(&handle, || {
            if current_cookie()? != cookie {
                return Err(io::Error::other("the process has moved to another network namespace"));
            }
            let listen4 = listener(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), token)?;
            let listen6 = optional(listener(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), token))?;
            let raw4 = raw(AddressFamily::INET, token)?;
            let raw6 = optional(raw(AddressFamily::INET6, token))?;
            Ok((listen4, listen6, raw4, raw6))
        })?;
        let made = NetworkNamespace {
            cookie,
            inode,
            handle,
            listen4,
            listen6,
            raw4,
            raw6,
            in_use: 0,
            absent: 0,
        };
        Ok(self.known.entry(cookie).insert_entry(made).into_mut())
    }

    /// Whether the thread that was seen, or its process, is in this namespace.
    pub fn is_near(&self, cookie: u64, tgid: u32, tid: u32) -> bool {
        cookie == self.own_cookie || self.near(cookie, tgid, tid).is_some()
    }

    pub fn forget(&mut self, cookie: u64) {
        self.known.remove(&cookie);
    }

    /// Runs `work` inside a known namespace.
    pub fn within<T>(&self, cookie: u64, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let namespace = self.known.get(&cookie).ok_or(io::ErrorKind::NotFound)?;
        if cookie == self.own_cookie { work() } else { self.inside(&namespace.handle, work) }
    }

    /// Sends a packet with its own IP header inside a known namespace: a raw
    /// socket stays in the namespace that it was made in.
    pub fn inject(&self, cookie: u64, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let namespace = self.known.get(&cookie).ok_or(io::ErrorKind::NotFound)?;
        // A raw socket takes no port.
        let to = SocketAddr::new(to.ip(), 0);
        let socket = if to.is_ipv4() { Some(&namespace.raw4) } else { namespace.raw6.as_ref() };
        let socket = socket.ok_or(io::ErrorKind::Unsupported)?;
        sendto(socket, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &to)?;
        Ok(())
    }

    /// Gives up namespaces that nobody lives in: not among `alive` (by inode)
    /// in two sweeps, and not in use. Returns their cookies.
    pub fn sweep(&mut self, alive: &HashSet<u64>) -> Vec<u64> {
        let own = self.own_cookie;
        let mut gone = Vec::new();
        self.known.retain(|cookie, namespace| {
            if *cookie == own || namespace.in_use > 0 || alive.contains(&namespace.inode) {
                namespace.absent = 0;
                return true;
            }
            namespace.absent += 1;
            if namespace.absent < 2 {
                return true;
            }
            gone.push(*cookie);
            false
        });
        gone
    }

    fn inside<T>(&self, handle: &File, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if handle.metadata()?.ino() == self.own_inode {
            return work();
        }
        enter(handle)?;
        let result = work();
        if let Err(error) = enter(&self.own) {
            // Every further socket would be made in the wrong place.
            tracing::error!("cannot return to the agent's own network namespace: {error}");
            std::process::abort();
        }
        result
    }

    /// Opens the namespace with this cookie: by the thread that was seen, by
    /// its process, by a socket that the process holds (it may have moved on),
    /// then by any process of the host; the last two are dear, and done only
    /// so often.
    fn find(&self, cookie: u64, tgid: u32, tid: u32) -> io::Result<File> {
        if let Some(file) = self.near(cookie, tgid, tid) {
            return Ok(file);
        }
        let now = Instant::now();
        if self.searched.get().is_some_and(|at| now.duration_since(at) < SEARCH_EVERY) {
            return Err(io::Error::other(
                "its process has gone, and others were searched just now",
            ));
        }
        self.searched.set(Some(now));
        if let Some(file) = by_socket(cookie, tgid) {
            return Ok(file);
        }
        let mut tried = HashSet::new();
        for process in std::fs::read_dir("/proc")?.flatten() {
            let path = process.path().join("ns/net");
            let Ok(file) = File::open(path) else { continue };
            if tried.insert(file.metadata()?.ino()) && self.is_it(&file, cookie) {
                return Ok(file);
            }
        }
        Err(io::Error::other(format!("no process leads into network namespace {cookie} any more")))
    }

    fn near(&self, cookie: u64, tgid: u32, tid: u32) -> Option<File> {
        [format!("/proc/{tgid}/task/{tid}/ns/net"), format!("/proc/{tgid}/ns/net")]
            .iter()
            .filter_map(|path| File::open(path).ok())
            .find(|file| self.is_it(file, cookie))
    }

    fn is_it(&self, file: &File, cookie: u64) -> bool {
        self.inside(file, current_cookie).is_ok_and(|found| found == cookie)
    }
}

/// The inodes of the network namespaces that processes live in, or that are
/// kept by a mount (as `ip netns` and container runtimes do).
pub fn alive() -> HashSet<u64> {
    let mut found = HashSet::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if process.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit)
            && let Ok(data) = std::fs::metadata(process.path().join("ns/net"))
        {
            found.insert(data.ino());
        }
    }
    for line in std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines() {
        if let Some((_, rest)) = line.split_once(" net:[")
            && let Some((inode, _)) = rest.split_once(']')
            && let Ok(inode) = inode.parse()
        {
            found.insert(inode);
        }
    }
    found
}

fn enter(handle: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn current_cookie() -> io::Result<u64> {
    let probe = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::netns_cookie(probe)
}

fn by_socket(cookie: u64, tgid: u32) -> Option<File> {
    let pid = Pid::from_raw(i32::try_from(tgid).ok()?)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    for entry in
        std::fs::read_dir(format!("/proc/{tgid}/fd")).ok()?.flatten().take(MOST_DESCRIPTORS)
    {
        let is_socket = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if is_socket
            && let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())
            && sys::netns_cookie(&socket).is_ok_and(|found| found == cookie)
            && let Ok(namespace) = sys::namespace_of(&socket)
        {
            return Some(File::from(namespace));
        }
    }
    None
}

fn listener(at: SocketAddr, token: Bind<'_>) -> io::Result<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    token(socket.as_fd(), for_kind(TOKEN_LISTENER))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sys::freebind(&socket, at.is_ipv6())?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &at).map_err(|error| {
        io::Error::new(
            io::Error::from(error).kind(),
            format!("cannot listen at {at}: {error} (`listen_port` must be free in every network namespace)"),
        )
    })?;
    sys::save_syn(&socket)?;
    sys::unpaced(socket.as_fd());
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn raw(family: AddressFamily, token: Bind<'_>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol: Protocol = ipproto::RAW;
    let socket = socket_with(family, SocketType::RAW, flags, Some(protocol))?;
    if family == AddressFamily::INET6 {
        sys::ipv6_header_included(&socket)?;
    }
    token(socket.as_fd(), for_kind(TOKEN_INJECTOR))?;
    Ok(socket)
}

fn for_kind(kind: u32) -> Token {
    Token { kind, reserved: 0, destination: Endpoint::UNSPECIFIED, flow: 0 }
}

/// A host without IPv6 has none to guard.
fn optional(made: io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match made {
        Ok(socket) => Ok(Some(socket)),
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
