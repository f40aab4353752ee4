//! sock_create: the early word of a network namespace that has no listener
//! yet (late is not lost: the SYN is held back until there is one); and who
//! makes raw sockets.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_ktime_get_ns, bpf_sk_storage_get};
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;
use tidegate_ebpf::{EVENT_NAMESPACE, NAMESPACE_READY, NAMESPACE_WANTED, Namespace, NamespaceSeen};

use super::{ALLOW, CREATE, SOCK_RAW, SOCK_STREAM};
use crate::emit::{current, emit};
use crate::maps::{MAKERS, NAMESPACES, handle};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const ASK_AGAIN: u64 = 100_000_000;

#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    let socket = ctx.sock;
    // SAFETY: the context is this hook's own.
    unsafe {
        let family = (*socket).family;
        if family != AF_INET && family != AF_INET6 {
            return ALLOW;
        }
        if (*socket).type_ == SOCK_RAW {
            // Only to name who it was, should a packet of its be dropped.
            let mut maker = current(bpf_get_netns_cookie(socket.cast()));
            let kept = &raw mut maker;
            bpf_sk_storage_get(handle(&MAKERS), socket.cast(), kept.cast(), CREATE);
            return ALLOW;
        }
        if (*socket).type_ != SOCK_STREAM {
            return ALLOW;
        }
        let netns = bpf_get_netns_cookie(socket.cast());
        let now = bpf_ktime_get_ns();
        if let Some(known) = NAMESPACES.get_ptr_mut(netns) {
            if (*known).state == NAMESPACE_READY
                || now.saturating_sub((*known).asked_at) < ASK_AGAIN
            {
                return ALLOW;
            }
            (*known).asked_at = now;
        } else {
            let wanted = Namespace { state: NAMESPACE_WANTED, reserved: 0, asked_at: now };
            let _ = NAMESPACES.insert(netns, wanted, 1);
        }
        let ids = bpf_get_current_pid_tgid();
        emit(&mut NamespaceSeen {
            kind: EVENT_NAMESPACE,
            tgid: (ids >> 32) as u32,
            tid: ids as u32,
            reserved: 0,
            netns,
        });
    }
    ALLOW
}
