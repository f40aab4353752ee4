//! `tidegate audit`: the log searched, verified, proven and given out.
//!
//! Reading the log is recorded in it, as far as an agent is there to do so.

mod moment;
mod page;
mod search;

use std::ffi::OsString;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::exit::{Exit, Failure};
use super::output::{self, Format, Page};
use crate::audit::export::{self, ExportError, Exported, Form};
use crate::audit::index::{Index, IndexError};
use crate::audit::record::RecordId;
use crate::audit::store::look_into;
use crate::audit::tiles::{Published, TilesError, publish};
use crate::audit::verify::{Proof, ProofError, VerifyError};
use crate::audit::{Folder, StoreError, prove, verify};
use crate::config::{self, Overrides, Settings};
use crate::control::{Client, Order};
use crate::ledger::VerifierKey;
use crate::model::command_line;

/// Asks the log: who did what, and whether it is as it was written
///
/// docs/audit.md describes the log, every field of its records, and what it
/// proves.
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Search(Box<search::Search>),
    Verify(Verify),
    Prove(Prove),
    Export(Export),
    Tiles(Tiles),
    Key(Key),
    #[command(hide = true)]
    Index(BuildIndex),
}

/// Which log.
#[derive(Debug, Args)]
struct Where {
    /// The log's folder, here or copied from elsewhere [default: the settings']
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The settings file [default: /etc/tidegate/tidegate.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// Verifies that the log is as it was signed
///
/// Needs nothing but the log's folder and its public key (`tidegate audit key`),
/// so it works on another machine. Names the first record that isn't what it
/// was, and says what can't be proven. Exits with 5 if anything is not as it was
/// signed.
#[derive(Debug, Args)]
struct Verify {
    /// The log's folder [default: the settings']
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
    /// The public key, or a file that holds it [default: the log's own]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A file with a checkpoint that was kept elsewhere: this log must contain it
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Verify a proof instead (`tidegate audit prove`)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "dir", "since"])]
    proof: Option<PathBuf>,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "table")]
    output: Format,
}

/// Writes a proof of one record, which stands without the others
#[derive(Debug, Args)]
struct Prove {
    /// The record, as searches name it, such as 3-1200
    #[arg(value_name = "RECORD")]
    record: RecordId,
    #[command(flatten)]
    place: Where,
    /// The public key, or a file that holds it [default: the log's own]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Publishes the log's tree, for mirrors and witnesses
///
/// Writes the last signed checkpoint and the tree's hashes as C2SP tiles
/// (tlog-tiles), which any server for files can give out. They are hashes alone:
/// no record leaves the host. What is there already stays; run it as often as
/// others are to see the log grow.
#[derive(Debug, Args)]
struct Tiles {
    /// Where to: `checkpoint` and `tile/` come to lie in it
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    place: Where,
}

/// Writes all records of a time
#[derive(Debug, Args)]
struct Export {
    /// In which form
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "jsonl")]
    format: ExportFormat,
    /// Only what happened since: `15m` ago, `yesterday`, or a time such as 2026-11-21 or
    /// 2026-11-21T10:00:00Z (UTC where no zone is named)
    #[arg(long, value_name = "WHEN", value_parser = moment::moment)]
    since: Option<moment::Moment>,
    /// Only what happened before
    #[arg(long, value_name = "WHEN", value_parser = moment::moment)]
    until: Option<moment::Moment>,
    #[command(flatten)]
    place: Where,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// One JSON document a line: docs/audit.md
    Jsonl,
    /// A sheet
    Csv,
    /// OCSF 6005, Datastore Activity
    Ocsf,
}

/// Prints the log's public key, with which others verify it
#[derive(Debug, Args)]
struct Key {
    #[command(flatten)]
    place: Where,
}

/// Builds the index, and goes on doing so
#[derive(Debug, Args)]
struct BuildIndex {
    #[command(flatten)]
    place: Where,
    /// End once everything is in
    #[arg(long)]
    once: bool,
}

