//! Texts that are another text, encoded: all of it hexadecimal or base64.

/// What a value says, if it is nothing but another text.
pub fn decode(value: &[u8]) -> Option<Vec<u8>> {
    let digits = value
        .strip_prefix(b"\\\\x")
        .or_else(|| value.strip_prefix(b"\\x"))
        .or_else(|| value.strip_prefix(b"0x"))
        .unwrap_or(value);
    hex(digits).or_else(|| base64(value)).filter(|text| is_text(text))
}

/// Hashes and keys are none.
fn is_text(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0x80..);
    bytes.iter().all(plain) && str::from_utf8(bytes).is_ok()
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return None;
    }
    let digit = |sign: u8| char::from(sign).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Either alphabet, in lines or not.
fn base64(value: &[u8]) -> Option<Vec<u8>> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut made = Vec::with_capacity(value.len() / 4 * 3);
    let end = value.iter().rposition(|sign| *sign != b'=').map_or(0, |last| last + 1);
    for sign in value.get(..end)? {
        let six = match sign {
            b'A'..=b'Z' => sign - b'A',
            b'a'..=b'z' => sign - b'a' + 26,
            b'0'..=b'9' => sign - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'\n' | b'\r' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            made.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read() {
        let mail = b"jane@example.com".to_vec();
        for text in [
            "6a616e65406578616d706c652e636f6d",
            "6A616E65406578616D706C652E636F6D",
            "\\x6a616e65406578616d706c652e636f6d",
            "\\\\x6a616e65406578616d706c652e636f6d",
            "amFuZUBleGFtcGxlLmNvbQ==",
            "amFuZUBleGFtcGxlLmNvbQ",
        ] {
            assert_eq!(decode(text.as_bytes()), Some(mail.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_not_is_left() {
        for text in ["jane@example.com", "d41d8cd98f00b204e9800998ecf8427e", "two words", ""] {
            assert!(decode(text.as_bytes()).is_none_or(|text| text.is_empty()), "{text}");
        }
    }
}
