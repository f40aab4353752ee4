//! Who is behind a connection: uid and gid by the socket, the rest by /proc.
//!
//! INVARIANT: what /proc says counts only if it is of the process that called. One
//! that started after it was asked about has taken over the number of another.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Pid, Uid};
use rustix::time::{ClockId, clock_gettime};

use crate::model::Caller;

pub(super) fn of(pid: Pid, uid: Uid, gid: Gid) -> Caller {
    let asked = clock_gettime(ClockId::Boottime);
    let unknown = Caller { uid: uid.as_raw(), gids: vec![gid.as_raw()], ..Caller::default() };
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    read(&folder, &unknown, asked.tv_sec).unwrap_or(unknown)
}

fn read(folder: &Path, known: &Caller, asked: i64) -> Option<Caller> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    // Real, effective, saved, file system.
    if numbers(&status, "Uid")?.get(1) != Some(&known.uid) {
        return None;
    }
    let mut gids = known.gids.clone();
    gids.extend(numbers(&status, "Groups")?.into_iter().filter(|gid| !known.gids.contains(gid)));
    // A kernel without audit has no such file, and knows no logins.
    let login_uid = match fs::read_to_string(folder.join("loginuid")) {
        Ok(text) => text.trim().parse().ok().filter(|uid| *uid != NOBODY_YET),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => return None,
    };
    let ticks = begun(folder)?;
    let started = ticks / i64::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    let above = numbers(&status, "PPid")?.first().copied();
    let before_uid = above.and_then(|pid| before(pid, ticks, known.uid));
    (started <= asked).then(|| Caller { gids, login_uid, before_uid, known: true, ..known.clone() })
}

/// Whose the nearest process above is that isn't of this user. `sudo` stays above what
/// it starts, and the shell that it was called from above itself; one that has ended in
/// between leaves nothing to tell.
fn before(mut pid: u32, mut ticks: i64, uid: u32) -> Option<u32> {
    for _ in 0..MOST_ABOVE {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let begun = begun(&folder)?;
        // A child isn't older than who started it, or the number is another's by now.
        if pid <= 1 || begun > ticks {
            return None;
        }
        let real = *numbers(&status, "Uid")?.first()?;
        if real != uid {
            return Some(real);
        }
        (pid, ticks) = (*numbers(&status, "PPid")?.first()?, begun);
    }
    None
}

/// In ticks since boot.
fn begun(folder: &Path) -> Option<i64> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The second field is in parentheses and may hold any; the 22nd is the start.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

/// The numbers of one line of a process's status.
fn numbers(status: &str, name: &str) -> Option<Vec<u32>> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().map(|number| number.parse().ok()).collect()
}

const MOST_ABOVE: usize = 32;
/// What the kernel shows where nobody has logged in.
const NOBODY_YET: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_told_with_his_groups() {
        let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let caller = of(own, uid, gid);
        assert!(caller.known && caller.uid == uid.as_raw(), "{caller:?}");
        assert_eq!(caller.gids.first(), Some(&gid.as_raw()));
    }

    #[test]
    fn who_became_the_caller_is_told_by_the_processes_above() {
        let own = std::process::id();
        let ticks = begun(Path::new("/proc/self")).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        // Seen from another user's process, this one is the nearest of another user.
        assert_eq!(before(own, ticks, uid.wrapping_add(1)), Some(uid));
        // What has begun later can't be above.
        assert_eq!(before(own, ticks - 1, uid.wrapping_add(1)), None);
    }

    #[test]
    fn a_process_of_another_user_or_of_later_is_not_who_called() {
        let folder = Path::new("/proc/self");
        let known = |uid| Caller { uid, gids: vec![0], ..Caller::default() };
        let uid = rustix::process::geteuid().as_raw();
        assert!(read(folder, &known(uid), i64::MAX).is_some());
        assert_eq!(read(folder, &known(uid.wrapping_add(1)), i64::MAX), None);
        assert_eq!(read(folder, &known(uid), -1), None);
    }
}
