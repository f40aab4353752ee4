//! `tidegate observe -f -o jsonl`, collected in the background.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::seen::Event;
use crate::wait;

pub struct Observer {
    child: Child,
    events: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    /// Lines that are no event of the documented schema.
    unreadable: Vec<String>,
    ended: bool,
}

impl Observer {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `tidegate observe`")?;
        let out = child.stdout.take().context("`tidegate observe` has no output")?;
        let events = Arc::<Mutex<Seen>>::default();
        let collected = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line);
                let mut seen = collected.lock().unwrap_or_else(PoisonError::into_inner);
                match parsed {
                    Ok(event) => seen.events.push(event),
                    Err(error) => seen.unreadable.push(format!("{error}: {line}")),
                }
            }
            collected.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        });
        Ok(Self { child, events })
    }

    /// Every event so far, the ones before the start included.
    pub fn events(&self) -> Result<Vec<Event>> {
        let seen = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.unreadable.first() {
            None => Ok(seen.events.clone()),
            Some(line) => Err(anyhow!("an event cannot be read: {line}")),
        }
    }

    /// How many are of this sort.
    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> Result<usize> {
        let seen = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.unreadable.first() {
            None => Ok(seen.events.iter().filter(|event| wanted(event)).count()),
            Some(line) => Err(anyhow!("an event cannot be read: {line}")),
        }
    }

    pub fn wait_for(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        wait::until(what, within, || {
            let seen = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = seen.unreadable.first() {
                return Err(anyhow!("an event cannot be read: {line}"));
            }
            let found = seen.events.iter().rev().find(|event| wanted(event)).cloned();
            if found.is_none() && seen.ended {
                return Err(anyhow!("`tidegate observe` has ended before {what}"));
            }
            Ok(found)
        })
    }

    /// The event of this kind for this process.
    pub fn wait_of(&self, kind: &str, tgid: u32) -> Result<Event> {
        let what = format!("the event `{kind}` of process {tgid}");
        self.wait_for(&what, Duration::from_secs(10), |event| event.is_of(kind, tgid)).with_context(
            || {
                let told = self.events().unwrap_or_default();
                let of_it: Vec<_> = told
                    .iter()
                    .filter(|event| event.whose().is_some_and(|whose| whose.key.tgid == tgid))
                    .collect();
                format!("of {} events these are of process {tgid}: {of_it:?}", told.len())
            },
        )
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
