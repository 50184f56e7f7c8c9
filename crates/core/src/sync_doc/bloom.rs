//! A set of hashes in ten bits each, which sometimes takes a hash for one of its own. It knows no graph.
//!
//! Bytes: nothing for an empty set; else the number of entries, bits per entry and probes (LEB128), and the bits.

use super::wire::{Input, Wrong, put_number};
use crate::hash_graph::NodeId;
use crate::limits::{MAX_BLOOM_BITS, MAX_BLOOM_PROBES};

/// Bits per entry and probes, as Automerge has them: one hash in a hundred is taken for a member wrongly.
pub(super) const BITS_PER_ENTRY: u32 = 10;
const PROBES: u32 = 7;

/// A set of hashes that may contain more than was put into it, never less.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BloomFilter {
    entries: u32,
    bits_per_entry: u32,
    probes: u32,
    bits: Vec<u8>,
}

/// Why bytes are no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Bloom filter cannot be read: {0}")]
pub struct DecodeBloomError(pub(super) &'static str);

impl Default for BloomFilter {
    fn default() -> Self {
        Self { entries: 0, bits_per_entry: BITS_PER_ENTRY, probes: PROBES, bits: Vec::new() }
    }
}

impl BloomFilter {
    /// A filter that contains all of `hashes`.
    pub fn from_hashes<'a>(hashes: impl ExactSizeIterator<Item = &'a NodeId>) -> Self {
        Self::with_bits(hashes, BITS_PER_ENTRY)
    }

    // Filters of the same set with another number of bits are mistaken about other hashes.
    pub(super) fn with_bits<'a>(
        hashes: impl ExactSizeIterator<Item = &'a NodeId>,
        bits_per_entry: u32,
    ) -> Self {
        let entries = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        let size = size(entries, bits_per_entry);
        let bits = usize::try_from(size).map_or_else(|_| Vec::new(), |size| vec![0; size]);
        let mut filter = Self { entries, bits_per_entry, probes: PROBES, bits };
        for hash in hashes {
            filter.add(hash);
        }
        filter
    }

    /// Whether there are no hashes in it.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether `hash` was put into it, or looks so.
    pub fn contains_hash(&self, hash: &NodeId) -> bool {
        let set = |probe: u64| {
            let byte = usize::try_from(probe >> 3).ok().and_then(|at| self.bits.get(at));
            byte.is_some_and(|byte| byte & (1 << (probe & 7)) != 0)
        };
        !self.is_empty() && self.probes_of(hash).all(set)
    }

    /// Its bytes, as they stand in a message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.is_empty() {
            for number in [self.entries, self.bits_per_entry, self.probes] {
                put_number(&mut out, number.into());
            }
            out.extend_from_slice(&self.bits);
        }
        out
    }

    fn add(&mut self, hash: &NodeId) {
        for probe in self.probes_of(hash).collect::<Vec<_>>() {
            if let Some(byte) = usize::try_from(probe >> 3).ok().and_then(|at| self.bits.get_mut(at)) {
                *byte |= 1 << (probe & 7);
            }
        }
    }

    // Dillinger and Manolios (2004): three numbers out of the hash give all probes. Without bits there are none.
    fn probes_of(&self, hash: &NodeId) -> impl Iterator<Item = u64> + use<> {
        let modulo = (self.bits.len() as u64).saturating_mul(8).max(1);
        let [a, b, c, ..] = hash.as_chunks::<4>().0 else { return Probes::default() };
        let part = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes)) % modulo;
        let left = if self.bits.is_empty() { 0 } else { self.probes };
        Probes { x: part(a), y: part(b), z: part(c), modulo, left }
    }
}

#[derive(Default)]
struct Probes {
    x: u64,
    y: u64,
    z: u64,
    modulo: u64,
    left: u32,
}

impl Iterator for Probes {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let probe = self.x;
        self.x = (self.x + self.y) % self.modulo;
        self.y = (self.y + self.z) % self.modulo;
        Some(probe)
    }
}

fn size(entries: u32, bits_per_entry: u32) -> u64 {
    (u64::from(entries) * u64::from(bits_per_entry)).div_ceil(8)
}

impl TryFrom<&[u8]> for BloomFilter {
    type Error = DecodeBloomError;

    /// Refuses what could not be used: no bits or too many per entry, no probes or too many, another size than said.
    fn try_from(bytes: &[u8]) -> Result<Self, DecodeBloomError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut input = Input(bytes);
        let mut number = || {
            let number = input.number().map_err(|wrong| match wrong {
                Wrong::Short => DecodeBloomError("it is cut off"),
                Wrong::Parse(reason) => DecodeBloomError(reason),
            })?;
            u32::try_from(number).map_err(|_| DecodeBloomError("a number has more than 32 bits"))
        };
        let (entries, bits_per_entry, probes) = (number()?, number()?, number()?);
        if !(1..=MAX_BLOOM_BITS).contains(&bits_per_entry) {
            return Err(DecodeBloomError("it has no bits or too many per entry"));
        }
        if !(1..=MAX_BLOOM_PROBES).contains(&probes) {
            return Err(DecodeBloomError("it has no probes or too many"));
        }
        let bits = input.0;
        // Automerge counts bits in 32 bits.
        let countable = u32::try_from(bits.len()).is_ok_and(|length| length <= u32::MAX / 8);
        if bits.len() as u64 != size(entries, bits_per_entry) || !countable {
            return Err(DecodeBloomError("it has another size than it says"));
        }
        if entries == 0 {
            return Ok(Self::default());
        }
        Ok(Self { entries, bits_per_entry, probes, bits: bits.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> NodeId {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        for (count, wrongly) in [(1, 60), (10, 40), (1000, 40)] {
            let members: Vec<NodeId> = (0..count).map(hash).collect();
            let filter = BloomFilter::from_hashes(members.iter());
            assert!(members.iter().all(|member| filter.contains_hash(member)));
            let others = (5000..7000).filter(|other| filter.contains_hash(&hash(*other))).count();
            assert!(others < wrongly, "{others} of 2000 for {count}");
            assert_eq!(BloomFilter::try_from(filter.to_bytes().as_slice()), Ok(filter));
        }
    }

    #[test]
    fn an_empty_filter_has_no_bytes_and_contains_nothing() {
        let empty = BloomFilter::from_hashes([].iter());
        assert!(empty.to_bytes().is_empty() && !empty.contains_hash(&hash(1)));
        assert_eq!(BloomFilter::try_from(&[][..]), Ok(empty));
    }

    #[test]
    fn numbers_that_would_cost_more_than_they_say_are_refused() {
        for bytes in [
            &[1, 0, 7][..],
            &[1, 33, 7, 0, 0, 0, 0, 0],
            &[1, 10, 0, 0, 0],
            &[1, 10, 17, 0, 0],
            &[1, 10, 0x80, 0x80, 0x80, 0x80, 1, 0, 0],
            &[1, 10, 7, 0],
            &[1, 10, 7, 0, 0, 0],
            &[0, 10, 7, 0],
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 32, 7],
            &[1, 10],
        ] {
            assert!(BloomFilter::try_from(bytes).is_err(), "{bytes:?}");
        }
    }
}
