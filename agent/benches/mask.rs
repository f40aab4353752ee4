//! What masking costs: detectors over unclassified cells, and rows through the
//! screen. `cargo bench --bench mask`; one line a case, and the same as JSON
//! with `--json`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::time::Instant;

use tidegate::mask::class::Class;
use tidegate::mask::content::{self, Demand};
use tidegate::mask::postgres::cell::Rules;
use tidegate::mask::postgres::form::Form;
use tidegate::mask::postgres::plan::{ColumnPlan, Treatment};
use tidegate::mask::{Hand, HashKey, Mask, Plan, Screen, Screening};

/// Bytes a second, the median of some rounds.
fn rate(bytes: usize, mut round: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..15)
        .map(|_| {
            let begun = Instant::now();
            round();
            bytes as f64 / begun.elapsed().as_secs_f64()
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn report(case: &str, rate: f64) {
    let mega = rate / 1e6;
    if std::env::args().any(|argument| argument == "--json") {
        println!(
            "{{\"bench\":\"mask\",\"case\":\"{case}\",\"metric\":\"rate\",\"value\":{mega:.0},\
             \"unit\":\"MB/s\"}}"
        );
    } else {
        println!("{case:<36} {mega:>8.0} MB/s");
    }
}

/// A table of texts, row by row in one buffer as they come from a server: states,
/// titles, times, amounts, ids, links, hashes and notes; one in a hundred notes has
/// somebody's address in it. What of it is a cell.
fn table() -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let mut seed = 42_u64;
    let mut dice = move |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    let (mut text, mut cells) = (String::new(), Vec::new());
    for _ in 0..2_000 {
        let row = [
            format!("{}", dice(1 << 31)),
            ["active", "pending", "in_progress", "EUR", "Berlin"][dice(5) as usize].into(),
            format!("Blue chair, model {}", dice(900)),
            format!("2024-0{}-1{} 10:11:12.{:06}+00", 1 + dice(9), dice(10), dice(1_000_000)),
            format!("{}.{:02}", dice(100_000), dice(100)),
            format!(
                "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
                dice(1 << 32),
                dice(1 << 16),
                dice(1 << 12),
                dice(1 << 12),
                dice(1 << 48)
            ),
            format!("https://www.example.com/items/{}?page=2", dice(100_000)),
            format!("{:032x}", u128::from(dice(1 << 60)) * 77_777_777_777),
            "The parcel was left with the neighbour, who will bring it over later".into(),
            match dice(100) {
                0 => format!("write to user{}@example.com", dice(10_000)),
                _ => format!("customer asked about delivery of order {}", dice(1_000_000)),
            },
        ];
        for cell in row {
            cells.push(text.len()..text.len() + cell.len());
            text += &cell;
        }
    }
    (text.into_bytes(), cells)
}

/// Sentences with a number, an amount or a time in every few of them.
fn prose() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..20_000_u32 {
        text += "The parcel was left with the neighbour, who will bring it over later. ";
        text += "Nobody had asked for the second one; it went back on the same day, unopened. ";
        if n % 3 == 0 {
            text +=
                &format!("Order {} came to {}.{:02} EUR at 10:{:02}. ", n * 7, n, n % 100, n % 60);
        }
    }
    text.into_bytes()
}

fn text() -> Form {
    Form::Text { most: None, padded: false }
}

fn column(form: Form, treatment: Treatment) -> ColumnPlan {
    ColumnPlan { form, binary: false, treatment }
}

fn row(cells: &[&str]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        body.extend_from_slice(&(cell.len() as u32).to_be_bytes());
        body.extend_from_slice(cell.as_bytes());
    }
    body
}

const CUSTOMER: [&str; 10] = [
    "1048576",
    "Jane van Doe",
    "jane.doe@example.com",
    "+49 30 90182012",
    "1980-05-03",
    "Lindenstraße 17",
    "Berlin",
    "active",
    "2024-03-01 10:11:12.123456+00",
    "1234.50",
];

fn rows(plan: &Plan, body: &[u8]) -> f64 {
    const ROWS: usize = 100_000;
    let mut screen = Screen::new(Hand { key: HashKey::new(b"key"), unicode: true });
    rate((body.len() + 5) * ROWS, || {
        for _ in 0..ROWS {
            match screen.row(plan, black_box(body)).unwrap() {
                Screening::Unchanged(screened) => drop(black_box(screened)),
                Screening::Made(made) => {
                    black_box(made.bytes());
                }
            }
        }
    })
}

fn main() {
    let (all, cells) = table();
    let mut found = Vec::new();
    // Often enough for a clock, and small enough to be near, as what has just come is.
    const TIMES: usize = 20;
    let scanned = rate(all.len() * TIMES, || {
        for cell in (0..TIMES).flat_map(|_| &cells) {
            content::scan(black_box(&all[cell.clone()]), Demand::Check, &mut found);
            black_box(&found);
        }
    });
    report("content of short cells", scanned);
    // Descriptions, tickets, logs: the same, 4 KB a cell.
    let long: Vec<Vec<u8>> = prose().chunks(4096).map(<[u8]>::to_vec).collect();
    let scanned = rate(long.iter().map(Vec::len).sum(), || {
        for cell in &long {
            content::scan(black_box(cell), Demand::Check, &mut found);
            black_box(&found);
        }
    });
    report("content of long text", scanned);

    let masked =
        |class: Class| Treatment::Mask { class, mask: class.default_mask(), derived: false };
    let scan = Treatment::Scan(Demand::Check);
    let customer = Plan::new(
        [
            column(Form::Int(4), Treatment::Pass),
            column(text(), masked(Class::PersonName)),
            column(text(), masked(Class::Email)),
            column(text(), masked(Class::Phone)),
            column(Form::Date, masked(Class::BirthDate)),
            column(text(), masked(Class::PostalAddress)),
            column(text(), scan),
            column(text(), scan),
            column(Form::Timestamp, Treatment::Pass),
            column(Form::Numeric, scan),
        ]
        .into(),
        Rules::default(),
    );
    let body = row(&CUSTOMER);
    report("10 columns, 5 of them masked", rows(&customer, &body));
    let hashed = Plan::new(
        customer
            .columns()
            .iter()
            .map(|column| ColumnPlan {
                treatment: match column.treatment {
                    Treatment::Mask { class, derived, .. } => {
                        Treatment::Mask { class, mask: Mask::Hash, derived }
                    }
                    other => other,
                },
                ..column.clone()
            })
            .collect(),
        Rules::default(),
    );
    report("10 columns, 5 of them hashed", rows(&hashed, &body));

    let harmless = row(&[
        "1048576",
        "ORD-2024-000123",
        "in_progress",
        "Blue chair",
        "EUR",
        "12",
        "t",
        "The parcel was left with the neighbour, who will bring it over later",
        "2024-03-01 10:11:12.123456+00",
        "1234.50",
    ]);
    let unclassified = Plan::new(
        [
            column(Form::Int(4), Treatment::Pass),
            column(text(), Treatment::Scan(Demand::Form)),
            column(text(), scan),
            column(text(), scan),
            column(text(), scan),
            column(Form::Int(4), Treatment::Pass),
            column(Form::Bool, Treatment::Pass),
            column(text(), scan),
            column(Form::Timestamp, Treatment::Pass),
            column(Form::Numeric, scan),
        ]
        .into(),
        Rules::default(),
    );
    report("10 columns, nothing found", rows(&unclassified, &harmless));
}
