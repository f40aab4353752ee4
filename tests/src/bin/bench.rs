//! `bench [NAME] [--json] [--rounds N] [--seconds N] [--only TEXT] [--check]`: see
//! `tidegate_tests::bench`. `--seconds` and `--only` are for those with a server of their
//! own: how long pgbench takes, and the rows whose name contains a text. `log --check` and
//! `postgres --check` fail where what is promised of them is broken.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use tidegate_tests::bench::{self, Bench, Measure, NAMES, log, masks, postgres};
use tidegate_tests::probe;

fn main() -> ExitCode {
    probe::i_am_the_probe();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["client", job] => bench::client_main(job),
        ["probe", task] => return probe::run_text(task),
        ["postgres", "--check"] | ["--check", "postgres"] => check(),
        arguments => run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<()> {
    bench::raise_descriptors()?;
    let measures = postgres::promised(&mut |case| eprintln!("postgres: {case} …"))?;
    print!("{}", bench::table(&measures));
    let broken = postgres::broken(&measures);
    ensure!(broken.is_empty(), "more than is promised: {}", broken.join("; "));
    Ok(())
}

/// How measures are shown to people.
type Table = fn(&[Measure]) -> String;

/// Those with servers of their own.
const OWN: [&str; 3] = ["postgres", "log", "masks"];

fn run(arguments: &[&str]) -> Result<()> {
    let (mut json, mut check, mut rounds, mut names) = (false, false, None, Vec::new());
    let mut rows = postgres::Rows::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--json" => json = true,
            "--check" => check = true,
            "--rounds" => {
                rounds = Some(arguments.next().copied().unwrap_or_default().parse()?);
            }
            "--seconds" => {
                rows.seconds = arguments.next().copied().unwrap_or_default().parse()?;
            }
            "--only" => rows.only = arguments.next().copied().unwrap_or_default().into(),
            name if NAMES.contains(&name) => names.push(name),
            other => {
                bail!(
                    "`{other}` is not known: bench [{}] [--json] [--rounds N] [--seconds N] \
                     [--only TEXT] [--check]",
                    NAMES.join("|")
                )
            }
        }
    }
    if names.is_empty() {
        names = NAMES.to_vec();
    }
    bench::raise_descriptors()?;
    // A bench of its own: another server, other neighbours.
    let others: Vec<&str> = names.iter().copied().filter(|name| !OWN.contains(name)).collect();
    let bench = match others.is_empty() {
        true => None,
        false => Some(Bench::start(rounds.unwrap_or(5).max(1))?),
    };
    let mut measures = Vec::new();
    for name in names {
        let tell = &mut |case: &str| eprintln!("{name}: {case} …");
        let done = match &bench {
            Some(bench) if !OWN.contains(&name) => bench.run(name, tell)?,
            _ if name == "log" => {
                // Two ways that differ by little need more than one look.
                rows.rounds = rounds.unwrap_or(7).max(1);
                log::run(&rows, tell)?
            }
            _ if name == "masks" => {
                rows.rounds = rounds.unwrap_or(5).max(1);
                masks::run(&rows, tell)?
            }
            _ => {
                rows.rounds = rounds.unwrap_or(1).max(1);
                postgres::run(&rows, tell)?
            }
        };
        if json {
            for measure in &done {
                println!("{}", serde_json::to_string(measure)?);
            }
        }
        measures.extend(done);
    }
    let kept = if check { log::kept(&measures) } else { Ok(()) };
    if !json {
        let of = |name: &'static str| move |measure: &mut Measure| measure.bench == name;
        let of_log: Vec<Measure> = measures.extract_if(.., of("log")).collect();
        let of_masks: Vec<Measure> = measures.extract_if(.., of("masks")).collect();
        let tables: [(&[Measure], Table); 3] =
            [(&measures, bench::table), (&of_log, log::table), (&of_masks, masks::table)];
        for (measures, table) in tables {
            if !measures.is_empty() {
                print!("{}", table(measures));
            }
        }
    }
    kept
}
