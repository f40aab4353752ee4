//! The report as a page for people.

use std::io::{self, Write};

use crate::cli::output::{Cell, Colour, Page, Table, ago, safe};
use crate::model::{
    Fences, LogReport, Mode, ParsersReport, PolicyMode, PolicyReport, Process, StatusReport,
    Timestamp, Verdict,
};

pub(super) fn write(
    out: &mut impl Write,
    page: Page,
    report: &StatusReport,
    now: Timestamp,
    wide: bool,
) -> io::Result<()> {
    let (word, colour) = verdict(report.verdict);
    writeln!(out, "tidegate {} · {}", safe(&report.version), page.paint(colour, word))?;
    summary(out, page, report, now)?;
    for note in &report.notes {
        writeln!(out, "  {}  {}", page.paint(Colour::Yellow, "note"), safe(note))?;
    }
    destinations(out, page, report)?;
    enforcers(out, page, report, now)?;
    hooks(out, page, report, wide)?;
    if wide {
        namespaces(out, page, report)?;
    }
    adopted(out, page, report)?;
    powerful(out, page, report)
}

fn verdict(verdict: Verdict) -> (&'static str, Colour) {
    match verdict {
        Verdict::Healthy => ("healthy", Colour::Green),
        Verdict::Degraded => ("degraded: it holds, and something needs a look", Colour::Yellow),
        Verdict::Failing => ("failing: connections are not led through the enforcer", Colour::Red),
    }
}

fn summary(
    out: &mut impl Write,
    page: Page,
    report: &StatusReport,
    now: Timestamp,
) -> io::Result<()> {
    let mut line = |name: &str, text: String| {
        let name = page.paint(Colour::Dim, &format!("{name:<12}"));
        writeln!(out, "  {name} {}", safe(&text))
    };
    line("keeper", format!("pid {}, up {}", report.keeper, ago(report.started, now)))?;
    line("cgroup", report.cgroup.clone())?;
    let count = report.namespaces.len();
    let plural = if count == 1 { "" } else { "s" };
    line("listeners", format!("port {} in {count} network namespace{plural}", report.listen_port))?;
    line("policy", policy(&report.policy))?;
    let canary = &report.canary;
    let last = match canary.last {
        Some(last) => format!("the last {} ago", ago(last, now)),
        None => "none yet".into(),
    };
    let error = canary.last_error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    line("canary", format!("{} crossed, {last}; {} failed{error}", canary.crossed, canary.failed))?;
    line("connections", format!("{} open, {} connecting", report.open, report.connecting))?;
    let losses = &report.losses;
    line(
        "refused",
        format!(
            "{} in the kernel, {} of them over a quota; {} packets dropped",
            losses.refused, losses.over_quota, losses.dropped_packets
        ),
    )?;
    line(
        "lost",
        format!(
            "{} events, {} told only by their number; {} connects went direct",
            losses.events, losses.untold, losses.direct
        ),
    )?;
    line("log", log(&report.log))
}

fn log(log: &LogReport) -> String {
    let LogReport { enabled, records, lost, trouble } = log;
    match (enabled, trouble) {
        (false, _) => "off: nothing is recorded".into(),
        (true, None) => format!("{records} records written, {lost} missing"),
        (true, Some(trouble)) => format!("{records} records written, {lost} missing: {trouble}"),
    }
}

/// What is done with decisions, and whose they are.
fn policy(policy: &PolicyReport) -> String {
    let does = match policy.mode {
        PolicyMode::Enforce => "enforced",
        PolicyMode::Shadow => "shadow: decided and recorded, nothing is changed",
        PolicyMode::Off => return "off: nothing is decided".into(),
    };
    let mut parts = vec![does.to_owned()];
    parts.extend(policy.generation.iter().map(|generation| format!("generation {generation}")));
    if policy.bare {
        parts.push("without the default policies".into());
    }
    match policy.packs.as_slice() {
        [] => {}
        [one] => parts.push(format!("pack {one}")),
        many => parts.push(format!("packs {}", many.join(", "))),
    }
    match policy.files.len() {
        0 => {}
        1 => parts.push("1 file of your own".into()),
        many => parts.push(format!("{many} files of your own")),
    }
    if policy.mode == PolicyMode::Enforce && !policy.enforced.is_empty() {
        parts.push(format!("services out of shadow: {}", policy.enforced.join(", ")));
    }
    parts.join("; ")
}

fn section(out: &mut impl Write, page: Page, name: &str, table: &Table) -> io::Result<()> {
    if table.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", page.paint(Colour::Bold, name))?;
    table.write(out, page)
}

fn destinations(out: &mut impl Write, page: Page, report: &StatusReport) -> io::Result<()> {
    let mut table = Table::new(2, &["DESTINATION", "WITHOUT THE AGENT", "ADDRESSES", "PROBLEM"]);
    for destination in &report.destinations {
        let mode = match destination.mode {
            Mode::Strict => "refused",
            Mode::Permissive => "direct",
        };
        table.row(vec![
            Cell::new(&destination.name),
            mode.into(),
            Cell::new(destination.addresses.join(", ")),
            Cell::painted(destination.error.as_deref().unwrap_or_default(), Colour::Red),
        ]);
    }
    section(out, page, "Protected destinations", &table)
}

