//! sockops: a client that gives up before it is connected.

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use tidegate_ebpf::{EVENT_GONE, Gone};

use super::attempt;
use crate::emit::emit;

const TCP_SYN_SENT: u32 = 2;
const TCP_CLOSE: u32 = 7;

#[sock_ops]
pub fn socket_state(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => {
            // SAFETY: the context is this hook's own.
            let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
            // SAFETY: a socket of the kernel's, checked for null.
            if !sk.is_null() && !unsafe { attempt(sk, 0) }.is_null() {
                let wanted = ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG;
                let _ = ctx.set_cb_flags(wanted as i32);
            }
        }
        BPF_SOCK_OPS_STATE_CB if ctx.arg(0) == TCP_SYN_SENT && ctx.arg(1) == TCP_CLOSE => {
            // SAFETY: as above.
            let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
            if !sk.is_null() {
                // SAFETY: as above.
                let attempt = unsafe { attempt(sk, 0) };
                if !attempt.is_null() {
                    // SAFETY: the storage lives as long as the socket.
                    let cookie = unsafe { (*attempt).flow.cookie };
                    emit(&mut Gone { kind: EVENT_GONE, reserved: 0, cookie });
                }
            }
        }
        _ => {}
    }
    1
}
