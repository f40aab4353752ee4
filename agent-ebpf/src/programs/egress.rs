//! cgroup_skb/egress: holds back the SYN of every redirected socket, and drops
//! what reaches a strict destination from a socket that was not led here.
//!
//! The SYN goes to the keeper with the flow. It comes back through a raw
//! socket once the destination has answered: so a connect succeeds, fails and
//! takes its time as it would without the agent, and a network namespace that
//! has no listener yet is only late.

use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use aya_ebpf::helpers::generated::{
    bpf_get_socket_uid, bpf_sk_cgroup_id, bpf_sk_fullsock, bpf_sk_storage_get, bpf_skb_load_bytes,
};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use tidegate_ebpf::{
    EVENT_REFUSED, Endpoint, FLOW_STRICT, Maker, REFUSED_PACKET, RULE_EXCLUDE, RULE_STRICT,
    SYN_CAPACITY, Settings, TOKEN_ADOPTED, TOKEN_INJECTOR, TOKEN_UPSTREAM, counter,
};

use super::{
    ALLOW, REFUSE, SOCK_RAW, SOCK_STREAM, attempt, gone, is_listener, mapped, of_interest, rule,
    same, settings, stale, token, words,
};
use crate::emit::{count, emit, verdict};
use crate::maps::{MAKERS, handle};
use crate::quota;

const AF_INET6: u32 = 10;
const TCP_SYN_SENT: u32 = 2;
const ETH_P_IP: u32 = 0x0800;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_ICMPV6: u8 = 58;

/// Reads a word of a socket at a constant offset. The verifier allows no
/// arithmetic on a socket's pointer, and the compiler would do some: it joins
/// the last loads of two branches into one through a computed address.
macro_rules! field {
    ($sk:expr, $name:ident, $more:literal) => {{
        let value: u64;
        core::arch::asm!(
            "{value} = *(u32 *)({sk} + {offset})",
            value = out(reg) value,
            sk = in(reg) $sk,
            offset = const core::mem::offset_of!(bpf_sock, $name) + $more,
        );
        value as u32
    }};
}

#[cgroup_skb(egress)]
pub fn egress(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is this hook's own; pointers are checked for null.
    unsafe {
        let sk = (*skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return ALLOW;
        }
        let sk = bpf_sk_fullsock(sk);
        if sk.is_null() {
            return ALLOW;
        }
        match (*sk).type_ {
            SOCK_STREAM => stream(skb, sk),
            SOCK_RAW => raw(skb, sk),
            _ => ALLOW,
        }
    }
}

/// A packet that the kernel's TCP made: the socket tells where it goes.
#[inline(always)]
unsafe fn stream(skb: *mut __sk_buff, sk: *mut bpf_sock) -> i32 {
    unsafe {
        let port = u16::from_be((*sk).dst_port as u16);
        if !of_interest(port) {
            return ALLOW;
        }
        let address = if (*sk).family == AF_INET6 {
            words([
                field!(sk, dst_ip6, 0),
                field!(sk, dst_ip6, 4),
                field!(sk, dst_ip6, 8),
                field!(sk, dst_ip6, 12),
            ])
        } else {
            mapped(field!(sk, dst_ip4, 0))
        };
        let destination = Endpoint { address, port, reserved: [0; 6] };
        let Some(settings) = settings() else { return REFUSE };
        if is_listener(&destination, settings) {
            if (*sk).state == TCP_SYN_SENT {
                return hold(skb, sk, settings);
            }
            return if attempt(sk, 0).is_null() {
                drop_packet(skb, sk, destination, 0)
            } else {
                ALLOW
            };
        }
        match rule(&destination) {
            Some(rule) if rule.flags & RULE_EXCLUDE == 0 && rule.flags & RULE_STRICT != 0 => {
                let led = token(sk).is_some_and(|token| {
                    (token.kind == TOKEN_UPSTREAM || token.kind == TOKEN_ADOPTED)
                        && same(&token.destination, &destination)
                });
                if led || settings.dropping == 0 {
                    ALLOW
                } else {
                    drop_packet(skb, sk, destination, rule.id)
                }
            }
            _ => ALLOW,
        }
    }
}

/// Tells the keeper, and lets nothing out. Where there is no keeper a permissive
/// SYN may go: nobody listens, and the client is refused at once.
#[inline(always)]
unsafe fn hold(skb: *mut __sk_buff, sk: *mut bpf_sock, settings: &Settings) -> i32 {
    unsafe {
        let attempt = attempt(sk, 0);
        if attempt.is_null() {
            return REFUSE;
        }
        if stale(settings, |heartbeat| heartbeat.keeper) {
            // What is strict waits for the next keeper: who sits at the
            // listener's address meanwhile gets nothing.
            let strict = (*attempt).flow.flags & FLOW_STRICT != 0;
            if !strict {
                return ALLOW;
            }
            if gone(settings) {
                return REFUSE;
            }
        }
        let mut length = (*skb).len;
        if length > SYN_CAPACITY as u32 {
            length = SYN_CAPACITY as u32;
        }
        if length < 40 {
            return REFUSE;
        }
        let error = bpf_skb_load_bytes(skb.cast(), 0, (*attempt).syn.as_mut_ptr().cast(), length);
        if error != 0 {
            return REFUSE;
        }
        let first = (*attempt).syn_length == 0;
        (*attempt).syn_length = length;
        count(counter::HELD);
        if emit(attempt) {
            if first {
                quota::charge(&(*attempt).flow);
            }
        } else {
            // Told with the next retransmission, and charged then.
            (*attempt).syn_length = 0;
        }
    }
    REFUSE
}

