//! Files of policies → single policies, each with its place. All mistakes of all
//! files are found in one go: one policy that can't be read hides no other.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use cedar_policy::{PolicyId, Template};
use miette::Diagnostic as _;

use super::vocabulary::{ANNOTATIONS, MASKS, SEVERITIES};

/// One file's name and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
}

/// One thing that is wrong, or worth a look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub place: Place,
    pub text: String,
}

/// Everything that is wrong with files of policies. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

/// What the annotations of a policy say, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub id: Arc<str>,
    pub place: Place,
    /// Forbids what it fits; else it permits.
    pub forbids: bool,
    pub reason: Option<Box<str>>,
    pub severity: Option<Box<str>>,
    pub advice: Option<Box<str>>,
    /// Who may lift the refusal.
    pub hold: Option<Box<str>>,
    pub hold_in_transaction: bool,
    pub mask: Option<Box<str>>,
    /// Why the policy of this name is taken out.
    pub off: Option<Box<str>>,
}

/// A policy that could be read by itself.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub policy: Policy,
    pub cedar: cedar_policy::Policy,
    /// As it stands in the file.
    pub text: Box<str>,
    /// In which layer: a later one lies over an earlier.
    pub layer: usize,
}

/// Reads one file.
pub(super) fn read(source: &Source, mistakes: &mut Vec<Mistake>) -> Vec<Read> {
    let mut all = Vec::new();
    let stem = stem(&source.name);
    for (number, range) in statements(&source.text).into_iter().enumerate() {
        let Some(text) = source.text.get(range.clone()) else { continue };
        let at = |offset: usize| Place {
            file: Arc::clone(&source.name),
            line: line(&source.text, range.start + offset),
        };
        let place = at(0);
        let given = format!("{stem}/{}", number + 1);
        match cedar_policy::Policy::parse(Some(PolicyId::new(&given)), text) {
            Ok(cedar) => {
                if let Some(policy) = annotated(&cedar, &given, place, mistakes) {
                    let cedar = cedar.new_id(PolicyId::new(&policy.id));
                    all.push(Read { policy, cedar, text: text.into(), layer: 0 });
                }
            }
            Err(_) if Template::parse(None, text).is_ok() => mistakes.push(Mistake {
                place,
                text: "a template (`?principal`, `?resource`) can't be used here: write the \
                       policy out"
                    .into(),
            }),
            Err(errors) => mistakes.extend(errors.iter().map(|error| {
                let label = error.labels().and_then(|mut labels| labels.next());
                let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
                let offset = label.map_or(0, |label| label.offset());
                Mistake { place: at(offset), text: format!("{error}{help}") }
            })),
        }
    }
    all
}

fn annotated(
    cedar: &cedar_policy::Policy,
    given: &str,
    place: Place,
    mistakes: &mut Vec<Mistake>,
) -> Option<Policy> {
    let before = mistakes.len();
    let mut wrong = |text: String| mistakes.push(Mistake { place: place.clone(), text });
    let text = |key: &str| cedar.annotation(key).map(|value| Box::from(value.trim()));
    for (key, _) in cedar.annotations() {
        if !ANNOTATIONS.iter().any(|(known, _)| *known == key) {
            let near = ANNOTATIONS
                .iter()
                .map(|(known, _)| (strsim::damerau_levenshtein(known, key), *known))
                .min()
                .filter(|(distance, _)| *distance <= 2);
            let meant = near.map_or_else(
                || {
                    let all: Vec<_> =
                        ANNOTATIONS.iter().map(|(known, _)| format!("@{known}")).collect();
                    format!("known are {}", all.join(", "))
                },
                |(_, known)| format!("did you mean `@{known}`?"),
            );
            wrong(format!("no annotation is called `@{key}`: {meant}"));
        }
    }
    let forbids = cedar.effect() == cedar_policy::Effect::Forbid;
    let severity = text("severity");
    if let Some(severity) = severity.as_deref().filter(|severity| !SEVERITIES.contains(severity)) {
        wrong(format!("`{severity}` is no severity: one of {}", SEVERITIES.join(", ")));
    }
    let hold = text("hold");
    if let Some(hold) = hold.as_deref() {
        let group = hold.strip_prefix("group:").is_some_and(|name| !name.trim().is_empty());
        if !group && hold != "approvers" {
            wrong(format!("`{hold}` is nobody who could approve: `approvers` or `group:NAME`"));
        }
        if !forbids {
            wrong(
                "`@hold` says who lifts a refusal, and this policy permits: put it on a \
                   `forbid`"
                    .into(),
            );
        }
    }
    let hold_in_transaction = cedar.annotation("hold_in_transaction").is_some();
    if hold_in_transaction && hold.is_none() {
        wrong("`@hold_in_transaction` needs `@hold`, which says who approves".into());
    }
    let id = text("id");
    if id.as_deref() == Some("") {
        wrong("`@id` is empty".into());
    }
    let off = text("off");
    if off.is_some() && id.is_none() {
        wrong("`@off` needs `@id`, the name of the policy that is taken out".into());
    }
    if off.as_deref() == Some("") {
        wrong("`@off` must say why: `@off(\"…\")`".into());
    }
    let mask = text("mask");
    if mask.is_some() && !forbids {
        wrong(
            "`@mask` says how a column that isn't revealed is shown, and this policy permits: \
               put it on a `forbid` of `reveal`"
                .into(),
        );
    }
    match mask.as_deref() {
        // It would show what it forbids to be seen.
        Some("keep") if forbids => wrong(
            "`@mask(\"keep\")` would show the value that this forbids to be seen: take the \
             policy out with `@off`, or permit `reveal`"
                .into(),
        ),
        Some(mask) if !MASKS.contains(&mask) => {
            let near = MASKS.iter().map(|known| (strsim::damerau_levenshtein(known, mask), *known));
            let near = near.min().filter(|(distance, _)| *distance <= 2);
            let meant = match near {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("there are {}", MASKS.join(", ")),
            };
            wrong(format!("no mask is called `{mask}`: {meant}"));
        }
        _ => {}
    }
    (mistakes.len() == before).then(|| Policy {
        id: id.map_or_else(|| given.into(), Into::into),
        place,
        forbids,
        reason: text("reason"),
        severity,
        advice: text("advice"),
        hold,
        hold_in_transaction,
        mask,
        off,
    })
}

/// A file's name without its folders and its ending: what its nameless policies are
/// called by.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split('.').next().unwrap_or(file)
}

fn line(text: &str, offset: usize) -> usize {
    let shown = text.as_bytes().get(..offset.min(text.len())).unwrap_or_default();
    1 + shown.iter().filter(|byte| **byte == b'\n').count()
}

/// The policies of a text: from the first sign that is no comment to the `;`.
fn statements(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut all = Vec::new();
    let mut start = None;
    let mut end = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                let rest = bytes.get(at..).unwrap_or_default();
                at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                continue;
            }
            b';' => {
                // A lone one is for the parser to complain about.
                all.push(start.take().unwrap_or(at)..at + 1);
            }
            byte if byte.is_ascii_whitespace() => {}
            byte => {
                start.get_or_insert(at);
                if *byte == b'"' {
                    at += 1;
                    while let Some(inner) = bytes.get(at).filter(|inner| **inner != b'"') {
                        at += if *inner == b'\\' { 2 } else { 1 };
                    }
                }
                end = (at + 1).min(bytes.len());
            }
        }
        at += 1;
    }
    // What has no `;`.
    all.extend(start.map(|start| start..end));
    all
}

#[cfg(test)]
mod tests;
