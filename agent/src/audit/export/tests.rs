use super::*;
use crate::audit::Touched;
use crate::audit::frame::{self, Found};
use crate::audit::log::tests::{Keeper, Scratch, flow, small};
use crate::audit::{Ending, Log, Outcome, Sequencer, Statement, Verdict, Way};
use crate::model::{Carried, EventKind, Mode, RefusedWhy, samples};
use crate::sql::Strings;

fn written() -> Scratch {
    filled(false)
}

/// `connects`: also such as came to nothing.
fn filled(connects: bool) -> Scratch {
    let scratch = Scratch::new();
    let log = Log::open(&scratch.0, &Keeper::new().welcome(small())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    connection.opened().unwrap();
    let carried = Carried {
        database: Some("shop".into()),
        role: Some("=cmd|' /C calc'!A1".into()),
        ..Carried::default()
    };
    connection.session(&carried).unwrap();
    let subject = log
        .subject("SELECT \"a\u{1b}[31m\", 'x,y' FROM t\u{202e}", Strings::Standard, None)
        .touching(vec![Touched { table: "t".into(), ..Touched::default() }]);
    let statement = Statement::new(1, Way::Query, Some(&subject), Verdict::Refused);
    let sealed = connection.intent(&statement).unwrap();
    let outcome = Outcome { sqlstate: Some("42501"), ..Outcome::new(Ending::Refused) };
    connection.outcome(&sealed, &outcome);
    let observed = |kind| crate::model::Event {
        schema: crate::model::EVENT_SCHEMA,
        at: crate::model::Timestamp::now(),
        kind,
    };
    let refused = EventKind::Refused {
        why: RefusedWhy::DirectDial,
        process: Box::new(samples::flow().process),
        destination: samples::flow().destination,
        netns: 1,
    };
    let failed = EventKind::Failed { flow: flow(9, Mode::Strict), error: "no route".into() };
    for kind in [refused, failed].into_iter().filter(|_| connects) {
        log.tell(crate::audit::record::Body::Observed, &observed(kind)).unwrap();
    }
    log.tell(crate::audit::record::Body::Agent, &serde_json::json!({ "what": "started" })).unwrap();
    scratch
}

fn lines(form: Form, span: Span) -> Vec<String> {
    let scratch = filled(true);
    let mut out = Vec::new();
    export(&Folder::new(&scratch.0), form, span, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(ToOwned::to_owned).collect()
}

fn is_harmless(line: &str) {
    assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
}

#[test]
fn json_lines_hold_every_record_with_what_it_refers_to() {
    let lines = lines(Form::Jsonl, (None, None));
    assert_eq!(lines.len(), 7);
    for line in &lines {
        is_harmless(line);
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["schema"], 1);
        if !["agent", "observed"].iter().any(|kind| record["kind"] == *kind) {
            assert_eq!(record["process"]["comm"], "psql");
            assert_eq!(record["flow"]["rule"], "db.example:5432");
        }
    }
    let statement: Value = serde_json::from_str(&lines[2]).unwrap();
    assert_eq!(statement["statement"]["verdict"], "refused");
    assert_eq!(statement["statement"]["touched"][0]["table"], "t");
    let outcome: Value = serde_json::from_str(&lines[3]).unwrap();
    assert_eq!(outcome["outcome"]["of"], statement["record"]);
}

#[test]
fn a_time_bounds_an_export() {
    assert!(lines(Form::Jsonl, (Some(u64::MAX), None)).is_empty());
    assert!(lines(Form::Jsonl, (None, Some(1))).is_empty());
    assert_eq!(lines(Form::Jsonl, (Some(1), Some(u64::MAX))).len(), 7);
}

#[test]
fn a_sheet_has_a_field_for_each_column_and_no_formulas() {
    let lines = lines(Form::Csv, (None, None));
    assert_eq!(lines.len(), 8);
    for line in &lines {
        is_harmless(line);
        // Quoted fields hold no line breaks: count what stands between commas.
        let (mut fields, mut quoted) = (1, false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => fields += 1,
                _ => {}
            }
        }
        assert_eq!((fields, quoted), (COLUMNS.len(), false), "{line}");
    }
    assert!(lines[2].contains("\"'=cmd|"), "{}", lines[2]);
    // Each of a connection's records says as whom and where, its first apart.
    let at = |name: &str| COLUMNS.iter().position(|(known, _)| *known == name).unwrap();
    let field = |line: &str, name: &str| line.split(',').nth(at(name)).unwrap().to_owned();
    for line in &lines[2..5] {
        assert_eq!(field(line, "database"), "shop", "{line}");
        assert!(field(line, "role").contains("=cmd|"), "{line}");
        assert!(!field(line, "client").is_empty(), "{line}");
    }
    let kind = samples::flow().actor.kind.word();
    assert!(lines[1..5].iter().all(|line| field(line, "actor_kind") == kind), "{lines:?}");
}

