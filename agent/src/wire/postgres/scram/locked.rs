//! Memory for keys: never swapped out, in no core dump, empty in a child, wiped
//! when it is given back.
//!
//! Pages are mapped as they are needed and stay: a login's keys live for
//! milliseconds, and the next login takes their places.
//!
//! INVARIANT: a place is its [`Place`]'s alone, and holds zeros while it is nobody's.

#![expect(
    unsafe_code,
    reason = "places in mapped pages are pointers; all that is done with them is here"
)]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{NonNull, null_mut};
use std::sync::{Mutex, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous};
use zeroize::Zeroize as _;

/// As many bytes as a key of SCRAM-SHA-256 has.
pub const BYTES: usize = 32;

/// A place for one key.
pub struct Place(NonNull<[u8; BYTES]>);

struct Page {
    start: NonNull<[u8; BYTES]>,
    /// A bit for each place.
    taken: u128,
    locked: bool,
}

static PAGES: Mutex<Vec<Page>> = Mutex::new(Vec::new());

// SAFETY: nobody else has the place, and the memory belongs to no thread.
unsafe impl Send for Place {}
// SAFETY: as above; shared, it can only be read.
unsafe impl Sync for Place {}
// SAFETY: the pages stay for as long as the process does, and belong to no thread.
unsafe impl Send for Page {}

impl Place {
    /// All zeros.
    pub fn new() -> Self {
        let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.iter().all(|page| page.taken == u128::MAX) {
            pages.push(Page::map());
        }
        let place = pages.iter_mut().find_map(Page::take);
        place.unwrap_or_else(|| handle_alloc_error(Layout::new::<[u8; BYTES]>()))
    }

    pub fn bytes(&self) -> &[u8; BYTES] {
        // SAFETY: the place is ours until we are dropped, and initialised: a new
        // mapping's bytes are zeros.
        unsafe { self.0.as_ref() }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8; BYTES] {
        // SAFETY: as above, and lent once.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        let mut pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
        for page in pages.iter_mut() {
            page.give_back(self.0);
        }
    }
}

impl Page {
    fn map() -> Self {
        // SAFETY: a new mapping at an address that the kernel chooses; nothing else
        // refers to it.
        let mapped = unsafe {
            mmap_anonymous(
                null_mut(),
                LENGTH,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let mapped = mapped.ok().and_then(NonNull::new);
        let Some(start) = mapped else { handle_alloc_error(Layout::new::<[u8; LENGTH]>()) };
        // SAFETY: the mapping of just now, whole; none of these changes its bytes.
        let locked = unsafe {
            // What isn't allowed leaves the page less hidden: `are_locked` tells.
            let _ = madvise(start.as_ptr(), LENGTH, Advice::LinuxDontDump);
            let _ = madvise(start.as_ptr(), LENGTH, Advice::LinuxWipeOnFork);
            mlock(start.as_ptr(), LENGTH).is_ok()
        };
        Self { start: start.cast(), taken: 0, locked }
    }

    fn take(&mut self) -> Option<Place> {
        let free = self.taken.trailing_ones();
        let bit = 1_u128.checked_shl(free)?;
        self.taken |= bit;
        // SAFETY: there are as many places as bits.
        Some(Place(unsafe { self.start.add(free as usize) }))
    }

    fn give_back(&mut self, place: NonNull<[u8; BYTES]>) {
        let from_start = place.addr().get().checked_sub(self.start.addr().get());
        let number = from_start.and_then(|bytes| u32::try_from(bytes / BYTES).ok());
        if let Some(bit) = number.and_then(|number| 1_u128.checked_shl(number)) {
            self.taken &= !bit;
        }
    }
}

/// Whether the kernel keeps all of these places in memory. False where the limit on
/// locked memory is too low.
pub fn are_locked() -> bool {
    // There is at least one page to ask about.
    let _place = Place::new();
    let pages = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    pages.iter().all(|page| page.locked)
}

/// As many places as a page has bits to count them by.
const LENGTH: usize = BYTES * u128::BITS as usize;

#[cfg(test)]
mod tests {
    use super::{BYTES, Place, are_locked};

    /// What the kernel says of the mapping in which an address lies.
    fn flags_at(address: usize) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16).ok();
            if let Some((Some(start), Some(end))) = range.map(|(a, b)| (number(a), number(b))) {
                inside = (start..end).contains(&address);
            } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                return flags.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("no mapping at {address:x}");
    }

    #[test]
    fn places_are_locked_and_in_no_dump() {
        assert!(are_locked());
        let place = Place::new();
        let flags = flags_at(place.0.addr().get());
        for wanted in ["lo", "dd", "wf"] {
            assert!(flags.iter().any(|flag| flag == wanted), "{wanted} is not in {flags:?}");
        }
    }

    #[test]
    fn places_are_apart_and_more_than_a_page_has() {
        let mut places: Vec<Place> = (0..300).map(|_| Place::new()).collect();
        for (number, place) in places.iter_mut().enumerate() {
            *place.bytes_mut() = [number as u8; BYTES];
        }
        assert!((0..).zip(&places).all(|(number, place)| *place.bytes() == [number as u8; BYTES]));
    }

    #[test]
    fn a_place_that_was_given_back_is_empty() {
        let mut key = [7; BYTES];
        key[0] = 1;
        let mut place = Place::new();
        *place.bytes_mut() = key;
        let at = place.0;
        drop(place);
        // Another test may have it by now, and fills it with something else.
        // SAFETY: pages stay for as long as the process does.
        let left = unsafe { at.as_ptr().read_volatile() };
        assert_ne!(left, key);
    }
}
