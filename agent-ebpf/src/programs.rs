//! One file a hook.

pub mod bind;
pub mod connect;
pub mod create;
pub mod egress;
pub mod peername;
pub mod process;
pub mod socket_state;

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sk_storage_get};
use tidegate_ebpf::{Attempt, DestinationKey, Endpoint, Heartbeat, Rule, Settings, Token};

use crate::maps::{DESTINATIONS, FLOWS, HEARTBEAT, PORTS, SETTINGS, TOKENS, handle};

pub const ALLOW: i32 = 1;
pub const REFUSE: i32 = 0;

const SOCK_STREAM: u32 = 1;
const SOCK_RAW: u32 = 3;
const CREATE: u64 = 1;
const KEY_BITS: u32 = 16 + 128;

#[inline(always)]
fn settings() -> Option<&'static Settings> {
    SETTINGS.get(0).filter(|settings| settings.schema == tidegate_ebpf::SCHEMA)
}

/// Is the last canary that crossed the enforcer too long ago?
#[inline(always)]
fn stale(settings: &Settings, beat: fn(&Heartbeat) -> u64) -> bool {
    let Some(heartbeat) = HEARTBEAT.get(0) else { return true };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let beat = beat(heartbeat);
    beat == 0 || now.saturating_sub(beat) > settings.stale_after
}

/// Is there no keeper any more? One that ends says so itself, where that can be
/// hooked; one that is only slow, on a busy machine, is waited for: what is
/// strict is rather late than refused.
#[inline(always)]
fn gone(settings: &Settings) -> bool {
    let Some(heartbeat) = HEARTBEAT.get(0) else { return true };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let beat = heartbeat.keeper;
    beat == 0 || now.saturating_sub(beat) > settings.stale_after.saturating_mul(8)
}

/// Does any rule speak of this port?
#[inline(always)]
fn of_interest(port: u16) -> bool {
    PORTS.get(u32::from(port >> 6)).is_some_and(|word| word & (1 << (port & 63)) != 0)
}

#[inline(always)]
fn rule(destination: &Endpoint) -> Option<&'static Rule> {
    let key = aya_ebpf::btf_maps::lpm_trie::Key::new(
        KEY_BITS,
        DestinationKey {
            port: destination.port.to_be_bytes(),
            address: destination.address,
            reserved: [0; 2],
        },
    );
    DESTINATIONS.get(&key)
}

#[inline(always)]
fn mapped(ip4: u32) -> [u8; 16] {
    let b = ip4.to_ne_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3]]
}

#[inline(always)]
fn words(ip6: [u32; 4]) -> [u8; 16] {
    let (a, b, c, d) =
        (ip6[0].to_ne_bytes(), ip6[1].to_ne_bytes(), ip6[2].to_ne_bytes(), ip6[3].to_ne_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
}

#[inline(always)]
fn is_mapped(a: &[u8; 16]) -> bool {
    u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]) == 0
        && u32::from_ne_bytes([a[8], a[9], a[10], a[11]]) == 0xffff_u32.to_be()
}

/// The address is the listener's: 127.0.0.1 (v4-mapped too) or ::1.
#[inline(always)]
fn is_listener(destination: &Endpoint, settings: &Settings) -> bool {
    if u32::from(destination.port) != settings.listen_port {
        return false;
    }
    let a = &destination.address;
    let high = u64::from_ne_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]);
    let low = u64::from_be_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]);
    high == 0 && (low == 1 || low == 0xffff_7f00_0001)
}

#[inline(always)]
fn same(a: &Endpoint, b: &Endpoint) -> bool {
    let high = |e: &Endpoint| {
        let x = &e.address;
        u64::from_ne_bytes([x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]])
    };
    let low = |e: &Endpoint| {
        let x = &e.address;
        u64::from_ne_bytes([x[8], x[9], x[10], x[11], x[12], x[13], x[14], x[15]])
    };
    a.port == b.port && high(a) == high(b) && low(a) == low(b)
}

/// The hook's address as it is now.
///
/// # Safety
/// `context` is the hook's own.
#[inline(always)]
unsafe fn address(context: *const bpf_sock_addr, ipv6: bool) -> Endpoint {
    // SAFETY: fields of the context, read as the kernel offers them.
    unsafe {
        let port = u16::from_be((*context).user_port as u16);
        let address = if ipv6 {
            words([
                (*context).user_ip6[0],
                (*context).user_ip6[1],
                (*context).user_ip6[2],
                (*context).user_ip6[3],
            ])
        } else {
            mapped((*context).user_ip4)
        };
        Endpoint { address, port, reserved: [0; 6] }
    }
}

/// # Safety
/// `sk` is a socket that the kernel gave this program.
#[inline(always)]
unsafe fn token(sk: *mut bpf_sock) -> Option<&'static Token> {
    // SAFETY: see above; the storage lives as long as the socket.
    unsafe {
        bpf_sk_storage_get(handle(&TOKENS), sk.cast(), core::ptr::null_mut(), 0)
            .cast::<Token>()
            .as_ref()
    }
}

/// # Safety
/// As for [`token`].
#[inline(always)]
unsafe fn attempt(sk: *mut bpf_sock, flags: u64) -> *mut Attempt {
    // SAFETY: see above.
    unsafe { bpf_sk_storage_get(handle(&FLOWS), sk.cast(), core::ptr::null_mut(), flags).cast() }
}
