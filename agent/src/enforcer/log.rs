//! The log's channel to the keeper, which signs its heads.
//!
//! `sequencer --appends--> keeper --signed heads, notes--> sequencer`

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::EnforcerError;
use crate::audit::{Heard, Log, Sequencer, Signer};
use crate::channel::{Channel, ChannelError, FromLog, ToLog};
use crate::model::{LogAnswer, LogAppend, LogHealth, LogWelcome};

/// Opens the log once the keeper has said which it is.
pub fn open(given: Option<(OwnedFd, PathBuf)>) -> Result<(Log, Option<Sequencer>), EnforcerError> {
    let Some((channel, folder)) = given else { return Ok((Log::off(), None)) };
    let failed = |why: String| EnforcerError::Log(why);
    let mut keeper = Keeper::new(Channel::new(channel));
    let welcome = keeper.welcome().map_err(failed)?;
    let log = Log::open(folder, &welcome).map_err(|error| failed(error.to_string()))?;
    let sequencer = Sequencer::start(&log, &welcome, Box::new(keeper))
        .map_err(|error| failed(error.to_string()))?;
    Ok((log, sequencer))
}

struct Keeper {
    channel: Channel<FromLog, ToLog>,
    /// What came while an answer was waited for.
    heard: VecDeque<Heard>,
    /// What it was asked and hasn't answered yet. INVARIANT: nothing else is asked before
    /// that answer is in, or it would be taken for the next one's.
    unanswered: Option<LogAppend>,
    patience: Duration,
}

impl Keeper {
    fn new(channel: Channel<FromLog, ToLog>) -> Self {
        Self { channel, heard: VecDeque::new(), unanswered: None, patience: PATIENCE }
    }

    fn welcome(&mut self) -> Result<LogWelcome, String> {
        match self.next(Instant::now() + self.patience)? {
            Some(ToLog::Welcome(welcome)) => Ok(*welcome),
            Some(_) => Err("the keeper said something else first; are both of one version?".into()),
            None => Err("the keeper doesn't say which log it is".into()),
        }
    }

    /// The next message, if it comes in time.
    fn next(&mut self, until: Instant) -> Result<Option<ToLog>, String> {
        loop {
            match self.channel.receive() {
                Ok(received) => return Ok(Some(received.message)),
                Err(ChannelError::WouldBlock) => {}
                Err(ChannelError::Closed) => return Err("the keeper is gone".into()),
                Err(error) => return Err(error.to_string()),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec::try_from(left).ok();
            let mut waited = [PollFd::new(&self.channel, PollFlags::IN)];
            // Whatever woke it, the channel is looked at again.
            let _ = poll(&mut waited, timeout.as_ref());
        }
    }

    fn answer(&mut self, until: Instant) -> Result<LogAnswer, String> {
        loop {
            match self.next(until)? {
                Some(ToLog::Answer(answer)) => {
                    self.unanswered = None;
                    return Ok(answer);
                }
                Some(other) => self.keep(other),
                None => return Err("the keeper doesn't answer".into()),
            }
        }
    }

    fn keep(&mut self, message: ToLog) {
        match message {
            ToLog::Terms(terms) => self.heard.push_back(Heard::Terms(terms)),
            ToLog::Note(note) => self.heard.push_back(Heard::Note(note)),
            // Asked again, it says the same.
            ToLog::Answer(_) if self.unanswered.take().is_some() => {}
            ToLog::Welcome(_) | ToLog::Answer(_) => {
                tracing::warn!("the keeper answered the log without having been asked");
            }
        }
    }
}

impl Signer for Keeper {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        let until = Instant::now() + self.patience;
        if self.unanswered.as_ref().is_some_and(|before| before != asked) {
            self.answer(until)?;
        }
        if self.unanswered.is_none() {
            self.channel
                .send(&FromLog::Append(asked.clone()), &[])
                .map_err(|error| error.to_string())?;
            self.unanswered = Some(asked.clone());
        }
        self.answer(until)
    }

    fn finish(&mut self, writer: u64) -> Result<(), String> {
        self.channel.send(&FromLog::Finish { writer }, &[]).map_err(|error| error.to_string())
    }

    fn health(&mut self, health: &LogHealth) -> bool {
        self.channel.send(&FromLog::Health(health.clone()), &[]).is_ok()
    }

    fn heard(&mut self) -> Vec<Heard> {
        while let Ok(Some(message)) = self.next(Instant::now()) {
            self.keep(message);
        }
        self.heard.drain(..).collect()
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