/// What version 1.6 of the schema requires of class 6005 and of the objects in
/// it, written down from the schema's own files.
#[test]
fn ocsf_events_have_all_that_is_required() {
    let required: &[(&str, &[&str])] = &[
        (
            "",
            &[
                "activity_id",
                "category_uid",
                "class_uid",
                "metadata",
                "severity_id",
                "time",
                "type_uid",
                "actor",
                "src_endpoint",
            ],
        ),
        ("/metadata", &["product", "version"]),
        ("/metadata/product", &["vendor_name"]),
        ("/database", &["type_id"]),
        ("/query_info", &["query_string"]),
        ("/actor/process/file", &["name", "type_id"]),
    ];
    let lines = lines(Form::Ocsf, (None, None));
    // The agent's own start is no datastore's activity.
    assert_eq!(lines.len(), 6);
    for line in &lines {
        is_harmless(line);
        let event: Value = serde_json::from_str(line).unwrap();
        for (object, fields) in required {
            let Some(object) = event.pointer(object) else { continue };
            for field in *fields {
                assert!(object.get(field).is_some_and(|value| !value.is_null()), "{field}: {line}");
            }
        }
        let number = |field: &str| event[field].as_u64().unwrap();
        assert_eq!((number("class_uid"), number("category_uid")), (6005, 6));
        assert_eq!(number("type_uid"), 600_500 + number("activity_id"));
        assert!((0..=8).contains(&number("activity_id")) || number("activity_id") == 99);
        assert!(number("time") > 1_000_000_000_000, "milliseconds");
        // At least one of each.
        assert!(["database", "databucket", "table"].iter().any(|one| event.get(one).is_some()));
        assert!(["process", "user"].iter().any(|one| event["actor"].get(one).is_some()));
        let endpoint = ["ip", "uid", "name", "hostname", "svc_name", "instance_uid"];
        assert!(endpoint.iter().any(|one| event["src_endpoint"].get(one).is_some()));
        if let Some(process) = event["actor"].get("process") {
            assert!(process.get("pid").is_some() || process.get("uid").is_some());
        }
    }
    let statement: Value = serde_json::from_str(&lines[2]).unwrap();
    assert_eq!(statement["status_id"], 2, "refused");
    assert_eq!(statement["severity_id"], 3);
    let user = &statement["actor"]["user"];
    assert_eq!(user["account"]["name"], "=cmd|' /C calc'!A1");
    assert_eq!(user["type"], samples::flow().actor.kind.word());
    // The settings' name of the database is not the database's.
    assert_eq!(statement["database"]["name"], "shop");
    assert_eq!(statement["database"]["uid"], "db.example:5432");
    for (line, detail) in lines[4..].iter().zip(["direct-dial", "no route"]) {
        let connect: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&connect["activity_id"], &connect["status_id"]), (&3.into(), &2.into()));
        assert_eq!(connect["status_detail"], detail);
        assert!(connect["dst_endpoint"]["port"].is_u64(), "{line}");
        assert!(connect["actor"]["process"]["pid"].is_u64(), "{line}");
    }
}

/// A session may be older than the time that is asked for, and its segment be sealed.
#[test]
fn a_statement_knows_the_session_of_before_the_exports_time() {
    let (scratch, keeper) = (Scratch::new(), Keeper::new());
    let welcome = keeper.welcome(small());
    let log = Log::open(&scratch.0, &welcome).unwrap();
    let sequencer = Sequencer::start(&log, &welcome, Box::new(keeper.clone())).unwrap();
    let connection = log.connection(flow(7, Mode::Strict));
    connection.opened().unwrap();
    let carried = Carried { role: Some("app".into()), ..Carried::default() };
    connection.session(&carried).unwrap();
    let parameter = "x".repeat(900);
    let parameters: Vec<_> =
        (0..8).map(|_| crate::audit::Parameter::Value((&*parameter).into())).collect();
    let mut since = 0;
    for serial in 0..3_000 {
        if serial == 2_990 {
            since = crate::model::Timestamp::now().0 / 1_000;
        }
        let sql = format!("SELECT $1, $2, $3, $4, $5, $6, $7, $8, {serial}");
        let subject = log.subject(&sql, Strings::Standard, None);
        let statement = Statement {
            parameters: &parameters,
            ..Statement::new(serial, Way::Query, Some(&subject), Verdict::Allowed)
        };
        let _ = connection.intent(&statement).unwrap();
    }
    drop(sequencer);
    let folder = Folder::new(&scratch.0);
    let (_, first) = segments::files(&folder).unwrap().pop_first().unwrap();
    if first.extension().is_some_and(|extension| extension == "live") {
        let bytes = std::fs::read(&first).unwrap();
        let (_, end) = segments::places(&bytes, frame::SEGMENT_HEAD);
        crate::audit::store::sealed::seal(&folder, &first, &bytes[..end]).unwrap();
    }
    let Some(Segment::Sealed(first)) = Segment::still(&first).unwrap() else { panic!() };
    assert!(first.latest < since, "{} {since}", first.latest);
    let mut out = Vec::new();
    export(&folder, Form::Jsonl, (Some(since), None), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.len() >= 10, "{}", records.len());
    for record in records {
        assert_eq!(record["session"]["role"], "app", "{record}");
    }
}

