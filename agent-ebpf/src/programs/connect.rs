//! connect4, connect6: decide, remember what was wanted, redirect.

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns,
    bpf_set_retval, bpf_setsockopt, bpf_sk_storage_delete,
};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use aya_log_ebpf::debug;
use tidegate_ebpf::{
    Attempt, EVENT_ATTEMPT, EVENT_DIRECT, EVENT_REFUSED, Endpoint, FLOW_CANARY, FLOW_IPV6_SOCKET,
    FLOW_MAPPED, FLOW_STRICT, REFUSED_ABSENT, REFUSED_DEVICE, REFUSED_DIRECT_DIAL, REFUSED_FAULT,
    REFUSED_QUOTA, REFUSED_TOKEN, RULE_CANARY, RULE_EXCLUDE, RULE_STRICT, Rule, Settings,
    TOKEN_UPSTREAM, counter,
};

use super::{
    ALLOW, CREATE, REFUSE, SOCK_STREAM, address, attempt, gone, is_listener, is_mapped,
    of_interest, rule, same, settings, stale, token, words,
};
use crate::emit::{count, current, verdict};
use crate::maps::{FLOWS, handle};
use crate::{quota, task};

const ECONNREFUSED: i32 = 111;
const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
/// `::ffff:0.0.0.0`, its lower half.
const MAPPED_ANY: u64 = 0xffff_0000_0000;
const LOOPBACK4: u32 = u32::from_ne_bytes([127, 0, 0, 1]);

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    // SAFETY: the context is this hook's own.
    unsafe { decide(&ctx, false) }
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
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
        let sk = (*context).__bindgen_anon_1.sk;
        let destination = wanted(context, sk, ipv6);
        if let Some(token) = token(sk) {
            if token.kind == TOKEN_UPSTREAM && same(&token.destination, &destination) {
                return ALLOW;
            }
            return refuse(context, REFUSED_TOKEN, destination, 0);
        }
        if !of_interest(destination.port) {
            // What an earlier connect of this socket left would mislead.
            bpf_sk_storage_delete(handle(&FLOWS), sk.cast());
            return ALLOW;
        }
        let Some(settings) = settings() else {
            return refuse(context, REFUSED_FAULT, destination, 0);
        };
        if is_listener(&destination, settings) {
            return refuse(context, REFUSED_DIRECT_DIAL, destination, 0);
        }
        let rule = match rule(&destination) {
            Some(rule) if rule.flags & RULE_EXCLUDE == 0 => rule,
            _ => {
                bpf_sk_storage_delete(handle(&FLOWS), sk.cast());
                return ALLOW;
            }
        };
        redirect(ctx, sk, destination, rule, settings, ipv6)
    }
}

/// Where this connect would go: to the unspecified address means to the address
/// that the socket is bound to, else to this host's loopback.
#[inline(always)]
unsafe fn wanted(context: *const bpf_sock_addr, sk: *const bpf_sock, ipv6: bool) -> Endpoint {
    // SAFETY: the context is the hook's own, the socket the context's.
    let mut destination = unsafe { address(context, ipv6) };
    let a = &mut destination.address;
    let high = u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]);
    let low = u64::from_be_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]);
    if high != 0 || (low != 0 && low != MAPPED_ANY) {
        return destination;
    }
    // SAFETY: as above.
    let source = unsafe {
        if ipv6 {
            words([(*sk).src_ip6[0], (*sk).src_ip6[1], (*sk).src_ip6[2], (*sk).src_ip6[3]])
        } else {
            super::mapped((*sk).src_ip4)
        }
    };
    let bound4 = u32::from_ne_bytes([source[12], source[13], source[14], source[15]]);
    let source_is_mapped = is_mapped(&source);
    if low == 0 && !source_is_mapped {
        a[15] = 1;
    } else if low == MAPPED_ANY && source_is_mapped && bound4 != 0 {
        *a = source;
    } else {
        *a = super::mapped(LOOPBACK4);
    }
    destination
}