impl Audit {
    pub fn carry_out(self) -> Result<Exit, Failure> {
        raise_open_files();
        match self.command {
            Command::Search(search) => search.carry_out(),
            Command::Verify(verify) => verify.carry_out(),
            Command::Prove(prove) => prove.carry_out(),
            Command::Export(export) => export.carry_out(),
            Command::Tiles(tiles) => tiles.carry_out(),
            Command::Key(key) => key.carry_out(),
            Command::Index(index) => index.carry_out(),
        }
    }
}

impl Where {
    fn settings(&self) -> Result<Settings, Failure> {
        Ok(config::resolve(self.config.as_deref(), Overrides::default())?)
    }

    fn base(&self) -> Result<PathBuf, Failure> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.settings()?.audit.folder),
        }
    }

    /// The log itself: the folder that was named, or the one in it that its key
    /// speaks of.
    fn folder(&self) -> Result<Folder, Failure> {
        let base = self.base()?;
        if let Ok(folder) = Folder::existing(&base) {
            return Ok(folder);
        }
        let key = own_key(&base)?;
        let id = key.name.rsplit('/').next().unwrap_or_default().to_owned();
        Folder::existing(&base.join(id)).map_err(store)
    }

    /// Has it recorded that the log is read, and by what command: by the agent whose log
    /// it is, whatever the settings are that were named and however the folder was. A
    /// copy elsewhere is nobody's.
    fn tell(&self, folder: &Folder) {
        const UNTOLD: &str = "that the log is read is not recorded in it";
        let usual = Where { dir: None, config: None };
        let mut asked: Vec<PathBuf> = Vec::new();
        let known = [self.settings(), usual.settings()];
        if known.iter().all(Result::is_err) {
            super::say(&format!("{UNTOLD}: the settings don't say where the agent is"));
        }
        for settings in known.into_iter().flatten() {
            if asked.contains(&settings.control) || !is_of(folder.path(), &settings.audit.folder) {
                continue;
            }
            let order = Order::LogRead { command: typed(std::env::args_os().skip(1)) };
            let told = Client::connect(&settings.control)
                .and_then(|client| client.ask(&order)?.collect::<Result<Vec<_>, _>>());
            if let Err(error) = told {
                super::say(&format!("{UNTOLD}: {error}"));
            }
            asked.push(settings.control);
        }
    }
}

/// Whether a log is this one, in it, or in one of the folders in it: by what they are
/// and not by how they are called, since links and mounts give them other names.
fn is_of(log: &Path, base: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let within = std::fs::read_dir(base).into_iter().flatten().flatten().map(|it| it.path());
    let own: Vec<_> = within.chain([base.to_owned()]).filter_map(|path| identity(&path)).collect();
    let log = std::fs::canonicalize(log).unwrap_or_else(|_| log.to_owned());
    log.ancestors().filter_map(identity).any(|one| own.contains(&one))
}

/// As it was typed: so nothing that was asked for can be missing.
fn typed(arguments: impl Iterator<Item = OsString>) -> String {
    let words: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
    let command = command_line(&words);
    match command.char_indices().nth(LONGEST_COMMAND) {
        Some((end, _)) => format!("{}…", command.get(..end).unwrap_or_default()),
        None => command,
    }
}

/// The key beside a log: above it, where only root writes, or in it, where a copy was
/// put together. In an agent's log it was put there by whoever the log is proven
/// against; so where both are there, they must agree.
fn own_key(folder: &Path) -> Result<VerifierKey, Failure> {
    let places = [folder.join("../key.pub"), folder.join("key.pub")];
    let mut found = places.iter().filter_map(|path| {
        let mut text = String::new();
        look_into(path).ok()?.take(LONGEST_KEY).read_to_string(&mut text).ok()?;
        Some(text)
    });
    let Some(text) = found.next() else {
        return Err(Failure::text(
            Exit::Failed,
            format!(
                "there is no log in `{}`, or not its `key.pub`: name the folder, and the key with \
                 `--key`",
                folder.display()
            ),
        ));
    };
    if found.any(|other| other.trim() != text.trim()) {
        return Err(Failure::text(
            Exit::Failed,
            format!(
                "the `key.pub` in `{}` is not the one above it: name the log's own, as you have it \
                 from elsewhere, with `--key`",
                folder.display()
            ),
        ));
    }
    text.parse().map_err(|error| Failure::new(Exit::Failed, anyhow::Error::new(error)))
}

