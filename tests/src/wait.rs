//! Waiting for a condition, never for a time.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A machine may be busy with others' work: what is awaited is given up only after so
/// many times what it takes at most on a quiet one. What must not take longer than it is
/// promised to is measured, not waited for.
const BUSY: u32 = 4;

/// Looks until there is something, and fails with `what` once `within`, as it holds on a
/// quiet machine, is long over.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let (started, within) = (Instant::now(), within * BUSY);
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > within {
            bail!("waited {within:?} in vain for {what}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Like [`until`], for a plain condition.
pub fn until_true(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    until(what, within, || Ok(holds().then_some(())))
}

/// Which of these is the first to end.
pub fn first_ended<K>(running: &mut [(K, Child)]) -> Result<usize> {
    until("one of them to end", Duration::from_secs(60), || {
        for (place, (_, child)) in running.iter_mut().enumerate() {
            if child.try_wait()?.is_some() {
                return Ok(Some(place));
            }
        }
        Ok(None)
    })
}
