//! The list itself.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::Role;

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// What may be called, and with which arguments.
pub fn allowed(role: Role) -> Result<Rules, BackendError> {
    let lists: &[&[c_long]] = match role {
        Role::Parser => &[COMPUTING, COMPUTING_ON_THIS_MACHINE],
        Role::Enforcer { read_only: true } => &[ALWAYS, OF_THIS_MACHINE],
        Role::Enforcer { read_only: false } => {
            &[ALWAYS, OF_THIS_MACHINE, FILES, FILES_OF_THIS_MACHINE]
        }
    };
    let mut rules = Rules::new();
    for call in lists.iter().copied().flatten() {
        rules.insert(*call, Vec::new());
    }
    let conditions = match role {
        Role::Parser => computing(),
        Role::Enforcer { read_only } => conditional(read_only),
    };
    for (call, alternatives) in conditions {
        let mut any = Vec::new();
        for all in alternatives {
            let conditions = all.into_iter().map(Condition::built).collect::<Result<_, _>>()?;
            any.push(SeccompRule::new(conditions)?);
        }
        rules.insert(call, any);
    }
    Ok(rules)
}

/// One argument of a call.
struct Condition {
    argument: u8,
    length: SeccompCmpArgLen,
    is: SeccompCmpOp,
    value: u64,
}

impl Condition {
    fn built(self) -> Result<SeccompCondition, BackendError> {
        SeccompCondition::new(self.argument, self.length, self.is, self.value)
    }
}

fn is(argument: u8, value: impl Into<i64>) -> Condition {
    Condition { argument, length: Dword, is: Eq, value: bits(value) }
}

/// None of the bits of `mask` is set.
fn without(argument: u8, mask: impl Into<i64>) -> Condition {
    with(argument, mask, 0)
}

/// Of the bits of `mask` those of `value` are set, and no others.
fn with(argument: u8, mask: impl Into<i64>, value: impl Into<i64>) -> Condition {
    Condition { argument, length: Dword, is: MaskedEq(bits(mask)), value: bits(value) }
}

fn null(argument: u8) -> Condition {
    Condition { argument, length: Qword, is: Eq, value: 0 }
}

/// The low 32 bits, which is what the kernel compares.
fn bits(value: impl Into<i64>) -> u64 {
    value.into().cast_unsigned() & u64::from(u32::MAX)
}

/// Calls that depend on their arguments: any of the alternatives, each with
/// all of its conditions.
type Conditional = Vec<(c_long, Vec<Vec<Condition>>)>;

/// Of every role.
fn computing() -> Conditional {
    let own = i64::from(std::process::id());
    vec![
        (libc::SYS_prctl, OPERATIONS.iter().map(|operation| vec![is(0, *operation)]).collect()),
        // Threads, never processes or namespaces.
        (
            libc::SYS_clone,
            vec![vec![with(0, libc::CLONE_THREAD, libc::CLONE_THREAD), without(0, NAMESPACES)]],
        ),
        // What is mapped is data.
        (libc::SYS_mmap, vec![vec![without(2, libc::PROT_EXEC)]]),
        (libc::SYS_mprotect, vec![vec![without(2, libc::PROT_EXEC)]]),
        // Limits can be read.
        (libc::SYS_prlimit64, vec![vec![null(2)]]),
        // abort() signals its own thread.
        (libc::SYS_tgkill, vec![vec![is(0, own)]]),
    ]
}

fn conditional(read_only: bool) -> Conditional {
    let mut calls = computing();
    calls.extend([
        // MSG_FASTOPEN is a connect in disguise, and so is an address.
        (libc::SYS_sendto, vec![vec![without(3, libc::MSG_FASTOPEN), null(4)]]),
        (libc::SYS_sendmsg, vec![vec![without(2, libc::MSG_FASTOPEN)]]),
        (libc::SYS_setsockopt, OPTIONS.iter().map(|(l, o)| vec![is(1, *l), is(2, *o)]).collect()),
        (libc::SYS_ioctl, REQUESTS.iter().map(|request| vec![is(1, *request)]).collect()),
        // A thread's own priority.
        (libc::SYS_getpriority, vec![vec![is(0, OF_A_THREAD), is(1, 0)]]),
        (libc::SYS_setpriority, vec![vec![is(0, OF_A_THREAD), is(1, 0)]]),
    ]);
    if read_only {
        // O_TMPFILE includes O_DIRECTORY, which alone is for reading.
        let nameless = libc::O_TMPFILE & !libc::O_DIRECTORY;
        let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | nameless;
        calls.push((libc::SYS_openat, vec![vec![without(2, writing)]]));
    }
    calls
}

const OPTIONS: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
];

/// Blocking or not, how much is queued, and whether it is a terminal.
const REQUESTS: &[i64] =
    &[libc::FIONBIO as i64, libc::FIONREAD as i64, libc::TIOCOUTQ as i64, libc::TCGETS as i64];

const OF_A_THREAD: i64 = libc::PRIO_PROCESS as i64;

const OPERATIONS: &[i32] = &[
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_SET_VMA,
];

const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Of a process that is given texts and gives answers.
const COMPUTING: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_close,
    libc::SYS_ppoll,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_restart_syscall,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
];

#[cfg(target_arch = "x86_64")]
const COMPUTING_ON_THIS_MACHINE: &[c_long] = &[libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const COMPUTING_ON_THIS_MACHINE: &[c_long] = &[];

const ALWAYS: &[c_long] = &[
    // What is open.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_fcntl,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_splice,
    // Sockets that were handed over.
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    // Threads and their ends. clone3 is answered by a filter of its own.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    // What one is, and when.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
];

const FILES: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
];

#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[c_long] =
    &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &[c_long] = &[];

#[cfg(target_arch = "x86_64")]
const FILES_OF_THIS_MACHINE: &[c_long] =
    &[libc::SYS_rename, libc::SYS_renameat, libc::SYS_unlink, libc::SYS_mkdir, libc::SYS_rmdir];
#[cfg(not(target_arch = "x86_64"))]
const FILES_OF_THIS_MACHINE: &[c_long] = &[libc::SYS_renameat];
