//! What the task itself knows: when it started, which program it runs, its
//! command line. Offsets are set at load from the kernel's BTF; where one is
//! unknown, the fact is left out.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_user};
use tidegate_ebpf::{COMMAND_CAPACITY, FLOW_COMMAND_CUT, RawFlow};

const UNKNOWN: u32 = u32::MAX;

#[unsafe(no_mangle)]
static TASK_LEADER: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
static TASK_STARTED: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
static TASK_EXEC: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
static TASK_MM: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
static MM_ARG_START: Global<u32> = Global::new(UNKNOWN);
#[unsafe(no_mangle)]
static MM_ARG_END: Global<u32> = Global::new(UNKNOWN);

/// Reads the word `offset` bytes into a kernel structure.
///
/// # Safety
/// `base` comes from the kernel as a typed pointer, so that the load is checked
/// by the verifier and a fault in it reads zero.
#[inline(always)]
unsafe fn word(base: *const u8, offset: u32) -> u64 {
    // SAFETY: see above.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<u64>()) }
}

/// The process's start (boot-time ns) and its count of execs.
#[inline(always)]
pub fn program() -> (u64, u64) {
    let (leader, started, exec) = (TASK_LEADER.load(), TASK_STARTED.load(), TASK_EXEC.load());
    if leader == UNKNOWN || started == UNKNOWN || exec == UNKNOWN {
        return (0, 0);
    }
    // SAFETY: the helper gives a typed pointer to the current task, and the
    // offsets are this kernel's.
    unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>();
        let leader = word(task, leader) as *const u8;
        (word(leader, started), word(task, exec))
    }
}

/// Copies the argument block into the flow.
#[inline(always)]
pub fn command(flow: &mut RawFlow) {
    let (mm, start, end) = (TASK_MM.load(), MM_ARG_START.load(), MM_ARG_END.load());
    if mm == UNKNOWN || start == UNKNOWN || end == UNKNOWN {
        return;
    }
    // SAFETY: as in `program`; kernel threads have no mm, and then both reads
    // fault to zero.
    let (start, end) = unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>();
        let mm = word(task, mm) as *const u8;
        (word(mm, start), word(mm, end))
    };
    if end <= start {
        return;
    }
    let mut length = end - start;
    if length > COMMAND_CAPACITY as u64 {
        length = COMMAND_CAPACITY as u64;
        flow.flags |= FLOW_COMMAND_CUT;
    }
    // SAFETY: at most COMMAND_CAPACITY bytes into an array of that size.
    let error = unsafe {
        bpf_probe_read_user(
            flow.command.as_mut_ptr().cast(),
            length as u32,
            start as *const core::ffi::c_void,
        )
    };
    if error == 0 {
        flow.command_length = length as u32;
    }
}
