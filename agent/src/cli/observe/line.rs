//! An event as one line for people.

use super::filter::{Kind, parts};
use crate::cli::output::{Colour, Page, bytes, safe, span};
use crate::model::{Actor, End, Event, EventKind, Peer, Process, RefusedWhy};

/// A column's head, and how wide it is; longer texts push the rest aside.
type Column = (&'static str, usize);

const TIME: Column = ("TIME", 12);
const FULL_TIME: Column = ("TIME", 27);
const EVENT: Column = ("EVENT", 8);
const DESTINATION: Column = ("DESTINATION", 21);
const WHAT: Column = ("WHAT", 28);
const USER: Column = ("USER", 10);
const PID: Column = ("PID", 7);
const WORKLOAD: Column = ("WORKLOAD", 20);
const ACTOR: Column = ("ACTOR", 18);
const PERSON: Column = ("PERSON", 16);
const SCRIPT: Column = ("SCRIPT", 24);
const CLIENT: Column = ("CLIENT", 21);
const NETNS: Column = ("NETNS", 10);
const FLOW: Column = ("FLOW", 16);
const EXE: Column = ("EXE", 24);
const CGROUP: Column = ("CGROUP", 36);
/// The last; cut at the terminal's edge.
const COMMAND: Column = ("COMMAND", 0);

const COLUMNS: [Column; 8] = [TIME, EVENT, DESTINATION, WHAT, USER, PID, WORKLOAD, COMMAND];
const WIDE_COLUMNS: [Column; 16] = [
    FULL_TIME,
    EVENT,
    DESTINATION,
    WHAT,
    USER,
    PID,
    WORKLOAD,
    ACTOR,
    PERSON,
    CLIENT,
    NETNS,
    FLOW,
    EXE,
    SCRIPT,
    CGROUP,
    COMMAND,
];

pub(super) fn heads(page: Page, wide: bool) -> String {
    let columns = columns(wide);
    let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    page.paint(Colour::Bold, &laid_out(&names, columns, page))
}

pub(super) fn event(event: &Event, page: Page, wide: bool) -> String {
    let (process, destination, _) = parts(&event.kind);
    let kind = Kind::of(&event.kind);
    let user = match &process.user {
        Some(name) if wide => format!("{name}({})", process.uid),
        Some(name) => name.clone(),
        None => process.uid.to_string(),
    };
    let time = event.at.to_string();
    // 10:00:00.123 of 2026-11-21T10:00:00.123456Z
    let time = if wide { time } else { time.get(11..23).unwrap_or_default().to_owned() };
    let mut cells = vec![
        time,
        kind.word().to_owned(),
        destination.to_string(),
        what(&event.kind),
        user,
        process.key.tgid.to_string(),
        workload(process),
    ];
    if wide {
        let actor = actor(&event.kind);
        cells.push(actor.map(Actor::title).unwrap_or_default());
        cells.push(actor.and_then(person).unwrap_or_default());
        let (client, netns, flow) = connection(&event.kind);
        cells.push(client.map(|client| client.to_string()).unwrap_or_default());
        cells.push(netns.map(|netns| netns.to_string()).unwrap_or_default());
        cells.push(flow.unwrap_or_default());
        let exe = process.exe.as_ref().map(|exe| exe.display().to_string());
        cells.push(exe.unwrap_or_default());
        cells.push(actor.and_then(|actor| actor.program.script.clone()).unwrap_or_default());
        cells.push(process.cgroup.clone().unwrap_or_default());
    }
    cells.push(if process.command.is_empty() {
        format!("[{}]", process.comm)
    } else {
        process.command_line()
    });
    page.paint(colour(kind), &laid_out(&cells, columns(wide), page))
}

fn columns(wide: bool) -> &'static [Column] {
    if wide { &WIDE_COLUMNS } else { &COLUMNS }
}

fn laid_out(cells: &[String], columns: &[Column], page: Page) -> String {
    let mut line = String::new();
    for (cell, (_, width)) in cells.iter().zip(columns) {
        let cell = safe(cell);
        let cell = if cell.is_empty() { "-" } else { &cell };
        line.push_str(cell);
        let used = cell.chars().count();
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(used) + 2));
    }
    let line = line.trim_end();
    match page.width {
        Some(width) if line.chars().count() > width => {
            line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => line.to_owned(),
    }
}

