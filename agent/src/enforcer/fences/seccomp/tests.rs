use super::*;

/// The filters hold a thread for good: each test has a process of its own in
/// `tests/enforcer.rs`. Here is what can be said of the list.
#[test]
fn the_list_has_nothing_that_leads_out() {
    let enforcer = |read_only| Role::Enforcer { read_only };
    for role in [enforcer(true), enforcer(false), Role::Parser] {
        let allowed = calls::allowed(role).unwrap();
        for call in [
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_sendmmsg,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_getfd,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_memfd_create,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_setuid,
            libc::SYS_setresuid,
            libc::SYS_kill,
            libc::SYS_open_by_handle_at,
        ] {
            assert!(!allowed.contains_key(&call), "{call} is on the list");
        }
        let conditions = |call| allowed.get(&call).map_or(0, Vec::len);
        assert!(conditions(libc::SYS_clone) > 0);
        for call in [libc::SYS_sendto, libc::SYS_setpriority] {
            assert_eq!(conditions(call) > 0, role != Role::Parser, "{call}");
        }
        assert_eq!(conditions(libc::SYS_openat) > 0, role == enforcer(true));
        if role == Role::Parser {
            for call in [libc::SYS_openat, libc::SYS_unlinkat, libc::SYS_recvmsg, libc::SYS_dup] {
                assert!(!allowed.contains_key(&call), "{call} is on the parser's list");
            }
        }
    }
}
