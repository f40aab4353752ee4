use clap::Parser;

use super::*;

/// Compares with `snapshots/NAME.txt`. Run with UPDATE_SNAPSHOTS=1 to accept
/// what is new, and read the difference before committing it.
#[track_caller]
pub(super) fn snapshot(name: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/cli/snapshots")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(expected == text, "{} differs; now it is:\n{text}", file.display());
}

fn help(arguments: &[&str]) -> String {
    let words = std::iter::once("tidegate").chain(arguments.iter().copied());
    let error = super::arguments().term_width(100).try_get_matches_from(words).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::DisplayHelp);
    let text = error.render().to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn the_arguments_are_consistent() {
    super::arguments().debug_assert();
}

#[test]
fn the_help_is_this() {
    snapshot("help", &help(&["--help"]));
    let mut all = String::new();
    for command in super::arguments().get_subcommands() {
        let name = command.get_name();
        if !command.is_hide_set() {
            all.push_str(&format!("==> {name}\n{}\n", help(&[name, "--help"])));
            for inner in command.get_subcommands() {
                let inner = inner.get_name();
                let text = help(&[name, inner, "--help"]);
                all.push_str(&format!("==> {name} {inner}\n{text}\n"));
            }
        }
    }
    snapshot("help-commands", &all);
}

#[test]
fn what_the_keeper_starts_can_be_read() {
    let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).map(drop);
    parse("tidegate enforcer --user 61843:61843 --writable /var/log/x --channel 5 --channel 6")
        .unwrap();
    parse("tidegate canary --to 127.0.0.77:5432").unwrap();
    assert!(parse("tidegate enforcer --user tidegate --channel 5").is_err());
    assert!(parse("tidegate enforcer --user 1:1").is_err());
}

#[test]
fn wrong_arguments_say_what_is_right() {
    for (line, expected) in [
        ("tidegate statu", "a similar subcommand exists: 'status'"),
        ("tidegate run --protct 5432", "a similar argument exists: '--protect'"),
        ("tidegate upgrade --drain 10", "its unit is missing"),
        ("tidegate run --on-existing keep", "it is `adopt` or `kill`"),
        ("tidegate run --policy on", "it is `enforce`, `shadow` or `off`"),
        ("tidegate observe --event opend", "[possible values: opened, closed,"),
        ("tidegate status -o xml", "[possible values: table, wide, json, jsonl, yaml]"),
    ] {
        let error = Arguments::try_parse_from(line.split(' ')).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let manual = String::from_utf8(manual::page().unwrap()).unwrap();
    for command in super::arguments().get_subcommands() {
        let head = format!(".SH \"TIDEGATE {}\"", command.get_name().to_uppercase());
        assert_eq!(manual.contains(&head), !command.is_hide_set(), "{head}");
    }
    assert!(manual.contains("no agent is running"));
    let mut bash = Vec::new();
    clap_complete::generate(
        clap_complete::Shell::Bash,
        &mut super::arguments(),
        "tidegate",
        &mut bash,
    );
    assert!(String::from_utf8(bash).unwrap().contains("observe"));
}
