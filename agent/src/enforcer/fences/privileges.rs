//! The user, the groups, the capabilities, and what keeps them away for good.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Uid, dumpable_behavior, geteuid, getgid,
    set_dumpable_behavior, setrlimit,
};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::{FenceError, User};

/// What must be seen afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    user: User,
    /// Groups and the bounding set could be emptied.
    was_root: bool,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub uid: u32,
    pub no_capabilities: bool,
    pub no_new_privs: bool,
    pub not_dumpable: bool,
}

pub fn give_up(user: User, status: &Status) -> Result<Expected, FenceError> {
    let threads = status.read()?.field("Threads").to_owned();
    if threads != "1" {
        return Err(FenceError::Threads { threads });
    }
    let was_root = geteuid().is_root();
    let refused = |what| {
        move |error: rustix::io::Errno| FenceError::Refused { what, error: io::Error::from(error) }
    };
    let user = if was_root {
        if user.uid == 0 || user.gid == 0 {
            return Err(FenceError::Root);
        }
        empty_bounding_set().map_err(refused("empty the bounding set"))?;
        set_thread_groups(&[]).map_err(refused("leave its groups"))?;
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        set_thread_res_gid(gid, gid, gid).map_err(refused("change its group"))?;
        // Root's capabilities come back by no program that it might start.
        let _ = set_capabilities_secure_bits(
            CapabilitiesSecureBits::NO_ROOT
                | CapabilitiesSecureBits::NO_ROOT_LOCKED
                | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
                | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
        );
        set_thread_res_uid(uid, uid, uid).map_err(refused("change its user"))?;
        user
    } else {
        User { uid: geteuid().as_raw(), gid: getgid().as_raw() }
    };
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(refused("drop its capabilities"))?;
    clear_ambient_capability_set().map_err(refused("clear its ambient capabilities"))?;
    set_no_new_privs(true).map_err(refused("set no_new_privs"))?;
    // After the change of user, which sets it anew.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(refused("make itself undumpable"))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(refused("switch core dumps off"))?;
    Ok(Expected { user, was_root })
}

/// What the kernel says of the process, against what was expected of it.
pub fn verify(expected: Expected, status: &Status) -> Result<Held, FenceError> {
    let seen = status.read()?;
    let open = |fence, field: &str| FenceError::Open {
        fence,
        seen: format!("{field}: {}", seen.field(field)),
    };
    // Real, effective, saved, file system.
    let User { uid, gid } = expected.user;
    for (field, id) in [("Uid", uid), ("Gid", gid)] {
        if seen.field(field) != format!("{id}\t{id}\t{id}\t{id}") {
            return Err(open("the change of user", field));
        }
    }
    if expected.was_root && !seen.field("Groups").is_empty() {
        return Err(open("leaving its groups", "Groups"));
    }
    let mut empty = vec!["CapInh", "CapPrm", "CapEff", "CapAmb"];
    if expected.was_root {
        empty.push("CapBnd");
    }
    for field in empty {
        if u64::from_str_radix(seen.field(field), 16) != Ok(0) {
            return Err(open("dropping capabilities", field));
        }
    }
    if seen.field("NoNewPrivs") != "1" {
        return Err(open("no_new_privs", "NoNewPrivs"));
    }
    Ok(Held {
        uid,
        no_capabilities: true,
        no_new_privs: true,
        not_dumpable: dumpable_behavior() == Ok(DumpableBehavior::NotDumpable),
    })
}

fn empty_bounding_set() -> rustix::io::Result<()> {
    for bit in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            // The first that this kernel doesn't have.
            Err(rustix::io::Errno::INVAL) => break,
            outcome => outcome?,
        }
    }
    Ok(())
}

/// The process's own /proc/self/status, readable behind every fence.
#[derive(Debug)]
pub struct Status(File);

/// It at one moment.
#[derive(Debug)]
pub struct Snapshot(BTreeMap<String, String>);

impl Status {
    pub fn open() -> Result<Self, FenceError> {
        File::open("/proc/self/status").map(Self).map_err(FenceError::Status)
    }

    pub fn read(&self) -> Result<Snapshot, FenceError> {
        let mut text = vec![0; 16 * 1024];
        let read = self.0.read_at(&mut text, 0).map_err(FenceError::Status)?;
        text.truncate(read);
        Ok(Snapshot::parse(&String::from_utf8_lossy(&text)))
    }
}

impl Snapshot {
    fn parse(text: &str) -> Self {
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        Self(text.lines().filter_map(field).collect())
    }

    fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests;
