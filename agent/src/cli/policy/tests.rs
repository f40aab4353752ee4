use std::fs;
use std::path::PathBuf;

use clap::Parser;

use super::explain::Explain;
use super::{files, page};
use crate::cli::output::Page;
use crate::cli::tests::snapshot;
use crate::cli::{Arguments, Command};
use crate::config::Settings;
use crate::model::{ColumnWord, Timestamp};
use crate::policy::trial;
use crate::sql::{Cell, cell};

const PLAIN: Page = Page { width: None, colour: false };

fn command(line: &[&str]) -> super::What {
    let words = ["tidegate", "policy"].iter().chain(line);
    match Arguments::try_parse_from(words).unwrap().command {
        Command::Policy(policy) => policy.what,
        _ => panic!("another command"),
    }
}

fn explained(line: &[&str]) -> String {
    let super::What::Explain(explain) = command(line) else { panic!("another command") };
    page_of(&explain)
}

fn page_of(explain: &Explain) -> String {
    page_with(explain, &Settings::default())
}

fn page_with(explain: &Explain, settings: &Settings) -> String {
    let over = super::Over { paths: vec![], packs: vec![], bare: false };
    let set = over.set().unwrap();
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let told = explain.explain(&set, settings, &cell, Timestamp(0)).unwrap();
    let mut out = Vec::new();
    page::explanation(&told, false, &mut out, PLAIN).unwrap();
    // The generation is the content's: it would change with every word of a policy.
    String::from_utf8(out).unwrap().replace(&set.generation().to_string(), "GENERATION")
}

#[test]
fn an_explanation_is_this() {
    let mut all = String::new();
    for line in [
        &["select c.name, lower(c.email), o.* from customers c join hr.orders o on o.cid = c.id"][..],
        &["drop table customers, pg_temp.mine", "--as", "agent", "--db", "db.example:5432/shop"],
        &[
            "delete from customers",
            "--as",
            "terminal",
            "--person",
            "alice",
            "--transaction",
            "open",
        ],
        &["select pg_read_file('x'); truncate a", "--as", "/usr/bin/psql", "--env", "staging"],
        &["drop table customers", "--as", "service", "--group", "unit:web.service"],
        &["do $$begin null; end$$", "--as", "notebook", "--env", "development"],
        &["rollback", "--as", "agent"],
        &[
            "update customers set email = 'j•••@e•••.com' where id = 1",
            "--as",
            "terminal",
            "--env",
            "staging",
            "--masked",
            "customers.email",
        ],
        &["copy customers from stdin", "--masked", "customers.email", "--carries-masked"],
        &["select code, o.* from o", "--masked", "o.code", "--as", "service"],
        &["select id from customers where email = 'a@example.com'", "--as", "agent"],
        &[
            "select lower(1), a + b, '7'::checked from t",
            "--as",
            "agent",
            "--code",
            "lower",
            "--code",
            "public.+",
            "--code",
            "checked",
            "--code",
            "tools.upper",
        ],
    ] {
        let words: Vec<&str> = ["explain"].iter().chain(line).copied().collect();
        all.push_str(&format!("$ tidegate policy {}\n{}\n", words.join(" "), explained(&words)));
    }
    snapshot("policy-explain", &all);
}

#[test]
fn who_may_not_log_in_is_told_so() {
    let own = r#"@id("own/no-agents") @reason("no agents here") forbid (principal in Kind::"agent",
               action == Action::"connect", resource);
           @id("own/no-web") @reason("not from the web") forbid (principal in Kind::"service",
               action == Action::"connect", resource);"#;
    let folder = Folder::new("logins", &[("own.cedar", own)]);
    let path = folder.0.display().to_string();
    let told = |who: &str| {
        let line = ["explain", "select 1", "--as", who, "--policies", &path];
        let super::What::Explain(explain) = command(&line) else { panic!("another command") };
        let settings = Settings::default();
        let set = explain.set(&settings).unwrap();
        let cell = Cell::start(cell::Settings::default()).unwrap();
        explain.explain(&set, &settings, &cell, Timestamp(0)).unwrap()
    };
    let agent = told("agent");
    assert_eq!((agent.verdict, agent.would), ("refuse", None));
    assert_eq!(agent.decided_by[0].policy.as_deref(), Some("own/no-agents"));
    assert_eq!(agent.decided_by[0].action.as_deref(), Some("connect"));
    assert!(agent.message.unwrap().contains("no agents here"));
    assert!(agent.approvers.is_empty());
    let service = told("service");
    assert_eq!((service.verdict, service.would), ("allow", Some("would_refuse")));
    assert_eq!(told("terminal").verdict, "allow");
    assert_eq!(told("terminal").asked[0].action, "connect");
}

