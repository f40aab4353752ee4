//! What kind of actor it is, from the table of kinds and from where it runs.

use super::facts::{Facts, Seen};
use super::file::{FileMistakes, Reader};
use crate::model::{Confidence, Kind, MOST_LOOKED_AT};

/// The table that the agent brings.
const OWN: &str = include_str!("kinds.toml");
const KEYS: [&str; 11] = [
    "kind", "name", "exe", "script", "argument", "comm", "variable", "unit", "image", "user", "own",
];

/// The rules, a host's own first.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    rules: Vec<Rule>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    kind: Kind,
    name: Option<String>,
    exe: Vec<String>,
    script: Vec<String>,
    argument: Vec<String>,
    comm: Vec<String>,
    variable: Vec<String>,
    unit: Vec<String>,
    image: Vec<String>,
    /// Of services: names or numbers of users of this host.
    user: Vec<String>,
    own: bool,
}

/// A kind, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub kind: Kind,
    pub name: Option<String>,
    pub confidence: Option<Confidence>,
    pub reason: String,
}

impl Kinds {
    /// The agent's table alone.
    pub fn own() -> Result<Self, FileMistakes> {
        parse(OWN, "kinds.toml")
    }

    /// A host's file goes before it.
    pub fn with(text: &str, file: &str) -> Result<Self, FileMistakes> {
        let mut kinds = parse(text, file)?;
        kinds.rules.extend(Self::own()?.rules);
        Ok(kinds)
    }

    /// What a file says that holds less than it seems.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether a rule asks for a variable of this name.
    pub fn asks(&self, variable: &str) -> bool {
        self.rules.iter().any(|rule| any(&rule.variable, variable))
    }

    pub fn place(&self, facts: &Facts) -> Placed {
        let placed = self.by_rule(facts).unwrap_or_else(|| by_place(facts));
        // Behind a line as long as it likes a process could hide what started it.
        if placed.kind != Kind::Service {
            return placed;
        }
        if facts.ancestors.len() > MOST_LOOKED_AT {
            return unplaced(format!("it has more than {MOST_LOOKED_AT} ancestors"));
        }
        // … or so many programs in one.
        match facts.all().find(|seen| seen.forgotten) {
            Some(seen) => unplaced(format!("process {} was too many programs before", seen.pid)),
            None => placed,
        }
    }

    fn by_rule(&self, facts: &Facts) -> Option<Placed> {
        self.rules.iter().find_map(|rule| {
            let (confidence, sign) = rule.matches(facts)?;
            Some(Placed {
                kind: rule.kind,
                name: rule.name.clone(),
                confidence: Some(confidence),
                reason: sign,
            })
        })
    }
}

impl Rule {
    /// How sure, and by which sign.
    fn matches(&self, facts: &Facts) -> Option<(Confidence, String)> {
        match self.kind {
            Kind::Service => self.of_service(facts),
            _ => self.place(facts).or_else(|| self.signs(facts)),
        }
    }

    /// A program may be run by anybody, and told by its environment to do anything; and
    /// a script is what the arguments say. So these are believed only where no other
    /// runs than whom root has put there.
    fn of_service(&self, facts: &Facts) -> Option<(Confidence, String)> {
        let place = self.place(facts);
        if self.exe.is_empty() && self.script.is_empty() {
            return place;
        }
        let (_, place) = place.or_else(|| self.runs_as(facts))?;
        let (confidence, sign) = self.signs(facts)?;
        Some((confidence, format!("{sign}, and {place}")))
    }

    /// Numbers in a container are the image's.
    fn runs_as(&self, facts: &Facts) -> Option<(Confidence, String)> {
        let seen = &facts.process;
        let number = seen.uid.to_string();
        let named = |user: &String| *user == number || seen.user.as_ref() == Some(user);
        let is = facts.workload.container.is_none() && self.user.iter().any(named);
        is.then(|| (Confidence::Certain, format!("it runs as user {number}")))
    }

    /// Where it runs.
    fn place(&self, facts: &Facts) -> Option<(Confidence, String)> {
        if let Some(unit) = facts.workload.system_unit()
            && any(&self.unit, unit)
        {
            return Some((Confidence::Certain, format!("its unit is {unit}")));
        }
        if let Some(image) = &facts.workload.image
            && any(&self.image, image)
        {
            let sign = format!("its container's image is {image}");
            // A user's own runtime may say anything, and users name their images.
            match facts.workload.user_slice {
                None => return Some((Confidence::Certain, sign)),
                Some(_) if self.kind != Kind::Service => return Some((Confidence::Claimed, sign)),
                Some(_) => {}
            }
        }
        None
    }

