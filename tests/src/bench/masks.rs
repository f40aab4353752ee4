//! What masks cost: large answers read directly, through an agent that decides and
//! masks nothing, and through one with the policies that it brings along.
//!
//! INVARIANT: one server, one client and the same tables for all ways; that the masked
//! way masks where it should, and nothing where it shouldn't, is looked at first.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Measure;
use super::log::median;
use super::postgres::Rows;
use crate::agent::{Agent, Plan};
use crate::cgroup::Cgroup;
use crate::dialer::Dialer;
use crate::place::Place;
use crate::postgres::Postgres;
use crate::wire::{Connection, message};

/// An agent, with the cgroup of its clients; or none.
struct Way {
    name: &'static str,
    agent: Option<(Agent, Cgroup, Cgroup)>,
}

/// One answer, read and not looked at.
struct Answer {
    bytes: u64,
    seconds: f64,
    /// Of the enforcer, on all cores.
    cpu: f64,
}

const WAYS: [&str; 3] = ["direct", "unmasked", "masked"];

impl Way {
    fn start(name: &'static str, postgres: &Postgres) -> Result<Self> {
        let mode = match name {
            "direct" => return Ok(Self { name, agent: None }),
            "unmasked" => "off",
            _ => "enforce",
        };
        let root = Cgroup::fresh()?;
        let work = root.child("work")?;
        let agent = Agent::start(&root, Plan::postgres([postgres.port()]).policy(mode))?;
        Ok(Self { name, agent: Some((agent, work, root)) })
    }

    fn connect(&self, postgres: &Postgres) -> Result<(Dialer, Connection)> {
        let place = match &self.agent {
            Some((_, work, _)) => Place::new().cgroup(work),
            None => Place::new(),
        };
        let mut dialer = Dialer::start(&place)?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, postgres.port()));
        let mut connection = Connection::new(dialer.open(to)?, Default::default())?;
        let who = [("user", "app"), ("database", "app")];
        connection.send(&message::startup(message::PROTOCOL, &who))?;
        connection.login("app", "tide")?;
        Ok((dialer, connection))
    }

    fn answer(&self, postgres: &Postgres, sql: &str) -> Result<Answer> {
        let (_dialer, mut connection) = self.connect(postgres)?;
        connection.query("SELECT 1")?;
        let (before, begun) = (self.cpu()?, Instant::now());
        let bytes = connection.drain(&message::query(sql))?;
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(bytes > 50_000_000, "{bytes} bytes are no bulk");
        Ok(Answer { bytes, seconds, cpu: self.cpu()? - before })
    }

    /// Seconds that the enforcer has computed, its own and the kernel's on its account.
    fn cpu(&self) -> Result<f64> {
        let Some((agent, ..)) = &self.agent else { return Ok(0.0) };
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.enforcer()?))?;
        let rest = stat.rsplit_once(')').context("no name")?.1;
        // Hundredths of a second, the 14th and the 15th of all; the name is the second.
        let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        Ok(ticks.sum::<Result<u32, _>>().map(f64::from)? / 100.0)
    }
}

/// Both have 10 columns. The second's name, email, phone, street and iban are masked.
const TABLES: [(&str, &str); 2] = [
    (
        "parts",
        "SELECT n AS id, n * 7 AS stock, n::bigint << 20 AS serial, n / 3.0 AS weight, \
         'part ' || n AS title, repeat('steel ', n % 7) AS note, now() AS made, n % 2 = 0 AS open, \
         NULL::int AS rest, CASE n % 3 WHEN 0 THEN 'new' ELSE 'in the house' END AS state \
         FROM generate_series(1, 1000000) n",
    ),
    (
        "customers",
        "SELECT n AS id, 'Ada Miller ' || chr(65 + n % 26) AS name, \
         'ada.miller' || n || '@example.org' AS email, \
         '+49 30 ' || (1000000 + n) AS phone, n % 200 || ' Harbour Street' AS street, \
         'DE89370400440532013000' AS iban, n * 7 AS points, n / 3.0 AS balance, now() AS made, \
         'part ' || n AS note FROM generate_series(1, 700000) n",
    ),
];

