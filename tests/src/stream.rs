//! Bytes that look random, and that both ends can make from the same seed: a
//! transfer is checked byte by byte, not by its length.

pub struct Stream {
    state: u64,
    /// Bytes of the current word not given out yet.
    word: [u8; 8],
    used: usize,
}

impl Stream {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, word: [0; 8], used: 8 }
    }

    /// splitmix64.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly enough below `limit`, and at least 1.
    pub fn chunk(&mut self, limit: usize) -> usize {
        1 + (self.next_u64() % limit as u64) as usize
    }

    pub fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            if self.used == 8 {
                self.word = self.next_u64().to_le_bytes();
                self.used = 0;
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }

    /// Whether these are the next bytes; the place of the first that isn't.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut expected = vec![0; bytes.len()];
        self.fill(&mut expected);
        match expected.iter().zip(bytes).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(at) => Err(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_anywhere_it_is_the_same_stream() {
        let mut whole = vec![0; 1000];
        Stream::new(7).fill(&mut whole);
        let (mut pieces, mut cuts) = (Stream::new(7), Stream::new(8));
        let mut rest = whole.as_slice();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(cuts.chunk(13).min(rest.len()));
            assert_eq!(pieces.check(piece), Ok(()));
            rest = more;
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        let mut bytes = vec![0; 100];
        Stream::new(7).fill(&mut bytes);
        bytes[42] ^= 1;
        assert_eq!(Stream::new(7).check(&bytes), Err(42));
    }
}