fn enforcers(
    out: &mut impl Write,
    page: Page,
    report: &StatusReport,
    now: Timestamp,
) -> io::Result<()> {
    let heads = ["PID", "VERSION", "UP", "STATE", "SESSIONS", "RESTARTS", "PARSERS", "FENCES"];
    let mut table = Table::new(2, &heads);
    for enforcer in &report.enforcers {
        let (fences, colour) = match &enforcer.fences {
            Some(fences) => fence_words(fences),
            None => ("it has not said yet".into(), Colour::Yellow),
        };
        table.row(vec![
            enforcer.pid.to_string().into(),
            Cell::new(&enforcer.version),
            ago(enforcer.started, now).into(),
            if enforcer.draining { "draining" } else { "serving" }.into(),
            enforcer.sessions.to_string().into(),
            enforcer.restarts.to_string().into(),
            parsers(&enforcer.parsers),
            Cell::painted(fences, colour),
        ]);
    }
    section(out, page, "Enforcers", &table)
}

/// Of the processes that read long statements: how many there are, and how many were
/// lost over one.
fn parsers(report: &ParsersReport) -> Cell {
    if let Some(trouble) = &report.trouble {
        return Cell::painted(trouble, Colour::Red);
    }
    let count = report.pids.len();
    match report.lost {
        0 => count.to_string().into(),
        lost => Cell::new(format!("{count}, {lost} lost")),
    }
}

/// What holds; what doesn't comes first.
fn fence_words(fences: &Fences) -> (String, Colour) {
    let mut missing = Vec::new();
    let flags = [
        (fences.no_capabilities, "capabilities are left"),
        (fences.no_new_privs, "no_new_privs is off"),
        (fences.not_dumpable, "dumpable"),
    ];
    missing.extend(flags.iter().filter(|(holds, _)| !holds).map(|(_, word)| (*word).to_owned()));
    for (name, state) in [("landlock", &fences.landlock), ("seccomp", &fences.seccomp)] {
        if state != "full" {
            missing.push(format!("{name}: {state}"));
        }
    }
    if missing.is_empty() {
        (format!("all, as uid {}", fences.uid), Colour::Green)
    } else {
        (format!("{} (uid {})", missing.join("; "), fences.uid), Colour::Yellow)
    }
}

fn hooks(out: &mut impl Write, page: Page, report: &StatusReport, wide: bool) -> io::Result<()> {
    let mut table = Table::new(2, &["HOOK", "STATE", "WHAT ITS ABSENCE COSTS"]);
    for hook in report.hooks.iter().filter(|hook| wide || !hook.attached) {
        let (state, colour) =
            if hook.attached { ("attached", Colour::Plain) } else { ("missing", Colour::Yellow) };
        table.row(vec![
            Cell::new(&hook.name),
            Cell::painted(state, colour),
            Cell::new(hook.cost.as_deref().unwrap_or_default()),
        ]);
    }
    section(out, page, if wide { "Hooks" } else { "Missing hooks" }, &table)
}

fn namespaces(out: &mut impl Write, page: Page, report: &StatusReport) -> io::Result<()> {
    let mut table = Table::new(2, &["NETNS", "INODE", "OPEN", "WHOSE"]);
    for namespace in &report.namespaces {
        table.row(vec![
            namespace.cookie.to_string().into(),
            namespace.inode.to_string().into(),
            namespace.open.to_string().into(),
            if namespace.host { "the host" } else { "" }.into(),
        ]);
    }
    section(out, page, "Network namespaces", &table)
}

fn adopted(out: &mut impl Write, page: Page, report: &StatusReport) -> io::Result<()> {
    let mut table = Table::new(2, &["PID", "USER", "FROM", "TO", "COMMAND"]);
    for adopted in &report.adopted {
        table.row(vec![
            adopted.process.key.tgid.to_string().into(),
            user(&adopted.process).into(),
            adopted.client.to_string().into(),
            adopted.destination.to_string().into(),
            command(&adopted.process).into(),
        ]);
    }
    section(out, page, "Connections older than the agent", &table)
}

fn powerful(out: &mut impl Write, page: Page, report: &StatusReport) -> io::Result<()> {
    let mut table = Table::new(2, &["PID", "USER", "CGROUP", "COMMAND"]);
    for process in &report.powerful {
        table.row(vec![
            process.key.tgid.to_string().into(),
            user(process).into(),
            Cell::new(process.cgroup.as_deref().unwrap_or_default()),
            command(process).into(),
        ]);
    }
    let name = "Processes that could pass around the hooks (NET_ADMIN, NET_RAW, BPF or SYS_ADMIN)";
    section(out, page, name, &table)
}

fn user(process: &Process) -> String {
    process.user.clone().unwrap_or_else(|| process.uid.to_string())
}

fn command(process: &Process) -> String {
    if process.command.is_empty() { process.comm.clone() } else { process.command_line() }
}
