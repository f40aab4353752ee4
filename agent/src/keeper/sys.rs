//! The few system calls that have no safe wrapper. Nothing else in the keeper
//! is unsafe, but for the two reads of what the kernel wrote in `abi`.
#![expect(unsafe_code, reason = "system calls without a safe wrapper, each small and checked")]

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn get<T: Default>(socket: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the kernel writes at most `length` bytes into `value`, a plain
    // integer of that size.
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

fn set<T>(socket: BorrowedFd<'_>, level: i32, option: i32, value: T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the kernel reads `length` bytes of `value`, a plain integer.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    })
    .map(drop)
}

/// The cookie of the network namespace a socket is in.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    const SO_NETNS_COOKIE: i32 = 71;
    get(socket.as_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE)
}

pub fn set_mark(socket: impl AsFd, mark: u32) -> io::Result<()> {
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark)
}

pub fn bind_to_interface(socket: impl AsFd, index: u32) -> io::Result<()> {
    const SO_BINDTOIFINDEX: i32 = 62;
    set(socket.as_fd(), libc::SOL_SOCKET, SO_BINDTOIFINDEX, index)
}

/// Binding chooses an address only; the port is chosen at connect.
pub fn bind_address_no_port(socket: impl AsFd) -> io::Result<()> {
    set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1_i32)
}

/// May bind an address that isn't there (yet): loopback in a namespace whose
/// `lo` is down.
pub fn freebind(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1_i32)
    } else {
        set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_FREEBIND, 1_i32)
    }
}

/// What is sent on this raw socket brings its own IPv6 header.
pub fn ipv6_header_included(socket: impl AsFd) -> io::Result<()> {
    const IPV6_HDRINCL: i32 = 36;
    set(socket.as_fd(), libc::IPPROTO_IPV6, IPV6_HDRINCL, 1_i32)
}

/// The SYN of every connection is kept for [`saved_syn`].
pub fn save_syn(listener: impl AsFd) -> io::Result<()> {
    set(listener.as_fd(), libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, 1_i32)
}

/// The headers of the SYN that an accepted connection began with; once.
pub fn saved_syn(accepted: impl AsFd) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; 256];
    let mut length = libc::socklen_t::try_from(bytes.len()).unwrap_or_default();
    // SAFETY: the kernel writes at most `length` bytes into `bytes`.
    check(unsafe {
        libc::getsockopt(
            accepted.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SAVED_SYN,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    bytes.truncate(usize::try_from(length).unwrap_or_default());
    Ok(bytes)
}

/// The network namespace of a socket.
pub fn namespace_of(socket: impl AsFd) -> io::Result<OwnedFd> {
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: the call takes no argument and gives a new descriptor.
    let fd = check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS) })?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Nanoseconds of the clock that `bpf_ktime_get_ns` reads.
pub fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

// ---- bpf(2), for links that outlive us ----------------------------------------

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_UPDATE: libc::c_long = 29;

fn bpf<T>(command: libc::c_long, attribute: &mut T) -> io::Result<RawFd> {
    // SAFETY: each attribute below is laid out as bpf(2) wants it for its
    // command, and its size is passed along.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(|_| io::Error::other("bpf(2) gave no descriptor"))
}

/// Opens what is pinned at `path`.
pub fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attribute {
        path: u64,
        fd: u32,
        flags: u32,
    }
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attribute = Attribute { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    let fd = bpf(BPF_OBJ_GET, &mut attribute)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts another program behind a link, without a moment in between.
pub fn replace_program(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attribute {
        link: u32,
        program: u32,
        flags: u32,
        old: u32,
    }
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX);
    let mut attribute =
        Attribute { link: number(link), program: number(program), flags: 0, old: 0 };
    bpf(BPF_LINK_UPDATE, &mut attribute).map(drop)
}

/// The cgroup that a cgroup link is attached to.
pub fn cgroup_of_link(link: BorrowedFd<'_>) -> io::Result<u64> {
    // struct bpf_link_info: type, id, prog_id, padding, then the union, whose
    // cgroup member starts with the cgroup's id.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        padding: u32,
        cgroup: u64,
        rest: [u64; 6],
    }
    #[repr(C)]
    struct Attribute {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut info = Info::default();
    let mut attribute = Attribute {
        fd: u32::try_from(link.as_raw_fd()).unwrap_or(u32::MAX),
        length: u32::try_from(size_of::<Info>()).unwrap_or_default(),
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attribute)?;
    Ok(info.cgroup)
}

// ---- signals --------------------------------------------------------------------

/// Keeps these signals for [`wait_signal`], in this thread and those it starts.
pub fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: a set that was just made; the old mask isn't wanted.
    let error =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Waits for one of these signals.
pub fn wait_signal(signals: &[i32]) -> io::Result<i32> {
    let set = signal_set(signals);
    let mut signal = 0;
    // SAFETY: both point to values of ours.
    let error = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    if error == 0 { Ok(signal) } else { Err(io::Error::from_raw_os_error(error)) }
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset makes any bytes a valid set.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Ends a connection that isn't ours, by sock_diag's SOCK_DESTROY message.
pub fn destroy(netlink: BorrowedFd<'_>, message: &[u8]) -> io::Result<()> {
    // SAFETY: sends `message` as it is.
    let sent =
        unsafe { libc::send(netlink.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// For connections that never leave this host: no path is to be probed, and a
/// congestion control that measures one and paces (`bbr`) only costs time.
pub fn unpaced(socket: BorrowedFd<'_>) {
    // Every kernel has it; where it may not be chosen the host's own stays.
    let _ = rustix::net::sockopt::set_tcp_congestion(socket, "reno");
}
