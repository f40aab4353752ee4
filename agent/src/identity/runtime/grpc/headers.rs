//! Headers as HTTP/2 packs them (HPACK): ours written plainly, and of the peer's the
//! one that counts, `grpc-status`.
//!
//! We allow the peer no table of its own, so that header always comes with its name
//! spelt out, plain or by Huffman's code; all others are stepped over by their length.

use super::super::AnswerError;

const STATUS: &[u8] = b"grpc-status";
/// The same by Huffman's code.
const STATUS_CODED: &[u8] = &[0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f];

/// The headers of a call, none of which the peer is to remember.
pub(super) fn request(method: &str, namespace: Option<&str>) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` have numbers, `:path`, `:authority` and
    // `content-type` those of their names.
    let mut block = vec![0x83, 0x86, 0x04];
    text(&mut block, method);
    block.push(0x01);
    text(&mut block, "localhost");
    block.extend_from_slice(&[0x0f, 0x10]);
    text(&mut block, "application/grpc");
    let namespace = namespace.map(|namespace| ("containerd-namespace", namespace));
    for (name, value) in [("te", "trailers")].into_iter().chain(namespace) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// All of ours are shorter than what one byte can count.
fn text(block: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() < 0x7f);
    block.push(text.len() as u8);
    block.extend_from_slice(text.as_bytes());
}

/// The call's outcome, where these headers tell it.
pub(super) fn status(mut block: &[u8]) -> Result<Option<u32>, AnswerError> {
    let mut status = None;
    while let Some(first) = block.first().copied() {
        let prefix = match first {
            // A header by number, or a new size of the table: no text follows.
            0x80.. => {
                number(&mut block, 7)?;
                continue;
            }
            0x20..0x40 => {
                number(&mut block, 5)?;
                continue;
            }
            0x40.. => 6,
            _ => 4,
        };
        let spelt = number(&mut block, prefix)? == 0;
        let is_status =
            spelt && matches!(string(&mut block)?, (false, STATUS) | (true, STATUS_CODED));
        let (coded, value) = string(&mut block)?;
        if is_status {
            let digits = if coded { decoded(value)? } else { value.to_vec() };
            let text = std::str::from_utf8(&digits).map_err(|_| AnswerError::NotGrpc)?;
            status = Some(text.parse().map_err(|_| AnswerError::NotGrpc)?);
        }
    }
    Ok(status)
}

/// A number of which the first byte has `prefix` bits.
fn number(block: &mut &[u8], prefix: u32) -> Result<usize, AnswerError> {
    let mut byte = || {
        let (first, rest) = block.split_first().ok_or(AnswerError::NotGrpc)?;
        *block = rest;
        Ok(usize::from(*first))
    };
    let full = (1 << prefix) - 1;
    let mut number = byte()? & full;
    if number < full {
        return Ok(number);
    }
    // Three more bytes count further than headers may be long.
    for shift in [0, 7, 14] {
        let more = byte()?;
        number += (more & 0x7f) << shift;
        if more & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(AnswerError::NotGrpc)
}

/// A text, and whether it is by Huffman's code.
fn string<'b>(block: &mut &'b [u8]) -> Result<(bool, &'b [u8]), AnswerError> {
    let coded = block.first().ok_or(AnswerError::NotGrpc)? & 0x80 != 0;
    let length = number(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(AnswerError::NotGrpc)?;
    *block = rest;
    Ok((coded, text))
}

/// Digits by Huffman's code: `0`, `1` and `2` have five bits, the others six. What is
/// left of the last byte is ones.
fn decoded(bytes: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let mut rest = bits.as_slice();
    let mut digits = Vec::new();
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value << 1 | bit);
    while rest.len() >= 8 || rest.contains(&0) {
        let (length, digit) = match (rest.get(..5).map(value), rest.get(..6).map(value)) {
            (Some(short @ 0..=2), _) => (5, b'0' + short),
            (_, Some(long @ 0x19..=0x1f)) => (6, b'3' + long - 0x19),
            _ => return Err(AnswerError::NotGrpc),
        };
        digits.push(digit);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(digits)
}

#[cfg(test)]
mod tests;
