//! A set of positions above a floor, as bits.

use crate::hash_graph::Position;

/// Positions above `floor`; a bit each, so that a million of them take 122 KiB.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits {
    floor: Position,
    words: Vec<u64>,
}

impl Bits {
    /// An empty set of positions above `floor`; what lies below is never in it.
    pub(super) fn above(floor: Position) -> Self {
        Self { floor, words: Vec::new() }
    }

    fn place(&self, at: Position) -> Option<(usize, u64)> {
        let above = at.checked_sub(self.floor)?.checked_sub(1)?;
        Some((usize::try_from(above / 64).ok()?, 1 << (above % 64)))
    }

    /// Puts a position in; says whether it was not there.
    pub(super) fn insert(&mut self, at: Position) -> bool {
        let Some((word, bit)) = self.place(at) else { return false };
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn remove(&mut self, at: Position) {
        if let Some((word, bit)) = self.place(at)
            && let Some(word) = self.words.get_mut(word)
        {
            *word &= !bit;
        }
    }

    pub(super) fn contains(&self, at: Position) -> bool {
        let word = |(word, bit): (usize, u64)| self.words.get(word).is_some_and(|word| word & bit != 0);
        self.place(at).is_some_and(word)
    }

    /// The smallest member from `from` on.
    pub(super) fn next(&self, from: Position) -> Option<Position> {
        let from = from.max(self.floor + 1);
        let (first, bit) = self.place(from)?;
        let mut mask = !(bit - 1);
        for (at, word) in self.words.iter().enumerate().skip(first) {
            let rest = word & mask;
            if rest != 0 {
                return Some(self.floor + 1 + at as u64 * 64 + u64::from(rest.trailing_zeros()));
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order_and_stay_above_the_floor() {
        let mut bits = Bits::above(100);
        for at in [101, 164, 165, 500, 100, 3] {
            bits.insert(at);
        }
        assert!(!bits.insert(500));
        assert!(bits.contains(500) && !bits.contains(499) && !bits.contains(100) && !bits.contains(9_000));
        bits.remove(165);
        bits.remove(7_000);
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = bits.next(from) {
            found.push(at);
            from = at + 1;
        }
        assert_eq!(found, vec![101, 164, 500]);
    }
}