    /// What it is, or one that it descends from.
    fn signs(&self, facts: &Facts) -> Option<(Confidence, String)> {
        let ancestors = facts.ancestors.iter().filter(|_| !self.own);
        for seen in std::iter::once(&facts.process).chain(ancestors) {
            if let Some((confidence, sign)) = self.sign(seen) {
                let who = if seen.pid == facts.process.pid {
                    "it".to_owned()
                } else {
                    format!("its ancestor {}", seen.pid)
                };
                return Some((confidence, format!("{who} {sign}")));
            }
        }
        let name = facts.environment.names.iter().find(|name| any(&self.variable, name))?;
        Some((Confidence::Claimed, format!("it was started with {name} set")))
    }

    fn sign(&self, seen: &Seen) -> Option<(Confidence, String)> {
        let exe = seen.exe.as_ref().and_then(|exe| exe.to_str());
        if let Some(exe) = exe
            && self.exe.iter().any(|pattern| is_file(pattern, exe))
        {
            return Some((Confidence::Likely, format!("is the program {exe}")));
        }
        if let Some(script) = &seen.script
            && self.script.iter().any(|pattern| is_file(pattern, script))
        {
            return Some((Confidence::Likely, format!("runs {script}")));
        }
        if any(&self.comm, &seen.comm) {
            return Some((Confidence::Claimed, format!("calls itself {}", seen.comm)));
        }
        let argument = seen.arguments.iter().skip(1).find(|one| any(&self.argument, one))?;
        Some((Confidence::Claimed, format!("has the argument {argument}")))
    }
}

/// By where it runs: what no rule names.
fn by_place(facts: &Facts) -> Placed {
    let placed = |kind, confidence, reason: String| Placed {
        kind,
        name: None,
        confidence: Some(confidence),
        reason,
    };
    let workload = &facts.workload;
    let terminal = facts.process.terminal.as_ref();
    if let Some(container) = &workload.container {
        let short: String = container.chars().take(12).collect();
        if is_entered(facts) {
            return match terminal {
                Some(terminal) => placed(
                    Kind::Terminal,
                    Confidence::Certain,
                    format!("it entered container {short} with the terminal {terminal}"),
                ),
                None => unplaced(format!("it entered container {short} from outside")),
            };
        }
        let job = |name: &str| workload.labels.iter().any(|(label, _)| label == name);
        if workload.managed == Some(true) && job("batch.kubernetes.io/job-name") {
            let reason = format!("container {short} is of a Kubernetes job");
            return placed(Kind::Pipeline, Confidence::Certain, reason);
        }
        if workload.managed == Some(true) {
            let reason = format!("container {short} is kept running by its runtime");
            return placed(Kind::Service, Confidence::Certain, reason);
        }
        if let Some(terminal) = terminal {
            let reason = format!("container {short} has the terminal {terminal}");
            return placed(Kind::Terminal, Confidence::Likely, reason);
        }
        if let Some(uid) = workload.user_slice {
            return unplaced(format!("user {uid} started container {short}"));
        }
        if workload.pod.is_some() {
            let reason = format!("container {short} is of a pod");
            return placed(Kind::Service, Confidence::Certain, reason);
        }
        let reason = format!("it runs in container {short}");
        return placed(Kind::Service, Confidence::Likely, reason);
    }
    if let Some(terminal) = terminal {
        let reason = format!("it has the terminal {terminal}");
        return placed(Kind::Terminal, Confidence::Certain, reason);
    }
    if let Some(uid) = facts.process.login_uid {
        let reason = format!("it descends from a login of user {uid}");
        return placed(Kind::Terminal, Confidence::Certain, reason);
    }
    if let Some(uid) = workload.user_slice {
        let reason = format!("it runs in the slice of user {uid}");
        return placed(Kind::Terminal, Confidence::Certain, reason);
    }
    if let Some(sshd) = facts.ancestors.iter().find(|seen| is_sshd(seen)) {
        let reason = format!("its ancestor {} is sshd", sshd.pid);
        return placed(Kind::Terminal, Confidence::Certain, reason);
    }
    if let Some(terminal) = facts.ancestors.iter().find(|seen| seen.terminal.is_some()) {
        let reason = format!("its ancestor {} has a terminal", terminal.pid);
        return placed(Kind::Terminal, Confidence::Likely, reason);
    }
    match workload.system_unit().filter(|unit| is_service(unit)) {
        Some(unit) => {
            placed(Kind::Service, Confidence::Certain, format!("it is of the unit {unit}"))
        }
        None => unplaced("no terminal, login, unit or container".into()),
    }
}

fn unplaced(reason: String) -> Placed {
    Placed { kind: Kind::Unplaced, name: None, confidence: None, reason }
}

