//! A set of small numbers as bits: which rule commits are below which, and which are void.

/// A growing set of bits. What was never inserted is absent, also beyond the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn contains(&self, bit: u32) -> bool {
        self.words.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, bit: u32) {
        let at = bit as usize / 64;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (bit % 64);
    }

    /// Adds the bit if it is absent, takes it away if it is there.
    pub(super) fn flip(&mut self, bit: u32) {
        if self.contains(bit) {
            self.words[bit as usize / 64] &= !(1 << (bit % 64));
        } else {
            self.insert(bit);
        }
    }

    pub(super) fn union(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Whether there is a member that is not below `bound`.
    pub(super) fn reaches(&self, bound: usize) -> bool {
        self.words.iter().enumerate().any(|(at, word)| {
            let from = bound.saturating_sub(at * 64);
            from < 64 && word >> from != 0
        })
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    pub(super) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// The members that `other` does not have, ascending.
    pub(super) fn without<'b>(&'b self, other: &'b Self) -> impl Iterator<Item = u32> + 'b {
        self.words.iter().enumerate().flat_map(move |(at, word)| {
            let mut rest = word & !other.words.get(at).copied().unwrap_or(0);
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    at as u32 * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_beyond_the_end_are_absent() {
        let (mut a, mut b) = (Bits::default(), Bits::default());
        [3, 64, 200].into_iter().for_each(|bit| a.insert(bit));
        b.insert(64);
        assert!(a.contains(200) && !a.contains(4_000) && a.meets(&b) && !b.meets(&Bits::default()));
        assert_eq!(a.without(&b).collect::<Vec<_>>(), vec![3, 200]);
        b.union(&a);
        assert_eq!((b.count(), b == a), (3, true));
        b.flip(3);
        b.flip(70);
        assert_eq!(b.without(&Bits::default()).collect::<Vec<_>>(), vec![64, 70, 200]);
    }
}
