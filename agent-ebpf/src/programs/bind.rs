//! bind4, bind6: the listeners' port is the keeper's, also while it is away.
//! Who else sat there would be given passwords.

use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use tidegate_ebpf::{EVENT_REFUSED, REFUSED_BIND, TOKEN_LISTENER, counter};

use super::{ALLOW, REFUSE, SOCK_STREAM, address, settings, token};
use crate::emit::{count, current, verdict};

#[cgroup_sock_addr(bind4)]
pub fn bind4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is this hook's own.
    unsafe { decide(&ctx, false) }
}

#[cgroup_sock_addr(bind6)]
pub fn bind6(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is this hook's own.
    unsafe { decide(&ctx, true) }
}

#[inline(always)]
unsafe fn decide(ctx: &SockAddrContext, ipv6: bool) -> i32 {
    let context = ctx.sock_addr;
    unsafe {
        if (*context).type_ != SOCK_STREAM {
            return ALLOW;
        }
        let wanted = address(context, ipv6);
        let Some(settings) = settings() else { return ALLOW };
        if u32::from(wanted.port) != settings.listen_port {
            return ALLOW;
        }
        if token((*context).__bindgen_anon_1.sk).is_some_and(|token| token.kind == TOKEN_LISTENER) {
            return ALLOW;
        }
        count(counter::REFUSED);
        let netns = bpf_get_netns_cookie(context.cast());
        verdict(EVENT_REFUSED, REFUSED_BIND, wanted, &current(netns), 0);
    }
    REFUSE
}
