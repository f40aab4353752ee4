use super::paths::{Leaving, leaving};
use super::*;

/// A crate in a folder of its own, removed at the end.
struct Fixture(PathBuf);

impl Fixture {
    fn new(name: &str, files: &[(&str, &str)]) -> Fixture {
        let root =
            std::env::temp_dir().join(format!("tidegate-layers-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Fixture(root)
    }

    fn violations(&self) -> Vec<String> {
        let (_, violations) = check(&self.0).unwrap();
        let root = format!("{}/", self.0.display());
        violations.iter().map(|violation| violation.to_string().replace(&root, "")).collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_room_that_imports_a_later_one_is_named_with_both_ends() {
    let fixture = Fixture::new(
        "red",
        &[
            ("lib.rs", "pub mod model;\npub mod policy;\npub mod wire;\n"),
            ("main.rs", "fn main() { tidegate::cli::main() }"),
            ("model.rs", "pub struct Flow;"),
            ("wire.rs", "pub mod postgres;\nuse crate::model::Flow;"),
            ("wire/postgres.rs", "use std::fmt;\nuse crate::policy::Permit;\n"),
            ("policy.rs", "use crate::{model::Flow, wire::{self, postgres}};"),
        ],
    );
    assert_eq!(
        fixture.violations(),
        ["wire/postgres.rs:2: room `wire` imports room `policy` (policy.rs), which is not before \
          it; `wire` may import model"]
    );
}

#[test]
fn the_same_rooms_the_right_way_round_are_fine() {
    let fixture = Fixture::new(
        "green",
        &[
            ("model.rs", "pub struct Flow;"),
            ("wire.rs", "use crate::model::Flow;"),
            ("enforcer/relay.rs", "use crate::{channel::message, wire, audit::Sealed};"),
            ("cli.rs", "use crate::{keeper, enforcer};"),
            ("main.rs", "fn main() { tidegate::cli::main() }"),
        ],
    );
    assert_eq!(fixture.violations(), Vec::<String>::new());
}

#[test]
fn keeper_and_enforcer_do_not_know_each_other() {
    let fixture = Fixture::new(
        "two",
        &[
            ("keeper/handover.rs", "fn f() { crate::enforcer::go() }"),
            ("enforcer.rs", "use super::keeper;"),
        ],
    );
    let violations = fixture.violations();
    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(violations[0].starts_with("enforcer.rs:1: room `enforcer` imports room `keeper`"));
    assert!(
        violations[1].starts_with("keeper/handover.rs:1: room `keeper` imports room `enforcer`")
    );
}

#[test]
fn a_room_that_is_not_in_the_table_is_asked_for_its_place() {
    let fixture = Fixture::new(
        "new",
        &[("attic.rs", "use crate::model;"), ("model.rs", "use crate::attic;")],
    );
    let violations = fixture.violations();
    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(violations.iter().all(|violation| violation.contains("`attic`")), "{violations:?}");
}

#[test]
fn our_own_rooms_hold() {
    let (files, violations) = check(&workspace::root().join("agent/src")).unwrap();
    assert!(files > 5);
    assert_eq!(violations, []);
}

#[test]
fn the_table_has_no_circle() {
    // Each room's imports are before it in the table: so is the way of the data.
    for (at, (room, rooms)) in ROOMS.iter().enumerate() {
        for other in *rooms {
            let place = ROOMS.iter().position(|(name, _)| name == other);
            assert!(place.is_some_and(|place| place < at), "{room} -> {other}");
        }
    }
}

/// The rooms that a text in `wire::postgres` reaches, `/` for the root itself.
fn rooms(text: &str) -> Vec<(usize, String)> {
    leaving(text, &["wire".to_owned(), "postgres".to_owned()])
        .into_iter()
        .map(|Leaving { line, room }| (line, room.unwrap_or_else(|| "/".to_owned())))
        .collect()
}

fn one(line: usize, room: &str) -> (usize, String) {
    (line, room.to_owned())
}

#[test]
fn groups_are_followed_to_their_leaves() {
    assert_eq!(
        rooms("use crate::{\n  sql::{self, Facts},\n  policy::Permit as P, model,\n  r#mask::*};"),
        [one(2, "sql"), one(3, "policy"), one(3, "model"), one(4, "mask")]
    );
    assert_eq!(
        rooms("use super::{super::audit::{A, B}, codec, super::{self as root}};"),
        [one(1, "audit"), one(1, "/")]
    );
    assert_eq!(rooms("use {crate::sql, std::fmt};"), [one(1, "sql")]);
}

#[test]
fn expressions_types_and_macros_count() {
    assert_eq!(
        rooms(
            "fn f(a: &'static crate::sql::Facts) -> Vec<crate::mask::Row> {\n  \
               crate::audit::seal!(a); $crate::policy::decide(a) }"
        ),
        [one(1, "sql"), one(1, "mask"), one(2, "audit"), one(2, "policy")]
    );
    assert_eq!(
        rooms("pub(crate) struct A; pub(in crate::wire) fn f(self) { self.go() }"),
        [one(1, "wire")]
    );
}

#[test]
fn a_cast_hides_nothing() {
    assert_eq!(
        rooms("let a = crate::model::ONE as crate::sql::Number;"),
        [one(1, "model"), one(1, "sql")]
    );
}

#[test]
fn super_goes_up_from_inline_modules_too() {
    assert_eq!(rooms("use super::super::sql;"), [one(1, "sql")]);
    assert_eq!(rooms("use super::codec;"), []);
    assert_eq!(rooms("mod tests {\n use super::super::codec;\n use super::*;\n}"), []);
    assert_eq!(
        rooms(
            "mod a { mod b { fn f() {} }\n use super::super::super::sql; }\nuse super::super::mask;"
        ),
        [one(2, "sql"), one(3, "mask")]
    );
}

#[test]
fn the_root_taken_whole_hides_what_is_imported() {
    assert_eq!(rooms("use crate::*;"), [one(1, "/")]);
    assert_eq!(rooms("use crate as all;"), [one(1, "/")]);
    assert_eq!(rooms("use super::super::*;"), [one(1, "/")]);
    assert_eq!(rooms("pub(crate) use self::codec::*;"), []);
}

#[test]
fn comments_strings_and_characters_do_not_count() {
    assert_eq!(
        rooms(
            "// crate::policy\n/* crate::policy /* nested */ crate::policy */\n\
             const A: &str = \"crate::policy \\\" crate::policy\";\n\
             const B: &str = r#\"crate::policy \" crate::policy\"#;\n\
             const C: (u8, char, char) = (b'\"', '\"', '\\'');\n\
             const D: &[u8] = b\"crate::policy\"; fn f<'a>(x: &'a str) {}\n\
             use crate::sql;"
        ),
        [one(7, "sql")]
    );
}
