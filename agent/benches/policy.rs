//! What a decision costs: answered by the cache, and ruled anew, with the default
//! policies alone and with 200.
//!
//! `cargo bench -p tidegate --bench policy [-- --json]`

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

fn measure(mut call: impl FnMut()) -> Duration {
    const CALLS: u32 = 2_000;
    const ROUNDS: usize = 15;
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            begun.elapsed() / CALLS
        })
        .collect();
    rounds.sort();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}

fn report(case: &str, path: &str, took: Duration, json: bool) {
    let nanos = took.as_nanos();
    if json {
        println!(
            "{{\"bench\":\"policy\",\"case\":\"{case}\",\"path\":\"{path}\",\"metric\":\"time\",\
             \"value\":{nanos},\"unit\":\"ns\"}}"
        );
    } else {
        println!("{case:<12} {path:<16} {nanos:>8} ns");
    }
}

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = std::env::args().any(|argument| argument == "--json");
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
        report("load", path, begun.elapsed(), json);
        for (case, text) in [("lookup", LOOKUP), ("write", WRITE), ("report", REPORT)] {
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
            let miss = measure(|| drop(black_box(set.decide(&question, stance))));
            report(case, &format!("miss, {path}"), miss, json);
            let cache = Cache::new(10_000);
            let hit = measure(|| drop(black_box(cache.decide(&set, &question, stance))));
            report(case, &format!("hit, {path}"), hit, json);
        }
    }
    Ok(())
}
