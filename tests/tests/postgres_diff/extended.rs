//! The extended protocol: statements, portals, formats, pipelines.

use anyhow::{Context, Result, ensure};
use tidegate_tests::diff::{Stage, Way};
use tidegate_tests::wire::message::{
    BINARY, TEXT, bind, close, describe, execute, flush, once, parse, query, sync,
};

use super::{Scenario, open_house, scenarios};

#[test]
fn extended_queries() -> Result<()> {
    scenarios(&Stage::new(open_house().start()?)?, SCENARIOS)
}

pub(super) const SCENARIOS: &[(&str, Scenario)] = &[
    ("statements", statements),
    ("every type in binary", types),
    ("portals", portals),
    ("pipelines", pipelines),
    ("a long pipeline", long_pipeline),
    ("what does not fit", misfits),
];

fn statements(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("CREATE TEMP TABLE t (id int, name text, at timestamptz)")?;
    for format in [TEXT, BINARY] {
        one.ask(
            &[once("SELECT $1::int8 + 1, $2::text", &[Some(b"41"), None], format), sync()].concat(),
        )?;
    }
    one.ask(
        &[parse("s", "SELECT * FROM t WHERE id = $1", &[23]), describe(b'S', "s"), sync()].concat(),
    )?;
    one.query("INSERT INTO t VALUES (1, 'one', '2001-02-03'), (2, NULL, NULL)")?;
    for id in ["1", "2", "3"] {
        one.ask(
            &[
                bind("", "s", TEXT, &[Some(id.as_bytes())], BINARY),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ]
            .concat(),
        )?;
    }
    // The table changes under the statement.
    one.query("ALTER TABLE t ADD COLUMN more int DEFAULT 7")?;
    one.ask(&[bind("", "s", TEXT, &[Some(b"1")], TEXT), execute("", 0), sync()].concat())?;
    one.ask(&[parse("s", "SELECT 1", &[]), sync()].concat())?;
    one.ask(
        &[close(b'S', "s"), parse("s", "SELECT 'new'", &[]), describe(b'S', "s"), sync()].concat(),
    )?;
    one.ask(&[close(b'S', "never was"), close(b'P', "neither"), sync()].concat())?;
    one.ask(&[parse("", "", &[]), bind("", "", TEXT, &[], TEXT), execute("", 0), sync()].concat())?;
    one.ask(&[parse("many", "SELECT 1; SELECT 2", &[]), sync()].concat())?;
    one.ask(
        &[
            parse("i", "INSERT INTO t VALUES ($1, $2, $3) RETURNING *", &[]),
            describe(b'S', "i"),
            bind("p", "i", TEXT, &[Some(b"9"), Some(b""), None], TEXT),
            describe(b'P', "p"),
            execute("p", 0),
            close(b'P', "p"),
            sync(),
        ]
        .concat(),
    )?;
    one.query("SELECT name, statement FROM pg_prepared_statements ORDER BY name")?;
    one.query("DEALLOCATE ALL")?;
    one.ask(&[bind("", "i", TEXT, &[], TEXT), sync()].concat())?;
    one.leave()
}