fn colour(kind: Kind) -> Colour {
    match kind {
        Kind::Opened => Colour::Plain,
        Kind::Closed => Colour::Dim,
        Kind::Failed | Kind::Existing | Kind::Hold => Colour::Yellow,
        Kind::Refused | Kind::Direct => Colour::Red,
    }
}

fn what(kind: &EventKind) -> String {
    match kind {
        EventKind::Opened { .. } => String::new(),
        EventKind::Closed { closing, .. } => {
            let (up, down) = (bytes(closing.bytes_up), bytes(closing.bytes_down));
            let end = match closing.end {
                End::Closed => "",
                End::ClientReset => ", client reset",
                End::UpstreamReset => ", database reset",
                End::Drained => ", drained",
                End::EnforcerLost => ", enforcer lost",
                End::Fault => ", ended by tidegate",
                End::Inside => ", agent's error",
            };
            format!("↑{up} ↓{down} {}{end}", span(closing.duration_us))
        }
        EventKind::Failed { error, .. } => error.clone(),
        EventKind::Refused { why, .. } => refused(*why).into(),
        EventKind::Direct { .. } => "went direct".into(),
        EventKind::Existing { adopted: true, .. } => "older than the agent".into(),
        EventKind::Existing { adopted: false, .. } => "older than the agent: ended".into(),
        EventKind::Hold { hold, .. } => {
            let by = hold.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            format!("{} {}{by}", hold.id, hold.step.word())
        }
    }
}

fn refused(why: RefusedWhy) -> &'static str {
    match why {
        RefusedWhy::DirectDial => "dialled the listener",
        RefusedWhy::TokenMisused => "the agent's socket misused",
        RefusedWhy::OverQuota => "too many connecting",
        RefusedWhy::BoundToDevice => "bound to a device",
        RefusedWhy::ListenerBind => "bind of the listeners' port",
        RefusedWhy::NotLedHere => "around the gate",
        RefusedWhy::AgentAbsent => "no agent at the gate",
        RefusedWhy::Fault => "no memory in the kernel",
    }
}

fn workload(process: &Process) -> String {
    let workload = &process.workload;
    let short = |id: &str| id.chars().take(12).collect::<String>();
    match (&workload.pod, &workload.container, &workload.unit) {
        (Some(pod), Some(container), _) => format!("{}/{}", short(pod), short(container)),
        (Some(pod), None, _) => short(pod),
        (None, Some(container), _) => short(container),
        (None, None, unit) => unit.clone().unwrap_or_default(),
    }
}

fn actor(kind: &EventKind) -> Option<&Actor> {
    match kind {
        EventKind::Opened { flow }
        | EventKind::Closed { flow, .. }
        | EventKind::Failed { flow, .. }
        | EventKind::Hold { flow, .. } => Some(&*flow.actor),
        EventKind::Refused { .. } | EventKind::Direct { .. } | EventKind::Existing { .. } => None,
    }
}

/// `alice@192.0.2.7`
fn person(actor: &Actor) -> Option<String> {
    let person = actor.person.as_ref()?;
    let user = person.user.as_ref().map_or("?", |user| &user.value);
    Some(match &person.address {
        Some(address) => format!("{user}@{}", address.value),
        None => user.to_owned(),
    })
}

fn connection(kind: &EventKind) -> (Option<Peer>, Option<u64>, Option<String>) {
    match kind {
        EventKind::Opened { flow }
        | EventKind::Closed { flow, .. }
        | EventKind::Failed { flow, .. }
        | EventKind::Hold { flow, .. } => {
            (Some(flow.client), Some(flow.netns), Some(flow.id.to_string()))
        }
        EventKind::Refused { netns, .. } | EventKind::Direct { netns, .. } => {
            (None, Some(*netns), None)
        }
        EventKind::Existing { client, .. } => (Some(*client), None, None),
    }
}
