use std::collections::BTreeSet;

use clap::Parser;
use serde_json::Value;

use std::sync::Arc;

use super::*;
use crate::model::{EventKind, Workload, samples};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    filter: filter::Filter,
}

fn taken(arguments: &str) -> Vec<&'static str> {
    let words = std::iter::once("observe").chain(arguments.split_whitespace());
    let now = Timestamp(samples::AT.0 + 60_000_000_000);
    let filter = Arguments::try_parse_from(words).unwrap().filter.resolve(now);
    samples::events()
        .iter()
        .filter(|event| filter.takes(event))
        .map(|event| filter::Kind::of(&event.kind).word())
        .collect()
}

const ALL: [&str; 7] = ["opened", "closed", "failed", "refused", "direct", "existing", "hold"];
const FLOWS: [&str; 4] = ["opened", "closed", "failed", "hold"];
const NONE: [&str; 0] = [];

#[test]
fn filters_take_what_they_say() {
    assert_eq!(taken(""), ALL);
    assert_eq!(taken("--event opened,refused"), ["opened", "refused"]);
    for all in [
        "--process 4242",
        "--process psql",
        "--process nobody --process psql",
        "--exe psql",
        "--exe /usr/lib/postgresql/15/bin/psql",
        "--user alice",
        "--user 1000",
        "--unit session-2.scope",
        "--since 2m",
        "--since 2026-11-21T01:00:00Z",
        "--db 5432",
    ] {
        assert_eq!(taken(all), ALL, "{all}");
    }
    for none in [
        "--process 4243",
        "--exe /usr/bin/psql",
        "--user bob",
        "--unit session-2",
        "--container abc",
        "--pod abc",
        "--since 30s",
        "--since 2026-11-21T01:00:01Z",
        "--db 5433",
        "--process psql --user bob",
    ] {
        assert_eq!(taken(none), NONE, "{none}");
    }
    assert_eq!(taken("--kind terminal,agent"), FLOWS);
    assert_eq!(taken("--kind service"), NONE);
    assert_eq!(taken("--db 10.0.0.0/8:5432"), FLOWS);
    assert_eq!(taken("--db db.example:5432"), FLOWS);
    assert_eq!(taken("--db [2001:db8::7]:5432"), ["refused", "direct", "existing"]);
}

#[test]
fn units_are_known_by_their_short_names_and_containers_by_their_beginnings() {
    let mut event = samples::events().remove(3);
    let EventKind::Refused { process, .. } = &mut event.kind else { unreachable!() };
    process.workload = Workload {
        unit: Some("web.service".into()),
        container: Some("0123456789abcdef".into()),
        pod: Some("6f1c".into()),
        ..Workload::default()
    };
    for (arguments, expected) in [
        (["--unit", "web"], true),
        (["--unit", "web.service"], true),
        (["--container", "0123456789"], true),
        (["--container", ""], false),
        (["--container", "123"], false),
        (["--pod", "6f1c"], true),
    ] {
        let words = std::iter::once("observe").chain(arguments);
        let filter = Arguments::try_parse_from(words).unwrap().filter.resolve(Timestamp(0));
        assert_eq!(filter.takes(&event), expected, "{arguments:?}");
    }
}

#[test]
fn what_is_no_moment_is_refused_with_an_example() {
    let error = Arguments::try_parse_from(["observe", "--since", "yesterday"]).err().unwrap();
    assert!(error.to_string().contains("neither a duration such as `15m` nor a time"), "{error}");
}

fn printed(form: Format, width: Option<usize>) -> String {
    let page = Page { width, colour: false };
    let mut printer = Printer { out: Vec::new(), page, form, printed: 0 };
    for event in samples::events() {
        printer.event(&event).unwrap();
    }
    printer.end().unwrap();
    String::from_utf8(printer.out).unwrap()
}

#[test]
fn the_lines_for_people_are_these() {
    crate::cli::tests::snapshot("observe", &printed(Format::Table, None));
    crate::cli::tests::snapshot("observe-wide", &printed(Format::Wide, None));
    let narrow = printed(Format::Table, Some(80));
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    assert!(narrow.lines().nth(1).unwrap().ends_with('…'));
}

#[test]
fn what_processes_choose_cannot_write_to_the_terminal() {
    let mut event = samples::events().remove(0);
    let EventKind::Opened { flow } = &mut event.kind else { unreachable!() };
    let nasty = "x\x1b]0;owned\x07\u{9b}31m\u{202e}\n";
    let flow = Arc::make_mut(flow);
    flow.process.comm = nasty.into();
    flow.process.user = Some(nasty.into());
    flow.process.command = vec![nasty.into()];
    flow.process.exe = Some(nasty.into());
    flow.process.cgroup = Some(nasty.into());
    flow.process.workload.unit = Some(nasty.into());
    for form in [Format::Table, Format::Wide, Format::Json, Format::Jsonl, Format::Yaml] {
        let page = Page { width: None, colour: false };
        let mut printer = Printer { out: Vec::new(), page, form, printed: 1 };
        printer.event(&event).unwrap();
        let text = String::from_utf8(printer.out).unwrap();
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(bad), "{form:?} {text:?}");
        if matches!(form, Format::Table | Format::Wide | Format::Jsonl) {
            assert_eq!(text.lines().count(), 1, "{form:?} {text:?}");
        }
    }
}

#[test]
fn json_is_an_array_and_jsonl_a_line_each() {
    let array: Vec<Event> = serde_json::from_str(&printed(Format::Json, None)).unwrap();
    assert_eq!(array, samples::events());
    let lines: Vec<Event> = printed(Format::Jsonl, None)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, samples::events());
    let page = Page { width: None, colour: false };
    let mut nothing = Printer { out: Vec::new(), page, form: Format::Json, printed: 0 };
    nothing.end().unwrap();
    assert_eq!(nothing.out, b"[]\n");
}

/// Every path of keys, a process's always as `process.…`.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let Value::Object(map) = value else { return };
    for (key, inner) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        found.insert(path.clone());
        let inside = match path.as_str() {
            "flow.process" => "process",
            "flow.actor" => "actor",
            other => other,
        };
        paths(inner, inside, found);
    }
}

#[test]
fn every_field_is_documented_and_every_documented_field_is_there() {
    let document = include_str!("../../../../docs/observe.md");
    let documented: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(field, _)| field.to_owned())
        .collect();
    let mut found = BTreeSet::new();
    for event in samples::events() {
        paths(&serde_json::to_value(&event).unwrap(), "", &mut found);
    }
    // Headed by a section, or by the text above a table.
    for section in ["flow", "process", "closing", "hold"] {
        assert!(found.remove(section));
    }
    assert_eq!(found, documented);
    for kind in ALL {
        assert!(document.contains(&format!("**{kind}**")), "{kind}");
    }
}
