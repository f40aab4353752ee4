//! getpeername4, getpeername6: answer with where the process wanted to go.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use super::{ALLOW, SOCK_STREAM, address, attempt, is_listener, settings};

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is this hook's own.
    unsafe { answer(&ctx, false) }
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is this hook's own.
    unsafe { answer(&ctx, true) }
}

#[inline(always)]
unsafe fn answer(ctx: &SockAddrContext, ipv6: bool) -> i32 {
    let context = ctx.sock_addr;
    unsafe {
        if (*context).type_ != SOCK_STREAM {
            return ALLOW;
        }
        let Some(settings) = settings() else { return ALLOW };
        if !is_listener(&address(context, ipv6), settings) {
            return ALLOW;
        }
        let attempt = attempt((*context).__bindgen_anon_1.sk, 0);
        if attempt.is_null() {
            return ALLOW;
        }
        let destination = &(*attempt).flow.destination;
        let a = &destination.address;
        if ipv6 {
            (*context).user_ip6[0] = u32::from_ne_bytes([a[0], a[1], a[2], a[3]]);
            (*context).user_ip6[1] = u32::from_ne_bytes([a[4], a[5], a[6], a[7]]);
            (*context).user_ip6[2] = u32::from_ne_bytes([a[8], a[9], a[10], a[11]]);
            (*context).user_ip6[3] = u32::from_ne_bytes([a[12], a[13], a[14], a[15]]);
        } else {
            (*context).user_ip4 = u32::from_ne_bytes([a[12], a[13], a[14], a[15]]);
        }
        (*context).user_port = u32::from(destination.port.to_be());
    }
    ALLOW
}
