//! HTTP/1.1 as Docker and Podman speak it on their sockets: one GET, one answer.

use super::{AnswerError, Heard, LONGEST_ANSWER};

const LONGEST_HEAD: usize = 16 * 1024;

#[derive(Debug)]
pub struct Request {
    opening: Vec<u8>,
    got: Vec<u8>,
}

impl Request {
    /// `path` is made of ids that were looked at: nothing of it can end the line.
    pub(super) fn new(path: &str) -> Self {
        let opening = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: \
             close\r\n\r\n"
        );
        Self { opening: opening.into_bytes(), got: Vec::new() }
    }

    pub(super) fn opening(&self) -> &[u8] {
        &self.opening
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Heard, AnswerError> {
        self.got.extend_from_slice(bytes);
        match body(&self.got) {
            Ok(body) => Ok(Heard::All(body)),
            Err(AnswerError::Short) if self.got.len() < LONGEST_ANSWER => Ok(Heard::More(vec![])),
            Err(AnswerError::Short) => Err(AnswerError::TooLong),
            Err(error) => Err(error),
        }
    }
}

/// The body of an answer.
fn body(bytes: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let head_end = bytes.windows(4).take(LONGEST_HEAD).position(|four| four == b"\r\n\r\n");
    let Some(head_end) = head_end else {
        let begun = b"HTTP/1.".get(..bytes.len().min(7)).unwrap_or_default();
        let fine = bytes.len() < LONGEST_HEAD && bytes.starts_with(begun);
        return Err(if fine { AnswerError::Short } else { AnswerError::NotHttp });
    };
    let head = String::from_utf8_lossy(bytes.get(..head_end).unwrap_or_default()).into_owned();
    let rest = bytes.get(head_end + 4..).unwrap_or_default();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok())
        .ok_or(AnswerError::NotHttp)?;
    if status != 200 {
        return Err(AnswerError::Status(status));
    }
    let header = |name: &str| {
        head.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    if header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return chunked(rest);
    }
    let length = match header("content-length") {
        Some(length) => length.parse::<usize>().map_err(|_| AnswerError::NotHttp)?,
        None => return Err(AnswerError::NotHttp),
    };
    if length > LONGEST_ANSWER {
        return Err(AnswerError::TooLong);
    }
    rest.get(..length).map(<[u8]>::to_vec).ok_or(AnswerError::Short)
}

fn chunked(mut rest: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or(AnswerError::Short)?;
        let size = rest.get(..end).and_then(|line| std::str::from_utf8(line).ok());
        let size = size.and_then(|line| {
            usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).ok()
        });
        let size = size.ok_or(AnswerError::NotHttp)?;
        if size > LONGEST_ANSWER || body.len() + size > LONGEST_ANSWER {
            return Err(AnswerError::TooLong);
        }
        if size == 0 {
            return Ok(body);
        }
        let chunk = rest.get(end + 2..end + 2 + size).ok_or(AnswerError::Short)?;
        body.extend_from_slice(chunk);
        rest = rest.get(end + 2 + size + 2..).ok_or(AnswerError::Short)?;
    }
}

#[cfg(test)]
mod tests;