pub fn run(rows: &Rows, tell: &mut dyn FnMut(&str)) -> Result<Vec<Measure>> {
    let postgres = Postgres::setup()
        .auth("trust")
        .setting("shared_buffers=1GB")
        .setting("autovacuum=off")
        .start()?;
    for (table, made) in TABLES {
        postgres.admin("app", &format!("CREATE UNLOGGED TABLE {table} AS {made}"))?;
        postgres.admin("app", &format!("GRANT SELECT ON {table} TO PUBLIC"))?;
    }
    let ways = WAYS.map(|name| Way::start(name, &postgres));
    let ways = ways.into_iter().collect::<Result<Vec<_>>>()?;
    for way in &ways {
        let (_dialer, mut connection) = way.connect(&postgres)?;
        let part = connection.rows("SELECT title, note, state FROM parts WHERE id = 8")?;
        ensure!(part.contains("part 8") && part.contains("in the house"), "{}: {part}", way.name);
        let customer = connection
            .rows("SELECT name, email, phone, street, iban FROM customers WHERE id = 8")?;
        for clear in ["Miller", "ada.miller8@", "1000008", "Harbour", "0532013000"] {
            ensure!(customer.contains(clear) == (way.name != "masked"), "{}: {customer}", way.name);
        }
    }
    let mut measures = Vec::new();
    for (what, table) in [("nothing sensitive", "parts"), ("5 of 10 columns masked", "customers")] {
        for (how, sql) in [
            ("SELECT", format!("SELECT * FROM {table}")),
            ("COPY", format!("COPY {table} TO STDOUT")),
        ] {
            let case = format!("{how}, {what}");
            if !case.contains(&rows.only) {
                continue;
            }
            tell(&case);
            let mut rates = WAYS.map(|_| Vec::new());
            let (mut ratios, mut cores) = (Vec::new(), Vec::new());
            for _ in 0..rows.rounds {
                for (way, rates) in ways.iter().zip(&mut rates) {
                    let answer = way.answer(&postgres, &sql)?;
                    rates.push(answer.bytes as f64 / answer.seconds / MIB);
                    if way.name == "masked" {
                        cores.push(answer.bytes as f64 / answer.cpu.max(0.01) / MIB);
                    }
                }
                let [_, unmasked, masked] = &rates;
                ratios.extend(masked.last().zip(unmasked.last()).map(|(m, u)| m / u));
            }
            let mut add = |path: &str, metric: &str, unit: &str, values: Vec<f64>| {
                measures.push(Measure {
                    bench: "masks".into(),
                    case: case.clone(),
                    path: path.into(),
                    metric: metric.into(),
                    value: median(values),
                    unit: unit.into(),
                });
            };
            for (way, rates) in WAYS.into_iter().zip(rates) {
                add(way, "throughput", "MiB/s", rates);
            }
            add("masked", "masked : unmasked, median of the rounds", "", ratios);
            add("masked", "throughput of a core of the enforcer", "MiB/s", cores);
        }
    }
    Ok(measures)
}

/// For people.
pub fn table(measures: &[Measure]) -> String {
    let value = |case: &str, metric: &str, path: &str| {
        let is =
            |one: &&Measure| one.case == case && one.metric.starts_with(metric) && one.path == path;
        measures.iter().find(is).map_or(0.0, |measure| measure.value)
    };
    let heads = ["direct", "unmasked", "masked", "m : u", "a core"];
    let heads: String = heads.iter().map(|head| format!(" {head:>9}")).collect();
    let mut text = format!("{:<44}{heads}\n", "");
    let mut cases: Vec<&str> = measures.iter().map(|measure| &*measure.case).collect();
    cases.dedup();
    for case in cases {
        let [direct, unmasked, masked] = WAYS.map(|way| value(case, "throughput", way));
        let ratio = value(case, "masked :", "masked");
        let core = value(case, "throughput of", "masked");
        text.push_str(&format!(
            "{:<44} {direct:>9.0} {unmasked:>9.0} {masked:>9.0} {ratio:>9.2} {core:>9.0}\n",
            format!("masks: {case} [MiB/s]"),
        ));
    }
    text
}

const MIB: f64 = 1024.0 * 1024.0;
