//! Mounts, as this process sees them.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    pub kind: String,
    /// Which folder of the file system is mounted; `/` for the whole.
    pub root: PathBuf,
}

/// In the order in which they were made: of two at one point the later counts.
pub fn mounts(root: &Path) -> Vec<Mount> {
    let text = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    text.lines().filter_map(mount).collect()
}

/// Where cgroup2 is mounted: the unified hierarchy, or its part of a hybrid
/// one. The mount of the whole tree is preferred to one of a subtree.
pub fn cgroup2_mount(root: &Path) -> Option<PathBuf> {
    let found: Vec<Mount> =
        mounts(root).into_iter().filter(|mount| mount.kind == "cgroup2").collect();
    let whole = found.iter().find(|mount| mount.root == Path::new("/"));
    whole.or_else(|| found.first()).map(|mount| mount.point.clone())
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let root = PathBuf::from(unescape(fields.next()?));
    let point = PathBuf::from(unescape(fields.next()?));
    let kind = after.split(' ').next()?.to_owned();
    Some(Mount { point, kind, root })
}

/// Blanks are written as `\040`.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                text.push(char::from(code));
                text.push_str(rest);
            }
            _ => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}
