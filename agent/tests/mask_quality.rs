//! How well sensitive data is told from what only looks like it: precision and
//! recall of each class over tests/corpora/pii, with the columns' names and by
//! content alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use tidegate::mask::content::{self, Demand};
use tidegate::mask::names::{self, Kind, Named};

struct Column {
    table: String,
    name: String,
    kind: Kind,
    label: String,
    shaped: bool,
    /// Each with its labels.
    cells: Vec<(Vec<String>, String)>,
}

fn corpus() -> Vec<Column> {
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpora/pii/corpus.tsv");
    let text = std::fs::read_to_string(file).unwrap();
    let mut columns: Vec<Column> = Vec::new();
    for line in text.lines() {
        let mut parts = line.split('\t');
        let first = parts.next().unwrap();
        if first == "#" {
            let mut next = || parts.next().unwrap().to_owned();
            let (table, name, kind, label, shaped) = (next(), next(), next(), next(), next());
            columns.push(Column {
                table,
                name,
                kind: match kind.as_str() {
                    "text" => Kind::Text,
                    "bigint" | "integer" => Kind::Integer,
                    "numeric" | "double precision" => Kind::Decimal,
                    "boolean" => Kind::Bool,
                    "date" => Kind::Date,
                    "timestamp" => Kind::Time,
                    other => panic!("the corpus has an unknown type `{other}`"),
                },
                label,
                shaped: shaped == "yes",
                cells: Vec::new(),
            });
        } else {
            let labels = first.split(',').filter(|one| *one != "-").map(str::to_owned).collect();
            columns.last_mut().unwrap().cells.push((labels, parts.next().unwrap().to_owned()));
        }
    }
    columns
}

#[derive(Default, Clone, Copy)]
struct Count {
    right: u32,
    wrong: u32,
    missed: u32,
}

impl Count {
    fn recall(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.missed).max(1))
    }

    fn precision(&self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong).max(1))
    }
}

/// What is said of a cell.
fn told(column: &Column, cell: &str, with_names: bool) -> Vec<String> {
    let named =
        Named { table: &column.table, column: &column.name, kind: column.kind, ..Named::default() };
    if with_names && let Some((class, _)) = names::classify(&named) {
        return vec![class.as_str().to_owned()];
    }
    if matches!(column.kind, Kind::Bool | Kind::Date | Kind::Time) {
        return Vec::new();
    }
    // As the plan does it: numbers that can't hold anything aren't scanned.
    let demand = match with_names && names::innocent(&column.name) {
        true => Demand::Form,
        false => Demand::Check,
    };
    let mut found = Vec::new();
    content::scan(cell.as_bytes(), demand, &mut found);
    let mut classes: Vec<String> = found.iter().map(|one| one.class.as_str().to_owned()).collect();
    classes.sort();
    classes.dedup();
    classes
}

struct Figures {
    /// A cell is masked that should be, whatever the class.
    masked: Count,
    classes: BTreeMap<String, Count>,
    faults: Vec<String>,
}

fn figures(columns: &[Column], with_names: bool) -> Figures {
    let mut all =
        Figures { masked: Count::default(), classes: BTreeMap::new(), faults: Vec::new() };
    for column in columns.iter().filter(|column| with_names || column.shaped) {
        let mut shown = 0;
        for (labels, cell) in &column.cells {
            let told = told(column, cell, with_names);
            match (labels.is_empty(), told.is_empty()) {
                (false, false) => all.masked.right += 1,
                (false, true) => all.masked.missed += 1,
                (true, false) => all.masked.wrong += 1,
                (true, true) => {}
            }
            for class in &told {
                let count = all.classes.entry(class.clone()).or_default();
                if labels.contains(class) {
                    count.right += 1;
                } else {
                    count.wrong += 1;
                }
            }
            for label in labels.iter().filter(|label| !told.contains(label)) {
                all.classes.entry(label.clone()).or_default().missed += 1;
            }
            if *labels != told && shown < 3 {
                shown += 1;
                all.faults.push(format!(
                    "{}.{} ({}): {cell:?} is {labels:?}, told {told:?}",
                    column.table, column.name, column.label
                ));
            }
        }
    }
    all
}

fn report(title: &str, figures: &Figures) {
    println!("{title}");
    println!("  {:<20} {:>9} {:>9} {:>7}", "class", "precision", "recall", "cells");
    for (class, count) in &figures.classes {
        let cells = count.right + count.missed;
        println!("  {class:<20} {:>9.4} {:>9.4} {cells:>7}", count.precision(), count.recall());
    }
    let all = &figures.masked;
    println!("  {:<20} {:>9.4} {:>9.4}", "masked at all", all.precision(), all.recall());
    if std::env::var_os("FAULTS").is_some() {
        for fault in &figures.faults {
            println!("    {fault}");
        }
    }
}

#[test]
fn classes_are_told_as_well_as_they_were() {
    let columns = corpus();
    let cells: usize = columns.iter().map(|column| column.cells.len()).sum();
    let labels: std::collections::BTreeSet<&str> = columns
        .iter()
        .flat_map(|column| column.cells.iter().flat_map(|(labels, _)| labels))
        .map(String::as_str)
        .collect();
    assert!(cells >= 20_000 && labels.len() >= 30, "{cells} cells, {} classes", labels.len());
    let named = figures(&columns, true);
    report("with names", &named);
    let alone = figures(&columns, false);
    report("by content alone", &alone);
    assert!(named.masked.recall() >= 0.995, "with names: recall {}", named.masked.recall());
    assert!(named.masked.precision() >= 0.98, "with names: {}", named.masked.precision());
    assert!(alone.masked.recall() >= 0.95, "by content: recall {}", alone.masked.recall());
    assert!(alone.masked.precision() >= 0.95, "by content: {}", alone.masked.precision());
}