#[inline(always)]
unsafe fn redirect(
    ctx: &SockAddrContext,
    sk: *mut bpf_sock,
    destination: Endpoint,
    rule: &Rule,
    settings: &Settings,
    ipv6: bool,
) -> i32 {
    let context = ctx.sock_addr;
    let strict = rule.flags & RULE_STRICT != 0;
    unsafe {
        let absent = stale(settings, |heartbeat| heartbeat.keeper);
        if strict && absent && gone(settings) {
            // Whoever may sit at the listener's address meanwhile gets nothing.
            bpf_set_retval(-ECONNREFUSED);
            return refuse(context, REFUSED_ABSENT, destination, rule.id);
        }
        if !strict && (absent || stale(settings, |heartbeat| heartbeat.beat)) {
            bpf_sk_storage_delete(handle(&FLOWS), sk.cast());
            count(counter::DIRECT);
            let netns = bpf_get_netns_cookie(context.cast());
            verdict(EVENT_DIRECT, 0, destination, &current(netns), rule.id);
            return ALLOW;
        }
        let attempt = attempt(sk, CREATE);
        if attempt.is_null() {
            return refuse(context, REFUSED_FAULT, destination, rule.id);
        }
        fill(context, sk, attempt, destination, rule, settings, ipv6);
        let flow = &mut (*attempt).flow;
        if !quota::allows(flow, settings.quota_user, settings.quota_cgroup) {
            count(counter::OVER_QUOTA);
            return refuse(context, REFUSED_QUOTA, destination, rule.id);
        }
        if flow.device != 0 {
            let mut none = [0_u8; 4];
            let error = bpf_setsockopt(
                context.cast(),
                SOL_SOCKET,
                SO_BINDTODEVICE,
                none.as_mut_ptr().cast(),
                none.len() as i32,
            );
            if error != 0 {
                return refuse(context, REFUSED_DEVICE, destination, rule.id);
            }
        }
        if ipv6 {
            let mapped = flow.flags & FLOW_MAPPED != 0;
            (*context).user_ip6[0] = 0;
            (*context).user_ip6[1] = 0;
            (*context).user_ip6[2] = if mapped { 0xffff_u32.to_be() } else { 0 };
            (*context).user_ip6[3] = if mapped { LOOPBACK4 } else { 1_u32.to_be() };
        } else {
            (*context).user_ip4 = LOOPBACK4;
        }
        (*context).user_port = u32::from((settings.listen_port as u16).to_be());
        count(counter::REDIRECTED);
        if settings.debug != 0 {
            debug!(ctx, "led pid {} to the gate (port {})", flow.tgid, destination.port);
        }
    }
    ALLOW
}

/// Writes everything that is known now, in the process's own context.
#[inline(always)]
unsafe fn fill(
    context: *mut bpf_sock_addr,
    sk: *mut bpf_sock,
    attempt: *mut Attempt,
    destination: Endpoint,
    rule: &Rule,
    settings: &Settings,
    ipv6: bool,
) {
    unsafe {
        (*attempt).kind = EVENT_ATTEMPT;
        (*attempt).syn_length = 0;
        let flow = &mut (*attempt).flow;
        let ids = bpf_get_current_pid_tgid();
        let owner = bpf_get_current_uid_gid();
        flow.cookie = bpf_get_socket_cookie(context.cast());
        flow.connected_at = bpf_ktime_get_boot_ns();
        flow.netns = bpf_get_netns_cookie(context.cast());
        flow.cgroup = bpf_get_current_cgroup_id();
        (flow.started, flow.exec) = task::program();
        flow.tgid = (ids >> 32) as u32;
        flow.tid = ids as u32;
        flow.uid = owner as u32;
        flow.gid = (owner >> 32) as u32;
        flow.destination = destination;
        flow.device = (*sk).bound_dev_if;
        flow.mark = (*sk).mark;
        flow.rule = rule.id;
        flow.generation = settings.generation;
        flow.command_length = 0;
        flow.comm = bpf_get_current_comm().unwrap_or([0; 16]);
        let mut flags = 0;
        flow.source = Endpoint::UNSPECIFIED;
        if ipv6 {
            flags |= FLOW_IPV6_SOCKET;
            if is_mapped(&destination.address) {
                flags |= FLOW_MAPPED;
            }
            flow.source.address =
                words([(*sk).src_ip6[0], (*sk).src_ip6[1], (*sk).src_ip6[2], (*sk).src_ip6[3]]);
        } else if (*sk).src_ip4 != 0 {
            flow.source.address = super::mapped((*sk).src_ip4);
        }
        flow.source.port = (*sk).src_port as u16;
        if rule.flags & RULE_STRICT != 0 {
            flags |= FLOW_STRICT;
        }
        if rule.flags & RULE_CANARY != 0 {
            flags |= FLOW_CANARY;
        }
        flow.flags = flags;
        task::command(flow);
    }
}

#[inline(always)]
unsafe fn refuse(context: *mut bpf_sock_addr, why: u32, destination: Endpoint, rule: u32) -> i32 {
    count(counter::REFUSED);
    // SAFETY: the context is the hook's own.
    let netns = unsafe { bpf_get_netns_cookie(context.cast()) };
    verdict(EVENT_REFUSED, why, destination, &current(netns), rule);
    REFUSE
}
