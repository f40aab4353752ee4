//! How much of PostgreSQL's own regression SQL is read, as a server of each version
//! would be spoken to: the table of `ARCHITECTURE.md`, computed anew.
//!
//! The older release's lies below `target/suites` once `cargo xtask test --all` has
//! fetched it; the newer one comes with the grammar that we use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate::sql::{Cell, Doubt, Effect, LexingState, cell};
use tidegate_tests::agent::target_folder;
use tidegate_tests::script::{Step, steps};

/// Of one release's statements, read as a server's of one version.
#[derive(Default)]
struct Figures {
    statements: usize,
    /// The grammar takes it.
    taken: usize,
    /// … and nothing in it is left in doubt.
    understood: usize,
    /// It calls what isn't that version's own.
    execute: usize,
}

fn statements(folder: &Path) -> Result<Vec<String>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("no `{}`", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(file)?).into_owned();
        all.extend(steps(&text, &HashMap::new()).into_iter().filter_map(|step| match step {
            Step::Statement(text) => Some(text),
            _ => None,
        }));
    }
    Ok(all)
}

/// Where the grammar's own tests lie.
fn grammar() -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--offline"]);
    let told = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    let told: Value = serde_json::from_slice(&told.stdout).context("cargo metadata")?;
    let packages = told["packages"].as_array().context("no packages")?;
    let parser = packages.iter().find(|package| package["name"] == "pg_raw_parse");
    let manifest = parser.and_then(|one| one["manifest_path"].as_str()).context("no grammar")?;
    let folder = Path::new(manifest).parent().context("no folder")?;
    Ok(folder.join("libpg_query/test/sql/postgres_regress"))
}

fn read(cell: &Cell, statements: &[String], major: u16) -> Figures {
    let state = LexingState { server_major: Some(major), ..LexingState::default() };
    let mut figures = Figures { statements: statements.len(), ..Figures::default() };
    for statement in statements {
        let facts = cell.read(statement.as_bytes(), &state);
        let refused = |doubt: &Doubt| matches!(doubt, Doubt::Unparsable(_));
        let mut doubts = facts.running().flat_map(|one| &one.doubts);
        figures.taken += usize::from(!doubts.any(refused));
        figures.understood += usize::from(facts.understood());
        figures.execute += usize::from(facts.effects().contains(Effect::Execute));
    }
    figures
}

#[test]
#[ignore = "long: cargo xtask test --all"]
fn most_of_postgresql_s_own_regression_sql_is_read() -> Result<()> {
    let cell = Cell::start(cell::Settings::default())?;
    let older = target_folder().join("suites/postgresql/regress/sql");
    println!(
        "| regression SQL of | statements | read as | the grammar takes | understood | `execute` |"
    );
    println!("|---|---|---|---|---|---|");
    for (release, folder) in [(15, older), (18, grammar()?)] {
        let statements = statements(&folder)?;
        for major in [13, 15, 18] {
            let figures = read(&cell, &statements, major);
            let Figures { statements, taken, understood, execute } = figures;
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            let share = |count: usize| 100.0 * count as f64 / statements as f64;
            let (takes, knows, runs) = (share(taken), share(understood), share(execute));
            println!(
                "| {release} | {statements} | {major} | {takes:.1} % | {knows:.1} % | {runs:.1} % |"
            );
            ensure!(statements > 35_000, "only {statements} statements of {release}");
            ensure!(takes > 98.0 && knows > 95.0, "{release} as {major}: {takes} {knows}");
        }
    }
    Ok(())
}
