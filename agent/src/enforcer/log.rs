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
    let mut keeper = Keeper { channel: Channel::new(channel), heard: VecDeque::new() };
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
}

impl Keeper {
    fn welcome(&mut self) -> Result<LogWelcome, String> {
        match self.next(Instant::now() + PATIENCE)? {
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

    fn keep(&mut self, message: ToLog) {
        match message {
            ToLog::Terms(terms) => self.heard.push_back(Heard::Terms(terms)),
            ToLog::Note(note) => self.heard.push_back(Heard::Note(note)),
            ToLog::Welcome(_) | ToLog::Answer(_) => {
                tracing::warn!("the keeper answered the log without having been asked");
            }
        }
    }
}

impl Signer for Keeper {
    fn append(&mut self, asked: &LogAppend) -> Result<LogAnswer, String> {
        self.channel
            .send(&FromLog::Append(asked.clone()), &[])
            .map_err(|error| error.to_string())?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.next(until)? {
                Some(ToLog::Answer(answer)) => return Ok(answer),
                Some(other) => self.keep(other),
                None => return Err("the keeper doesn't answer".into()),
            }
        }
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
