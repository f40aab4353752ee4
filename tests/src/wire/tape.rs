//! What a client received, in its order, as two runs can be compared by it.
//!
//! INVARIANT: a tape leaves out only what differs between two runs against the
//! *same* way: process ids, keys, salts, nonces, and the numbers that the
//! server gives to new objects (each becomes the how-manieth it is).

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// What stood there was sent by the client; it only keeps the place.
    Mark(String),
    /// An answer to a request for encryption.
    Byte(u8),
    Message {
        kind: u8,
        length: usize,
        body: Body,
    },
    /// How the connection ended, or that nothing came.
    End(String),
    /// What a tool printed.
    Said(String),
}

#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    Whole(Vec<u8>),
    /// Its beginning, and a hash of all.
    Long {
        start: Vec<u8>,
        hash: u64,
    },
}

/// Longer bodies are kept as their hash.
const WHOLE: usize = 2_048;

#[derive(Debug, Default)]
pub struct Tape {
    entries: Vec<Entry>,
    /// Numbers of objects that were made in this run, in order.
    fresh: Vec<u32>,
    /// The talk about who one is left out: ending TLS may change its form.
    pub forget_login: bool,
}

impl Tape {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn message(&mut self, kind: u8, body: &[u8]) {
        if kind == b'R' && self.forget_login && body != [0; 4] {
            return;
        }
        let length = body.len();
        let mut kept = body.to_vec();
        self.forget(kind, &mut kept);
        let body = if length > WHOLE {
            let mut hasher = DefaultHasher::new();
            kept.hash(&mut hasher);
            kept.truncate(64);
            Body::Long { start: kept, hash: hasher.finish() }
        } else {
            Body::Whole(kept)
        };
        self.add(Entry::Message { kind, length, body });
    }

    fn forget(&mut self, kind: u8, body: &mut [u8]) {
        match kind {
            // The process and the key that cancel.
            b'K' => body.fill(b'#'),
            // Who has notified.
            b'A' => body.iter_mut().take(4).for_each(|byte| *byte = b'#'),
            // md5's salt; SCRAM's nonces and signature.
            b'R' if matches!(body.first_chunk::<4>(), Some([0, 0, 0, 5 | 11 | 12])) => {
                body[4..].fill(b'#');
            }
            b'T' => self.forget_origins(body),
            // The schema of a session's temporary tables has its process's number.
            b'E' | b'N' => forget_number(body, b"pg_temp_"),
            _ => {}
        }
    }

    fn forget_origins(&mut self, body: &mut [u8]) {
        let mut at = 2;
        while at < body.len() {
            let Some(name) = body[at..].iter().position(|byte| *byte == 0) else { return };
            at += name + 1;
            for place in [at, at + 6] {
                let Some(number) = body.get_mut(place..place + 4) else { return };
                let oid = u32::from_be_bytes([number[0], number[1], number[2], number[3]]);
                if oid >= 16_384 {
                    let index = self.fresh.iter().position(|seen| *seen == oid);
                    let index = index.unwrap_or_else(|| {
                        self.fresh.push(oid);
                        self.fresh.len() - 1
                    });
                    number.copy_from_slice(&(0xf000_0000 + index as u32).to_be_bytes());
                }
            }
            at += 18;
        }
    }
}

/// What follows that word as digits.
fn forget_number(body: &mut [u8], word: &[u8]) {
    let places: Vec<usize> = (0..body.len()).filter(|at| body[*at..].starts_with(word)).collect();
    for at in places {
        let digits = body[at + word.len()..].iter_mut();
        digits.take_while(|byte| byte.is_ascii_digit()).for_each(|byte| *byte = b'#');
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mark(text) => write!(f, "({text})"),
            Self::Byte(byte) => write!(f, "answer {:?}", char::from(*byte)),
            Self::Message { kind, length, body } => {
                write!(f, "{} {length} ", char::from(*kind))?;
                match body {
                    Body::Whole(bytes) => write!(f, "{}", bytes.escape_ascii()),
                    Body::Long { start, hash } => {
                        write!(f, "{} … hash {hash:016x}", start.escape_ascii())
                    }
                }
            }
            Self::End(how) => write!(f, "the end: {how}"),
            Self::Said(text) => write!(f, "said {text:?}"),
        }
    }
}

/// The first entry in which two tapes differ, with what came before.
pub fn difference(direct: &[Entry], through: &[Entry]) -> Option<String> {
    let longest = direct.len().max(through.len());
    let at = (0..longest).find(|at| direct.get(*at) != through.get(*at))?;
    let mut text = String::new();
    for entry in &direct[at.saturating_sub(4).min(direct.len())..at] {
        text += &format!("    both      {entry:?}\n");
    }
    if let (Some(Entry::Said(one)), Some(Entry::Said(other))) = (direct.get(at), through.get(at)) {
        let (mut ones, mut others) = (one.lines(), other.lines());
        for line in 1.. {
            match (ones.next(), others.next()) {
                (None, None) => break,
                (one, other) if one != other => {
                    text += &format!(
                        "    line {line}\n    directly  {one:?}\n    through   {other:?}\n"
                    );
                    return Some(text);
                }
                _ => {}
            }
        }
    }
    let show = |entry: Option<&Entry>| match entry {
        Some(entry) => format!("{entry:?}"),
        None => "nothing".into(),
    };
    text += &format!("    directly  {}\n", show(direct.get(at)));
    text += &format!("    through   {}\n", show(through.get(at)));
    Some(format!("entry {at} is another one\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tape(messages: &[(u8, &[u8])]) -> Tape {
        let mut tape = Tape::default();
        for (kind, body) in messages {
            tape.message(*kind, body);
        }
        tape
    }

    fn row(table: u32) -> Vec<u8> {
        let mut body = vec![0, 1, b'n', 0];
        body.extend(table.to_be_bytes());
        body.extend([0, 1, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]);
        body
    }

    #[test]
    fn keys_and_new_numbers_are_no_difference() {
        let one = tape(&[(b'K', &[1; 8]), (b'T', &row(20_000)), (b'T', &row(20_001))]);
        let two = tape(&[(b'K', &[2; 8]), (b'T', &row(30_000)), (b'T', &row(30_007))]);
        assert_eq!(difference(one.entries(), two.entries()), None);
    }

    #[test]
    fn the_number_of_a_temporary_schema_is_no_difference() {
        let one = tape(&[(b'E', b"spg_temp_33\0tt\0")]);
        let two = tape(&[(b'E', b"spg_temp_34\0tt\0")]);
        assert_eq!(difference(one.entries(), two.entries()), None);
        let other = tape(&[(b'E', b"spg_temp_34\0tu\0")]);
        assert!(difference(one.entries(), other.entries()).is_some());
    }

    #[test]
    fn which_object_it_is_and_how_long_a_key_is_are() {
        let one = tape(&[(b'T', &row(20_000)), (b'T', &row(20_001))]);
        let two = tape(&[(b'T', &row(30_000)), (b'T', &row(30_000))]);
        assert!(difference(one.entries(), two.entries()).is_some());
        let short = tape(&[(b'K', &[1; 8])]);
        let long = tape(&[(b'K', &[1; 36])]);
        assert!(difference(short.entries(), long.entries()).is_some());
    }

    #[test]
    fn a_byte_at_the_end_of_a_long_row_is() {
        let mut bytes = vec![7; 100_000];
        let one = tape(&[(b'D', &bytes)]);
        bytes[99_999] = 8;
        let two = tape(&[(b'D', &bytes)]);
        assert!(difference(one.entries(), two.entries()).is_some());
        assert!(difference(one.entries(), &[]).is_some());
    }
}