#[test]
fn what_operators_said_of_columns_counts() {
    let word = |column: &str, class: Option<&str>| ColumnWord {
        server: None,
        database: Some("shop".into()),
        schema: "public".into(),
        table: "customers".into(),
        column: column.into(),
        class: class.map(Into::into),
    };
    let mut settings = Settings::default();
    settings.classes.words = vec![word("code", Some("api_key")), word("email", None)];
    let told = |database: &str| {
        let sql = "select code, email from customers";
        let super::What::Explain(explain) = command(&["explain", sql, "--db", database]) else {
            panic!("another command")
        };
        let page = page_with(&explain, &settings);
        let row = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
        };
        (row("code "), row("email "))
    };
    assert_eq!(told("shop"), ("api_key masked: redact -".into(), "- scanned -".into()));
    assert_eq!(told("other"), ("- scanned -".into(), "email masked: partial -".into()));
}

#[test]
fn the_settings_policies_are_explained_unless_others_are_named() {
    let see = "@id(\"own/see\") permit (principal, action == Action::\"reveal\", resource);";
    let folder = Folder::new("settings", &[("own.cedar", see), ("other.txt", "")]);
    let (at, file) = (folder.0.display(), folder.0.join("tidegate.toml"));
    let text = format!("classes = \"{at}/classes\"\n[policy]\nfolder = \"{at}\"\n");
    fs::write(&file, format!("{text}enforce_file = \"{at}/enforced\"\n")).unwrap();
    let settings = file.display().to_string();
    let of = |more: &[&str]| {
        let words = ["explain", "select email from customers", "--config", &settings];
        let super::What::Explain(explain) = command(&[&words, more].concat()) else {
            panic!("another command")
        };
        let settings = explain.settings().unwrap();
        let set = explain.set(&settings).unwrap();
        set.policy("own/see").is_some()
    };
    assert!(of(&[]));
    let other = folder.0.join("other.txt").display().to_string();
    assert!(!of(&["--policies", &other]));
}

#[test]
fn wrong_arguments_say_what_is_right() {
    let super::What::Explain(explain) = command(&["explain", "select 1", "--as", "robot"]) else {
        panic!("another command")
    };
    let set = crate::policy::Set::embedded().unwrap();
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let failure = explain.explain(&set, &Settings::default(), &cell, Timestamp(0)).err().unwrap();
    let told = failure.error.unwrap().to_string();
    assert!(told.contains("`robot` is no kind of workload (one of terminal, agent,"), "{told}");
    assert!(told.contains("or an executable's whole path"), "{told}");
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path =
            std::env::temp_dir().join(format!("tidegate-policy-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_folder_s_policies_and_tests_are_found() {
    let folder = Folder::new(
        "policies",
        &[
            ("b.cedar", "permit (principal, action == Action::\"reveal\", resource);"),
            (
                "a.cedar",
                "@id(\"none\") @reason(\"not here\") forbid (principal, action, resource);",
            ),
            ("a.test.toml", "[[case]]\nsql = \"select 1\"\nverdict = \"allow\"\n"),
            ("note.txt", "no policy"),
        ],
    );
    let policies = files::policies(std::slice::from_ref(&folder.0)).unwrap();
    let names: Vec<_> = policies.iter().map(|file| file.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["a.cedar", "b.cedar"]);
    let tests = files::tests(std::slice::from_ref(&folder.0)).unwrap();
    assert_eq!((tests.len(), tests[0].beside.len()), (1, 2));
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let outcomes = trial::run(&tests[0].source, &tests[0].beside, &cell).unwrap();
    let mut out = Vec::new();
    page::outcomes(&outcomes, false, &mut out, PLAIN).unwrap();
    let told = String::from_utf8(out).unwrap().replace(&*folder.0.to_string_lossy(), "FOLDER");
    assert_eq!(
        told,
        "FOLDER/a.test.toml:1: select 1\n    refuse, not allow (none: tidegate: read on the \
         database is refused: not here)\n0 passed, 1 failed\n"
    );
    let missing = files::policies(&[folder.0.join("nowhere")]).err().unwrap();
    assert!(missing.error.unwrap().to_string().starts_with("cannot read `"));
}

#[test]
fn what_would_have_been_passed_over_is_told() {
    let folder = Folder::new("nothing", &[("policies.txt", "")]);
    let path = folder.0.clone();
    let over = super::Over { paths: vec![path.clone()], packs: vec![], bare: false };
    let Err(failure) = over.set() else { panic!("nothing is a set") };
    let told = failure.to_string();
    assert!(told.contains("NAME.cedar") && told.contains(&*path.to_string_lossy()), "{told}");

    let line = ["explain", "select email from customers", "--masked", "email"];
    let super::What::Explain(explain) = command(&line) else { panic!("another command") };
    let set = explain.set(&Settings::default()).unwrap();
    let cell = Cell::start(cell::Settings::default()).unwrap();
    let told = explain.explain(&set, &Settings::default(), &cell, Timestamp(0));
    let Err(failure) = told else { panic!("a column of no table") };
    assert_eq!(failure.to_string(), "`email` names no table: write TABLE.COLUMN");
}
