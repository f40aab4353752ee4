//! Which events are shown.

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::config::{self, ProtectTarget};
use crate::model::{Event, EventKind, Kind as ActorKind, OriginalDestination, Process, Timestamp};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct Filter {
    /// Only what happened since: `15m` ago, or a time in RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// Only of this process, by pid or by name
    #[arg(long, value_name = "PID|NAME")]
    process: Vec<String>,
    /// Only of this program: its whole path, or its file's name
    #[arg(long, value_name = "PATH|NAME")]
    exe: Vec<String>,
    /// Only of this user, by name or uid
    #[arg(long, value_name = "NAME|UID")]
    user: Vec<String>,
    /// Only of this systemd unit, with or without `.service`
    #[arg(long, value_name = "UNIT")]
    unit: Vec<String>,
    /// Only of this container: its id, or how it begins
    #[arg(long, value_name = "ID")]
    container: Vec<String>,
    /// Only of this pod: its uid, or how it begins
    #[arg(long, value_name = "UID")]
    pod: Vec<String>,
    /// Only of actors of this kind
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = actor_kind)]
    kind: Vec<ActorKind>,
    /// Only to this database: PORT, HOST:PORT, CIDR:PORT or [IPV6]:PORT
    #[arg(long, value_name = "DESTINATION", value_parser = ProtectTarget::parse)]
    db: Vec<ProtectTarget>,
    /// Only events of this kind
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    event: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Opened,
    Closed,
    Failed,
    Refused,
    Direct,
    Existing,
    Hold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Ago(std::time::Duration),
    At(Timestamp),
}

/// The filter with its `since` as a moment.
#[derive(Debug)]
pub(super) struct Resolved {
    filter: Filter,
    since: Option<Timestamp>,
}

impl Filter {
    pub(super) fn resolve(self, now: Timestamp) -> Resolved {
        let since = self.since.map(|since| match since {
            Since::At(at) => at,
            Since::Ago(duration) => {
                let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                Timestamp(now.0.saturating_sub(nanos))
            }
        });
        Resolved { filter: self, since }
    }
}

impl Resolved {
    pub(super) fn takes(&self, event: &Event) -> bool {
        let filter = &self.filter;
        let (process, destination, rule) = parts(&event.kind);
        self.since.is_none_or(|since| event.at >= since)
            && any(&filter.event, |kind| *kind == Kind::of(&event.kind))
            && any(&filter.process, |wanted| {
                *wanted == process.comm || wanted.parse() == Ok(process.key.tgid)
            })
            && any(&filter.exe, |wanted| is_program(process, wanted))
            && any(&filter.user, |wanted| {
                process.user.as_deref() == Some(wanted) || wanted.parse() == Ok(process.uid)
            })
            && any(&filter.unit, |wanted| {
                process.workload.unit.as_deref().is_some_and(|unit| {
                    unit == wanted || unit.strip_suffix(".service") == Some(wanted)
                })
            })
            && any(&filter.container, |wanted| begins(&process.workload.container, wanted))
            && any(&filter.pod, |wanted| begins(&process.workload.pod, wanted))
            && any(&filter.kind, |wanted| actor_of(&event.kind) == Some(*wanted))
            && any(&filter.db, |wanted| is_destination(wanted, destination, rule))
    }
}

impl Kind {
    pub(super) fn of(kind: &EventKind) -> Self {
        match kind {
            EventKind::Opened { .. } => Self::Opened,
            EventKind::Closed { .. } => Self::Closed,
            EventKind::Failed { .. } => Self::Failed,
            EventKind::Refused { .. } => Self::Refused,
            EventKind::Direct { .. } => Self::Direct,
            EventKind::Existing { .. } => Self::Existing,
            EventKind::Hold { .. } => Self::Hold,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Direct => "direct",
            Self::Existing => "existing",
            Self::Hold => "hold",
        }
    }
}

/// Who, whereto, and by which rule if that is told.
pub(super) fn parts(kind: &EventKind) -> (&Process, OriginalDestination, Option<&str>) {
    match kind {
        EventKind::Opened { flow }
        | EventKind::Closed { flow, .. }
        | EventKind::Failed { flow, .. }
        | EventKind::Hold { flow, .. } => (&flow.process, flow.destination, Some(&flow.rule)),
        EventKind::Refused { process, destination, .. }
        | EventKind::Direct { process, destination, .. }
        | EventKind::Existing { process, destination, .. } => (process, *destination, None),
    }
}

/// Only who was led through the gate is placed.
fn actor_of(kind: &EventKind) -> Option<ActorKind> {
    match kind {
        EventKind::Opened { flow }
        | EventKind::Closed { flow, .. }
        | EventKind::Failed { flow, .. }
        | EventKind::Hold { flow, .. } => Some(flow.actor.kind),
        EventKind::Refused { .. } | EventKind::Direct { .. } | EventKind::Existing { .. } => None,
    }
}

fn actor_kind(text: &str) -> Result<ActorKind, String> {
    ActorKind::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| {
        let words: Vec<&str> = ActorKind::ALL.iter().map(|kind| kind.word()).collect();
        format!("`{text}` is no kind of actor: they are {}", words.join(", "))
    })
}

fn any<T>(wanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(matches)
}

fn begins(id: &Option<String>, wanted: &str) -> bool {
    !wanted.is_empty() && id.as_deref().is_some_and(|id| id.starts_with(wanted))
}

fn is_program(process: &Process, wanted: &str) -> bool {
    process.exe.as_deref().is_some_and(|exe| {
        exe == Path::new(wanted) || exe.file_name().is_some_and(|name| name == wanted)
    })
}

/// A host name matches what was led by the rule of that name.
fn is_destination(
    wanted: &ProtectTarget,
    destination: OriginalDestination,
    rule: Option<&str>,
) -> bool {
    match wanted {
        ProtectTarget::Host { .. } => {
            rule.and_then(|rule| ProtectTarget::parse(rule).ok()).as_ref() == Some(wanted)
        }
        wide => wide.holds(destination.0.ip(), destination.0.port()),
    }
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    config::parse_duration(text).map(Since::Ago).map_err(|_| {
        format!(
            "`{text}` is neither a duration such as `15m` nor a time such as 2026-11-21T10:00:00Z"
        )
    })
}