/// A packet that a process made itself: only the packet tells where it goes.
#[inline(always)]
unsafe fn raw(skb: *mut __sk_buff, sk: *mut bpf_sock) -> i32 {
    unsafe {
        let ipv4 = u32::from(u16::from_be((*skb).protocol as u16)) == ETH_P_IP;
        let mut header = [0_u8; 40];
        let size = if ipv4 { 20 } else { 40 };
        let error = if ipv4 {
            bpf_skb_load_bytes(skb.cast(), 0, header.as_mut_ptr().cast(), 20)
        } else {
            bpf_skb_load_bytes(skb.cast(), 0, header.as_mut_ptr().cast(), 40)
        };
        if error != 0 {
            return ALLOW;
        }
        let (protocol, offset, fragment, address) = if ipv4 {
            let fragment = header[6] & 0x3f != 0 || header[7] != 0;
            let ip4 = u32::from_ne_bytes([header[16], header[17], header[18], header[19]]);
            (header[9], u32::from(header[0] & 0x0f) * 4, fragment, mapped(ip4))
        } else {
            let mut address = [0_u8; 16];
            address.copy_from_slice(&header[24..40]);
            let (protocol, offset, fragment) = after_extensions(skb, header[6], size);
            (protocol, offset, fragment, address)
        };
        if protocol != IPPROTO_TCP {
            return ALLOW;
        }
        if token(sk).is_some_and(|token| token.kind == TOKEN_INJECTOR) {
            return ALLOW;
        }
        let mut ports = [0_u8; 4];
        if fragment || bpf_skb_load_bytes(skb.cast(), offset, ports.as_mut_ptr().cast(), 4) != 0 {
            // Ports that can't be read may be any: nobody sends TCP like this.
            return drop_packet(skb, sk, Endpoint { address, port: 0, reserved: [0; 6] }, 0);
        }
        let port = u16::from_be_bytes([ports[2], ports[3]]);
        if !of_interest(port) {
            return ALLOW;
        }
        let destination = Endpoint { address, port, reserved: [0; 6] };
        let Some(settings) = settings() else { return REFUSE };
        if is_listener(&destination, settings) {
            return drop_packet(skb, sk, destination, 0);
        }
        match rule(&destination) {
            Some(rule) if rule.flags & RULE_EXCLUDE == 0 && rule.flags & RULE_STRICT != 0 => {
                drop_packet(skb, sk, destination, rule.id)
            }
            _ => ALLOW,
        }
    }
}

/// Walks IPv6 extension headers: (protocol, offset, is a fragment).
#[inline(always)]
unsafe fn after_extensions(skb: *mut __sk_buff, first: u8, start: u32) -> (u8, u32, bool) {
    let (mut next, mut offset) = (first, start);
    for _ in 0..6 {
        match next {
            // Hop-by-hop, routing, destination options, mobility.
            0 | 43 | 60 | 135 => {
                let mut header = [0_u8; 2];
                // SAFETY: a read of the packet that the kernel bounds.
                if unsafe { bpf_skb_load_bytes(skb.cast(), offset, header.as_mut_ptr().cast(), 2) }
                    != 0
                {
                    return (IPPROTO_TCP, offset, true);
                }
                next = header[0];
                offset += (u32::from(header[1]) + 1) * 8;
            }
            IPPROTO_FRAGMENT => {
                let mut header = [0_u8; 1];
                // SAFETY: as above.
                if unsafe { bpf_skb_load_bytes(skb.cast(), offset, header.as_mut_ptr().cast(), 1) }
                    != 0
                {
                    return (IPPROTO_TCP, offset, true);
                }
                // Further extensions may lie in it: only what surely isn't TCP
                // may pass.
                let other = matches!(header[0], IPPROTO_UDP | IPPROTO_ICMPV6);
                return (if other { header[0] } else { IPPROTO_TCP }, offset + 8, true);
            }
            other => return (other, offset, false),
        }
    }
    // More than anybody has a use for.
    (IPPROTO_TCP, offset, true)
}

/// # Safety
/// `skb` and `sk` are the hook's own.
#[inline(always)]
unsafe fn drop_packet(
    skb: *mut __sk_buff,
    sk: *mut bpf_sock,
    destination: Endpoint,
    rule: u32,
) -> i32 {
    count(counter::DROPPED);
    // The current task may be anybody's (a retransmission, an acknowledgement):
    // who made the socket is told where that is known, else only its cgroup and
    // its user.
    unsafe {
        let maker = bpf_sk_storage_get(handle(&MAKERS), sk.cast(), core::ptr::null_mut(), 0);
        if let Some(maker) = maker.cast::<Maker>().as_ref() {
            verdict(EVENT_REFUSED, REFUSED_PACKET, destination, maker, rule);
        } else {
            let unknown = Maker {
                netns: 0,
                cgroup: bpf_sk_cgroup_id(sk.cast()),
                tgid: 0,
                tid: 0,
                uid: bpf_get_socket_uid(skb),
                gid: u32::MAX,
                started: 0,
                exec: 0,
                comm: [0; 16],
            };
            verdict(EVENT_REFUSED, REFUSED_PACKET, destination, &unknown, rule);
        }
    }
    REFUSE
}
