//! A text's string constants, as the server reads them: quotes and escapes undone,
//! what stands in comments and names left out.
//!
//! Never decides what a constant is for: that is whoever asks.

use std::borrow::Cow;

use super::lexer::{Kind, Lexer};
use super::state::Strings;

/// Of a text in any character set whose bytes below 0x80 are always ASCII. While it
/// isn't certain whether a backslash escapes, both readings are given.
pub fn constants(text: &[u8], strings: Strings) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let other = (strings == Strings::Uncertain).then_some(Strings::Escaping);
    std::iter::once(strings).chain(other).flat_map(move |strings| {
        Lexer::over(text, strings).filter_map(move |token| {
            constant(token.kind, text.get(token.start..token.end)?, strings)
        })
    })
}

fn constant(kind: Kind, token: &[u8], strings: Strings) -> Option<Cow<'_, [u8]>> {
    let escaping = strings == Strings::Escaping;
    let body = |prefix: usize| token.get(prefix..token.len().checked_sub(1)?);
    Some(match kind {
        Kind::Plain => unquoted(body(1)?, escaping.then_some(Escapes::C)),
        Kind::National => unquoted(body(2)?, escaping.then_some(Escapes::C)),
        Kind::Escape => unquoted(body(2)?, Some(Escapes::C)),
        Kind::Unicode => unquoted(body(3)?, Some(Escapes::Unicode)),
        // Code, mostly: the constants in it are found as they are.
        Kind::Dollar => token.into(),
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// `\n`, `\x41`, `\101`, `\u2022`
    C,
    /// `\2022`, `\+002022`
    Unicode,
}

fn unquoted(body: &[u8], escapes: Option<Escapes>) -> Cow<'_, [u8]> {
    if !body.iter().any(|byte| *byte == b'\'' || *byte == b'\\' && escapes.is_some()) {
        return body.into();
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, escapes) {
            (b'\'', _) => quote(tail, &mut out),
            (b'\\', Some(Escapes::C)) => c_escape(tail, &mut out),
            (b'\\', Some(Escapes::Unicode)) => unicode_escape(tail, &mut out),
            (byte, _) => {
                out.push(*byte);
                tail
            }
        };
    }
    out.into()
}

/// Two quotes are one; of a string that goes on behind white space the gap goes.
fn quote<'t>(tail: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
    if let Some(rest) = tail.strip_prefix(b"'") {
        out.push(b'\'');
        return rest;
    }
    // A comment may stand in the gap; a quote in that one shows no more than it hides.
    let next = tail.iter().position(|byte| *byte == b'\'');
    next.and_then(|next| tail.get(next + 1..)).unwrap_or_default()
}

fn c_escape<'t>(tail: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
    let Some((sign, rest)) = tail.split_first() else { return tail };
    let long = |digits: usize| number(rest, digits, digits, 16);
    match sign {
        b'b' => out.push(8),
        b'f' => out.push(12),
        b'n' => out.push(b'\n'),
        b'r' => out.push(b'\r'),
        b't' => out.push(b'\t'),
        b'0'..=b'7' => {
            let Some((code, rest)) = number(tail, 1, 3, 8) else { return rest };
            out.push(code as u8);
            return rest;
        }
        b'x' => {
            let Some((code, rest)) = number(rest, 1, 2, 16) else {
                out.push(b'x');
                return rest;
            };
            out.push(code as u8);
            return rest;
        }
        b'u' | b'U' => {
            if let Some((code, rest)) = long(if *sign == b'u' { 4 } else { 8 }) {
                push(code, out);
                return rest;
            }
        }
        other => out.push(*other),
    }
    rest
}

fn unicode_escape<'t>(tail: &'t [u8], out: &mut Vec<u8>) -> &'t [u8] {
    let found = match tail.split_first() {
        Some((b'+', rest)) => number(rest, 6, 6, 16),
        Some((b'\\', rest)) => {
            out.push(b'\\');
            return rest;
        }
        _ => number(tail, 4, 4, 16),
    };
    match found {
        Some((code, rest)) => {
            push(code, out);
            rest
        }
        None => tail,
    }
}

/// Digits, as many as there are between these, and what follows.
fn number(text: &[u8], least: usize, most: usize, radix: u32) -> Option<(u32, &[u8])> {
    let digits = text.iter().take(most).map_while(|byte| char::from(*byte).to_digit(radix));
    let (count, value) = digits.fold((0, 0_u32), |(count, sum), digit| {
        (count + 1, sum.wrapping_mul(radix).wrapping_add(digit))
    });
    if count < least {
        return None;
    }
    Some((value, text.get(count..)?))
}

/// Half a pair, or no character: nothing.
fn push(code: u32, out: &mut Vec<u8>) {
    if let Some(sign) = char::from_u32(code) {
        out.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests;
