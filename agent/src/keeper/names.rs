//! Names of users and groups, as the host's own files have them. Asked seldom, so
//! they are read anew each time.

use std::fs;

pub fn user(uid: u32) -> Option<String> {
    named("/etc/passwd", uid)
}

pub fn group(gid: u32) -> Option<String> {
    named("/etc/group", gid)
}

/// The number of a group.
pub fn gid(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

fn named(file: &str, number: u32) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}
