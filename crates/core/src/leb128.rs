//! Numbers in LEB128 (DWARF 5, 7.6, unsigned): seven bits a byte, low first, the top bit on all but the last; the shortest
//! form only. Signed ones are folded first (zigzag), so that small ones of either sign stay small.

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The number at the start of `bytes`, and what comes after it; `None` if it is cut off, too large, or not the
/// shortest form.
pub(crate) fn take(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if at == 9 && *byte > 1 {
            return None;
        }
        number |= part << (7 * at);
        if byte & 0x80 == 0 {
            let shortest = at == 0 || *byte != 0;
            return if shortest { Some((number, bytes.get(at + 1..)?)) } else { None };
        }
    }
    None
}

/// Small numbers of either sign become small numbers: 0, -1, 1, -2, 2.
pub(crate) fn fold_sign(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The inverse of `fold_sign`.
pub(crate) fn unfold_sign(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_form() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), 1 << 62, 1 << 63, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(take(&bytes), Some((number, &[][..])));
            assert_eq!(take(&bytes[..bytes.len() - 1]), None, "cut off");
            let last = bytes.len() - 1;
            bytes[last] |= 0x80;
            bytes.push(0);
            assert_eq!(take(&bytes), None, "{number} in a longer form");
        }
        assert_eq!(
            take(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            None,
            "more than 64 bits"
        );
    }

    #[test]
    fn signs_fold_and_unfold() {
        for number in [0, -1, 1, -64, 63, i64::MIN, i64::MAX] {
            assert_eq!(unfold_sign(fold_sign(number)), number);
        }
        assert_eq!((fold_sign(-1), fold_sign(1), fold_sign(-2)), (1, 2, 3));
    }
}
