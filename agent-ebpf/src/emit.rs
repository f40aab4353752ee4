//! Events to the keeper, and the counters.

use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns, bpf_ringbuf_output,
};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use tidegate_ebpf::{Endpoint, Maker, Verdict, Window, counter};

use crate::maps::{COUNTERS, EVENTS, WINDOWS, handle};
use crate::task;

const SECOND: u64 = 1_000_000_000;
/// Refusals of one cgroup that are told in a second.
const MOST_VERDICTS: u64 = 100;
/// Starts and ends of its processes that are.
const MOST_PROCESSES: u64 = 2_000;

#[inline(always)]
pub fn count(index: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: this CPU's own slot; programs on one CPU do not interleave.
        unsafe { *value += 1 };
    }
}

/// Copies `event` into the ring; a full ring is counted, and false.
#[inline(always)]
pub fn emit<T>(event: *mut T) -> bool {
    // SAFETY: the verifier checks that `event` is readable for its size.
    let error =
        unsafe { bpf_ringbuf_output(handle(&EVENTS), event.cast(), size_of::<T>() as u64, 0) };
    if error != 0 {
        count(counter::LOST);
    }
    error == 0
}

/// What a cgroup makes noise with; each has its own measure, or a busy shell
/// would hide what is refused to it.
pub enum Noise {
    Verdict,
    Process,
}

/// May this cgroup have one more event of its own making told in this second?
/// What may not is counted. Two CPUs at once may tell a few more.
#[inline(always)]
pub fn may_tell(cgroup: u64, noise: Noise) -> bool {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if WINDOWS.get_ptr(cgroup).is_none() {
        let _ = WINDOWS.insert(cgroup, Window { since: now, verdicts: 0, processes: 0 }, 0);
    }
    let Some(window) = WINDOWS.get_ptr_mut(cgroup) else { return true };
    // SAFETY: words of a map's value; being off by a few does no harm.
    let told = unsafe {
        if now.wrapping_sub((*window).since) > SECOND {
            (*window).since = now;
            (*window).verdicts = 0;
            (*window).processes = 0;
        }
        match noise {
            Noise::Verdict => {
                (*window).verdicts += 1;
                (*window).verdicts <= MOST_VERDICTS
            }
            Noise::Process => {
                (*window).processes += 1;
                (*window).processes <= MOST_PROCESSES
            }
        }
    };
    if !told {
        count(counter::UNTOLD);
    }
    told
}

/// The process in whose context this runs.
#[inline(always)]
pub fn current(netns: u64) -> Maker {
    let ids = bpf_get_current_pid_tgid();
    let owner = bpf_get_current_uid_gid();
    let (started, exec) = task::program();
    Maker {
        netns,
        // SAFETY: a helper without arguments.
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        tgid: (ids >> 32) as u32,
        tid: ids as u32,
        uid: owner as u32,
        gid: (owner >> 32) as u32,
        started,
        exec,
        comm: bpf_get_current_comm().unwrap_or([0; 16]),
    }
}

/// Tells that somebody was refused (or went direct).
#[inline(always)]
pub fn verdict(kind: u32, why: u32, destination: Endpoint, who: &Maker, rule: u32) {
    if !may_tell(who.cgroup, Noise::Verdict) {
        return;
    }
    let mut event = Verdict {
        kind,
        why,
        // SAFETY: a helper without arguments.
        at: unsafe { bpf_ktime_get_boot_ns() },
        netns: who.netns,
        cgroup: who.cgroup,
        tgid: who.tgid,
        tid: who.tid,
        uid: who.uid,
        gid: who.gid,
        started: who.started,
        exec: who.exec,
        destination,
        rule,
        reserved: 0,
        comm: who.comm,
    };
    emit(&mut event);
}
