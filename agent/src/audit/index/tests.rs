use std::sync::Arc;

use super::*;
use crate::audit::Touched;
use crate::audit::log::tests::{Keeper, Scratch, flow, small};
use crate::audit::record::Body;
use crate::audit::search::{Hit, Query};
use crate::audit::{Connection, Ending, Log, Outcome, Sealed, Sequencer, Statement, Verdict, Way};
use crate::model::{
    Attribute, Carried, Confidence, Enriched, EventKind, Flow, Grounds, LogTerms, Mode, Origin,
    samples,
};
use crate::sql::Strings;

mod forged;

struct Filled {
    scratch: Scratch,
    log: Log,
}

fn touched(table: &str, column: &str, class: Option<&str>) -> Touched {
    Touched {
        table: table.into(),
        column: Some(column.into()),
        class: class.map(Into::into),
        uses: vec!["read"],
    }
}

fn run(connection: &Connection, log: &Log, serial: u64, sql: &str, at: Vec<Touched>) -> u64 {
    let subject = log.subject(sql, Strings::Standard, None).touching(at);
    let refused = sql.starts_with("DROP");
    let verdict = if refused { Verdict::Refused } else { Verdict::Allowed };
    let (why, flags) =
        if refused { (r#"{"policy":"no-drop"}"#, "") } else { ("", r#"{"policy":"seen"}"#) };
    let grounds = Grounds::new(format!(r#"{{"generation":"0f","why":[{why}],"flags":[{flags}]}}"#));
    let grounds = Some(&grounds);
    let statement =
        Statement { grounds, ..Statement::new(serial, Way::Query, Some(&subject), verdict) };
    let sealed = connection.intent(&statement).unwrap();
    let masked: &[(&str, u64)] =
        if sql.contains("email") { &[("email", 3), ("phone", 1)] } else { &[] };
    let seen: &[(&str, u64)] = if masked.is_empty() { &[] } else { &[("iban", 2)] };
    let ending = if refused { Ending::Refused } else { Ending::Complete };
    let sqlstate = refused.then_some("42501");
    connection
        .outcome(&sealed, &Outcome { rows: 3, masked, seen, sqlstate, ..Outcome::new(ending) });
    sealed.record().unwrap().position
}

fn filled() -> Filled {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    for (pid, database) in [(100, "shop"), (200, "billing")] {
        let connection = log.connection(flow(pid, Mode::Strict));
        connection.opened().unwrap();
        let carried = Carried {
            database: Some(database.into()),
            role: Some("app".into()),
            ..Carried::default()
        };
        connection.session(&carried).unwrap();
        for serial in 0..20 {
            let at = vec![touched("public.orders", "id", None)];
            run(&connection, &log, serial, "SELECT id FROM orders", at);
        }
        let at = vec![touched("public.customers", "email", Some("email"))];
        run(&connection, &log, 20, "SELECT email FROM customers", at);
        run(&connection, &log, 21, "DROP TABLE customers", vec![]);
    }
    Filled { scratch, log }
}

impl Filled {
    fn index(&self) -> Index {
        let mut index = Index::open(&Folder::new(&self.scratch.0)).unwrap();
        index.catch_up(&mut || true).unwrap();
        index
    }
}

fn query() -> Query {
    Query { limit: 1000, ..Query::default() }
}

fn born(all: &[&str]) -> Vec<Born> {
    all.iter().map(|one| one.parse().unwrap()).collect()
}

fn texts(hits: &[Hit]) -> Vec<String> {
    hits.iter()
        .filter_map(|hit| Some(hit.statement.as_ref()?["text"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn statements_are_found_by_everything_they_are_asked_for() {
    let filled = filled();
    let index = filled.index();
    let count = |query: Query| index.search(&query).unwrap().len();
    let one = |text: &str| vec![text.to_owned()];
    // 22 statements, an opening and a session, twice.
    assert_eq!(count(query()), 48);
    assert_eq!(count(Query { words: Some("customers".into()), ..query() }), 4);
    assert_eq!(count(Query { words: Some("email customers".into()), ..query() }), 2);
    assert_eq!(count(Query { words: Some("\"' OR nothing".into()), ..query() }), 0);
    assert_eq!(count(Query { table: one("customers"), ..query() }), 2);
    assert_eq!(count(Query { table: one("public.customers"), ..query() }), 2);
    assert_eq!(count(Query { column: one("email"), ..query() }), 2);
    assert_eq!(count(Query { column: one("customers.email"), ..query() }), 2);
    assert_eq!(count(Query { class: one("email"), ..query() }), 2);
    // Only masked, not touched by the text.
    assert_eq!(count(Query { class: one("phone"), ..query() }), 2);
    // … and only shown.
    assert_eq!(count(Query { class: one("iban"), ..query() }), 2);
    assert_eq!(count(Query { seen: one("iban"), ..query() }), 2);
    assert_eq!(count(Query { seen: one("email"), ..query() }), 0);
    assert_eq!(count(Query { seen: one("iban"), database: one("shop"), ..query() }), 1);
    assert_eq!(count(Query { verdict: vec![Verdict::Refused], ..query() }), 2);
    assert_eq!(count(Query { verdict: vec![Verdict::Allowed], ..query() }), 42);
    assert_eq!(count(Query { sqlstate: one("42501"), ..query() }), 2);
    assert_eq!(count(Query { database: one("shop"), ..query() }), 24);
    assert_eq!(count(Query { role: one("app"), ..query() }), 48);
    assert_eq!(count(Query { process: born(&["100"]), ..query() }), 24);
    assert_eq!(count(Query { user: one("alice"), ..query() }), 48);
    assert_eq!(count(Query { user: one("1000"), ..query() }), 48);
    assert_eq!(count(Query { user: one("bob"), ..query() }), 0);
    assert_eq!(count(Query { exe: one("psql"), ..query() }), 48);
    assert_eq!(count(Query { exe: one("ql"), ..query() }), 0);
    assert_eq!(count(Query { unit: one("session-2.scope"), ..query() }), 48);
    // Its parent and itself.
    assert_eq!(count(Query { tree: born(&["4000"]), ..query() }), 48);
    assert_eq!(count(Query { tree: born(&["200"]), ..query() }), 24);
    let sessions = index.search(&Query { kinds: one("session"), ..query() }).unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0].facts.as_ref().unwrap()["database"], "billing");
    assert_eq!(count(Query { since: Some(u64::MAX >> 12), ..query() }), 0);
    assert_eq!(count(Query { until: Some(1), ..query() }), 0);
    let both = Query {
        words: Some("customers".into()),
        database: one("billing"),
        verdict: vec![Verdict::Refused],
        ..query()
    };
    let hits = index.search(&both).unwrap();
    assert_eq!(texts(&hits), ["DROP TABLE customers"]);
    // By the policy that decided; one that only had something to say did not.
    let by_policy = |name: &str| {
        let hits = index.search(&Query { policy: one(name), ..query() }).unwrap();
        texts(&hits)
    };
    let refused = by_policy("no-drop");
    assert!(!refused.is_empty() && refused.iter().all(|text| text.starts_with("DROP")));
    assert!(by_policy("seen").is_empty() && by_policy("no").is_empty());
    // By the kind of actor.
    let own = samples::flow().actor.kind;
    let all = count(Query { kinds: one("statement"), ..query() });
    for kind in crate::model::Kind::ALL {
        let found = count(Query { actor: vec![kind], kinds: one("statement"), ..query() });
        assert_eq!(found, if kind == own { all } else { 0 }, "{}", kind.word());
    }
    assert_eq!((&*hits[0].policies, &*hits[0].flagged), (&["no-drop".to_owned()][..], &[][..]));
    let statement = hits[0].statement.as_ref().unwrap();
    assert_eq!(statement["generation"], "0f");
    assert_eq!(statement["why"], serde_json::json!([{ "policy": "no-drop" }]));
    assert_eq!(hits[0].process.as_ref().unwrap()["key"]["tgid"], 200);
    assert_eq!(hits[0].outcome.as_ref().unwrap().sqlstate.as_deref(), Some("42501"));
}

#[test]
fn where_no_index_can_be_written_one_in_memory_finds_the_same() {
    let filled = filled();
    let index = filled.index();
    let folder = Folder::new(&filled.scratch.0);
    let mut aside = Index::aside(&folder).unwrap().unwrap();
    aside.catch_up(&mut || true).unwrap();
    assert_eq!(aside.search(&query()).unwrap(), index.search(&query()).unwrap());
    drop(index);
    // A disk with no room for another page.
    let full = Index::open(&folder).unwrap();
    full.database.execute_batch("PRAGMA max_page_count = 1").unwrap();
    let mut full = full;
    let connection = filled.log.connection(flow(300, Mode::Strict));
    for serial in 0..2_000 {
        run(&connection, &filled.log, serial, &format!("SELECT {serial} FROM t"), vec![]);
    }
    let error = full.catch_up(&mut || true).unwrap_err();
    assert!(error.is_of_the_index(), "{error}");
}

#[test]
fn a_column_of_a_table_is_found_where_nobody_knew_which_were_read() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(100, Mode::Strict));
    let star = |table: &str| vec![touched(table, "*", None)];
    run(&connection, &log, 1, "SELECT * FROM customers", star("public.customers"));
    run(&connection, &log, 2, "SELECT * FROM orders", star("public.orders"));
    let known = vec![touched("public.customers", "id", None)];
    run(&connection, &log, 3, "SELECT * FROM customers -- known", known);
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    index.catch_up(&mut || true).unwrap();
    let found = |table: &[&str], column: &str| {
        let table = table.iter().map(|table| (*table).to_owned()).collect();
        let asked = Query { table, column: vec![column.into()], oldest: true, ..query() };
        texts(&index.search(&asked).unwrap())
    };
    let unknown = "SELECT * FROM customers";
    assert_eq!(found(&["customers"], "email"), [unknown]);
    assert_eq!(found(&[], "customers.email"), [unknown]);
    assert_eq!(found(&[], "public.customers.id"), [unknown, "SELECT * FROM customers -- known"]);
    assert_eq!(found(&[], "email"), [""; 0]);
}

#[test]
fn who_it_was_is_found_by_names_and_words_too() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let mut web = samples::flow();
    web.process.workload.pod = Some("6a1f2c3d".into());
    web.process.workload.pod_name = Some("web-1".into());
    web.process.workload.namespace = Some("shop".into());
    Arc::make_mut(&mut web.actor).program.script = Some("/srv/jobs/nightly.py".into());
    web.process.command = vec!["python3".into(), "nightly.py".into(), "--all".into()];
    run(&log.connection(Arc::new(web)), &log, 1, "SELECT web", vec![]);
    run(&log.connection(flow(7, Mode::Strict)), &log, 1, "SELECT other", vec![]);
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    index.catch_up(&mut || true).unwrap();
    let found = |query: Query| texts(&index.search(&query).unwrap());
    for pod in ["web-1", "shop/web-1", "6a1f"] {
        assert_eq!(found(Query { pod: vec![pod.into()], ..query() }), ["SELECT web"], "{pod}");
    }
    for pod in ["web", "other/web-1", "/web-1", "1f"] {
        assert_eq!(found(Query { pod: vec![pod.into()], ..query() }), [""; 0], "{pod}");
    }
    for words in ["nightly.py", "jobs", "python3 all"] {
        let wanted = Query { command: vec![words.into()], ..query() };
        assert_eq!(found(wanted), ["SELECT web"], "{words}");
    }
    assert_eq!(found(Query { command: vec!["nightly other".into()], ..query() }), [""; 0]);
    // A statement's words are its own.
    assert_eq!(found(Query { words: Some("nightly".into()), ..query() }), [""; 0]);
}

#[test]
fn what_was_learnt_later_finds_what_went_before_and_replaces_nothing() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let nameless = |pid: u32, uid: u32, started: u64| {
        let mut flow = samples::flow();
        flow.id.cookie = started + u64::from(uid);
        (flow.process.key.tgid, flow.process.key.started) = (pid, started);
        (flow.process.uid, flow.process.user) = (uid, None);
        flow.process.workload = crate::model::Workload::default();
        flow.process.workload.container = Some("c".into());
        flow
    };
    let fact = |name: &str, value: &str| Attribute {
        name: name.into(),
        value: value.into(),
        origin: Origin::Host,
        confidence: Confidence::Certain,
    };
    let all = [
        (nameless(700, 1200, 9_000_000_000), "SELECT hers"),
        // The same number: by another user, and at another time.
        (nameless(700, 1300, 9_000_000_000), "SELECT his"),
        (nameless(700, 1200, 8_000_000_000), "SELECT earlier"),
    ];
    let learnt = Enriched {
        process: all[0].0.process.clone(),
        boot: all[0].0.actor.boot.clone(),
        facts: vec![
            fact("user", "alice"),
            fact("image", "registry:5000/shop/web:1"),
            fact("namespace", "shop"),
            fact("pod_name", "web-1"),
        ],
    };
    for (serial, (flow, sql)) in (0..).zip(&all) {
        run(&log.connection(Arc::new(flow.clone())), &log, serial, sql, vec![]);
    }
    log.tell(Body::Enriched, &crate::audit::render::parsed(&learnt.event())).unwrap();
    let again = Arc::new(Flow { rule: "again".into(), ..all[0].0.clone() });
    run(&log.connection(again), &log, 9, "SELECT after", vec![]);
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    index.catch_up(&mut || true).unwrap();
    let found = |query: Query| texts(&index.search(&query).unwrap());
    let one = |text: &str| vec![text.to_owned()];
    let hers = ["SELECT after", "SELECT hers"];
    assert_eq!(found(Query { user: one("alice"), ..query() }), hers);
    assert_eq!(found(Query { command: one("shop/web"), ..query() }), hers);
    for pod in ["web-1", "shop/web-1"] {
        assert_eq!(found(Query { pod: one(pod), ..query() }), hers, "{pod}");
    }
    for pod in ["shop", "other/web-1"] {
        assert_eq!(found(Query { pod: one(pod), ..query() }), [""; 0], "{pod}");
    }
    assert_eq!(found(Query { user: one("bob"), ..query() }), [""; 0]);
    assert_eq!(found(Query { user: one("registry:5000/shop/web:1"), ..query() }), [""; 0]);
    // The record itself is found by who it was; the process stays as it was told.
    let hits = index.search(&Query { user: one("alice"), ..query() }).unwrap();
    let told = hits.iter().find(|hit| hit.kind == "enriched").unwrap();
    assert_eq!(told.facts.as_ref().unwrap()["facts"][0]["value"], "alice");
    let before = hits.iter().find(|hit| hit.kind == "statement").unwrap();
    assert!(before.process.as_ref().unwrap()["user"].is_null());
}

#[test]
fn a_number_that_was_given_again_is_told_apart_by_start_and_boot() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let boots = ["0f0e6e3c-1", "77aa6e3c-2"];
    let all = [
        (9_000_000_123, boots[0], 8),
        (50_000_000_000, boots[0], 40),
        (9_000_000_123, boots[1], 8),
    ];
    for (serial, (started, boot, above)) in (0..).zip(all) {
        let mut flow = samples::flow();
        flow.id.cookie = serial;
        flow.process.key.tgid = 100;
        flow.process.key.started = started;
        let actor = Arc::make_mut(&mut flow.actor);
        actor.boot = boot.into();
        actor.ancestry[0].started = above * 1_000_000_000;
        run(&log.connection(Arc::new(flow)), &log, serial, &format!("SELECT {serial}"), vec![]);
    }
    run(&log.connection(flow(200, Mode::Strict)), &log, 9, "SELECT 9", vec![]);
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    index.catch_up(&mut || true).unwrap();
    let process = |one: &str| Query { process: born(&[one]), oldest: true, ..query() };
    let tree = |one: &str| Query { tree: born(&[one]), oldest: true, ..query() };
    let found = |query: &Query| texts(&index.search(query).unwrap());
    assert_eq!(found(&process("100")), ["SELECT 0", "SELECT 1", "SELECT 2"]);
    assert_eq!(found(&process("100@50000000000")), ["SELECT 1"]);
    // As the clock of /proc tells it.
    assert_eq!(found(&process("100@9000000000")), ["SELECT 0", "SELECT 2"]);
    assert_eq!(found(&process("100@9000000000@77aa")), ["SELECT 2"]);
    assert_eq!(found(&tree("4000@40000000000")), ["SELECT 1"]);
    assert_eq!(found(&tree("4000@8000000000@0f0e6e3c-1")), ["SELECT 0"]);
    let told = index.ambiguous(&process("100")).unwrap();
    assert_eq!(
        told,
        ["100 was the number of 3 processes, and all are meant: 100@9000000123@0f0e6e3c, \
          100@50000000000@0f0e6e3c, 100@9000000123@77aa6e3c"]
    );
    assert_eq!(index.ambiguous(&tree("4000")).unwrap().len(), 1);
    for clear in [process("200"), process("100@1"), tree("200")] {
        assert_eq!(index.ambiguous(&clear).unwrap(), [""; 0]);
    }
}

#[test]
fn what_the_kernel_refused_is_found_by_who_it_was() {
    let filled = filled();
    let mut process = samples::flow().process;
    process.key.tgid = 300;
    process.user = Some("mallory".into());
    process.exe = Some("/usr/bin/nc".into());
    let event = |kind: EventKind| crate::model::Event {
        schema: crate::model::EVENT_SCHEMA,
        at: crate::model::Timestamp::now(),
        kind,
    };
    let destination = samples::flow().destination;
    for tgid in [300, 301] {
        process.key.tgid = tgid;
        let kind = EventKind::Refused {
            why: crate::model::RefusedWhy::DirectDial,
            process: Box::new(process.clone()),
            destination,
            netns: 1,
        };
        filled.log.tell(Body::Observed, &event(kind)).unwrap();
    }
    let failed = EventKind::Failed { flow: flow(302, Mode::Strict), error: "refused".into() };
    filled.log.tell(Body::Observed, &event(failed)).unwrap();
    let index = filled.index();
    let found = |query: Query| {
        let hits = index.search(&query).unwrap();
        let pid = |hit: &Hit| hit.process.as_ref().unwrap()["key"]["tgid"].as_u64().unwrap();
        hits.iter().rev().map(pid).collect::<Vec<_>>()
    };
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(found(Query { user: one("mallory"), ..query() }), [300, 301]);
    assert_eq!(found(Query { exe: one("nc"), ..query() }), [300, 301]);
    assert_eq!(found(Query { process: born(&["301"]), ..query() }), [301]);
    assert_eq!(found(Query { process: born(&["302"]), ..query() }), [302]);
    // With the statements that were refused.
    let refused = Query { verdict: vec![Verdict::Refused], ..query() };
    assert_eq!(found(refused), [100, 200, 300, 301]);
    let refused = Query { verdict: vec![Verdict::Refused], kinds: one("observed"), ..query() };
    let hits = index.search(&refused).unwrap();
    assert_eq!(hits[0].verdict, Some("refused"));
    assert_eq!(hits[0].flow.as_ref().unwrap()["destination"], destination.to_string());
    assert_eq!(hits[0].facts.as_ref().unwrap()["why"], "direct-dial");
}

#[test]
fn newest_first_oldest_first_and_no_more_than_asked() {
    let filled = filled();
    let index = filled.index();
    let newest = index.search(&Query { limit: 5, ..query() }).unwrap();
    assert_eq!(newest.len(), 5);
    assert!(newest.is_sorted_by(|a, b| a.at >= b.at));
    let first = Query { table: vec!["customers".into()], oldest: true, limit: 1, ..query() };
    let hits = index.search(&first).unwrap();
    assert_eq!(hits[0].process.as_ref().unwrap()["key"]["tgid"], 100);
    assert_eq!(hits[0].outcome.as_ref().unwrap().masked, counts("email 3 phone 1"));
    assert_eq!(hits[0].outcome.as_ref().unwrap().seen, counts("iban 2"));
    // It was allowed, and flagged.
    assert_eq!((&*hits[0].policies, &*hits[0].flagged), (&[][..], &["seen".to_owned()][..]));
}

#[test]
fn what_comes_later_is_taken_in_once_and_a_new_index_is_the_same() {
    let filled = filled();
    let mut index = filled.index();
    let connection = filled.log.connection(flow(100, Mode::Strict));
    let position = run(&connection, &filled.log, 99, "SELECT late FROM orders", vec![]);
    let taken = index.catch_up(&mut || true).unwrap().records;
    assert_eq!(taken, 2);
    assert_eq!(index.catch_up(&mut || true).unwrap().records, 0);
    let hits = index.search(&Query { words: Some("late".into()), ..query() }).unwrap();
    assert_eq!(hits[0].record.position, position);
    assert_eq!(hits[0].outcome.as_ref().unwrap().rows, 3);
    let before = index.search(&query()).unwrap();
    drop(index);
    std::fs::remove_dir_all(filled.scratch.0.join("index")).unwrap();
    assert_eq!(filled.index().search(&query()).unwrap(), before);
}

#[test]
fn sealing_changes_nothing_and_two_may_build() {
    let scratch = Scratch::new();
    let keeper = Keeper::new();
    let welcome = keeper.welcome(small());
    let log = Log::open(&scratch.0, &welcome).unwrap();
    let sequencer = Sequencer::start(&log, &welcome, Box::new(keeper)).unwrap();
    let connection = log.connection(flow(100, Mode::Strict));
    for serial in 0..50 {
        run(&connection, &log, serial, "SELECT a FROM t", vec![]);
    }
    let folder = Folder::new(&scratch.0);
    let (mut one, mut two) = (Index::open(&folder).unwrap(), Index::open(&folder).unwrap());
    assert_eq!(one.catch_up(&mut || true).unwrap().records, 100);
    assert_eq!(two.catch_up(&mut || true).unwrap().records, 0);
    drop(sequencer);
    assert_eq!(two.catch_up(&mut || true).unwrap().records, 0);
    assert_eq!(two.search(&query()).unwrap().len(), 50);
}

#[test]
fn what_a_text_of_several_statements_showed_adds_up() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(100, Mode::Strict));
    let subject = log.subject("SELECT a; SELECT b", Strings::Standard, None);
    let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
    let sealed = connection.intent(&statement).unwrap();
    type Cells<'c> = &'c [(&'c str, u64)];
    let parts: [(Cells<'_>, Cells<'_>); 3] =
        [(&[("email", 3)], &[]), (&[], &[("iban", 1)]), (&[("email", 2), ("phone", 1)], &[])];
    for (index, (masked, seen)) in (0..).zip(parts) {
        let ended = Outcome { index, rows: 5, bytes: 70, ..Outcome::new(Ending::Complete) };
        connection.outcome(&sealed, &Outcome { masked, seen, ..ended });
    }
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    index.catch_up(&mut || true).unwrap();
    for class in ["email", "phone", "iban"] {
        let hits = index.search(&Query { class: vec![class.into()], ..query() }).unwrap();
        let outcome = hits[0].outcome.as_ref().unwrap();
        assert_eq!((outcome.rows, outcome.bytes), (15, 210));
        assert_eq!(outcome.masked, counts("email 5 phone 1"));
        assert_eq!(outcome.seen, counts("iban 1"));
    }
}

#[test]
fn an_outcome_finds_its_intent_however_much_came_between() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(100, Mode::Strict));
    let subject = log.subject("SELECT slow FROM t", Strings::Standard, None);
    let asked = |serial| {
        let statement = Statement::new(serial, Way::Query, Some(&subject), Verdict::Allowed);
        connection.intent(&statement).unwrap()
    };
    let folder = Folder::new(&scratch.0);
    let mut index = Index::open(&folder).unwrap();
    let first: Vec<_> = (0..3).map(asked).collect();
    index.catch_up(&mut || true).unwrap();
    // Found before it has ended.
    let hits = index.search(&query()).unwrap();
    assert_eq!(hits.len(), 3);
    assert!(hits.iter().all(|hit| hit.outcome.is_none()));
    for serial in 100..600 {
        run(&connection, &log, serial, "SELECT a FROM t", vec![]);
    }
    let last = asked(1000);
    index.catch_up(&mut || true).unwrap();
    // By the one that took in the intent, and by one that knows nothing of it.
    let ended = |sealed, rows| {
        connection.outcome(sealed, &Outcome { rows, ..Outcome::new(Ending::Complete) });
    };
    ended(&first[1], 11);
    index.catch_up(&mut || true).unwrap();
    drop(index);
    ended(&first[0], 10);
    ended(&last, 13);
    ended(&first[2], 12);
    let mut index = Index::open(&folder).unwrap();
    index.catch_up(&mut || true).unwrap();
    let words = Query { words: Some("slow".into()), oldest: true, ..query() };
    let hits = index.search(&words).unwrap();
    let rows: Vec<i64> = hits.iter().map(|hit| hit.outcome.as_ref().unwrap().rows).collect();
    assert_eq!(rows, [10, 11, 12, 13]);
    // Nothing stands beside its statement.
    assert_eq!(index.search(&query()).unwrap().len(), 504);
}

