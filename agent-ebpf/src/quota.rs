//! No workload may fill the keeper's table, or the ring, for the others.
//!
//! `PUBLISHED` is counted up here when an attempt is first told to the keeper,
//! `SETTLED` by the keeper when it is done with one; the difference is what is
//! under way.

use tidegate_ebpf::{QuotaKey, RawFlow};

use crate::maps::{PUBLISHED, SETTLED};

const NO_OVERWRITE: u64 = 1;

#[inline(always)]
fn user(flow: &RawFlow) -> QuotaKey {
    QuotaKey { netns: flow.netns, cgroup: 0, uid: flow.uid, reserved: 0 }
}

#[inline(always)]
fn cgroup(flow: &RawFlow) -> QuotaKey {
    QuotaKey { netns: 0, cgroup: flow.cgroup, uid: u32::MAX, reserved: 0 }
}

#[inline(always)]
fn under_way(key: QuotaKey) -> i64 {
    // SAFETY: a plain read of a counter; being late by one does no harm.
    let published = unsafe { PUBLISHED.get(key).copied() }.unwrap_or(0);
    if published == 0 {
        return 0;
    }
    // SAFETY: as above.
    let settled = unsafe { SETTLED.get(key).copied() }.unwrap_or(0);
    published.wrapping_sub(settled) as i64
}

/// May this flow's owner have one more attempt under way?
#[inline(always)]
pub fn allows(flow: &RawFlow, most_of_user: u32, most_of_cgroup: u32) -> bool {
    under_way(user(flow)) < i64::from(most_of_user)
        && under_way(cgroup(flow)) < i64::from(most_of_cgroup)
}

#[inline(always)]
fn add(key: QuotaKey) {
    if PUBLISHED.get_ptr(key).is_none() {
        // Another CPU may be first, or the map full; both are fine.
        let _ = PUBLISHED.insert(key, 0, NO_OVERWRITE);
    }
    if let Some(value) = PUBLISHED.get_ptr_mut(key) {
        // The target has the instruction, but core no method for it.
        // SAFETY: adds to one aligned word of a map's value.
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({value} + 0) += {one}",
                value = in(reg) value,
                one = in(reg) 1_u64,
            );
        }
    }
}

/// Counts a published attempt.
#[inline(always)]
pub fn charge(flow: &RawFlow) {
    add(user(flow));
    add(cgroup(flow));
}
