//! tidegate's kernel programs.
//!
//! What a verdict needs comes from cgroup socket hooks and helpers alone, so
//! that it works on a kernel in lockdown. Reads of the task only enrich.
//!
//! INVARIANT: no path through these programs lets a connect to a strict
//! destination out because something failed: no memory, no room, no keeper.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod quota;
#[cfg(target_arch = "bpf")]
mod task;

/// The host's toolchain has nothing to do here: `cargo xtask build` compiles
/// this package for the kernel.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that nothing gets here.
    loop {}
}

/// Some helpers that these programs call are for GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
