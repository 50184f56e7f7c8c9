//! Deterministic CBOR (RFC 8949 4.2.1): the one check that bytes are canonical, and a reader with typed errors.
//!
//! Encoding is `minicbor`, which writes shortest integers and definite lengths. Decoding is done in two steps:
//! `check` refuses every byte string that is not its own canonical form; then a `Reader` takes it apart.
//! Our profile: floats are 8 bytes and never NaN, no tags, no simple values but false, true and null.

use std::cmp::Ordering;

use minicbor::data::Type;
use minicbor::decode::Decoder;

/// Why bytes are not one canonical CBOR item of our profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The input ends inside an item, or a length says more than there is.
    #[error("the bytes end too early")]
    Truncated,
    /// There are bytes after the item.
    #[error("there are bytes after the end")]
    Trailing,
    /// Not the one canonical form: long integer, indefinite length, unsorted or repeated map key.
    #[error("the encoding is not canonical")]
    NotCanonical,
    /// A tag, half float, NaN, or simple value outside our profile, or text that is not UTF-8.
    #[error("an item of a kind that is not used here")]
    Unsupported,
    /// Lists and maps are nested deeper than allowed.
    #[error("nested too deeply")]
    TooDeep,
    /// Well-formed, but another type than expected at this place.
    #[error("an item of another type than expected")]
    Unexpected,
    /// A limit of `limits` is exceeded.
    #[error("a limit is exceeded: {0}")]
    Limit(&'static str),
}

/// Checks that `bytes` are exactly one canonical item, nested at most `depth` lists and maps deep.
pub fn check(bytes: &[u8], depth: usize) -> Result<(), CborError> {
    match item(bytes, 0, depth)? {
        end if end == bytes.len() => Ok(()),
        _ => Err(CborError::Trailing),
    }
}

// Returns where the item that starts at `at` ends. Recursion is bounded by `depth`; no allocation.
fn item(bytes: &[u8], at: usize, depth: usize) -> Result<usize, CborError> {
    let first = *bytes.get(at).ok_or(CborError::Truncated)?;
    let (major, low) = (first >> 5, first & 0x1f);
    if major == 7 {
        return simple(bytes, at, low);
    }
    let (argument, body) = argument(bytes, at + 1, low)?;
    match major {
        0 | 1 => Ok(body),
        2 | 3 => {
            let length = usize::try_from(argument).map_err(|_| CborError::Truncated)?;
            let end = body.checked_add(length).ok_or(CborError::Truncated)?;
            let content = bytes.get(body..end).ok_or(CborError::Truncated)?;
            if major == 3 && std::str::from_utf8(content).is_err() {
                return Err(CborError::Unsupported);
            }
            Ok(end)
        }
        4 => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            // Each element takes at least one byte, so the loop is bounded by the input.
            let mut at = body;
            for _ in 0..argument {
                at = item(bytes, at, depth)?;
            }
            Ok(at)
        }
        5 => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            let (mut at, mut last): (usize, Option<&[u8]>) = (body, None);
            for _ in 0..argument {
                let end = item(bytes, at, depth)?;
                let key = bytes.get(at..end).ok_or(CborError::Truncated)?;
                if last.is_some_and(|last| last.cmp(key) != Ordering::Less) {
                    return Err(CborError::NotCanonical);
                }
                last = Some(key);
                at = item(bytes, end, depth)?;
            }
            Ok(at)
        }
        _ => Err(CborError::Unsupported),
    }
}

// The argument of a head byte: inline below 24, else the shortest of 1, 2, 4, 8 bytes.
fn argument(bytes: &[u8], at: usize, low: u8) -> Result<(u64, usize), CborError> {
    let (length, least) = match low {
        0..=23 => return Ok((u64::from(low), at)),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        _ => return Err(CborError::NotCanonical),
    };
    let digits = bytes.get(at..at + length).ok_or(CborError::Truncated)?;
    let value = digits.iter().fold(0u64, |value, digit| value << 8 | u64::from(*digit));
    if value < least { Err(CborError::NotCanonical) } else { Ok((value, at + length)) }
}

fn simple(bytes: &[u8], at: usize, low: u8) -> Result<usize, CborError> {
    match low {
        20..=22 => Ok(at + 1),
        27 => {
            let digits = bytes.get(at + 1..at + 9).ok_or(CborError::Truncated)?;
            let bits = digits.iter().fold(0u64, |value, digit| value << 8 | u64::from(*digit));
            if f64::from_bits(bits).is_nan() { Err(CborError::Unsupported) } else { Ok(at + 9) }
        }
        _ => Err(CborError::Unsupported),
    }
}

/// Takes canonical bytes apart. It never allocates more than the input holds.
#[derive(Debug, Clone)]
pub struct Reader<'b> {
    decoder: Decoder<'b>,
}