/// A unit that an administrator has installed; `systemd-run` makes others on
/// the fly, and logins run in units of their own.
fn is_service(unit: &str) -> bool {
    unit.ends_with(".service")
        && !unit.starts_with("run-")
        && !["ssh", "sshd", "getty", "serial-getty", "console-getty", "emergency", "rescue"]
            .iter()
            .any(|login| unit.strip_prefix(login).is_some_and(|rest| rest.starts_with(['.', '@'])))
}

/// Whether a process came into its container from outside, beside what the
/// container was started with: the first of its line in the container is not
/// the container's first process.
pub(super) fn is_entered(facts: &Facts) -> bool {
    let container = &facts.workload.container;
    if container.is_none() {
        return false;
    }
    let inside = facts.all().filter(|seen| &seen.workload.container == container);
    let Some(top) = inside.last() else { return false };
    // With the host's pids inside, nobody can tell.
    let Some(inner) = top.inner_pid else { return false };
    let outside = facts.ancestors.iter().find(|seen| seen.pid == top.parent);
    inner != 1 && outside.is_some_and(|seen| &seen.workload.container != container)
}

pub(super) fn is_sshd(seen: &Seen) -> bool {
    matches!(seen.program(), "sshd" | "sshd-session" | "sshd-auth" | "dropbear")
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// A pattern without `/` is of a file's name, or of the whole of what is no
/// path.
fn is_file(pattern: &str, path: &str) -> bool {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    if pattern.contains('/') || !path.starts_with('/') {
        return matches(pattern, path);
    }
    matches(pattern, path.rsplit('/').next().unwrap_or(path))
}

/// `*` stands for any characters. Linear: a star that fails is never asked
/// again once a later one has matched.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut rest = rest;
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            match rest.find(before) {
                Some(at) => rest = rest.get(at + before.len()..).unwrap_or_default(),
                None => return false,
            }
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

fn parse(text: &str, file: &str) -> Result<Kinds, FileMistakes> {
    Reader::read(text, file, |reader, top| {
        reader.only(top, &["rule"]);
        let (mut rules, mut warnings) = (Vec::new(), Vec::new());
        for table in reader.list(top, "rule") {
            reader.only(table, &KEYS);
            let kind = reader.string(table, "kind");
            let span = table.get("kind").and_then(toml_edit::Item::span);
            let found = kind
                .as_deref()
                .and_then(|word| Kind::ALL.into_iter().find(|known| known.word() == word));
            let Some(found) = found else {
                let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
                let place = span.or_else(|| table.iter().find_map(|(_, item)| item.span()));
                reader.mistake(place, &format!("a rule's `kind` is one of {}", words.join(", ")));
                continue;
            };
            let rule = Rule {
                kind: found,
                name: reader.string(table, "name"),
                exe: reader.strings(table, "exe"),
                script: reader.strings(table, "script"),
                argument: reader.strings(table, "argument"),
                comm: reader.strings(table, "comm"),
                variable: reader.strings(table, "variable"),
                unit: reader.strings(table, "unit"),
                image: reader.strings(table, "image"),
                user: reader.strings(table, "user"),
                own: reader.boolean(table, "own").unwrap_or(false),
            };
            let signs = [
                &rule.exe,
                &rule.script,
                &rule.argument,
                &rule.comm,
                &rule.variable,
                &rule.unit,
                &rule.image,
            ];
            if signs.iter().all(|list| list.is_empty()) {
                reader.mistake(
                    span.clone(),
                    "this rule matches nothing: give it `exe`, `script`, `unit` or another sign",
                );
            }
            // The process's own word must not lower its protection.
            let claims = [&rule.argument, &rule.comm, &rule.variable];
            if rule.kind == Kind::Service && claims.iter().any(|list| !list.is_empty()) {
                reader.mistake(
                    span.clone(),
                    "a service is known by `unit` or `image`, or by `exe` or `script` with one \
                     of these or a `user`: a process may choose its arguments, name and \
                     environment",
                );
            }
            if rule.kind != Kind::Service && !rule.user.is_empty() {
                reader.mistake(span.clone(), "only a service is known by its `user`");
            }
            if rule.kind == Kind::Service {
                let program = !rule.exe.is_empty() || !rule.script.is_empty();
                let placed =
                    [&rule.unit, &rule.image, &rule.user].iter().any(|list| !list.is_empty());
                if program && !placed {
                    let place = reader.place(span);
                    warnings.push(format!(
                        "{place}: this rule makes nothing a service: anybody may run a program, \
                         and choose what it does. Give it the `unit`, the `image` or the `user` \
                         as well by which it runs"
                    ));
                }
            }
            rules.push(rule);
        }
        Kinds { rules, warnings }
    })
}

#[cfg(test)]
mod tests;