#[test]
fn a_statement_is_found_by_the_trace_that_it_names() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(100, Mode::Strict));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    for (serial, comment) in [
        (1, String::new()),
        (2, format!("/*route='%2Forders',traceparent='{parent}'*/")),
        (3, format!("/*traceparent='{}'*/", parent.replace('4', "5"))),
    ] {
        let sql = format!("SELECT id FROM orders {comment}");
        run(&connection, &log, serial, &sql, vec![]);
    }
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    index.catch_up(&mut || true).unwrap();
    for said in [trace, &parent] {
        let hits = index.search(&Query { trace: vec![said.to_owned()], ..query() }).unwrap();
        let [hit] = hits.as_slice() else { panic!("{hits:?}") };
        let statement = hit.statement.as_ref().unwrap();
        assert_eq!(statement["serial"], 2);
        let says = serde_json::json!({
            "trace": trace, "span": "00f067aa0ba902b7", "tags": { "route": "/orders" },
        });
        assert_eq!(statement["says"], says);
    }
    let other = Query { trace: vec!["0".repeat(32)], ..query() };
    assert_eq!(index.search(&other).unwrap(), []);
}

#[test]
fn what_the_shadow_alone_kept_from_being_masked_is_found_by_its_verdict() {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(100, Mode::Strict));
    let subject = log.subject("SELECT a; SELECT b", Strings::Standard, None);
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    let asked = |serial, verdict| {
        let statement = Statement::new(serial, Way::Query, Some(&subject), verdict);
        connection.intent(&statement).unwrap()
    };
    let ended = |sealed: &Sealed, index: u32, would_mask: &[(&str, u64)]| {
        let seen = &[("email", 3), ("iban", 1)];
        let ended = Outcome { index, seen, ..Outcome::new(Ending::Complete) };
        connection.outcome(sealed, &Outcome { would_mask, ..ended });
    };
    // Of what may be seen nothing would have been masked.
    ended(&asked(1, Verdict::Allowed), 0, &[]);
    // What would not have been let through isn't only masked.
    ended(&asked(2, Verdict::WouldRefuse), 0, &[("email", 3)]);
    // Told at once, and when the intent was in the index already.
    let several = asked(3, Verdict::Allowed);
    ended(&several, 0, &[("email", 3)]);
    ended(&several, 1, &[("email", 1), ("iban", 1)]);
    let later = asked(4, Verdict::Allowed);
    index.catch_up(&mut || true).unwrap();
    ended(&later, 0, &[("email", 3)]);
    index.catch_up(&mut || true).unwrap();
    let would = Query { verdict: vec![Verdict::WouldMask], oldest: true, ..query() };
    let found: Vec<_> = index
        .search(&would)
        .unwrap()
        .into_iter()
        .map(|hit| (hit.verdict.unwrap(), hit.outcome.unwrap().would_mask))
        .collect();
    let told = ["email 4 iban 1", "email 3"].map(|cells| ("would_mask", counts(cells)));
    assert_eq!(found, told);
    let count = |verdict| index.search(&Query { verdict: vec![verdict], ..query() }).unwrap().len();
    assert_eq!((count(Verdict::Allowed), count(Verdict::WouldRefuse)), (1, 1));
}