/// A value of each base type: in text to binary, then that binary back in.
fn types(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    for (kind, value) in [
        ("bool", "t"),
        ("bytea", "\\x00017fff"),
        ("\"char\"", "q"),
        ("name", "a_name"),
        ("int8", "-9223372036854775808"),
        ("int2", "-32768"),
        ("int2vector", "1 2 3"),
        ("int4", "2147483647"),
        ("regproc", "1299"),
        ("text", "Füße €"),
        ("oid", "4294967295"),
        ("tid", "(42,7)"),
        ("xid", "3000000000"),
        ("cid", "5"),
        ("oidvector", "1 2"),
        ("json", "{\"a\": [1, null]}"),
        ("jsonb", "{\"b\": {\"c\": 1.5}}"),
        ("jsonpath", "$.a[*] ? (@ > 1)"),
        ("xid8", "18446744073709551615"),
        ("point", "(1.5,-2)"),
        ("lseg", "[(0,0),(1,1)]"),
        ("path", "((0,0),(1,2),(3,1))"),
        ("box", "(3,4),(1,2)"),
        ("polygon", "((0,0),(1,2),(3,1))"),
        ("line", "{1,-1,0.5}"),
        ("cidr", "10.1.0.0/16"),
        ("inet", "2001:db8::1/64"),
        ("macaddr", "08:00:2b:01:02:03"),
        ("macaddr8", "08:00:2b:01:02:03:04:05"),
        ("float4", "3.4e38"),
        ("float8", "-1.7976931348623157e308"),
        ("money", "12345.67"),
        ("bpchar(5)", "ab"),
        ("varchar(9)", "varying"),
        ("date", "4713-01-01 BC"),
        ("time", "23:59:59.999999"),
        ("timestamp", "infinity"),
        ("timestamptz", "2024-02-29 12:34:56.789+05:30"),
        ("interval", "1 year -2 mons 3 days 04:05:06.7"),
        ("timetz", "12:00:00-08"),
        ("bit(7)", "1010101"),
        ("varbit", "110"),
        ("numeric", "-12345678901234567890.000000000123456789"),
        ("numeric", "NaN"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("pg_lsn", "16/B374D848"),
        ("tsvector", "'fat':2,4 'rat':5A"),
        ("tsquery", "'fat' & ( 'rat' | !'cat' )"),
        ("txid_snapshot", "10:20:10,14,15"),
        ("pg_snapshot", "10:20:10,14,15"),
        ("int4range", "[1,10)"),
        ("numrange", "(,5.5]"),
        ("tstzrange", "[2020-01-01,2021-01-01)"),
        ("datemultirange", "{[2020-01-01,2020-02-01),[2021-01-01,)}"),
        ("regclass", "pg_class"),
        ("regtype", "integer"),
        ("regrole", "app"),
        ("int4[]", "{{1,2},{NULL,4}}"),
        ("text[]", "{a,\"b,c\",NULL,\"\"}"),
        ("numeric[]", "[0:1]={1.1,2.2}"),
        ("bytea[]", "{\"\\\\x00\",NULL}"),
        ("xml", "<a>b</a>"),
        ("pg_catalog.pg_type[]", "{}"),
    ] {
        one.mark(kind);
        let sql = format!("SELECT $1::{kind} AS v, NULL::{kind} AS n");
        let messages =
            one.ask(&[once(&sql, &[Some(value.as_bytes())], BINARY), sync()].concat())?;
        let row = messages.iter().find(|message| message.kind == b'D');
        let Some(row) = row else {
            // Built without it, such as xml: the same error by both ways.
            ensure!(messages.iter().any(|message| message.kind == b'E'), "{kind}: {messages:?}");
            continue;
        };
        let binary = row.columns()?.into_iter().next().flatten().context("no value")?;
        let back = one.ask(
            &[
                parse("", &sql, &[]),
                bind("", "", BINARY, &[Some(&binary)], BINARY),
                execute("", 0),
                sync(),
            ]
            .concat(),
        )?;
        if let Some(row) = back.iter().find(|message| message.kind == b'D') {
            ensure!(row.columns()?.first() == Some(&Some(binary)), "{kind} came back another");
        }
    }
    // A record, and a composite type of one's own.
    one.query("CREATE TYPE pg_temp.pair AS (a int, b text)")?;
    for sql in [
        "SELECT ROW(1, 'x', NULL)",
        "SELECT (1, 'y')::pg_temp.pair, ARRAY[(2, NULL)::pg_temp.pair]",
    ] {
        // Its number is in the value: as text it is not.
        one.ask(&[once(sql, &[], TEXT), sync()].concat())?;
    }
    one.leave()
}

fn portals(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    let rows = "SELECT n, repeat('r', n % 300) FROM generate_series(1, 1000) n";
    for limit in [1, 10, 333, 999, 1000, 1001] {
        one.mark(&format!("{limit} at a time"));
        one.send(&[parse("", rows, &[]), bind("p", "", TEXT, &[], BINARY), flush()].concat())?;
        one.until(b'2')?;
        let mut turns = 0;
        loop {
            one.send(&[execute("p", limit), flush()].concat())?;
            let last = loop {
                let message = one.receive()?.context("it ended")?;
                if matches!(message.kind, b's' | b'C' | b'E') {
                    break message.kind;
                }
            };
            turns += 1;
            if last != b's' {
                break;
            }
        }
        one.mark(&format!("{turns} turns"));
        one.ask(&[close(b'P', "p"), sync()].concat())?;
    }
    one.query("BEGIN")?;
    // Two at once, across Syncs, within a transaction.
    one.ask(
        &[
            parse("s", rows, &[]),
            bind("a", "s", TEXT, &[], TEXT),
            bind("b", "s", TEXT, &[], BINARY),
            execute("a", 3),
            execute("b", 4),
            sync(),
        ]
        .concat(),
    )?;
    one.ask(&[execute("a", 2), execute("b", 0), execute("b", 1), sync()].concat())?;
    one.ask(&[bind("a", "s", TEXT, &[], TEXT), sync()].concat())?;
    one.query("ROLLBACK")?;
    one.ask(&[execute("a", 1), sync()].concat())?;
    one.query("BEGIN")?;
    one.query("DECLARE c CURSOR FOR SELECT 1 AS one")?;
    one.ask(&[describe(b'P', "c"), execute("c", 0), sync()].concat())?;
    one.query("COMMIT")?;
    // An unnamed portal ends with its transaction.
    one.ask(
        &[parse("", rows, &[]), bind("", "", TEXT, &[], TEXT), execute("", 5), sync()].concat(),
    )?;
    one.ask(&[execute("", 5), sync()].concat())?;
    one.leave()
}

fn pipelines(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    one.query("CREATE TEMP TABLE t (id int PRIMARY KEY)")?;
    let insert = |id: &'static str| once("INSERT INTO t VALUES ($1)", &[Some(id.as_bytes())], TEXT);
    one.mark("all well");
    one.ask(&[insert("1"), insert("2"), insert("3"), sync()].concat())?;
    one.mark("an error in the middle undoes what came before and skips what follows");
    one.ask(&[insert("4"), insert("4"), insert("5"), flush(), insert("6"), sync()].concat())?;
    one.query("SELECT count(*) FROM t")?;
    one.mark("several Syncs in one go");
    one.send(
        &[
            insert("7"),
            sync(),
            insert("7"),
            insert("8"),
            sync(),
            insert("9"),
            sync(),
            sync(),
            query("SELECT array_agg(id ORDER BY id) FROM t"),
            once("SELEC", &[], TEXT),
            parse("named", "SELECT 1", &[]),
            sync(),
            bind("", "named", TEXT, &[], TEXT),
            execute("", 0),
            sync(),
        ]
        .concat(),
    )?;
    for _ in 0..7 {
        one.until(b'Z')?;
    }
    one.mark("errors in each step");
    for broken in [
        parse("", "SELECT nonsense", &[]),
        [parse("", "SELECT $1::int", &[]), bind("", "", TEXT, &[Some(b"x")], TEXT)].concat(),
        [parse("", "SELECT $1::int", &[]), bind("", "", BINARY, &[Some(b"abc")], TEXT)].concat(),
        [parse("", "SELECT $1::int", &[]), bind("", "", TEXT, &[], TEXT)].concat(),
        [
            parse("", "SELECT 1/$1::int", &[]),
            bind("", "", TEXT, &[Some(b"0")], TEXT),
            execute("", 0),
        ]
        .concat(),
        describe(b'S', "no such"),
        describe(b'P', "no such"),
        execute("no such", 0),
        bind("", "no such", TEXT, &[], TEXT),
    ] {
        one.ask(&[broken, once("SELECT 'skipped'", &[], TEXT), sync()].concat())?;
    }
    one.mark("a transaction's words within a pipeline");
    one.ask(
        &[
            once("BEGIN", &[], TEXT),
            insert("20"),
            once("COMMIT", &[], TEXT),
            once("BEGIN", &[], TEXT),
            insert("20"),
            once("ROLLBACK", &[], TEXT),
            sync(),
        ]
        .concat(),
    )?;
    one.query("ROLLBACK")?;
    one.mark("a simple query among extended ones, without a Sync");
    one.send(&[parse("", "SELECT 5", &[]), query("SELECT 6"), sync()].concat())?;
    one.until(b'Z')?;
    one.until(b'Z')?;
    one.mark("rows that come before the error");
    one.ask(
        &[once("SELECT 10/(50 - n) FROM generate_series(1, 100) n", &[], TEXT), sync()].concat(),
    )?;
    one.leave()
}

/// Answers are read while requests are still being sent.
fn long_pipeline(way: &mut Way<'_>) -> Result<()> {
    let mut one = way.open("one")?;
    for round in 0..50 {
        let mut bytes = Vec::new();
        for step in 0..100 {
            let name = format!("s{round}_{step}");
            bytes.extend(parse(&name, "SELECT $1::int AS n, repeat('z', $1)", &[]));
            bytes.extend(bind("", &name, TEXT, &[Some(step.to_string().as_bytes())], TEXT));
            bytes.extend(describe(b'P', ""));
            bytes.extend(execute("", 0));
            bytes.extend(close(b'S', &name));
        }
        bytes.extend(sync());
        one.ask(&bytes)?;
    }
    one.query("SELECT count(*) FROM pg_prepared_statements")?;
    one.leave()
}

/// Requests that the server knows how to refuse.
fn misfits(way: &mut Way<'_>) -> Result<()> {
    use tidegate_tests::wire::message::typed;
    let mut one = way.open("one")?;
    one.mark("CopyData, CopyDone and CopyFail outside of a COPY are passed over");
    one.send(&[typed(b'd', b"abc"), typed(b'c', b""), typed(b'f', b"x\0")].concat())?;
    one.query("SELECT 1")?;
    one.mark("a count of formats that fits nothing");
    let mut body = b"\0\0".to_vec();
    body.extend([0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'5', 0, 0]);
    one.ask(&[parse("", "SELECT $1::int", &[]), typed(b'B', &body), sync()].concat())?;
    one.mark("the largest number of parameters");
    let places: Vec<String> = (1..=1000).map(|n| format!("${n}::int")).collect();
    let sql = format!("SELECT {}", places.join(" + "));
    let values = vec![Some(b"1".as_slice()); 1000];
    one.ask(&[once(&sql, &values, TEXT), sync()].concat())?;
    one.leave()
}