fn key(named: Option<&str>, folder: Option<&Path>) -> Result<VerifierKey, Failure> {
    let Some(named) = named else {
        let Some(folder) = folder else {
            return Err(Failure::text(Exit::Usage, "a proof needs the log's key: `--key`"));
        };
        super::say(
            "the key that lies beside the log is used: whoever can change the log can change that \
             too; name one that you have from elsewhere with `--key`",
        );
        return own_key(folder);
    };
    named_key(named)
}

fn named_key(named: &str) -> Result<VerifierKey, Failure> {
    let text = match named.parse::<VerifierKey>() {
        Ok(key) => return Ok(key),
        Err(_) => std::fs::read_to_string(named).unwrap_or_else(|_| named.to_owned()),
    };
    text.parse().map_err(|error| Failure::new(Exit::Usage, anyhow::Error::new(error)))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::text(Exit::Usage, format!("cannot read `{}`: {error}", path.display()))
    })
}

impl Verify {
    fn carry_out(self) -> Result<Exit, Failure> {
        if let Some(path) = &self.proof {
            return self.proof(path);
        }
        let place = Where { dir: self.folder.or(self.place.dir), config: self.place.config };
        let folder = place.folder()?;
        let key = key(self.key.as_deref(), Some(folder.path()))?;
        let held = self.since.as_deref().map(read).transpose()?;
        place.tell(&folder);
        become_owner(&folder)?;
        let verified = verify(&folder, &key, held.as_deref()).map_err(|error| match error {
            VerifyError::Store(error) => store(error),
            error @ (VerifyError::Held(_) | VerifyError::Many(_)) => {
                Failure::new(Exit::Usage, error)
            }
        })?;
        match self.output {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                page::verified(&mut out, Page::of_stdout(), &verified)?;
                out.flush()?;
            }
            machine => output::document(machine, &verified)?,
        }
        Ok(if verified.is_whole() { Exit::Ok } else { Exit::Integrity })
    }

    fn proof(&self, path: &Path) -> Result<Exit, Failure> {
        let key = key(self.key.as_deref(), None)?;
        let broken = |error: ProofError| Failure::new(Exit::Integrity, error);
        let proven = Proof::read(&read(path)?).and_then(|proof| proof.verify(&key));
        let proven = proven.map_err(broken)?;
        match self.output {
            Format::Table | Format::Wide => {
                let mut out = output::stdout();
                page::proven(&mut out, Page::of_stdout(), &proven)?;
                out.flush()?;
            }
            machine => output::document(machine, &proven)?,
        }
        Ok(Exit::Ok)
    }
}

impl Prove {
    fn carry_out(self) -> Result<Exit, Failure> {
        let folder = self.place.folder()?;
        self.place.tell(&folder);
        let key = match &self.key {
            Some(named) => named_key(named)?,
            None => own_key(folder.path())?,
        };
        become_owner(&folder)?;
        let proof = prove(&folder, &key, self.record).map_err(|error| match error {
            ProofError::Store(error) => store(error),
            error @ (ProofError::Wrong(_) | ProofError::Misplaced(_)) => {
                Failure::new(Exit::Integrity, error)
            }
            error => Failure::new(Exit::Failed, error),
        })?;
        output::document(Format::Json, &proof)?;
        Ok(Exit::Ok)
    }
}

