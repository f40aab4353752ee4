//! The kernel ABI's types as map values, and events out of the ring's bytes.
#![expect(unsafe_code, reason = "plain old data to and from the kernel")]

use std::mem::size_of;

use aya::Pod;

/// A value of the ABI as a map's key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

// SAFETY: INVARIANT of tidegate_ebpf: its types have no padding, and any bit
// pattern is a value.
unsafe impl<T: Abi> Pod for Plain<T> {}

/// The types of tidegate_ebpf, and nothing else.
pub trait Abi: Copy + 'static {}

impl Abi for tidegate_ebpf::Settings {}
impl Abi for tidegate_ebpf::Heartbeat {}
impl Abi for tidegate_ebpf::DestinationKey {}
impl Abi for tidegate_ebpf::Rule {}
impl Abi for tidegate_ebpf::Token {}
impl Abi for tidegate_ebpf::Namespace {}
impl Abi for tidegate_ebpf::QuotaKey {}
impl Abi for tidegate_ebpf::Attempt {}
impl Abi for tidegate_ebpf::Verdict {}
impl Abi for tidegate_ebpf::Gone {}
impl Abi for tidegate_ebpf::NamespaceSeen {}
impl Abi for tidegate_ebpf::ProcessSeen {}

/// Reads an event; `None` when the bytes are too few.
pub fn read<T: Abi>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: long enough, any alignment, any bit pattern is a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The first word of an event says which it is.
pub fn kind(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}
