//! A process that works only while nobody else wants to.
#![expect(unsafe_code, reason = "no safe crate sets a scheduling policy")]

/// The lowest priority, alone in a session, so that nobody's share is taken in the
/// name of the others in it. What a host doesn't know is left as it is.
pub fn yield_to_others() {
    let _ = rustix::process::setsid();
    let _ = std::fs::write("/proc/self/autogroup", "19");
    let _ = rustix::process::nice(19);
    let nothing = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads a live struct; 0 is this process itself.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const nothing) };
}
