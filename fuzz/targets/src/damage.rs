//! Damage without a fuzzer: the same changes of the same input in every run, for tests.

/// `input` with one to four changes, chosen by `seed`. `other` gives pieces to put in.
pub fn damaged(input: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ input.len() as u64);
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = bytes.len().min(at + 1 + dice.below(16));
        match dice.below(9) {
            0 => bytes.truncate(at),
            1 | 2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = dice.next() as u8;
                }
            }
            4 => drop(bytes.drain(at..end)),
            5 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            6 => {
                // The head of something long, in CBOR, in a varint, in four bytes.
                let heads: [&[u8]; 6] = [
                    &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                    &[0x5a, 0x00, 0x10, 0x00, 0x00],
                    &[0xff, 0xff, 0xff, 0xff, 0x0f],
                    &[0x00, 0x01, 0x00, 0x00],
                    &[0x81, 0x81, 0x81, 0x81, 0x81, 0x81],
                    &[0x9f],
                ];
                let head = heads[dice.below(heads.len())];
                drop(bytes.splice(at..end, head.iter().copied()));
            }
            7 => {
                let from = dice.below(other.len() + 1);
                let piece = &other[from..other.len().min(from + 1 + dice.below(64))];
                drop(bytes.splice(at..end, piece.iter().copied()));
            }
            _ => {
                let words: [&[u8]; 8] =
                    [b"{", b"}", b"[", b"]", b"\"$and\":", b"1e999", b"\\u0000", b"-9223372036854775808"];
                let word = words[dice.below(words.len())];
                drop(bytes.splice(at..at, word.iter().copied()));
            }
        }
    }
    bytes
}

/// Bytes without any order, the same in every run.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..length).map(|_| dice.next() as u8).collect()
}

// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}