impl Tiles {
    fn carry_out(self) -> Result<Exit, Failure> {
        let folder = self.place.folder()?;
        self.place.tell(&folder);
        // By who runs it: the folder is his, and nothing but hashes is read.
        let key = own_key(folder.path())?;
        let published = publish(&folder, &key, &self.to).map_err(|error| match error {
            TilesError::Store(error) => store(error),
            error @ (TilesError::Altered | TilesError::Shorter { .. }) => {
                Failure::new(Exit::Integrity, error)
            }
            error => Failure::new(Exit::Failed, error),
        })?;
        let Published { size, written, from } = published;
        super::say(&format!("{size} records, {written} new tiles"));
        if from > 0 {
            super::say(&format!(
                "the first {from} were removed from the log: of their tiles only those are there \
                 that were published before"
            ));
        }
        Ok(Exit::Ok)
    }
}

impl Export {
    fn carry_out(self) -> Result<Exit, Failure> {
        let span = moment::span(self.since, self.until)?;
        let folder = self.place.folder()?;
        self.place.tell(&folder);
        become_owner(&folder)?;
        let form = match self.format {
            ExportFormat::Jsonl => Form::Jsonl,
            ExportFormat::Csv => Form::Csv,
            ExportFormat::Ocsf => Form::Ocsf,
        };
        let mut out = BufWriter::new(std::io::stdout().lock());
        let exported = export::export(&folder, form, span, &mut out);
        let Exported { records, unread, broken } = exported.map_err(|error| match error {
            ExportError::Store(error) => store(error),
            ExportError::Write(error) => error.into(),
        })?;
        super::say(&format!("{records} records"));
        for error in &broken {
            super::say(&format!("a segment is left out: {error}"));
        }
        if unread > 0 {
            super::say(&format!(
                "{unread} records are left out: they are damaged or not where they belong \
                 (`tidegate audit verify` says which), or of a newer tidegate"
            ));
        }
        Ok(if unread == 0 && broken.is_empty() { Exit::Ok } else { Exit::Failed })
    }
}

impl Key {
    fn carry_out(self) -> Result<Exit, Failure> {
        let key = own_key(&self.place.base()?)?;
        let mut out = output::stdout();
        writeln!(out, "{}", output::safe(&key.to_string()))?;
        out.flush()?;
        Ok(Exit::Ok)
    }
}

impl BuildIndex {
    fn carry_out(self) -> Result<Exit, Failure> {
        let folder = self.place.folder()?;
        become_owner(&folder)?;
        // The data path comes first.
        crate::host::idle::yield_to_others();
        let mut index = Index::open(&folder).map_err(index_failure)?;
        loop {
            index.catch_up(&mut || true).map_err(index_failure)?;
            if self.once {
                return Ok(Exit::Ok);
            }
            // Whoever started it holds the other end for as long as it lives.
            let stdin = std::io::stdin();
            let mut waited = [PollFd::new(&stdin, PollFlags::IN)];
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            if rustix::event::poll(&mut waited, Some(&second)).is_ok_and(|ended| ended > 0) {
                return Ok(Exit::Ok);
            }
        }
    }
}

/// A log that is kept for long is of more segments than a shell's usual limit.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // What fails leaves the limit as it was.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Root reads the log as the one who writes it: what lies there was made by a
/// process that is trusted less, and what is made here must be its.
fn become_owner(folder: &Folder) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;

    use rustix::process::{Gid, Uid, geteuid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    if !geteuid().is_root() {
        return Ok(());
    }
    // A link is whose who made it, wherever it leads.
    let (here, there) = (folder.path().to_owned(), folder.segments());
    let looked = [&here, &there].map(|path| {
        std::fs::symlink_metadata(path).map_err(StoreError::io("look at", path)).map_err(store)
    });
    let [here, there] = looked;
    let Some(owner) = [here?, there?].into_iter().find(|owner| owner.uid() != 0) else {
        return Ok(());
    };
    let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
    // There is no other thread yet.
    set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .map_err(|error| {
            Failure::text(Exit::Failed, format!("cannot become the log's owner: {error}"))
        })
}

