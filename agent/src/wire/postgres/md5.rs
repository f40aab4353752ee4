//! MD5 (RFC 1321), for nothing but PostgreSQL's old password method, which
//! servers still ask for. The house's cryptographic library has none.

/// `md5` and the hash of the password's hash and the server's salt, as it goes
/// over the wire.
pub(super) fn password(role: &[u8], password: &[u8], salt: [u8; 4]) -> Vec<u8> {
    let inner = hex(digest(&[password, role].concat()));
    let outer = hex(digest(&[inner.as_slice(), &salt].concat()));
    [b"md5", outer.as_slice()].concat()
}

fn hex(bytes: [u8; 16]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn digest(text: &[u8]) -> [u8; 16] {
    let mut padded = text.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(text.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.as_chunks::<64>().0 {
        let mut words = [0; 16];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        round(&mut state, &words);
    }
    zeroize::Zeroize::zeroize(&mut padded);
    let mut out = [0; 16];
    for (place, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *place = word.to_le_bytes();
    }
    out
}

fn round(state: &mut [u32; 4], words: &[u32; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64_usize {
        let (mixed, word) = match step / 16 {
            0 => (b & c | !b & d, step),
            1 => (d & b | !d & c, 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let word = words.get(word % 16).copied().unwrap_or_default();
        // The constants are the sines of whole numbers.
        let sine = ((step + 1) as f64).sin().abs() * 4_294_967_296.0;
        let shifts = match step / 16 {
            0 => [7, 12, 17, 22],
            1 => [5, 9, 14, 20],
            2 => [4, 11, 16, 23],
            _ => [6, 10, 15, 21],
        };
        let shift = shifts.get(step % 4).copied().unwrap_or_default();
        let sum = a.wrapping_add(mixed).wrapping_add(sine as u32).wrapping_add(word);
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(shift));
    }
    for (word, by) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_rfc() {
        let hex = |text: &str| String::from_utf8(hex(digest(text.as_bytes()))).unwrap();
        assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
        let digits = "1234567890".repeat(8);
        assert_eq!(hex(&digits), "57edf4a22be3c955ac49da2e2107b67a");
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        assert_eq!(hex(letters), "d174ab98d277d9f5a5611c2c9f419d9f");
    }
}
