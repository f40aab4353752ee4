//! The log of a host of short-lived processes: a connection each, a few statements, and
//! now and then a text that nobody else has. Every question that `audit search` knows is
//! asked of it, for what is everywhere and for what is rare.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tidegate::audit::index::Born;
use tidegate::audit::search::Query;
use tidegate::audit::{
    Ending, Folder, Log, Outcome, Sequencer, Statement, Subject, Touched, Verdict, Way,
};
use tidegate::ledger::Head;
use tidegate::model::{Carried, Flow};
use tidegate::sql::Strings;

use crate::promises::Promises;
use crate::{GROUNDS, Local, indexed, search, subjects, welcome};

/// One of many.
fn flow(usual: &Flow, number: u64) -> Flow {
    let mut flow = usual.clone();
    let program = format!("app-{}", number % 50);
    let small = u32::try_from(number).expect("it fits");
    flow.id.cookie = number;
    let process = &mut flow.process;
    process.key.tgid = 10_000 + small % 4_000_000;
    process.key.started = 50_000_000_000 + number * 10_000_000;
    process.exe = Some(format!("/usr/bin/{program}").into());
    process.command = vec![program.clone(), "--shard".into(), (number % 64).to_string()];
    process.comm = program;
    process.user =
        Some(if number == 77_777 { "mallory".into() } else { format!("u{}", number % 20) });
    process.workload.unit = Some(format!("job-{}.service", number % 100));
    if number % 10 == 3 {
        process.workload.pod_name = Some(format!("web-{}", number % 1_000));
        process.workload.namespace = Some("shop".into());
    }
    process.parent = Some(4_000 + small % 100);
    let actor = Arc::make_mut(&mut flow.actor);
    actor.name = (number % 5_000 == 7).then(|| "claude-code".into());
    let mut parent = actor.ancestry.first().expect("a parent").clone();
    parent.pid = 4_000 + small % 100;
    let first = tidegate::model::Ancestor { pid: 1, started: 10_000_000, ..parent.clone() };
    actor.ancestry = vec![parent, first];
    flow
}

/// A text that names its trace.
fn traced(log: &Log, number: u64) -> Subject {
    let sql = format!(
        "SELECT id FROM orders WHERE id = $1 /*traceparent='00-{number:032x}-{number:016x}-01'*/"
    );
    let touched = Touched {
        table: "public.orders".into(),
        column: Some("id".into()),
        class: None,
        uses: vec!["read"],
    };
    log.subject(&sql, Strings::Standard, None).touching(vec![touched])
}

pub fn run(path: &Path, records: u64, processes: u64, promises: &mut Promises) {
    println!("processes                   {processes}, short-lived");
    let head = Arc::new(Mutex::new(Head::new("tidegate/bench".into())));
    let welcome = welcome(&mut head.lock().expect("no panic"));
    let log = Log::open(path, &welcome).expect("a log");
    let sequencer = Sequencer::start(&log, &welcome, Box::new(Local(head))).expect("a thread");
    let subjects = subjects(&log);
    let usual: Flow = serde_json::from_str(include_str!("../../tests/flow.json")).expect("a flow");
    let each = (records / processes).saturating_sub(2) / 2;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..processes {
        let connection = log.connection(Arc::new(flow(&usual, number)));
        connection.opened().expect("written");
        let carried = Carried {
            database: Some(if number % 100 == 7 { "billing" } else { "shop" }.into()),
            role: Some("app".into()),
            ..Carried::default()
        };
        connection.session(&carried).expect("written");
        let own = (number % 10 == 1).then(|| traced(&log, number + 1));
        for serial in 0..each {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let usual = subjects.get((random >> 20) as usize % 1_000).expect("one of them");
            let subject = own.as_ref().unwrap_or(usual);
            let refused = random >> 40 & 0xfff == 0;
            let verdict = if refused { Verdict::Refused } else { Verdict::Allowed };
            let statement = Statement {
                grounds: Some(&GROUNDS),
                ..Statement::new(serial, Way::Execute, Some(subject), verdict)
            };
            let sealed = connection.intent(&statement).expect("written");
            let cells: &[(&str, u64)] = &[("email", 12)];
            let outcome = Outcome {
                tag: Some("SELECT"),
                rows: random & 0xff,
                masked: if random >> 50 == 3 { cells } else { &[] },
                seen: if random >> 50 == 4 { cells } else { &[] },
                ..Outcome::new(Ending::Complete)
            };
            connection.outcome(&sealed, &outcome);
        }
    }
    drop(sequencer);
    let index = indexed(&Folder::new(path), processes * (2 + 2 * each));
    for (what, found, query) in questions(processes) {
        let hits = search(&index, what, &query, promises);
        assert_eq!(hits > 0, found, "{what}: {hits}");
    }
}

/// With whether anything is to be found.
fn questions(processes: u64) -> Vec<(&'static str, bool, Query)> {
    let usual = || Query { limit: 100, ..Query::default() };
    let text = |words: &str| vec![words.to_owned()];
    let born = |pid: u32| vec![Born { pid, started: None, boot: None }];
    let has_mallory = processes > 77_777;
    vec![
        ("--user, one in twenty", true, Query { user: text("u3"), ..usual() }),
        ("--user, everybody's uid", true, Query { user: text("1000"), ..usual() }),
        ("--user, one process", has_mallory, Query { user: text("mallory"), ..usual() }),
        ("--user, nobody", false, Query { user: text("eve"), ..usual() }),
        ("--exe", true, Query { exe: text("app-7"), ..usual() }),
        ("--exe by its path", true, Query { exe: text("/usr/bin/app-7"), ..usual() }),
        ("--unit", true, Query { unit: text("job-42"), ..usual() }),
        ("--pod", true, Query { pod: text("shop/web-3"), ..usual() }),
        ("--agent", true, Query { agent: text("claude-code"), ..usual() }),
        ("--command", true, Query { command: text("--shard 13"), ..usual() }),
        ("--db, nearly all", true, Query { database: text("shop"), ..usual() }),
        ("--db, one in a hundred", true, Query { database: text("billing"), ..usual() }),
        ("--role", true, Query { role: text("app"), ..usual() }),
        ("--table, nearly all", true, Query { table: text("orders"), ..usual() }),
        ("--table, rare", true, Query { table: text("customers"), ..usual() }),
        ("--column", true, Query { column: text("orders.id"), ..usual() }),
        ("--class", true, Query { class: text("email"), ..usual() }),
        ("--verdict", true, Query { verdict: vec![Verdict::Refused], ..usual() }),
        ("--seen", true, Query { seen: text("email"), ..usual() }),
        ("--trace", true, Query { trace: vec![format!("{:032x}", 12)], ..usual() }),
        ("--process", true, Query { process: born(10_500), ..usual() }),
        ("--tree, one in a hundred", true, Query { tree: born(4_042), ..usual() }),
        ("--tree, everything", true, Query { tree: born(1), ..usual() }),
        ("a word that is everywhere", true, Query { words: Some("orders".into()), ..usual() }),
        (
            "--user and --db, which never meet",
            false,
            Query { user: text("u3"), database: text("billing"), ..usual() },
        ),
        (
            "--user and --verdict",
            true,
            Query { user: text("u3"), verdict: vec![Verdict::Refused], ..usual() },
        ),
        (
            "--exe --unit, which never meet",
            false,
            Query { exe: text("app-7"), unit: text("job-8"), ..usual() },
        ),
        (
            "--first of a table",
            true,
            Query { table: text("customers"), oldest: true, limit: 1, ..usual() },
        ),
    ]
}
