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
    let unknown =
        Caller { uid: uid.as_raw(), gids: vec![gid.as_raw()], login_uid: None, known: false };
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    read(&folder, &unknown, asked.tv_sec).unwrap_or(unknown)
}

fn read(folder: &Path, known: &Caller, asked: i64) -> Option<Caller> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    // Real, effective, saved, file system.
    if numbers("Uid")?.get(1) != Some(&known.uid) {
        return None;
    }
    let mut gids = known.gids.clone();
    gids.extend(numbers("Groups")?.into_iter().filter(|gid| !known.gids.contains(gid)));
    // A kernel without audit has no such file, and knows no logins.
    let login_uid = match fs::read_to_string(folder.join("loginuid")) {
        Ok(text) => text.trim().parse().ok().filter(|uid| *uid != NOBODY_YET),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => return None,
    };
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The second field is in parentheses and may hold any; the 22nd is the start.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: i64 = fields.split(' ').nth(19)?.parse().ok()?;
    let started = ticks / i64::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    (started <= asked).then(|| Caller { gids, login_uid, known: true, ..known.clone() })
}

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
    fn a_process_of_another_user_or_of_later_is_not_who_called() {
        let folder = Path::new("/proc/self");
        let known = |uid| Caller { uid, gids: vec![0], ..Caller::default() };
        let uid = rustix::process::geteuid().as_raw();
        assert!(read(folder, &known(uid), i64::MAX).is_some());
        assert_eq!(read(folder, &known(uid.wrapping_add(1)), i64::MAX), None);
        assert_eq!(read(folder, &known(uid), -1), None);
    }
}
