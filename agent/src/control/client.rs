//! The command line's end.

use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::server::{LONGEST_ANSWER, LONGEST_ORDER};
use super::{Answer, ControlError, Order, line};

/// How long an answer may take that isn't an awaited event.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the running agent, good for one order.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        let path = path.to_path_buf();
        let stream = UnixStream::connect(&path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ControlError::Denied { path },
            _ => ControlError::Unreachable { path, source },
        })?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Gives the order; the answers come as they are made.
    pub fn ask(mut self, order: &Order) -> Result<Answers, ControlError> {
        if matches!(order, Order::Observe { follow: true } | Order::WatchHolds) {
            self.stream.set_read_timeout(None)?;
        }
        match line::write(&mut self.stream, order, LONGEST_ORDER) {
            // It may have said why before it hung up.
            Err(ControlError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        Ok(Answers { reader: BufReader::new(self.stream), ended: false })
    }
}

/// Ends behind the last answer, and behind an error.
#[derive(Debug)]
pub struct Answers {
    reader: BufReader<UnixStream>,
    ended: bool,
}

impl Iterator for Answers {
    type Item = Result<Answer, ControlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let answer = line::read(&mut self.reader, LONGEST_ANSWER)
            .and_then(|answer: Option<Answer>| answer.ok_or(ControlError::Ended));
        self.ended = answer.as_ref().map_or(true, Answer::is_last);
        Some(answer)
    }
}
