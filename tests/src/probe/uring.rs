//! connect(2) by io_uring, with the system calls themselves: the smallest ring
//! that carries one request.

use std::io::{Error, Result};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::RawAddress;

const OP_CONNECT: u8 = 16;
const SQE_ASYNC: u8 = 1 << 4;
const ENTER_GETEVENTS: u32 = 1;
const OFFSET_SQ: i64 = 0;
const OFFSET_CQ: i64 = 0x800_0000;
const OFFSET_SQES: i64 = 0x1000_0000;

#[repr(C)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    sq: Offsets,
    cq: Offsets,
}

/// head, tail, mask, entries, then (sq: flags, dropped, array) or (cq:
/// overflow, cqes, flags).
#[repr(C)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    fifth: u32,
    sixth: u32,
    seventh: u32,
    reserved: u32,
    user: u64,
}

#[repr(C)]
struct Submission {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    /// For a connect: the address's length.
    offset: u64,
    address: u64,
    length: u32,
    op_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

#[repr(C)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    fn of(fd: RawFd, length: usize, offset: i64) -> Result<Self> {
        // SAFETY: a new mapping of a ring that is ours.
        let start = unsafe {
            libc::mmap(
                null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd,
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Self { start: start.cast(), length })
    }

    /// SAFETY: `offset` is one that the kernel gave for this mapping.
    unsafe fn word(&self, offset: u32) -> &AtomicU32 {
        unsafe { &*self.start.add(offset as usize).cast::<AtomicU32>() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours, and nothing points into it any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// Submits one connect and waits for it. `worker`: on a thread of the kernel's
/// rather than inline.
pub fn connect(socket: BorrowedFd<'_>, to: &RawAddress, worker: bool) -> Result<()> {
    // SAFETY: `params` is plain data of the kernel's layout; the offsets used
    // below are those that the kernel wrote into it; `to` outlives the request
    // because its completion is awaited.
    unsafe {
        let mut params: Params = zeroed();
        let fd = libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params);
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        let ring = OwnedFd::from_raw_fd(fd as RawFd);
        let raw = ring.as_raw_fd();
        let sq_length = params.sq.seventh as usize + params.sq_entries as usize * 4;
        let cq_length =
            params.cq.sixth as usize + params.cq_entries as usize * size_of::<Completion>();
        let sq = Mapping::of(raw, sq_length, OFFSET_SQ)?;
        let cq = Mapping::of(raw, cq_length, OFFSET_CQ)?;
        let entries =
            Mapping::of(raw, params.sq_entries as usize * size_of::<Submission>(), OFFSET_SQES)?;
        entries.start.cast::<Submission>().write(Submission {
            opcode: OP_CONNECT,
            flags: if worker { SQE_ASYNC } else { 0 },
            priority: 0,
            fd: socket.as_raw_fd(),
            offset: u64::from(to.length),
            address: to.pointer() as u64,
            length: 0,
            op_flags: 0,
            user_data: 1,
            rest: [0; 3],
        });
        sq.word(params.sq.seventh).store(0, Ordering::Relaxed);
        sq.word(params.sq.tail).fetch_add(1, Ordering::Release);
        loop {
            let tail = cq.word(params.cq.tail).load(Ordering::Acquire);
            if cq.word(params.cq.head).load(Ordering::Relaxed) != tail {
                break;
            }
            let submit = u32::from(
                sq.word(params.sq.head).load(Ordering::Acquire)
                    != sq.word(params.sq.tail).load(Ordering::Relaxed),
            );
            let done = libc::syscall(
                libc::SYS_io_uring_enter,
                raw,
                submit,
                1,
                ENTER_GETEVENTS,
                null_mut::<u8>(),
                0,
            );
            if done < 0 && Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                return Err(Error::last_os_error());
            }
        }
        let head = cq.word(params.cq.head).load(Ordering::Relaxed);
        let slot = head & cq.word(params.cq.mask).load(Ordering::Relaxed);
        let completion =
            cq.start.add(params.cq.sixth as usize).cast::<Completion>().add(slot as usize).read();
        if completion.result < 0 {
            return Err(Error::from_raw_os_error(-completion.result));
        }
    }
    Ok(())
}
