use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::channel::unseal_kept;
use crate::model::Filled;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tg-memory-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("filled.jsonl")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn app() -> DatabaseName {
    DatabaseName { destination: "db".into(), system: "7".into(), database: "app".into() }
}

fn filled(relation: &str, class: &str) -> Learnt {
    let columns = vec![("a".to_owned(), class.to_owned())];
    Learnt::Filled(Filled { relation: relation.into(), columns, ..Filled::default() })
}

fn told(memory: &mut Memory) -> (u64, Vec<(DatabaseName, Vec<Learnt>)>) {
    let (edition, file) = memory.sealed().unwrap();
    (edition, unseal_kept(&*file).unwrap())
}

#[test]
fn what_was_told_is_there_after_the_end() {
    let scratch = Scratch::new("after");
    let mut memory = Memory::open(scratch.file()).unwrap();
    assert_eq!(told(&mut memory), (1, Vec::new()));
    let news = memory.take(&app(), filled("t2", "email")).unwrap();
    assert_eq!((news.edition, news.learnt, news.forgot), (2, filled("t2", "email"), false));
    assert!(memory.take(&app(), filled("t2", "email")).is_none());
    assert_eq!(memory.take(&app(), Learnt::Notifications).unwrap().edition, 3);
    assert!(memory.take(&app(), filled("t2", "not a class")).is_none());
    assert!(memory.take(&app(), Learnt::There(vec!["t2".into()])).is_none());
    let before = told(&mut memory);
    assert_eq!(before.0, 3);
    drop(memory);
    assert_eq!(scratch.text().lines().count(), 2);
    let mut memory = Memory::open(scratch.file()).unwrap();
    assert_eq!(told(&mut memory).1, before.1);
    assert_eq!(before.1, [(app(), vec![Learnt::Notifications, filled("t2", "email")])]);
    assert_eq!(memory.forget("public", "t2", |_| true), 1);
    assert_eq!(told(&mut memory), (2, vec![(app(), vec![Learnt::Notifications])]));
    drop(memory);
    assert_eq!(scratch.text().lines().count(), 1);
    assert!(!scratch.0.join("filled.jsonl.damaged").exists());
}

#[test]
fn damage_is_laid_aside_and_the_rest_holds() {
    let scratch = Scratch::new("damage");
    let mut memory = Memory::open(scratch.file()).unwrap();
    memory.take(&app(), filled("t2", "email")).unwrap();
    drop(memory);
    let damaged = format!("{}{{\"v\":1,", scratch.text());
    std::fs::write(scratch.file(), &damaged).unwrap();
    let mut memory = Memory::open(scratch.file()).unwrap();
    assert_eq!(told(&mut memory).1, [(app(), vec![filled("t2", "email")])]);
    // What comes next doesn't stand behind half a line.
    memory.take(&app(), filled("t3", "email")).unwrap();
    drop(memory);
    assert_eq!(scratch.text().lines().count(), 2);
    let aside = std::fs::read_to_string(scratch.0.join("filled.jsonl.damaged")).unwrap();
    assert_eq!(aside, damaged);
    // What is no file at all.
    std::fs::remove_file(scratch.file()).unwrap();
    std::fs::create_dir(scratch.file()).unwrap();
    let _ = std::fs::remove_file(scratch.0.join("filled.jsonl.damaged"));
    let mut memory = Memory::open(scratch.file()).unwrap();
    memory.take(&app(), filled("t4", "email")).unwrap();
    drop(memory);
    assert_eq!(scratch.text().lines().count(), 1);
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let scratch = Scratch::new("later");
    let path = scratch.0.join("sub/filled.jsonl");
    std::fs::write(scratch.0.join("sub"), "in the way").unwrap();
    let mut memory = Memory::open(path.clone()).unwrap();
    memory.take(&app(), filled("t2", "email")).unwrap();
    let wait = |memory: &Memory, failed: bool| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while memory.trouble().is_some() != failed {
            assert!(std::time::Instant::now() < until, "{:?}", memory.trouble());
            std::thread::yield_now();
        }
    };
    wait(&memory, true);
    assert!(memory.trouble().unwrap().contains("sub/filled.jsonl` can't be written"));
    memory.take(&app(), filled("t3", "email")).unwrap();
    std::fs::remove_file(scratch.0.join("sub")).unwrap();
    memory.look();
    wait(&memory, false);
    drop(memory);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}