impl<'b> Reader<'b> {
    /// A reader at the start of `bytes`, which should have passed `check`.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { decoder: Decoder::new(bytes) }
    }

    /// The number of elements of a list.
    pub fn array(&mut self) -> Result<u64, CborError> {
        self.decoder.array().map_err(fault)?.ok_or(CborError::NotCanonical)
    }

    /// A list of exactly `length` elements.
    pub fn array_of(&mut self, length: u64) -> Result<(), CborError> {
        if self.array()? == length { Ok(()) } else { Err(CborError::Unexpected) }
    }

    /// The number of pairs of a map.
    pub fn map(&mut self) -> Result<u64, CborError> {
        self.decoder.map().map_err(fault)?.ok_or(CborError::NotCanonical)
    }

    /// An unsigned integer.
    pub fn u64(&mut self) -> Result<u64, CborError> {
        self.decoder.u64().map_err(fault)
    }

    /// An integer in the range of i64.
    pub fn i64(&mut self) -> Result<i64, CborError> {
        self.decoder.i64().map_err(fault)
    }

    /// An 8-byte float.
    pub fn f64(&mut self) -> Result<f64, CborError> {
        self.decoder.f64().map_err(fault)
    }

    /// False or true.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        self.decoder.bool().map_err(fault)
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'b [u8], CborError> {
        self.decoder.bytes().map_err(fault)
    }

    /// A byte string of exactly `N` bytes.
    pub fn array_bytes<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        self.bytes()?.try_into().map_err(|_| CborError::Unexpected)
    }

    /// A text string.
    pub fn str(&mut self) -> Result<&'b str, CborError> {
        self.decoder.str().map_err(fault)
    }

    /// Takes a null if there is one.
    pub fn take_null(&mut self) -> Result<bool, CborError> {
        if self.kind()? != Kind::Null {
            return Ok(false);
        }
        self.decoder.null().map_err(fault)?;
        Ok(true)
    }

    /// The kind of the item that comes next.
    pub fn kind(&mut self) -> Result<Kind, CborError> {
        Ok(match self.decoder.datatype().map_err(fault)? {
            Type::Null => Kind::Null,
            Type::Bool => Kind::Bool,
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => Kind::Integer,
            Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => Kind::Integer,
            Type::F64 => Kind::Float,
            Type::Bytes => Kind::Bytes,
            Type::String => Kind::Text,
            Type::Array => Kind::List,
            Type::Map => Kind::Map,
            _ => return Err(CborError::Unsupported),
        })
    }

    /// The bytes of the next item, whatever it is. Only for input that passed `check`.
    pub fn raw(&mut self) -> Result<&'b [u8], CborError> {
        let start = self.decoder.position();
        let input = self.decoder.input();
        let end = item(input, start, usize::MAX)?;
        self.decoder.set_position(end);
        input.get(start..end).ok_or(CborError::Truncated)
    }

    /// Passes over the next item, of input that need not have passed `check`: without looking into texts, and without
    /// recursion.
    pub fn skip(&mut self) -> Result<(), CborError> {
        let input = self.decoder.input();
        let (mut at, mut left) = (self.decoder.position(), 1u64);
        // Each item takes at least one byte, so the loop is bounded by the input.
        while let Some(after) = left.checked_sub(1) {
            left = after;
            let first = *input.get(at).ok_or(CborError::Truncated)?;
            let (major, low) = (first >> 5, first & 0x1f);
            if major == 7 {
                at = simple(input, at, low)?;
                continue;
            }
            let (argument, body) = argument(input, at + 1, low)?;
            let more = match major {
                0 | 1 => 0,
                4 => argument,
                5 => argument.checked_mul(2).ok_or(CborError::Truncated)?,
                2 | 3 => {
                    let length = usize::try_from(argument).map_err(|_| CborError::Truncated)?;
                    at = body.checked_add(length).ok_or(CborError::Truncated)?;
                    continue;
                }
                _ => return Err(CborError::Unsupported),
            };
            at = body;
            left = left.checked_add(more).ok_or(CborError::Truncated)?;
        }
        if at > input.len() {
            return Err(CborError::Truncated);
        }
        self.decoder.set_position(at);
        Ok(())
    }

    /// Where the next item starts.
    pub fn position(&self) -> usize {
        self.decoder.position()
    }
}

/// Writes canonical items: shortest integers, definite lengths. The caller keeps map keys in order.
#[derive(Debug)]
pub struct Writer {
    encoder: minicbor::Encoder<Vec<u8>>,
}

// The encoder's only error is that of its sink, and a vector has none.
const MEMORY: &str = "writing to memory does not fail";

