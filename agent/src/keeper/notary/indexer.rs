//! The process that keeps the log searchable: without privilege, at the lowest
//! priority, started again when it ends.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt;

#[derive(Debug)]
pub struct Indexer {
    folder: PathBuf,
    owner: (u32, u32),
    child: Option<Child>,
    start_at: Instant,
    told: bool,
}

impl Indexer {
    pub fn new(folder: PathBuf, owner: (u32, u32)) -> Self {
        Self { folder, owner, child: None, start_at: Instant::now() + FIRST, told: false }
    }

    /// To be called every now and then.
    pub fn look_after(&mut self) {
        let ended = self.child.as_mut().map(Child::try_wait);
        match ended {
            Some(Ok(None)) => return,
            Some(how) => {
                self.child = None;
                self.start_at = Instant::now() + PAUSE;
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(
                        "the log's index isn't kept up ({how:?}); searches do it themselves"
                    );
                }
            }
            None => {}
        }
        // The first writer makes the log.
        if self.start_at > Instant::now() || !self.folder.join("segments").is_dir() {
            return;
        }
        self.start_at = Instant::now() + PAUSE;
        // It ends with its standard input, so with this process.
        let _alone = crate::keeper::spawning();
        let child = Command::new("/proc/self/exe")
            .args(["audit", "index", "--dir"])
            .arg(&self.folder)
            .uid(self.owner.0)
            .gid(self.owner.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .current_dir("/")
            .env_clear()
            .spawn();
        match child {
            Ok(child) => self.child = Some(child),
            Err(error) if !self.told => {
                self.told = true;
                tracing::warn!("the log's index can't be kept up: {error}");
            }
            Err(_) => {}
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A new log has its first signed head by then: before that it is none.
const FIRST: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(10);