#[test]
fn what_is_told_together_is_one_hit_that_says_how_many() {
    let scratch = Scratch::new();
    let terms = LogTerms { flood_rate: 1, flood_burst: 1, ..small() };
    let log = Log::open(&scratch.0, &Keeper::new().welcome(terms)).unwrap();
    let connection = log.connection(flow(100, Mode::Strict));
    connection.opened().unwrap();
    let mut index = Index::open(&Folder::new(&scratch.0)).unwrap();
    let run = |sql: &str, sqlstate: Option<&str>, seen: &[(&str, u64)]| {
        let subject = log.subject(sql, Strings::Standard, None);
        let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
        let sealed = connection.intent(&statement).unwrap();
        let ending = if sqlstate.is_some() { Ending::Failed } else { Ending::Complete };
        let outcome = Outcome { rows: 2, bytes: 9, sqlstate, seen, ..Outcome::new(ending) };
        connection.outcome(&sealed, &outcome);
    };
    let end = || log.shared().unwrap().end_sums(None).unwrap();
    for (count, seen) in [(5, "email"), (3, "email"), (1, "phone")] {
        for _ in 0..count {
            run("SELECT email FROM customers", None, &[(seen, 2)]);
        }
        // Whether its begin is in the index before its end comes or not.
        if count == 5 {
            index.catch_up(&mut || true).unwrap();
        }
    }
    run("SELECT email FROM customers", Some("57014"), &[]);
    run("SELECT email FROM customers", Some("57014"), &[]);
    run("SELECT email FROM customers", Some("40001"), &[]);
    let late = {
        let subject = log.subject("SELECT email FROM customers", Strings::Standard, None);
        let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Allowed);
        connection.intent(&statement).unwrap()
    };
    end();
    // One that ends when the sum has been told already.
    connection.outcome(
        &late,
        &Outcome { rows: 7, seen: &[("email", 7)], ..Outcome::new(Ending::Complete) },
    );
    run("SELECT id FROM orders", None, &[]);
    end();
    for index in [&mut index, &mut Index::aside(&Folder::new(&scratch.0)).unwrap().unwrap()] {
        index.catch_up(&mut || true).unwrap();
        let found = |query: Query| index.search(&query).unwrap();
        let hits = found(Query { seen: vec!["email".into()], ..query() });
        let [hit] = hits.as_slice() else { panic!("{hits:?}") };
        assert_eq!((hit.kind, hit.times), ("statement", Some(13)));
        assert_eq!(hit.statement.as_ref().unwrap()["reach"], "shape");
        let outcome = hit.outcome.as_ref().unwrap();
        assert_eq!((outcome.rows, outcome.ending), (12 * 2 + 7, None));
        let cells: Vec<_> = outcome.seen.iter().map(|(class, n)| (class.as_str(), *n)).collect();
        assert_eq!(cells, [("email", 16 + 7), ("phone", 2)]);
        assert_eq!(found(Query { seen: vec!["phone".into()], ..query() }).len(), 1);
        let words = |words: &str| Query { words: Some(words.into()), ..query() };
        assert_eq!(found(words("orders"))[0].times, Some(1));
        // Each of its failures is found.
        for state in ["57014", "40001"] {
            let hits = found(Query { sqlstate: vec![state.into()], ..words("customers") });
            assert_eq!(hits.len(), 1, "{state}: {hits:?}");
        }
    }
}
