//! One file, mapped and shared: what is copied in outlives the process.
//!
//! INVARIANT: bytes are written once, by one thread at a time, from the front;
//! a record's length word last. Bytes before a place that was announced (under
//! a lock or by an atomic) never change again, so they may be read by anybody.

#![expect(unsafe_code, reason = "a mapping is a pointer; everything that is done with it is here")]

use std::ffi::c_void;
use std::fs::File;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

#[derive(Debug)]
pub struct Map {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to no thread, and the invariant above keeps
// readers from bytes that are being written.
unsafe impl Send for Map {}
// SAFETY: as above; the writer is held to one thread at a time by its lock.
unsafe impl Sync for Map {}

impl Map {
    /// The file must have at least this length, and its blocks.
    pub fn new(file: &File, length: usize) -> std::io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            mmap(null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)
        }?;
        let start = NonNull::new(start.cast()).ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(Self { start, length })
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// Copies bytes to a place. The caller is the one writer. False: they don't
    /// fit.
    pub fn write(&self, place: usize, bytes: &[u8]) -> bool {
        if place.checked_add(bytes.len()).is_none_or(|end| end > self.length) {
            return false;
        }
        // SAFETY: within the mapping, as was just seen; nobody reads this place
        // before it is announced, and `bytes` lies elsewhere.
        unsafe {
            self.start.as_ptr().add(place).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        true
    }

    /// Sets a word after all that was written before. The place is a multiple
    /// of four. False: it isn't, or it lies outside.
    pub fn publish(&self, place: usize, word: u32) -> bool {
        if !place.is_multiple_of(4) || place.checked_add(4).is_none_or(|end| end > self.length) {
            return false;
        }
        // SAFETY: within the mapping, which begins at a page, so it is aligned;
        // this word is accessed by atomics until it is announced.
        let at = unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(place).cast()) };
        at.store(word.to_le(), Ordering::Release);
        true
    }

    /// The bytes before a place that was announced to the caller.
    pub fn written(&self, end: usize) -> &[u8] {
        // SAFETY: within the mapping; by the invariant these bytes don't change
        // any more.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), end.min(self.length)) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        let start: *mut c_void = self.start.as_ptr().cast();
        // SAFETY: the mapping of `new`, and no reference to it is left. What
        // fails leaves it there, which harms nobody.
        let _ = unsafe { munmap(start, self.length) };
    }
}
