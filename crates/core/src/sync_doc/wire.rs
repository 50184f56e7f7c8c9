//! Automerge's way of writing numbers, hashes and byte strings. It knows no message.
//!
//! Nothing is allocated for a count before the bytes that it promises are seen to be there.

use crate::hash_graph::NodeId;

/// Why bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// They end too early.
    Short,
    /// They say something that cannot be.
    Parse(&'static str),
}

/// Bytes that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Wrong> {
        let (first, rest) = self.0.split_first().ok_or(Wrong::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Wrong> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let shortest = shift == 0 || byte != 0;
                return if shortest {
                    Ok(number)
                } else {
                    Err(Wrong::Parse("a number is not in its shortest form"))
                };
            }
        }
        Err(Wrong::Parse("a number has more than 64 bits"))
    }

    /// A number of things that take at least `size` bytes each.
    pub(super) fn count(&mut self, size: usize) -> Result<usize, Wrong> {
        let count = usize::try_from(self.number()?).map_err(|_| Wrong::Short)?;
        let least = count.checked_mul(size).ok_or(Wrong::Short)?;
        if least <= self.0.len() { Ok(count) } else { Err(Wrong::Short) }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Wrong::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Wrong> {
        let length = self.count(1)?;
        self.take(length)
    }

    pub(super) fn hashes(&mut self) -> Result<Vec<NodeId>, Wrong> {
        let count = self.count(32)?;
        let bytes = self.take(count.saturating_mul(32))?;
        Ok(bytes.as_chunks::<32>().0.to_vec())
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_hashes(out: &mut Vec<u8>, hashes: &[NodeId]) {
    put_number(out, hashes.len() as u64);
    out.extend(hashes.iter().flatten());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form_and_at_most_64_bits() {
        for number in [0, 1, 127, 128, 300, 1 << 62, 1 << 63, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(Input(&bytes).number(), Ok(number));
            assert_eq!(Input(&bytes[..bytes.len() - 1]).number(), Err(Wrong::Short));
        }
        assert!(matches!(Input(&[0x81, 0]).number(), Err(Wrong::Parse(_))));
        assert!(matches!(Input(&[0xff; 11]).number(), Err(Wrong::Parse(_))));
    }

    #[test]
    fn a_count_is_believed_only_if_what_it_counts_is_there() {
        let mut input = Vec::new();
        put_number(&mut input, u64::MAX);
        assert_eq!(Input(&input).hashes(), Err(Wrong::Short));
        assert_eq!(Input(&[2, 0, 0]).hashes(), Err(Wrong::Short));
        assert_eq!(Input(&[0]).hashes(), Ok(Vec::new()));
    }
}
