//! What a decision costs: answered by the cache, and ruled anew, with the default
//! policies alone and with 200.
//!
//! `cargo bench -p tidegate --bench policy [-- --json | --check]`: the last fails where a
//! promise is broken.

#[path = "shared/measure.rs"]
mod measure;

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use measure::{Report, Took};
use tidegate::model::{ActorKind, Group, GroupKind, Principal, Timestamp};
use tidegate::policy::{
    Cache, Circumstances, Layers, NoCatalog, Question, Scene, Set, Source, Stance, Subject, Target,
};
use tidegate::sql::{Cell, LexingState, cell};

const LOOKUP: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
const WRITE: &str = "UPDATE accounts SET balance = balance - $1 WHERE id = $2 RETURNING balance";
const REPORT: &str = "WITH m AS (SELECT date_trunc('month', o.created_at) AS month, c.region, \
     sum(i.quantity * i.price) AS total FROM orders o JOIN customers c ON c.id = o.customer_id \
     JOIN order_items i ON i.order_id = o.id JOIN products p ON p.id = i.product_id WHERE \
     o.created_at >= $1 GROUP BY 1, 2) SELECT month, region, total FROM m ORDER BY 1, 2";

/// What a decision may cost with 200 policies: one that was made before, and a new one
/// about an OLTP statement.
const HIT: Duration = Duration::from_micros(1);
const MISS: Duration = Duration::from_micros(200);

/// Policies as operators write them: by group, by table, by condition. `named`: some
/// of them tell one table from another, so that each table is asked about.
fn many(count: usize, named: bool, broad: bool) -> Source {
    let mut text = String::new();
    for number in 0..count {
        let (who, what, which, when) = match number % 5 {
            0 => ("principal in Team::\"t", "action == Action::\"read\"", "resource", "true"),
            1 => (
                "principal in Unit::\"u",
                "action in Action::\"write\"",
                "resource in Environment::\"production\"",
                "context.role == \"nobody\"",
            ),
            2 if named => (
                "principal in Namespace::\"n",
                "action in [Action::\"read\", Action::\"export\"]",
                "resource is Table",
                "resource.schema == \"payroll\" && resource.name like \"salar*\"",
            ),
            3 if broad => (
                "principal",
                "action in Action::\"statement\"",
                "resource",
                "context.role == \"nobody\" && !context.in_transaction",
            ),
            3 => (
                "principal in Group::\"g",
                "action in Action::\"define\"",
                "resource",
                "context.multi_statement && !context.in_transaction",
            ),
            _ => (
                "principal in Person::\"p",
                "action in Action::\"statement\"",
                "resource",
                "context.functions.contains(\"f\") || context.cascade",
            ),
        };
        let end = if who.contains('"') { format!("{number}\"") } else { String::new() };
        let _ = writeln!(
            text,
            "@id(\"own/{number}\") @reason(\"r\") forbid ({who}{end}, {what}, {which}) when {{ {when} }};"
        );
    }
    Source { name: "own.cedar".into(), text: text.into() }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut report = Report::new("policy");
    let group = |kind, name: &str| Group { kind, name: name.into() };
    let subject = Subject::new(Principal {
        kind: ActorKind::Service,
        workload: "shop-web".into(),
        person: None,
        user: Some("app".into()),
        program: Some("/usr/bin/python3.11".into()),
        groups: vec![
            group(GroupKind::Namespace, "shop"),
            group(GroupKind::ServiceAccount, "shop/web"),
            group(GroupKind::Team, "checkout"),
        ],
    });
    let scene = Scene::new(Target {
        server: "db.example:5432".into(),
        environment: None,
        database: "shop".into(),
        role: "app".into(),
        search_path: None,
        anywhere: false,
        temporary: Vec::new(),
    });
    let circumstances = Circumstances::new(Timestamp(1_795_170_600_000_000_000));
    let state = LexingState::default();
    let cell = Cell::start(cell::Settings::default())?;
    let shipped = Set::embedded()?.policies().len();
    // By table: some tell tables apart. Broad: a fifth of them is for everybody, on
    // everything.
    for (path, extra, named, broad) in [
        ("default", None, false, false),
        ("200", Some(200), false, false),
        ("200 by table", Some(200), true, false),
        ("200 broad", Some(200), true, true),
    ] {
        let own = extra.map(|count: usize| many(count - shipped, named, broad));
        let begun = Instant::now();
        let set = Set::load(&Layers { own: own.into_iter().collect(), ..Layers::default() })?;
        if report.wants(None) {
            report.line("load", path, &Took::once(begun.elapsed()), None);
        }
        for (case, text, bound) in
            [("lookup", LOOKUP, Some(MISS)), ("write", WRITE, Some(MISS)), ("report", REPORT, None)]
        {
            let facts = Arc::new(cell.read(text.as_bytes(), &state));
            let question = Question {
                subject: &subject,
                scene: &scene,
                facts: &facts,
                prepared: &[],
                circumstances,
                catalog: &NoCatalog,
            };
            let stance = Stance::Shadow;
            if report.wants(bound) {
                let miss = Took::of(|| drop(black_box(set.decide(&question, stance))));
                report.line(case, &format!("miss, {path}"), &miss, bound);
            }
            let cache = Cache::new(10_000);
            let hit = Took::of(|| drop(black_box(cache.decide(&set, &question, stance))));
            report.line(case, &format!("hit, {path}"), &hit, Some(HIT));
        }
    }
    Ok(report.outcome())
}
