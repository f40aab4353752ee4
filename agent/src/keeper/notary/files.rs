//! The notary's files.
//!
//! ```text
//! <folder>/keeper/key       the signing key; root alone may read it
//! <folder>/keeper/head      the tree's head, and how far each writer is;
//! <folder>/keeper/head.2      in one of the two
//! <folder>/key.pub          the key that verifies
//! <folder>/<id>/            the log itself; its writers' own
//! ```

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::catching_up::catch_up;
use super::slots::{self, Slots};
use crate::ledger::{Head, SigningKey};
use crate::model::Timestamp;

#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    #[error(
        "cannot {what} `{path}`: {error}; the log needs it: see `folder` in [audit]",
        path = .path.display()
    )]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error(
        "another agent uses the log in `{folder}`: end it first, or give this one another `folder` \
         in [audit]",
        folder = .0.display()
    )]
    InUse(PathBuf),
    #[error("cannot make a key for the log: {0}")]
    Key(&'static str),
    #[error("cannot start the log's signer: {0}")]
    Start(#[from] io::Error),
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NotaryError {
    let path = path.to_owned();
    move |error| NotaryError::File { what, path, error }
}

#[derive(Debug)]
pub struct Files {
    own: PathBuf,
    pub log: PathBuf,
    head: Slots,
    /// No other keeper has it.
    _lock: File,
    synced: Option<Instant>,
}

/// What there is, or a new log.
pub fn open(folder: &Path, owner: (u32, u32)) -> Result<(Files, SigningKey, Head), NotaryError> {
    let own = folder.join("keeper");
    for (path, mode) in [(folder, 0o755), (&own, 0o700)] {
        DirBuilder::new().recursive(true).mode(mode).create(path).map_err(file("make", path))?;
    }
    std::fs::set_permissions(&own, Permissions::from_mode(0o700)).map_err(file("protect", &own))?;
    let lock = own.join("lock");
    let locked = File::create(&lock).map_err(file("make", &lock))?;
    locked.try_lock().map_err(|_| NotaryError::InUse(folder.to_owned()))?;
    let (key, mut head, mut serial) = match kept(&own)? {
        Some(kept) => kept,
        None => new(folder, &own)?,
    };
    let log_of =
        |key: &SigningKey| folder.join(key.verifier().name.rsplit('/').next().unwrap_or_default());
    let key = match catch_up(&mut head, &key, &log_of(&key)) {
        Ok(0) => key,
        Ok(taken) => {
            tracing::warn!("{taken} signed heads of the log were not stored and are taken in");
            key
        }
        Err(why) => {
            tracing::error!("the log can't be signed on: {why}");
            lay_aside(&own)?;
            let (key, begun, stored) = new(folder, &own)?;
            (head, serial) = (begun, stored);
            key
        }
    };
    let log = log_of(&key);
    DirBuilder::new().recursive(true).mode(0o750).create(&log).map_err(file("make", &log))?;
    std::os::unix::fs::chown(&log, Some(owner.0), Some(owner.1)).map_err(file("give", &log))?;
    let public = folder.join("key.pub");
    let text = format!("{}\n", key.verifier());
    if std::fs::read_to_string(&public).ok().as_ref() != Some(&text) {
        std::fs::write(&public, text).map_err(file("write", &public))?;
        std::fs::set_permissions(&public, Permissions::from_mode(0o644))
            .map_err(file("protect", &public))?;
    }
    let slots = Slots::open(&own, HEAD, serial).map_err(file("open", &own.join(HEAD)))?;
    Ok((Files { log, head: slots, _lock: locked, synced: None, own }, key, head))
}

/// Key and head, if both are there and can be read. What is there and can't be
/// is laid aside: a head that isn't known is never signed on.
fn kept(own: &Path) -> Result<Option<(SigningKey, Head, u64)>, NotaryError> {
    let read = |name: &str| match std::fs::read_to_string(own.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
        Err(error) => Err(file("read", &own.join(name))(error)),
    };
    let key = read("key")?;
    let head = slots::newest(own, HEAD).map_err(file("read", &own.join(HEAD)))?;
    if key.is_none() && slots::paths(own, HEAD).iter().all(|path| !path.exists()) {
        return Ok(None);
    }
    let kept = head.as_ref().zip(key.as_deref()).and_then(|((serial, head), key)| {
        let head = Head::from_text(head).ok()?;
        let seed: [u8; 32] = STANDARD.decode(key.trim()).ok()?.try_into().ok()?;
        let key = SigningKey::from_seed(&head.origin, &seed)?;
        Some((key, head, *serial))
    });
    if kept.is_none() {
        lay_aside(own)?;
    }
    Ok(kept)
}

/// What was signed before stays as it is, and can still be verified.
fn lay_aside(own: &Path) -> Result<(), NotaryError> {
    tracing::error!(
        "the log's key or head in `{}` is lost: what was signed before stays as it is, and a new \
         log begins, with a new key (`tidegate audit key`)",
        own.display()
    );
    let aside = Timestamp::now().0;
    let [one, other] = slots::paths(own, HEAD);
    for path in [own.join("key"), one, other] {
        if path.exists() {
            let mut to = path.clone().into_os_string();
            to.push(format!(".lost-{aside}"));
            std::fs::rename(&path, &to).map_err(file("lay aside", &path))?;
        }
    }
    Ok(())
}

fn new(folder: &Path, own: &Path) -> Result<(SigningKey, Head, u64), NotaryError> {
    let (mut seed, mut id) = ([0; 32], [0; 4]);
    rand::fill(&mut seed)
        .and_then(|()| rand::fill(&mut id))
        .map_err(|_| NotaryError::Key("the machine gives no random numbers"))?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '-' };
    let host: String = host.chars().map(plain).collect();
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let origin = format!("tidegate/{host}/{id}");
    let key = SigningKey::from_seed(&origin, &seed).ok_or(NotaryError::Key("it is no key"))?;
    let head = Head::new(origin);
    put(&own.join("key"), STANDARD.encode(seed).as_bytes())?;
    let path = own.join(HEAD);
    Slots::open(own, HEAD, 0)
        .and_then(|mut slots| slots.store(&head.to_text(), true))
        // Their names, too.
        .and_then(|()| File::open(own)?.sync_all())
        .map_err(file("write", &path))?;
    tracing::info!("a log begins in `{}`; its key is {}", folder.display(), key.verifier());
    Ok((key, head, 1))
}

impl Files {
    /// Whole or not at all. It is brought to the disk at most once a second: a
    /// kill loses nothing, and what a loss of power takes is taken in again from
    /// the log ([`super::catching_up`]).
    pub fn store(&mut self, head: &Head) -> Result<(), NotaryError> {
        let due = self.synced.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        if due {
            self.synced = Some(Instant::now());
        }
        let path = self.own.join(HEAD);
        self.head.store(&head.to_text(), due).map_err(file("write", &path))
    }

    /// On the disk when it returns: a writer's number is given once.
    pub fn store_now(&mut self, head: &Head) -> Result<(), NotaryError> {
        self.synced = None;
        self.store(head)
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), NotaryError> {
    let new = path.with_extension("new");
    let written =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(
            |mut file| {
                file.write_all(bytes)?;
                file.sync_data()
            },
        );
    written.map_err(file("write", &new))?;
    std::fs::rename(&new, path).map_err(file("rename", &new))
}

const HEAD: &str = "head";
