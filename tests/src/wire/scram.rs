//! How a client shows that it knows a password: SCRAM-SHA-256 without channel
//! binding (RFC 5802, `n,,`), and md5.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::{digest, hmac, pbkdf2};

use super::message;

pub struct Scram {
    password: String,
    nonce: String,
    server_signature: Vec<u8>,
}

const FIRST_BARE: &str = "n=,r=";

/// The exchange, and its first message.
pub fn begin(password: &str) -> Result<(Scram, Vec<u8>)> {
    let mut random = [0_u8; 18];
    aws_lc_rs::rand::fill(&mut random)?;
    let nonce = encode(&random);
    let first = format!("n,,{FIRST_BARE}{nonce}");
    let mut body = b"SCRAM-SHA-256\0".to_vec();
    body.extend((first.len() as u32).to_be_bytes());
    body.extend(first.as_bytes());
    let state = Scram { password: password.into(), nonce, server_signature: Vec::new() };
    Ok((state, message::typed(b'p', &body)))
}

impl Scram {
    /// The final message, for the server's first.
    pub fn answer(&mut self, server_first: &[u8]) -> Result<Vec<u8>> {
        let server_first = std::str::from_utf8(server_first)?;
        let part = |name: &str| {
            server_first
                .split(',')
                .find_map(|part| part.strip_prefix(name))
                .with_context(|| format!("no `{name}` in `{server_first}`"))
        };
        let nonce = part("r=")?;
        ensure!(nonce.starts_with(&self.nonce), "the server's nonce is not for us");
        let salt = decode(part("s=")?)?;
        let iterations = part("i=")?.parse()?;
        let mut salted = [0; 32];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            &salt,
            self.password.as_bytes(),
            &mut salted,
        );
        let without_proof = format!("c=biws,r={nonce}");
        let whole = format!("{FIRST_BARE}{},{server_first},{without_proof}", self.nonce);
        let client_key = mac(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &client_key);
        let signature = mac(stored.as_ref(), whole.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        self.server_signature = mac(&mac(&salted, b"Server Key"), whole.as_bytes());
        let last = format!("{without_proof},p={}", encode(&proof));
        Ok(message::typed(b'p', last.as_bytes()))
    }

    /// Whether the server knows the password too.
    pub fn check(&self, server_final: &[u8]) -> Result<()> {
        let expected = format!("v={}", encode(&self.server_signature));
        ensure!(server_final == expected.as_bytes(), "the server's signature is wrong");
        Ok(())
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

/// `md5` and the digest of salt and digest, as PostgreSQL has it.
pub fn md5(user: &str, password: &str, salt: &[u8]) -> String {
    let inner = md5_hex(format!("{password}{user}").as_bytes());
    format!("md5{}", md5_hex(&[inner.as_bytes(), salt].concat()))
}

/// RFC 1321; no library of the workspace has it any more.
pub fn md5_hex(text: &[u8]) -> String {
    const TURNS: [[u32; 4]; 4] =
        [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded
        .resize(padded.len().next_multiple_of(64) + if padded.len() % 64 > 56 { 64 } else { 0 }, 0);
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(text.len() as u64 * 8).to_le_bytes());
    for block in padded.chunks_exact(64) {
        let word = |index: usize| {
            let at = index * 4;
            u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, index) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            let sine = ((step as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(word(index));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(TURNS[step / 16][step % 4]));
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(part);
        }
    }
    state.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with its padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let number = number << (8 * (3 - three.len()));
        for place in 0..4 {
            if place <= three.len() {
                text.push(char::from(ALPHABET[(number >> (18 - 6 * place) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let (mut bytes, mut number, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = ALPHABET.iter().position(|known| *known == byte).context("no base64")?;
        number = number << 6 | six as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((number >> bits) as u8);
            number &= (1 << bits) - 1;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_rfc() {
        assert_eq!(md5_hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex(b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        let digits = "1234567890".repeat(8);
        assert_eq!(md5_hex(digits.as_bytes()), "57edf4a22be3c955ac49da2e2107b67a");
        assert_eq!(md5_hex(&[b'a'; 55]), "ef1772b6dff9a122358552954ad0df65");
    }

    #[test]
    fn base64_goes_there_and_back() {
        for length in 0..20 {
            let bytes: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(37)).collect();
            assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }
        assert_eq!(encode(b"n,,"), "biws");
    }
}
