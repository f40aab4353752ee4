//! The person behind a process: how they came to this host, as whom, and who
//! they became since.

use super::facts::{Accepted, Facts, Seen};
use super::kinds::{is_entered, is_sshd};
use crate::model::{
    Confidence, LONGEST_NAME, LONGEST_VALUE, MOST_SWITCHES, Origin, Person, Sourced, Switch, Via,
    cut,
};

/// Programs with which people become others.
const SWITCHERS: &[&str] =
    &["sudo", "su", "doas", "pkexec", "runuser", "run0", "setpriv", "gosu", "su-exec", "chroot"];

/// Nobody, where nothing speaks of a person.
pub fn of(facts: &Facts) -> Option<Person> {
    let login_uid = facts.process.login_uid;
    let by_ssh = facts.login.is_some() || facts.all().any(is_sshd);
    // A cron job's login is nobody's.
    let scheduled = facts.ancestors.iter().any(|seen| {
        matches!(seen.program(), "cron" | "crond" | "anacron" | "atd" | "fcron" | "supercronic")
    });
    let via = if is_entered(facts) {
        Via::Exec
    } else if by_ssh {
        Via::Ssh
    } else if (login_uid.is_some() && !scheduled)
        || facts.workload.container.is_none() && facts.all().any(|seen| seen.terminal.is_some())
    {
        Via::Login
    } else {
        return None;
    };
    let mut person = Person {
        via,
        user: None,
        login_uid,
        address: None,
        key: None,
        switches: switches(facts),
        name: None,
    };
    person.user = user(facts, via);
    if let (Via::Ssh, Some(login)) = (via, &facts.login) {
        let logged = login.logged.as_ref();
        person.address = login
            .peer
            .as_deref()
            .map(|peer| sourced(peer, Origin::Kernel, Confidence::Certain))
            .or_else(|| {
                let logged = logged?;
                Some(sourced(&logged.address, Origin::Log, Confidence::Certain))
            })
            .or_else(|| {
                let from = login.connection.as_deref()?.split(' ').next()?;
                Some(sourced(from, Origin::Process, Confidence::Claimed))
            });
        person.key = logged
            .and_then(|logged| logged.key.as_deref())
            .map(|key| sourced(key, Origin::Log, Confidence::Certain))
            .or_else(|| {
                let key = login.shown_key.as_deref()?;
                Some(sourced(key, Origin::Process, Confidence::Claimed))
            });
    }
    Some(person)
}

/// Who logged in: the audit's word, else the log's, else the first user that a
/// terminal's processes had.
fn user(facts: &Facts, via: Via) -> Option<Sourced<String>> {
    if let Some(user) = &facts.process.login_user {
        return Some(sourced(user, Origin::Kernel, Confidence::Certain));
    }
    if let Some(Accepted { user, .. }) = facts.login.as_ref().and_then(|l| l.logged.as_ref()) {
        return Some(sourced(user, Origin::Log, Confidence::Certain));
    }
    if via == Via::Exec {
        return None;
    }
    let first = match via {
        // The first below sshd that isn't sshd itself.
        Via::Ssh => {
            let below: Vec<&Seen> = facts.all().take_while(|seen| !is_sshd(seen)).collect();
            below.last().copied()
        }
        _ => facts.all().filter(|seen| seen.terminal.is_some()).last(),
    };
    let first = first?;
    let user = first.real_user.clone().unwrap_or_else(|| first.real_uid.to_string());
    Some(sourced(&user, Origin::Kernel, Confidence::Likely))
}

/// Every change of user on the way to the process, the first first. What starts
/// people's sessions (root's sshd, login) is no change of theirs.
fn switches(facts: &Facts) -> Vec<Switch> {
    let mut line: Vec<&Seen> = facts.all().take_while(|seen| !starts_sessions(seen)).collect();
    line.reverse();
    let mut found: Vec<(Switch, Option<u32>)> = Vec::new();
    let mut before: Option<(&Seen, u32, Option<&str>)> = None;
    for seen in line {
        // A set-uid program was one, and became the other.
        let started_as = (seen.real_uid, seen.real_user.as_deref());
        for (uid, user) in [started_as, (seen.uid, seen.user.as_deref())] {
            if let Some((earlier, from, from_user)) = before
                && from != uid
            {
                let by = [earlier, seen].into_iter().find(|one| is_switcher(one));
                let pid = by.map(|by| by.pid);
                let to = named(uid, user);
                match found.last_mut() {
                    // sudo is root for a moment before it is who was asked for.
                    Some((switch, last)) if last.is_some() && *last == pid => switch.to = to,
                    _ => {
                        let by = by.map(|by| cut(by.program(), LONGEST_NAME));
                        found.push((Switch { by, from: named(from, from_user), to }, pid));
                    }
                }
            }
            before = Some((seen, uid, user));
        }
    }
    found.into_iter().map(|(switch, _)| switch).take(MOST_SWITCHES).collect()
}

fn starts_sessions(seen: &Seen) -> bool {
    is_sshd(seen)
        || seen.pid == 1
        || matches!(
            seen.program(),
            "login"
                | "systemd"
                | "gdm-session-worker"
                | "lightdm"
                | "sddm-helper"
                | "cron"
                | "crond"
        )
}

fn is_switcher(seen: &Seen) -> bool {
    SWITCHERS.contains(&seen.program())
}

fn named(uid: u32, user: Option<&str>) -> String {
    user.map_or_else(|| uid.to_string(), |user| cut(user, LONGEST_NAME))
}

fn sourced(value: &str, origin: Origin, confidence: Confidence) -> Sourced<String> {
    Sourced { value: cut(value, LONGEST_VALUE), origin, confidence }
}

/// A line of the log of logins that is of this sshd:
/// `… sshd[812]: Accepted publickey for alice from 192.0.2.7 port 5 ssh2: ED25519 SHA256:…`
pub fn accepted(line: &str, sshd: u32) -> Option<Accepted> {
    let (head, told) = line.split_once("]: Accepted ")?;
    let (program, pid) = head.rsplit_once('[')?;
    if pid.parse() != Ok(sshd) || !(program.ends_with("sshd") || program.ends_with("sshd-session"))
    {
        return None;
    }
    let mut words = told.split(' ');
    let _method = words.next()?;
    let ("for", user, "from", address) =
        (words.next()?, words.next()?, words.next()?, words.next()?)
    else {
        return None;
    };
    let key = words.find(|word| word.starts_with("SHA256:")).map(str::to_owned);
    Some(Accepted { user: user.to_owned(), address: address.to_owned(), key })
}

#[cfg(test)]
mod tests;
