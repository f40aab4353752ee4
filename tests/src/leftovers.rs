//! Names that say which run they belong to, and the removal of what a dead
//! run left behind (a test that was killed cannot clean up after itself).

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{cgroup, folder};

const PREFIX: &str = "tidegate-test-";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// `tidegate-test-<pid>-<n>`. The first call of a process also sweeps.
pub fn unique_name() -> String {
    SWEPT.call_once(sweep);
    format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the cgroups and folders of runs whose process has ended.
fn sweep() {
    if let Ok(mount) = cgroup::mount_point() {
        for name in dead(&mount) {
            if let Err(error) = cgroup::remove(&mount.join(name)) {
                eprintln!("a leftover of an earlier run stays: {error:#}");
            }
        }
    }
    let temp = std::env::temp_dir();
    for name in dead(&temp) {
        if let Err(error) = folder::remove(&temp.join(name)) {
            eprintln!("a leftover of an earlier run stays: {error:#}");
        }
    }
}

fn dead(within: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(within) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.strip_prefix(PREFIX)
                .and_then(|rest| rest.split('-').next())
                .and_then(|pid| pid.parse::<u32>().ok())
                .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        })
        .collect()
}
