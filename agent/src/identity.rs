//! From facts to an [`Actor`]: the process and its ancestry, the workload, the
//! person behind it, and what kind that makes.
//!
//! INVARIANT: pure. Facts come in, an actor goes out; nothing here reads a file
//! or a socket. What lowers protection (being a service) rests only on facts
//! that the process could not choose; what raises it may rest on any sign.
//! Never: keep an argument or a variable that was not redacted.

pub mod cgroup;
mod directory;
pub mod elf;
mod environment;
mod facts;
mod file;
pub mod journal;
mod kinds;
mod person;
pub mod redact;
pub mod runtime;
pub mod script;
mod sources;
pub mod token;

pub use directory::Directory;
pub use facts::{Accepted, Environment, Facts, Login, Seen};
pub use file::FileMistakes;
pub use kinds::Kinds;
pub use person::accepted;

use std::path::{Path, PathBuf};

use crate::model::{
    Actor, Ancestor, Attribute, LONGEST_COMMAND, LONGEST_NAME, LONGEST_PATH, LONGEST_VALUE,
    MOST_ANCESTORS, Program, ProgramFile, SERVICE_ACCOUNT, Sourced, cut, cut_front,
};

/// Capabilities worth naming: those with which a process can look at or become
/// others, or go around the gate.
const CAPABILITIES: &[(u32, &str)] = &[
    (1, "DAC_OVERRIDE"),
    (2, "DAC_READ_SEARCH"),
    (6, "SETGID"),
    (7, "SETUID"),
    (12, "NET_ADMIN"),
    (13, "NET_RAW"),
    (16, "SYS_MODULE"),
    (19, "SYS_PTRACE"),
    (21, "SYS_ADMIN"),
    (38, "PERFMON"),
    (39, "BPF"),
];

/// What is on a host to judge facts by.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub kinds: Kinds,
    pub directory: Directory,
}

/// Everything that follows from the facts.
pub fn actor(facts: &Facts, known: &Known) -> Actor {
    let placed = known.kinds.place(facts);
    let mut person = person::of(facts);
    let found = known.directory.look_up(facts, person.as_ref());
    if let Some(person) = &mut person {
        person.name = found.person.as_deref().map(|name| cut(name, LONGEST_NAME));
    }
    let sources = sources::of(facts, &found);
    let environment = &facts.environment;
    let mut actor = Actor {
        kind: placed.kind,
        name: placed.name.map(|name| cut(&name, LONGEST_NAME)),
        confidence: placed.confidence,
        reason: cut(&placed.reason, LONGEST_VALUE),
        complete: facts.complete,
        boot: cut(&facts.boot, LONGEST_NAME),
        program: program(&facts.process),
        ancestry: facts.ancestors.iter().take(MOST_ANCESTORS).map(ancestor).collect(),
        ancestry_cut: facts.ancestors.len() > MOST_ANCESTORS
            || facts.all().any(|seen| seen.forgotten),
        person,
        teams: found.teams,
        groups: found.groups,
        sources,
        attributes: Vec::new(),
    };
    // The node's word first: a process's own never takes its place.
    if let Some(Sourced { value, origin, confidence }) = facts.account.clone() {
        actor.enrich(Attribute { name: SERVICE_ACCOUNT.into(), value, origin, confidence });
    }
    let resource =
        environment::resource(environment.service_name.as_deref(), environment.resource.as_deref());
    for attribute in resource {
        actor.enrich(attribute);
    }
    actor
}

fn program(seen: &Seen) -> Program {
    Program {
        file: seen.file.as_ref().map(file),
        script: seen.script.as_deref().map(|script| cut_front(script, LONGEST_PATH)),
        folder: seen.folder.as_deref().map(path),
        group: seen.group.as_deref().map(|group| cut(group, LONGEST_NAME)),
        terminal: seen.terminal.as_deref().map(|name| cut(name, LONGEST_NAME)),
        login_session: seen.login_session,
        capabilities: capabilities(seen.effective),
    }
}

/// A note may hold any length.
fn file(file: &ProgramFile) -> ProgramFile {
    let build_id = file.build_id.as_deref().map(|id| cut(id, LONGEST_NAME));
    ProgramFile { build_id, ..file.clone() }
}

fn ancestor(seen: &Seen) -> Ancestor {
    Ancestor {
        pid: seen.pid,
        started: seen.started,
        relation: seen.relation,
        ended: seen.ended,
        uid: seen.uid,
        gid: seen.gid,
        user: seen.user.as_deref().map(|user| cut(user, LONGEST_NAME)),
        group: seen.group.as_deref().map(|group| cut(group, LONGEST_NAME)),
        comm: cut(&seen.comm, LONGEST_NAME),
        exe: seen.exe.as_deref().map(path),
        file: seen.file.as_ref().map(file),
        command: cut(&crate::model::command_line(&seen.arguments), LONGEST_COMMAND),
        script: seen.script.as_deref().map(|script| cut_front(script, LONGEST_PATH)),
        folder: seen.folder.as_deref().map(path),
        terminal: seen.terminal.as_deref().map(|name| cut(name, LONGEST_NAME)),
        login_uid: seen.login_uid,
        login_session: seen.login_session,
        capabilities: capabilities(seen.effective),
    }
}

fn path(path: &Path) -> PathBuf {
    if path.as_os_str().len() <= LONGEST_PATH {
        return path.to_owned();
    }
    cut_front(&path.to_string_lossy(), LONGEST_PATH).into()
}

fn capabilities(effective: u64) -> Vec<String> {
    CAPABILITIES
        .iter()
        .filter(|(bit, _)| effective & (1 << bit) != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
