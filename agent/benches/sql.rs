//! Facts of a point lookup, an ORM's select and a report: read anew and from the
//! cache. `cargo bench --bench sql`; one line a case, the same as JSON with `--json`,
//! and `--check` fails where a promise is broken.

#[path = "shared/measure.rs"]
mod measure;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use measure::{Report, Took};
use tidegate::sql::{Cache, Cell, LexingState, cell};

const LOOKUP: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";

/// The same with its value in the text, as half of all drivers send it: another text each
/// time.
const LITERAL: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = ";

const ORM: &str = r#"SELECT "users"."id" AS t0_r0, "users"."email" AS t0_r1, "users"."name" AS t0_r2,
"users"."created_at" AS t0_r3, "users"."updated_at" AS t0_r4, "orders"."id" AS t1_r0,
"orders"."user_id" AS t1_r1, "orders"."total" AS t1_r2, "orders"."state" AS t1_r3,
"orders"."created_at" AS t1_r4 FROM "users" LEFT OUTER JOIN "orders" ON "orders"."user_id" =
"users"."id" AND "orders"."deleted_at" IS NULL WHERE "users"."account_id" = $1 AND
"users"."state" IN ('active', 'invited') AND "users"."deleted_at" IS NULL
ORDER BY "users"."created_at" DESC LIMIT $2 OFFSET $3"#;

const REPORT: &str = "with monthly as (select date_trunc('month', o.created_at) as month, \
c.region, sum(o.total) as revenue, count(distinct o.customer_id) as buyers from orders o \
join customers c on c.id = o.customer_id where o.created_at >= now() - interval '1 year' \
and o.state = 'paid' group by 1, 2), ranked as (select month, region, revenue, buyers, \
rank() over (partition by month order by revenue desc) as place, lag(revenue) over \
(partition by region order by month) as before from monthly) select r.month, r.region, \
r.revenue, r.buyers, r.place, round(100 * (r.revenue - r.before) / nullif(r.before, 0), 1) \
as growth, coalesce(t.target, 0) as target from ranked r left join targets t on \
t.region = r.region and t.month = r.month where r.place <= 10 order by r.month, r.place";

/// What facts may cost: of an OLTP statement read anew, and of any that was read before.
const COLD: Duration = Duration::from_micros(15);
const CACHED: Duration = Duration::from_micros(1);

fn main() -> std::io::Result<ExitCode> {
    let mut report = Report::new("sql");
    let cell = Cell::start(cell::Settings::default())?;
    let cache = Cache::new(64 * 1024 * 1024);
    let state = LexingState::default();
    let cold = [("lookup", LOOKUP, Some(COLD)), ("orm", ORM, Some(COLD)), ("report", REPORT, None)];
    for (case, text, bound) in cold {
        if report.wants(None) {
            let grammar = Took::of(|| drop(black_box(pg_raw_parse::parse(text))));
            report.line(case, "grammar", &grammar, None);
        }
        let text = text.as_bytes();
        if report.wants(bound) {
            let cold = Took::of(|| drop(black_box(Cell::quick(text, &state))));
            report.line(case, "cold", &cold, bound);
        }
        let (facts_tx, facts_rx) = std::sync::mpsc::sync_channel(1);
        let through_worker = || {
            let facts_tx = facts_tx.clone();
            let reply = Box::new(move |_: &[u8], facts| drop(facts_tx.send(facts)));
            cell.submit(text.into(), &state, reply);
            drop(black_box(facts_rx.recv()));
        };
        if report.wants(None) {
            report.line(case, "worker", &Took::of(through_worker), None);
        }
        cache.put(text, &state, &Arc::new(cell.read(text, &state)));
        let cached = Took::of(|| drop(black_box(cache.get(text, &state))));
        report.line(case, "cached", &cached, Some(CACHED));
    }
    let first = format!("{LITERAL}1;");
    cache.put(first.as_bytes(), &state, &Arc::new(cell.read(first.as_bytes(), &state)));
    let others: Vec<String> = (1_000..2_000).map(|id| format!("{LITERAL}{id};")).collect();
    let mut others = others.iter().cycle();
    let found = Took::of(|| {
        let found = others.next().and_then(|text| cache.get(text.as_bytes(), &state));
        assert!(black_box(found).is_some(), "it was taken for another statement");
    });
    report.line("literal", "cached", &found, Some(CACHED));
    if !report.wants(None) {
        return Ok(report.outcome());
    }
    let hostile = [
        ("or-chain", format!("select 1 where 1=1{}", " or 1=1".repeat(9_000))),
        ("plus-chain", format!("select 1{}", " + 1".repeat(16_000))),
        ("in-list", format!("select 1 where a in (1{})", ",1".repeat(30_000))),
        ("joins", format!("select * from t{}", " join t on a = b".repeat(4_000))),
        ("columns", format!("select {} from a, b, c", vec!["x"; 30_000].join(","))),
        (
            "subqueries",
            format!("select * from t where {}", "a in (select b from t where ".repeat(2_000)),
        ),
    ];
    let nested =
        [(16, 12, 4_000), (16, 12, 16_000), (16, 20, 16_000), (2, 40, 60_000), (1, 40, 500_000)];
    let nested = nested.map(|(tables, depth, bytes)| {
        (format!("nested {tables} {depth} {bytes}"), nested_conditions(tables, depth, bytes))
    });
    let hostile = hostile.into_iter().map(|(case, text)| (case.to_owned(), text)).chain(nested);
    for (case, text) in &hostile.collect::<Vec<_>>() {
        let begun = Instant::now();
        drop(black_box(cell.read(text.as_bytes(), &state)));
        report.line(case, "once", &Took::once(begun.elapsed()), None);
    }
    Ok(report.outcome())
}

/// Conditions within conditions, about so long, each on so many tables.
fn nested_conditions(tables: usize, depth: usize, bytes: usize) -> String {
    let others: String = (1..tables).map(|number| format!(",t b{number}")).collect();
    let head = format!("select 1 from t a{others} where exists(").repeat(depth);
    let values = "a.x*1,".repeat(bytes.saturating_sub(head.len()) / 6);
    format!("{head}select 1 from t a{others} where f({values}1)>1{}", ")".repeat(depth))
}
