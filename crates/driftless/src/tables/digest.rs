//! The digest of a view: a sum over its visible documents, so that one change costs one change.
//!
//! Addition modulo 2^256 of one hash per document. Equal on two replicas exactly when their visible documents are
//! equal, as far as nobody grinds documents for a collision of sums; it compares replicas and proves nothing.

use std::fmt;

/// A sum of document hashes modulo 2^256.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum([u64; 4]);

impl Sum {
    /// The sum of one hash.
    pub(crate) fn of(hash: [u8; 32]) -> Self {
        Self::from_bytes(&hash)
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = chunk.iter().rev().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
        }
        Self(limbs)
    }

    /// 32 bytes, the lowest first.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn add(&mut self, other: Self) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = limb.overflowing_add(other);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || again;
        }
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(other.0) {
            let (rest, under) = limb.overflowing_sub(other);
            let (rest, again) = rest.overflowing_sub(u64::from(borrow));
            *limb = rest;
            borrow = under || again;
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&driftless_core::id::base32(&self.to_bytes()))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_and_taken_away_in_any_order_leaves_nothing() {
        let (a, b) = (Sum::of([0xff; 32]), Sum::of([0x81; 32]));
        let mut sum = Sum::default();
        sum.add(a);
        sum.add(b);
        assert_eq!(Sum::from_bytes(&sum.to_bytes()), sum);
        sum.subtract(a);
        assert_eq!(sum, b);
        sum.subtract(b);
        assert_eq!(sum, Sum::default());
    }
}