/// A moment in which it is being sealed: both files are there.
#[test]
fn a_record_is_told_once_while_its_segment_is_being_sealed() {
    let scratch = written();
    let folder = Folder::new(&scratch.0);
    let live = segments::paths(&folder).unwrap().remove(0);
    let bytes = std::fs::read(&live).unwrap();
    let (_, end) = segments::places(&bytes, crate::audit::frame::SEGMENT_HEAD);
    crate::audit::store::sealed::seal(&folder, &live, &bytes[..end]).unwrap();
    assert!(!live.exists());
    std::fs::write(&live, &bytes).unwrap();
    let mut out = Vec::new();
    assert_eq!(export(&folder, Form::Jsonl, (None, None), &mut out).unwrap().records, 5);
    // … and just afterwards, for who has seen the live one in the list.
    std::fs::remove_file(&live).unwrap();
    assert_eq!(Segment::still(&live).unwrap().unwrap().count(), 8);
    std::fs::remove_file(live.with_extension("sealed")).unwrap();
    assert!(Segment::still(&live).unwrap().is_none());
}

#[test]
fn what_cannot_be_read_is_counted_and_keeps_nothing_back() {
    let scratch = written();
    let folder = Folder::new(&scratch.0);
    let live = segments::paths(&folder).unwrap().remove(0);
    let bytes = std::fs::read(&live).unwrap();
    let (places, end) = segments::places(&bytes, frame::SEGMENT_HEAD);
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for place in &places {
        let Found::Record { payload, .. } = frame::at(&bytes, *place) else { panic!() };
        payloads.push(payload.to_vec());
    }
    let told = |payloads: &[Vec<u8>]| {
        let mut changed = bytes[..frame::SEGMENT_HEAD].to_vec();
        payloads.iter().for_each(|payload| frame::push(payload, &mut changed));
        std::fs::write(&live, changed).unwrap();
        let exported = export(&folder, Form::Jsonl, (None, None), &mut Vec::new()).unwrap();
        (exported.records, exported.unread, exported.broken.len())
    };
    assert_eq!((told(&payloads), end), ((5, 0, 0), end));
    // A kind of a newer tidegate, text that is none, and one in another's place.
    let last = payloads.len() - 1;
    let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut payloads = payloads.clone();
        change(&mut payloads);
        told(&payloads)
    };
    assert_eq!(changed(&|payloads| payloads[last][1] = 63), (4, 1, 0));
    assert_eq!(changed(&|payloads| payloads[last][0] = 9), (4, 1, 0));
    assert_eq!(changed(&|payloads| payloads[0][8] = 0xff), (5, 1, 0));
    assert_eq!(changed(&|payloads| payloads.push(payloads[last].clone())), (5, 1, 0));
    // A segment that is none doesn't keep the others back, nor does a damaged block.
    std::fs::write(folder.sealed(0, 0), b"TGSEAL").unwrap();
    assert_eq!(told(&payloads), (5, 0, 1));
    std::fs::remove_file(folder.sealed(0, 0)).unwrap();
    let whole = std::fs::read(&live).unwrap();
    let sealed = crate::audit::store::sealed::seal(&folder, &live, &whole).unwrap();
    let mut bytes = std::fs::read(&sealed).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&sealed, bytes).unwrap();
    let exported = export(&folder, Form::Jsonl, (None, None), &mut Vec::new()).unwrap();
    assert_eq!((exported.records, exported.unread), (0, payloads.len() as u64));
}