fn store(error: StoreError) -> Failure {
    let denied = matches!(&error, StoreError::Io { error, .. }
        if error.kind() == std::io::ErrorKind::PermissionDenied);
    Failure::new(if denied { Exit::Denied } else { Exit::Failed }, error)
}

fn index_failure(error: IndexError) -> Failure {
    match error {
        IndexError::Store(error) => store(error),
        error @ IndexError::Database { .. } => Failure::new(Exit::Failed, error),
    }
}

/// Bytes of a key's file.
const LONGEST_KEY: u64 = 4_096;
/// Characters of a command that are recorded.
const LONGEST_COMMAND: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_as_it_was_typed_with_all_that_it_asked_for() {
        let told = |words: &[&str]| typed(words.iter().map(OsString::from));
        let words = ["audit", "search", "o'clock now", "--since", "7d", "--sqlstate", "42501"];
        assert_eq!(told(&words), r"audit search 'o'\''clock now' --since 7d --sqlstate 42501");
        assert_eq!(told(&["a", "", "; rm"]), "a '' '; rm'");
        assert_eq!(told(&["a".repeat(5_000).as_str()]).chars().count(), 4_001);
    }

    /// Or nobody would know who has read it.
    #[test]
    fn a_log_is_known_by_whatever_name_it_is_read() {
        let base = std::env::temp_dir().join(format!("tg-names-{}", std::process::id()));
        for folder in ["log/one/segments", "logs/one", "copy/one/segments"] {
            std::fs::create_dir_all(base.join(folder)).unwrap();
        }
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(base.join(to), base.join(name)).unwrap();
        };
        link("log", "linked");
        link("log/one", "logs/into");
        let of = |log: &str, own: &str| is_of(&base.join(log), &base.join(own));
        for log in ["log", "log/one", "log/../log/one", "copy/../log", "linked/one", "logs/into"] {
            assert!(of(log, "log"), "{log}");
            assert!(of(log, "linked"), "{log}");
        }
        for log in ["copy/one", "logs/one", "log/../copy", "nowhere"] {
            assert!(!of(log, "log"), "{log}");
        }
        std::fs::remove_dir_all(base).unwrap();
    }

    /// The folder of an agent's log is the enforcer's, and the one above it root's.
    #[test]
    fn a_key_that_was_put_into_a_log_does_not_stand_for_the_one_above_it() {
        let base = std::env::temp_dir().join(format!("tg-keys-{}", std::process::id()));
        let log = base.join("log");
        std::fs::create_dir_all(&log).unwrap();
        let named = |seed| {
            let key = crate::ledger::SigningKey::from_seed("tidegate/x", &[seed; 32]).unwrap();
            key.verifier().clone()
        };
        let (own, other) = (named(1), named(2));
        let put = |folder: &Path, text: &str| std::fs::write(folder.join("key.pub"), text).unwrap();
        put(&base, &format!("{own}\n"));
        assert_eq!(own_key(&log).unwrap(), own);
        put(&log, &own.to_string());
        assert_eq!(own_key(&log).unwrap(), own);
        put(&log, &other.to_string());
        assert!(own_key(&log).unwrap_err().to_string().contains("--key"));
        // A copy that was put together elsewhere.
        std::fs::remove_file(base.join("key.pub")).unwrap();
        assert_eq!(own_key(&log).unwrap(), other);
        // A link to what only root may read is not followed, nor is it told.
        std::fs::write(base.join("secret"), "root:$6$hunter2").unwrap();
        std::fs::remove_file(log.join("key.pub")).unwrap();
        std::os::unix::fs::symlink(base.join("secret"), log.join("key.pub")).unwrap();
        assert!(!own_key(&log).unwrap_err().to_string().contains("hunter2"));
        std::fs::remove_dir_all(base).unwrap();
    }
}
