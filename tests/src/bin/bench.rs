//! `bench [NAME] [--json] [--rounds N]`: see `tidegate_tests::bench`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use tidegate_tests::bench::{self, Bench, NAMES};
use tidegate_tests::probe;

fn main() -> ExitCode {
    probe::i_am_the_probe();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["client", job] => bench::client_main(job),
        ["probe", task] => return probe::run_text(task),
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

fn run(arguments: &[&str]) -> Result<()> {
    let (mut json, mut rounds, mut names) = (false, 5, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--json" => json = true,
            "--rounds" => {
                rounds = arguments.next().copied().unwrap_or_default().parse()?;
            }
            name if NAMES.contains(&name) => names.push(name),
            other => {
                bail!("`{other}` is not known: bench [{}] [--json] [--rounds N]", NAMES.join("|"))
            }
        }
    }
    if names.is_empty() {
        names = NAMES.to_vec();
    }
    bench::raise_descriptors()?;
    let bench = Bench::start(rounds.max(1))?;
    let mut measures = Vec::new();
    for name in names {
        let done = bench.run(name, &mut |case| eprintln!("{name}: {case} …"))?;
        if json {
            for measure in &done {
                println!("{}", serde_json::to_string(measure)?);
            }
        }
        measures.extend(done);
    }
    if !json {
        print!("{}", bench::table(&measures));
    }
    Ok(())
}
