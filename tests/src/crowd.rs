//! A process full of clients in the background, and what came of each.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::probe::{self, Load, Outcome, Task};
use crate::wait;

pub struct Crowd {
    child: Child,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    reading: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    pub fn start(place: &Place<'_>, load: &Load) -> Result<Self> {
        let mut child = probe::command(place, &Task::Load(load.clone()))?
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the probe")?;
        let out = child.stdout.take().context("the probe has no output")?;
        let outcomes = Arc::<Mutex<Vec<Outcome>>>::default();
        let collected = Arc::clone(&outcomes);
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let outcome = serde_json::from_str(&line?)?;
                collected.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            }
            Ok(())
        });
        Ok(Self { child, outcomes, reading: Some(reading) })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What came of the connections that have ended so far.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for an outcome that began after `since` and is as wanted.
    pub fn wait_for(
        &self,
        what: &str,
        since: u64,
        within: Duration,
        wanted: impl Fn(&Outcome) -> bool,
    ) -> Result<Outcome> {
        wait::until(what, within, || {
            let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(outcomes.iter().find(|one| one.at >= since && wanted(one)).cloned())
        })
    }

    /// Waits until so many connections that began after `since` were whole.
    pub fn wait_done(&self, count: usize, since: u64, within: Duration) -> Result<()> {
        wait::until_true(&format!("{count} whole connections"), within, || {
            let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.iter().filter(|one| one.at >= since && one.done()).count() >= count
        })
    }

    /// Lets every client finish, and gives all outcomes.
    pub fn stop(mut self) -> Result<Vec<Outcome>> {
        drop(self.child.stdin.take());
        if let Some(reading) = self.reading.take() {
            match reading.join() {
                Ok(done) => done?,
                Err(_) => bail!("the reader of a load panicked"),
            }
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the load failed: {status}");
        }
        Ok(self.outcomes())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