impl Default for Writer {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Writer {
    /// A writer of nothing yet, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { encoder: minicbor::Encoder::new(Vec::with_capacity(capacity)) }
    }

    /// The head of a list of `length` elements, which follow.
    pub fn array(&mut self, length: u64) -> &mut Self {
        self.encoder.array(length).expect(MEMORY);
        self
    }

    /// The head of a map of `length` pairs, which follow in the order of their encoded keys.
    pub fn map(&mut self, length: u64) -> &mut Self {
        self.encoder.map(length).expect(MEMORY);
        self
    }

    /// An unsigned integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.encoder.u64(value).expect(MEMORY);
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.encoder.bytes(value).expect(MEMORY);
        self
    }

    /// A byte string, or null.
    pub fn bytes_or_null(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(),
        }
    }

    /// Null.
    pub fn null(&mut self) -> &mut Self {
        self.encoder.null().expect(MEMORY);
        self
    }

    /// False or true.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.encoder.bool(value).expect(MEMORY);
        self
    }

    /// An integer of either sign.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.encoder.i64(value).expect(MEMORY);
        self
    }

    /// An 8-byte float, which must not be NaN.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.encoder.f64(value).expect(MEMORY);
        self
    }

    /// A text string.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.encoder.str(value).expect(MEMORY);
        self
    }

    /// Bytes that are canonical items already.
    pub fn raw(&mut self, items: &[u8]) -> &mut Self {
        self.encoder.writer_mut().extend_from_slice(items);
        self
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.encoder.into_writer()
    }
}

/// What an item is, without its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// null
    Null,
    /// false, true
    Bool,
    /// an integer of either sign
    Integer,
    /// an 8-byte float
    Float,
    /// a byte string
    Bytes,
    /// a text string
    Text,
    /// a list
    List,
    /// a map
    Map,
}

fn fault(error: minicbor::decode::Error) -> CborError {
    if error.is_end_of_input() { CborError::Truncated } else { CborError::Unexpected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_passes() {
        for good in [&[0x00][..], &[0x18, 24], &[0x80], &[0xa1, 0x00, 0x01], &[0xf6], &[0x62, b'a', b'b']] {
            assert_eq!(check(good, 4), Ok(()), "{good:x?}");
        }
        for (bad, why) in [
            (&[0x18, 23][..], CborError::NotCanonical),
            (&[0x19, 0, 255], CborError::NotCanonical),
            (&[0x9f, 0xff], CborError::NotCanonical),
            (&[0x7f, 0xff], CborError::NotCanonical),
            (&[0xa2, 1, 0, 0, 0], CborError::NotCanonical),
            (&[0xa2, 1, 0, 1, 0], CborError::NotCanonical),
            (&[0xf9, 0, 0], CborError::Unsupported),
            (&[0xc0, 0], CborError::Unsupported),
            (&[0xf7], CborError::Unsupported),
            (&[0x61, 0xff], CborError::Unsupported),
            (&[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], CborError::Unsupported),
            (&[0x00, 0x00], CborError::Trailing),
            (&[0x9b, 255, 255, 255, 255, 255, 255, 255, 255], CborError::Truncated),
            (&[0x5b, 255, 255, 255, 255, 255, 255, 255, 255], CborError::Truncated),
            (&[], CborError::Truncated),
        ] {
            assert_eq!(check(bad, 4), Err(why), "{bad:x?}");
        }
    }

    #[test]
    fn nesting_is_bounded_without_recursing_into_it() {
        let deep = vec![0x81u8; 100_000];
        assert_eq!(check(&deep, 64), Err(CborError::TooDeep));
    }
    #[test]
    fn what_is_skipped_ends_where_it_should_however_deep_and_false_it_is() {
        let skipped = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            reader.skip().map(|()| reader.position())
        };
        for (one, length) in [
            (&[0x82, 0xa1, 0x00, 0x42, 1, 2, 0x61, 0xff, 0x07][..], 8),
            (&[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xf6], 9),
            (&[0x80, 0x80], 1),
        ] {
            assert_eq!(skipped(one), Ok(length), "{one:x?}");
        }
        let mut deep = vec![0x81u8; 1_000_000];
        assert_eq!(skipped(&deep), Err(CborError::Truncated));
        deep.push(0);
        assert_eq!(skipped(&deep), Ok(deep.len()));
        for bad in [
            &[0x9b, 255, 255, 255, 255, 255, 255, 255, 255][..],
            &[0xbb, 255, 255, 255, 255, 255, 255, 255, 255],
            &[0x5b, 255, 255, 255, 255, 255, 255, 255, 255, 0],
            &[0x44, 1, 2],
            &[],
        ] {
            assert_eq!(skipped(bad), Err(CborError::Truncated), "{bad:x?}");
        }
    }
}
