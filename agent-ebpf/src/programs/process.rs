//! exec and exit of processes under the cgroup, so that short-lived ones are
//! known by the time they connect; and the keeper's own end, at once.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tidegate_ebpf::{EVENT_EXEC, EVENT_EXIT, ProcessSeen};

use super::settings;
use crate::emit::{Noise, emit, may_tell};
use crate::maps::HEARTBEAT;
use crate::task;

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(_: RawTracePointContext) -> i32 {
    seen(EVENT_EXEC);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(_: RawTracePointContext) -> i32 {
    let ids = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((ids >> 32) as u32, ids as u32);
    if tgid != tid {
        return 0;
    }
    if settings().is_some_and(|settings| settings.keeper == tgid) {
        if let Some(heartbeat) = HEARTBEAT.get_ptr_mut(0) {
            // SAFETY: one aligned word; the keeper, its only other writer, is
            // ending.
            unsafe { (*heartbeat).keeper = 0 };
        }
    }
    seen(EVENT_EXIT);
    0
}

#[inline(always)]
fn seen(kind: u32) {
    let Some(settings) = settings() else { return };
    // SAFETY: a helper that takes a number.
    let ancestor = unsafe { bpf_get_current_ancestor_cgroup_id(settings.cgroup_level as i32) };
    if ancestor != settings.cgroup {
        return;
    }
    // SAFETY: a helper without arguments.
    let own = unsafe { bpf_get_current_cgroup_id() };
    if !may_tell(own, Noise::Process) {
        return;
    }
    let (started, exec) = task::program();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    emit(&mut ProcessSeen { kind, tgid, started, exec });
}
