//! What only the running kernel can tell, asked without changing anything.
#![expect(unsafe_code, reason = "two system calls that no safe crate offers, both read-only")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

/// Where a program is attached to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupHook {
    Egress,
    SockCreate,
    SockOps,
    Bind4,
    Bind6,
    Connect4,
    Connect6,
    Getpeername4,
    Getpeername6,
}

impl CgroupHook {
    pub const ALL: [Self; 9] = [
        Self::Connect4,
        Self::Connect6,
        Self::Getpeername4,
        Self::Getpeername6,
        Self::Bind4,
        Self::Bind6,
        Self::SockOps,
        Self::SockCreate,
        Self::Egress,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::SockCreate => "sock_create",
            Self::SockOps => "sock_ops",
            Self::Bind4 => "bind4",
            Self::Bind6 => "bind6",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Getpeername4 => "getpeername4",
            Self::Getpeername6 => "getpeername6",
        }
    }

    /// The kernel's `enum bpf_attach_type`.
    fn attach_type(self) -> u32 {
        match self {
            Self::Egress => 1,
            Self::SockCreate => 2,
            Self::SockOps => 3,
            Self::Bind4 => 8,
            Self::Bind6 => 9,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
            Self::Getpeername4 => 29,
            Self::Getpeername6 => 30,
        }
    }
}

/// The arguments of `BPF_PROG_QUERY`, as far as they are used.
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    reserved: u32,
}

const BPF_PROG_QUERY: libc::c_int = 16;
const MOST_PROGRAMS: usize = 64;

/// The ids of the programs attached at this cgroup itself. Needs root.
pub fn cgroup_programs(cgroup: impl AsFd, hook: CgroupHook) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut query = Query {
        target: cgroup.as_fd().as_raw_fd().unsigned_abs(),
        attach_type: hook.attach_type(),
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: u32::try_from(MOST_PROGRAMS).unwrap_or(0),
        reserved: 0,
    };
    // SAFETY: `query` lives over the call and its size is told; the kernel
    // writes at most `count` ids where `ids` points, which is that long.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ids.into_iter().take(query.count as usize).collect())
}

/// The version of Landlock's interface; `None` where the kernel hasn't it.
pub fn landlock_abi() -> Option<u32> {
    const VERSION: libc::c_long = 1;
    // SAFETY: with no attributes, a length of 0 and this flag, the call only
    // returns the version.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION)
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Whether the kernel can end a connection on request: it is asked to end one
/// that cannot exist (port 0 to port 0). Needs NET_ADMIN.
pub fn socket_destroy() -> io::Result<bool> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(std::time::Duration::from_secs(2)),
    )?;
    sendto(&socket, &destroy_request(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 512];
    let (received, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // A header of 16 bytes, then the error's number, negative.
    let code = answer
        .get(16..20)
        .filter(|_| received >= 20)
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
        .map(i32::from_ne_bytes)
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    match -code {
        libc::EOPNOTSUPP | libc::EINVAL => Ok(false),
        libc::EPERM | libc::EACCES => Err(io::Error::from_raw_os_error(-code)),
        // ENOENT: it looked for the connection.
        _ => Ok(true),
    }
}

/// `nlmsghdr` and `inet_diag_req_v2`.
fn destroy_request() -> Vec<u8> {
    const LENGTH: u32 = 16 + 56;
    const SOCK_DESTROY: u16 = 21;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    let mut request = Vec::new();
    request.extend(LENGTH.to_ne_bytes());
    request.extend(SOCK_DESTROY.to_ne_bytes());
    request.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_INET as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    // Every state.
    request.extend(u32::MAX.to_ne_bytes());
    // Ports, addresses, interface: none.
    request.extend([0; 40]);
    // A cookie that no socket has.
    request.extend(u64::MAX.wrapping_sub(1).to_ne_bytes());
    request
}
