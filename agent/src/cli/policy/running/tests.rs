use super::*;
use crate::model::PACKS;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tidegate-policies-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn settings(&self) -> PolicySettings {
        PolicySettings { folder: self.0.clone(), ..PolicySettings::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn completed(mut settings: PolicySettings) -> PolicySettings {
    complete(&mut settings).map_err(|failure| failure.to_string()).unwrap();
    settings
}

fn refused(mut settings: PolicySettings) -> Vec<String> {
    let before = settings.clone();
    let failure = complete(&mut settings).err().unwrap();
    assert_eq!(settings, before, "what is broken leaves nothing behind");
    assert_eq!(failure.exit, Exit::Usage);
    failure.to_string().lines().map(str::to_owned).collect()
}

const GOOD: &str = "@id(\"mine\")\nforbid (principal, action == Action::\"drop\", resource);\n";

#[test]
fn the_packs_that_settings_know_are_those_that_there_are() {
    let there: Vec<&str> = crate::policy::set::PACKS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(there, PACKS);
}

#[test]
fn the_folders_policies_are_laid_over_the_default_ones() {
    let folder = Folder::new("laid");
    let plain = completed(folder.settings());
    assert_eq!(plain.generation, Some(Set::embedded().unwrap().generation().to_string()));
    assert!(plain.sources.is_empty());
    let b = folder.file("b.cedar", GOOD);
    let a = folder.file("a.cedar", "// nothing\n");
    folder.file("a.test.toml", "not a policy");
    folder.file("b.cedar.bak", "not one either");
    let own = completed(folder.settings());
    assert_eq!(own.sources, [(a, "// nothing\n".to_owned()), (b.clone(), GOOD.to_owned())]);
    assert_ne!(own.generation, plain.generation);
    let packs = PolicySettings { packs: vec!["read-only".into()], ..folder.settings() };
    assert_ne!(completed(packs).generation, own.generation);
    let bare = completed(PolicySettings { bare: true, ..folder.settings() });
    let alone = Set::parse(&[Source { name: b.into(), text: GOOD.into() }]).unwrap();
    assert_eq!(bare.generation, Some(alone.generation().to_string()));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_line() {
    let folder = Folder::new("wrong");
    let a = folder.file("a.cedar", "// one\n\nforbid (principal, action, resorce);\n");
    let b = folder.file("b.cedar", &format!("{GOOD}\n@advise(\"x\")\n{GOOD}"));
    let binary = folder.0.join("c.cedar");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    let gone = folder.0.join("d.cedar");
    std::os::unix::fs::symlink("/nowhere/at/all", &gone).unwrap();
    fs::create_dir(folder.0.join("e.cedar")).unwrap();
    let said = refused(folder.settings());
    for expected in [
        format!("{a}:3: "),
        format!("{b}:4: no annotation is called `@advise`: did you mean `@advice`?"),
        format!("cannot read `{}`: ", binary.display()),
        format!("cannot read `{}`: No such file", gone.display()),
        format!("cannot read `{}/e.cedar`: it is no regular file", folder.0.display()),
    ] {
        assert!(said.iter().any(|line| line.starts_with(&expected)), "{expected}: {said:#?}");
    }
    // The same folder stops nobody who decides nothing.
    let off = PolicySettings { mode: PolicyMode::Off, ..folder.settings() };
    assert_eq!(completed(off.clone()), off);
    let shadow = PolicySettings { mode: PolicyMode::Shadow, ..folder.settings() };
    assert_eq!(refused(shadow), said);
}

#[test]
fn only_the_usual_folder_may_be_absent() {
    let folder = Folder::new("absent");
    let path = folder.0.join("none");
    let settings = PolicySettings { folder: path.clone(), ..PolicySettings::default() };
    assert!(PolicySettings::default().folder_may_be_absent());
    let expected = format!(
        "cannot read the policies in `{}` (No such file or directory (os error 2)): make it, or \
         leave `policy.folder` out",
        path.display()
    );
    assert_eq!(refused(settings), [expected]);
}

#[test]
fn a_file_without_bounds_is_not_read() {
    let folder = Folder::new("large");
    let path = folder.file("a.cedar", "");
    fs::File::options().write(true).open(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
    let said = refused(folder.settings());
    assert_eq!(said, [format!("cannot read `{path}`: it has more than {MOST_BYTES} bytes")]);
}
