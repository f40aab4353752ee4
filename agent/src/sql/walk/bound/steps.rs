//! How far the conditions of one text are followed. They are looked at for each table
//! that is joined, and what lies within them once more with each condition around it; so
//! a short text may ask for more than a long one.

use std::cell::Cell;

thread_local! {
    /// Of the reading that is under way on this thread.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// A reading begins, and may take so many.
pub fn begin(steps: u32) {
    LEFT.set(Some(steps));
}

/// False once there is none left; then [`ran_out`] is true.
pub fn take() -> bool {
    let left = LEFT.get().and_then(|left| left.checked_sub(1));
    LEFT.set(left);
    left.is_some()
}

pub fn ran_out() -> bool {
    LEFT.get().is_none()
}
