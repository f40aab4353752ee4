//! The few system calls that the standard library has no word for. Each
//! returns an [`std::io::Error`] that carries the errno.

use std::fs::File;
use std::io::{Error, Result};
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Errno as a result.
pub fn check(returned: libc::c_int) -> Result<libc::c_int> {
    if returned < 0 { Err(Error::last_os_error()) } else { Ok(returned) }
}

/// A socket address as the kernel takes it.
#[derive(Clone, Copy)]
pub struct RawAddress {
    pub storage: libc::sockaddr_storage,
    pub length: libc::socklen_t,
}

impl RawAddress {
    pub fn empty() -> Self {
        // SAFETY: all zero is a valid sockaddr_storage.
        let storage = unsafe { zeroed() };
        Self { storage, length: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    /// `AF_UNSPEC`: connect(2) with it ends an association.
    pub fn unspecified() -> Self {
        let mut raw = Self::empty();
        raw.storage.ss_family = libc::AF_UNSPEC as libc::sa_family_t;
        raw.length = 16;
        raw
    }

    pub fn to_std(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that a sockaddr_in lies there.
                let raw = unsafe { &*self.pointer().cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
                Some(SocketAddr::from((ip, u16::from_be(raw.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that a sockaddr_in6 lies there.
                let raw = unsafe { &*self.pointer().cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                Some(SocketAddr::V6(SocketAddrV6::new(
                    ip,
                    u16::from_be(raw.sin6_port),
                    0,
                    raw.sin6_scope_id,
                )))
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        let mut raw = Self::empty();
        let place: *mut libc::sockaddr_storage = &raw mut raw.storage;
        match address {
            SocketAddr::V4(v4) => {
                let value = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                    sin_zero: [0; 8],
                };
                // SAFETY: sockaddr_storage is large and aligned enough.
                unsafe { place.cast::<libc::sockaddr_in>().write(value) };
                raw.length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let value = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: sockaddr_storage is large and aligned enough.
                unsafe { place.cast::<libc::sockaddr_in6>().write(value) };
                raw.length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        raw
    }
}

/// v4-mapped addresses as IPv4 ones.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An IPv4 address as an IPv6 socket speaks of it.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), address.port()),
        v6 @ SocketAddr::V6(_) => v6,
    }
}

pub fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: socket(2) takes numbers only; what it returns is ours.
    unsafe {
        let fd = check(libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

pub fn connect(socket: BorrowedFd<'_>, to: &RawAddress) -> Result<()> {
    // SAFETY: the address and its length belong together.
    check(unsafe { libc::connect(socket.as_raw_fd(), to.pointer(), to.length) })?;
    Ok(())
}

pub fn bind(socket: BorrowedFd<'_>, to: SocketAddr) -> Result<()> {
    let raw = RawAddress::from(to);
    // SAFETY: the address and its length belong together.
    check(unsafe { libc::bind(socket.as_raw_fd(), raw.pointer(), raw.length) })?;
    Ok(())
}

type NameCall =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn name(socket: BorrowedFd<'_>, call: NameCall) -> Result<SocketAddr> {
    let mut raw = RawAddress::empty();
    let place: *mut libc::sockaddr_storage = &raw mut raw.storage;
    // SAFETY: the buffer is as long as `length` says.
    check(unsafe { call(socket.as_raw_fd(), place.cast(), &raw mut raw.length) })?;
    raw.to_std().ok_or_else(|| Error::other("an address of another family"))
}

pub fn peer_name(socket: BorrowedFd<'_>) -> Result<SocketAddr> {
    name(socket, libc::getpeername)
}

pub fn socket_name(socket: BorrowedFd<'_>) -> Result<SocketAddr> {
    name(socket, libc::getsockname)
}

pub fn set_option<T>(socket: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> Result<()> {
    // SAFETY: pointer and length describe one value.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

pub fn int_option(socket: BorrowedFd<'_>, level: i32, option: i32) -> Result<i32> {
    let (mut value, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: pointer and length describe one integer.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

/// close(2) with a reset instead of a FIN.
pub fn reset_on_close(socket: BorrowedFd<'_>) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(socket, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// Waits until the socket is writable, or in error, or the time is over.
pub fn wait_writable(socket: BorrowedFd<'_>, milliseconds: i32) -> Result<bool> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd.
    Ok(check(unsafe { libc::poll(&raw mut poll, 1, milliseconds) })? > 0)
}

pub fn enter_namespace(namespace: RawFd) -> Result<()> {
    // SAFETY: setns(2) takes a descriptor and a kind.
    check(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) })?;
    Ok(())
}

pub fn new_namespace() -> Result<()> {
    // SAFETY: unshare(2) takes flags.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    Ok(())
}

/// The calling thread's network namespace.
pub fn this_namespace() -> Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// The cookie of the calling thread's network namespace (`SO_NETNS_COOKIE`).
pub fn namespace_cookie() -> Result<u64> {
    const SO_NETNS_COOKIE: i32 = 71;
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let (mut value, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: pointer and length describe one u64.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

/// Brings the calling thread's loopback up. Safe between fork and exec.
pub fn loopback_up() -> Result<()> {
    // SAFETY: an ifreq is plain data, and the ioctl reads and writes one.
    unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let mut request: libc::ifreq = zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        let done = check(libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw mut request));
        libc::close(fd);
        done?;
    }
    Ok(())
}

pub fn open_process(pid: u32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes numbers; what it returns is ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0);
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// A duplicate of another process's descriptor.
pub fn steal(process: BorrowedFd<'_>, descriptor: RawFd) -> Result<OwnedFd> {
    // SAFETY: pidfd_getfd(2) takes numbers; what it returns is ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), descriptor, 0);
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

pub fn signal(pid: u32, signal: i32) -> Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(Error::other)?;
    // SAFETY: kill(2) takes numbers.
    check(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

pub fn thread_id() -> u32 {
    // SAFETY: gettid(2) has no arguments and cannot fail.
    unsafe { libc::gettid() as u32 }
}

pub fn user_id() -> u32 {
    // SAFETY: getuid(2) has no arguments and cannot fail.
    unsafe { libc::getuid() }
}

/// Microseconds of the clock that counts since boot: one clock for all
/// processes of a test.
pub fn clock_us() -> u64 {
    // SAFETY: a timespec is plain data, and the call fills it.
    let time = unsafe {
        let mut time: libc::timespec = zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time);
        time
    };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// How many programs are attached to a cgroup, over every kind of cgroup hook
/// (`BPF_PROG_QUERY`; a kernel that doesn't know a kind says EINVAL).
pub fn programs_attached(cgroup: BorrowedFd<'_>) -> Result<u32> {
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        target: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        program_ids: u64,
        program_count: u32,
        reserved: u32,
        rest: [u64; 4],
    }
    const BPF_PROG_QUERY: libc::c_long = 16;
    // Those of cgroups: the others take something else than a cgroup.
    let kinds = [0..=3, 6..=6, 8..=15, 18..=22, 29..=32, 34..=34, 49..=53];
    let mut sum = 0;
    for attach_type in kinds.into_iter().flatten() {
        let mut query =
            Query { target: cgroup.as_raw_fd() as u32, attach_type, ..Query::default() };
        // SAFETY: bpf(2) reads and writes as many bytes as it is told.
        let done = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>())
        };
        if done == 0 {
            sum += query.program_count;
        } else if Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            return Err(Error::last_os_error());
        }
    }
    Ok(sum)
}
