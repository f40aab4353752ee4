//! The corpus of tricks, read once for the tests that walk it.
#![allow(dead_code, reason = "each test takes what it needs of it")]

use std::path::Path;

use tidegate::sql::{Encoding, LexingState, Strings};
use toml_edit::{DocumentMut, Item, Table};

pub struct Case {
    /// File and number.
    pub place: String,
    pub sql: String,
    pub effects: Vec<String>,
    /// What the default policies say to an AI agent in production.
    pub verdict: String,
    pub bound: Option<String>,
    pub objects: Option<Vec<String>>,
    pub session: Option<Vec<String>>,
    /// What of somebody's own the database has under names of the server's, as far as the
    /// case meets it; and types that run code.
    pub code: Vec<String>,
    pub state: LexingState,
}

fn texts(item: &Item) -> Vec<String> {
    item.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn case(place: String, table: &Table) -> Case {
    let text = |key: &str| table.get(key).map(|item| item.as_str().unwrap().to_owned());
    let mut state = LexingState::default();
    for (key, item) in table {
        match key {
            "sql" | "effects" | "verdict" | "bound" | "objects" | "session" | "code" => {}
            "strings" => {
                state.strings = match item.as_str().unwrap() {
                    "escaping" => Strings::Escaping,
                    "uncertain" => Strings::Uncertain,
                    other => panic!("{place}: strings = {other}"),
                }
            }
            "encoding" => state.encoding = Encoding::named(item.as_str().unwrap()),
            "search_path" => state.search_path = item.as_str().map(Into::into),
            "server_major" => {
                state.server_major = Some(item.as_integer().unwrap().try_into().unwrap());
            }
            other => panic!("{place}: no such key `{other}`"),
        }
    }
    Case {
        sql: text("sql").unwrap(),
        effects: texts(&table["effects"]),
        verdict: text("verdict").unwrap_or_else(|| panic!("{place}: no verdict")),
        bound: text("bound"),
        objects: table.get("objects").map(texts),
        session: table.get("session").map(texts),
        code: table.get("code").map(texts).unwrap_or_default(),
        state,
        place,
    }
}

pub fn cases() -> Vec<Case> {
    // The fuzzers read it too, from a folder further down.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/corpora/evasion"))
        .find(|folder| folder.is_dir())
        .unwrap();
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let document: DocumentMut = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let tables = document["case"].as_array_of_tables().unwrap();
        for (number, table) in tables.iter().enumerate() {
            all.push(case(format!("{name} {}", number + 1), table));
        }
    }
    all
}
