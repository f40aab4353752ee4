//! `docs/audit.md` and the code say the same: each kind, field and word that one of them
//! has, the other has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::log::tests::{Keeper, Scratch, closing, flow, records, small};
use super::record::{Body, Head, Intent, OnFlow};
use super::record::{KINDS, Outcome as Ended, RecordId, Standing, Summed, Transaction};
use super::render::{Definitions, render};
use super::sequencer::tell_note;
use super::*;
use crate::model::{Carried, LogCaller, LogNote, LogTerms, Mode, TextKept, Verdict as Health};
use crate::sql::{Cell, LexingState, Strings};

const DOCUMENT: &str = include_str!("../../../docs/audit.md");

/// The words in backticks.
fn words(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The rows of the table of kinds: a kind's word, and what is said of it.
fn kinds() -> BTreeMap<String, String> {
    let table = DOCUMENT.split("| kind | fields |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let (kind, fields) = row.trim_matches('|').split_once('|').unwrap();
        (kind.trim().trim_matches('`').to_owned(), fields.to_owned())
    })
    .collect()
}

#[test]
fn every_kind_is_in_the_table_and_no_other() {
    let written = KINDS.iter().filter(|(code, _)| *code >= 16).map(|(_, word)| *word);
    let written: BTreeSet<&str> = written.collect();
    let kinds = kinds();
    assert_eq!(kinds.keys().map(String::as_str).collect::<BTreeSet<_>>(), written);
}

#[test]
fn every_verdict_ending_and_reach_is_told_and_no_other() {
    let line = |start: &str| DOCUMENT.lines().find(|line| line.starts_with(start)).unwrap();
    let (verdicts, endings) = line("Verdicts: ").split_once("Endings: ").unwrap();
    let verdicts = words(verdicts);
    for verdict in Verdict::ALL {
        assert!(verdicts.contains(verdict.word()), "{verdict:?}");
    }
    // The first sentence has nothing else.
    let first = words(line("Verdicts: ").split_once(". ").unwrap().0);
    assert!(first.iter().all(|word| Verdict::from_word(word).is_some()), "{first:?}");
    let told = words(endings.split_once(';').unwrap().0);
    assert_eq!(told, Ending::ALL.iter().map(|one| one.word().to_owned()).collect());
    let kinds = kinds();
    let told = words(&kinds["transaction"]);
    for end in TransactionEnd::ALL {
        assert!(told.contains(end.word()), "{end:?}");
    }
    let told = words(&kinds["statement"]);
    for reach in Reach::ALL {
        assert!(told.contains(reach.word()), "{reach:?}");
    }
    for way in told.intersection(&words("`query` `parse` `bind` `execute` `function-call`")) {
        assert!(Way::from_word(way).is_some(), "{way}");
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// What a record of each kind has under its kind's name, as the code writes it.
fn written() -> BTreeMap<String, BTreeSet<String>> {
    let head = Head { at: 1, flow: 0, sequence: 0 };
    let at = |position| RecordId { writer: 1, position };
    let mut known = Definitions::default();
    let sql = "/* traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' */ \
               SELECT email FROM customers";
    let facts = Cell::quick(sql.as_bytes(), &LexingState::default()).unwrap();
    let subject = Subject::of_long(sql, 1 << 20, Strings::Standard, TextKept::Full, Some(&facts));
    let facts = Cell::quick(b"SELEC 1", &LexingState::default());
    let torn = Subject::new("SELEC 1", Strings::Standard, TextKept::Full, facts.as_ref());
    known.learn(at(1), &Body::Statement(subject.json));
    known.learn(at(2), &Body::Statement(torn.json));
    let intent = |statement| Intent {
        head,
        serial: 1,
        way: 0,
        statement,
        effects: 1,
        verdict: 1,
        flags: 0,
        grounds: 0,
        hold: None,
        approver: None,
        parameters: Vec::new(),
    };
    let summed = Summed {
        head,
        intent: 1,
        times: 1,
        endings: vec![],
        failures: vec![],
        rows: 0,
        bytes: 0,
        latency_us: 0,
        masked: vec![],
        seen: vec![],
        would_mask: vec![],
        transactions: vec![],
    };
    let ended = Ended {
        head,
        intent: 1,
        index: 0,
        ending: 0,
        sqlstate: None,
        tag: 0,
        rows: 0,
        bytes: 0,
        latency_us: 0,
        masked: vec![],
        seen: vec![],
        would_mask: vec![],
    };
    let carried = Carried { application: Some("psql".into()), ..Carried::default() };
    let carried = serde_json::to_string(&carried).unwrap();
    let mut bodies = vec![
        Body::Intent(intent(9)),
        Body::Intent(intent(8)),
        Body::Standing(Standing { intent: intent(9), until: 1, reach: 0 }),
        Body::Outcome(ended),
        Body::Summed(summed),
        Body::Transaction(Transaction { head, ending: 0, statements: 1 }),
        Body::Session(OnFlow { head, json: carried.into() }),
    ];
    // What others write, as they write it.
    let scratch = Scratch::new();
    let terms = LogTerms { flood_rate: 1, flood_burst: 1, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let by = || LogCaller { uid: 1, ..LogCaller::default() };
    let why = String::new();
    for note in [
        LogNote::Started { version: String::new() },
        LogNote::Stopping { by: Some(by()) },
        LogNote::Degraded { verdict: Health::Failing, why },
        LogNote::Whole,
        LogNote::Changed { what: vec![], generation: 1, policies: None, by: None },
        LogNote::Read { by: by(), command: String::new() },
    ] {
        tell_note(&log, 5, &note).unwrap();
    }
    log.tell(Body::Lost, &json!({ "records": 1 })).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    connection.opened().unwrap();
    connection.renamed("x");
    let _ = connection.intent(&Statement::new(1, Way::Query, None, Verdict::Allowed)).unwrap();
    let mut end = closing();
    end.carried = Some(Box::new(Carried { fault: Some("x".into()), ..Carried::default() }));
    connection.closed(&end).unwrap();
    let others = records(&Folder::new(&scratch.0)).into_iter().map(|(_, body)| body);
    bodies.extend(others.filter(|body| {
        body.at().is_some() && !matches!(body, Body::Standing(_) | Body::Summed(_))
    }));
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for body in bodies {
        let told = render(at(10), &body, &mut known);
        all.entry(body.word().into()).or_default().extend(keys(&told[body.word()]));
    }
    all
}

#[test]
fn every_field_is_in_the_table_and_each_that_is_there_is_written() {
    let kinds = kinds();
    for (kind, written) in written() {
        let told = words(&kinds[&kind]);
        for field in &written {
            // Of a session the table says that there is more.
            assert!(kind == "session" || told.contains(field), "{kind}: `{field}` isn't told");
        }
        // Up to what explains it, a row's first words are its fields.
        let values = match kind.as_str() {
            "statement" => {
                "query parse bind execute function-call table column class uses shape effects workload"
            }
            "outcome" | "summed" => "outcome null statement",
            "transaction" => "committed rolled-back prepared lost",
            "session" => "refused policies generation",
            "renamed" => "SET application_name",
            "agent" => "started stopping degraded failing whole null",
            "changed" => {
                "policies mode enforced classes verifiers tls destinations passthrough \
                identity approvals audit limits null policy lint"
            }
            "read" => "sudo",
            _ => "",
        };
        let values: BTreeSet<&str> = values.split_whitespace().collect();
        for word in told.iter().filter(|word| !word.contains(' ')) {
            assert!(
                written.contains(word) || values.contains(word.as_str()),
                "{kind}: `{word}` is told and not written: {written:?}"
            );
        }
    }
}
