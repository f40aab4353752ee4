//! What the kernel holds of the agent's: pinned maps and their entries, open
//! descriptors, resident memory.

use std::ffi::CString;
use std::io::Error;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

const BPF_MAP_GET_NEXT_KEY: i64 = 4;
const BPF_OBJ_GET: i64 = 7;
const BPF_OBJ_GET_INFO_BY_FD: i64 = 15;
const HASH: u32 = 1;
const PERCPU_HASH: u32 = 5;
const LRU_HASH: u32 = 9;
const LRU_PERCPU_HASH: u32 = 10;
const LPM_TRIE: u32 = 11;

/// A map by its pin, with the number of its entries where it has keys that
/// come and go.
pub fn map_entries(folder: &Path) -> Result<Vec<(String, usize)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(map_entries(&entry.path())?);
        } else if let Some(entries) = entries(&entry.path())? {
            found.push((entry.file_name().to_string_lossy().into_owned(), entries));
        }
    }
    found.sort();
    Ok(found)
}

#[repr(C)]
#[derive(Default)]
struct ObjectGet {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Info {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct NextKey {
    fd: u32,
    padding: u32,
    key: u64,
    next: u64,
}

fn bpf<T>(command: i64, attributes: &mut T) -> std::result::Result<i64, Error> {
    // SAFETY: bpf(2) reads and writes as many bytes as it is told, and the
    // pointers inside are to buffers of the sizes that the kernel was asked for.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if done < 0 { Err(Error::last_os_error()) } else { Ok(done) }
}

/// `None`: no map (a link or a program), or one without a population.
fn entries(pin: &Path) -> Result<Option<usize>> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = ObjectGet { path: path.as_ptr() as u64, ..ObjectGet::default() };
    let fd = bpf(BPF_OBJ_GET, &mut get)
        .with_context(|| format!("cannot open the pin {}", pin.display()))?;
    // SAFETY: the descriptor is new and ours.
    let map = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    let kind = std::fs::read_link(format!("/proc/self/fd/{}", map.as_raw_fd()))?;
    if !kind.to_string_lossy().contains("bpf-map") {
        return Ok(None);
    }
    // type, id, key_size, value_size, max_entries, … as bpf_map_info begins.
    let mut info = [0_u32; 32];
    let mut ask = Info {
        fd: map.as_raw_fd() as u32,
        length: size_of::<[u32; 32]>() as u32,
        info: info.as_mut_ptr() as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut ask)?;
    if ![HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH, LPM_TRIE].contains(&info[0]) {
        return Ok(None);
    }
    let mut key = vec![0_u8; info[2] as usize];
    let mut next = key.clone();
    let mut count = 0;
    loop {
        let mut step = NextKey {
            fd: map.as_raw_fd() as u32,
            padding: 0,
            key: if count == 0 { 0 } else { key.as_ptr() as u64 },
            next: next.as_mut_ptr() as u64,
        };
        match bpf(BPF_MAP_GET_NEXT_KEY, &mut step) {
            Ok(_) => {
                count += 1;
                key.copy_from_slice(&next);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Some(count)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Resident memory of a process in KiB, what it shares with its file left out.
/// Counted page by page: the sums in `status` lag by hundreds of KiB.
pub fn memory_kib(pid: u32) -> Result<u64> {
    let sums = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    sums.lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or_else(|| anyhow!("process {pid} has no sum of anonymous memory"))?
        .parse()
        .map_err(Into::into)
}

/// Looks at a process's memory all the time, until it is asked.
pub struct Peak {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Peak {
    pub fn of(pid: u32) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(memory_kib(pid)?);
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(most)
        });
        Self { stop, thread }
    }

    /// The most that it had, in KiB; an error if it ended meanwhile.
    pub fn most(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a thread panicked"))?
    }
}
