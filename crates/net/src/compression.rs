//! How the bytes of one frame are written: plain, or by zstd when that is smaller. What comes in is never unpacked
//! beyond the limit of the receiver. Without the feature `zstd` only plain frames are written and asked for.

use std::borrow::Cow;

use crate::transport::NetError;

/// Frames up to this size travel plain: zstd saves less on them than it costs.
#[cfg(feature = "zstd")]
const MIN_COMPRESSED: usize = 256;
/// The fastest level; most of what it would gain beyond that, the columns of a DATA frame have gained already.
#[cfg(feature = "zstd")]
const LEVEL: i32 = 1;

/// The encodings that a side can read, one bit each; plain is always understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encodings(pub(crate) u8);

impl Encodings {
    #[cfg(feature = "zstd")]
    const ZSTD: u8 = 1;

    /// What this build reads.
    pub(crate) fn ours() -> Self {
        #[cfg(feature = "zstd")]
        return Self(Self::ZSTD);
        #[cfg(not(feature = "zstd"))]
        return Self(0);
    }

    #[cfg(feature = "zstd")]
    fn has_zstd(self) -> bool {
        self.0 & Self::ZSTD != 0
    }
}

/// The first byte of a frame on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain = 0,
    Zstd = 1,
}

impl Encoding {
    pub(crate) fn from_byte(byte: u8) -> Result<Self, NetError> {
        match byte {
            0 => Ok(Self::Plain),
            1 if cfg!(feature = "zstd") => Ok(Self::Zstd),
            _ => Err(NetError::Protocol("a frame in an encoding that was not agreed on")),
        }
    }
}

/// The frame as it goes over the wire to a side that reads `theirs`: never longer than it is plain.
pub(crate) fn pack(frame: &[u8], theirs: Encodings) -> (Encoding, Cow<'_, [u8]>) {
    #[cfg(feature = "zstd")]
    if frame.len() > MIN_COMPRESSED && theirs.has_zstd() {
        // An error here costs bytes, not the frame.
        if let Some(packed) =
            zstd::bulk::compress(frame, LEVEL).ok().filter(|packed| packed.len() < frame.len())
        {
            return (Encoding::Zstd, Cow::Owned(packed));
        }
    }
    let _ = theirs;
    (Encoding::Plain, Cow::Borrowed(frame))
}

/// The frame back, of at most `limit` bytes. What it says about its size is checked before anything is unpacked, and
/// it is held to it.
pub(crate) fn unpack(encoding: Encoding, packed: Vec<u8>, limit: usize) -> Result<Vec<u8>, NetError> {
    match encoding {
        Encoding::Plain if packed.len() > limit => Err(NetError::TooLarge { size: packed.len(), limit }),
        Encoding::Plain => Ok(packed),
        #[cfg(feature = "zstd")]
        Encoding::Zstd => {
            let declared = zstd::zstd_safe::get_frame_content_size(&packed).ok().flatten();
            let declared = declared.and_then(|size| usize::try_from(size).ok());
            let size = declared.ok_or(NetError::Protocol("a compressed frame that does not say its size"))?;
            if size > limit {
                return Err(NetError::TooLarge { size, limit });
            }
            zstd::bulk::decompress(&packed, size)
                .ok()
                .filter(|frame| frame.len() == size)
                .ok_or(NetError::Protocol("a compressed frame that is damaged or lies about its size"))
        }
        #[cfg(not(feature = "zstd"))]
        Encoding::Zstd => Err(NetError::Protocol("a compressed frame, which this build cannot read")),
    }
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use driftless_core::sign::Domain;

    use super::*;

    fn zeros(length: usize) -> Vec<u8> {
        zstd::bulk::compress(&vec![0; length], LEVEL).unwrap()
    }

    #[test]
    fn what_repeats_shrinks_and_comes_back() {
        let frame = b"driftless ".repeat(1000);
        let (encoding, packed) = pack(&frame, Encodings::ours());
        assert!(encoding == Encoding::Zstd && packed.len() < 200);
        assert_eq!(unpack(encoding, packed.into_owned(), frame.len()), Ok(frame));
    }

    #[test]
    fn what_is_small_or_does_not_shrink_or_is_not_understood_travels_plain() {
        let noise: Vec<u8> = (0..40).flat_map(|at| Domain::Body.hash(&[&[at]])).collect();
        assert_eq!(pack(&[0; MIN_COMPRESSED], Encodings::ours()).0, Encoding::Plain);
        assert_eq!(pack(&noise, Encodings::ours()).0, Encoding::Plain);
        assert_eq!(pack(&[0; 10_000], Encodings(0)).0, Encoding::Plain);
    }

    #[test]
    fn a_bomb_is_refused_by_what_it_says_of_itself() {
        let bomb = zeros(1 << 30);
        assert!(bomb.len() < 100_000);
        assert_eq!(
            unpack(Encoding::Zstd, bomb, 4096),
            Err(NetError::TooLarge { size: 1 << 30, limit: 4096 })
        );
    }

    #[test]
    fn a_bomb_that_says_nothing_or_too_little_of_itself_is_refused() {
        // Two zstd frames in a row: the first says 100 bytes, the second adds a gigabyte.
        let lying = [zeros(100), zeros(1 << 30)].concat();
        assert!(matches!(unpack(Encoding::Zstd, lying, 4096), Err(NetError::Protocol(_))));
        let mut silent = zstd::bulk::Compressor::new(LEVEL).unwrap();
        silent.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(false)).unwrap();
        let silent = silent.compress(&vec![0; 1 << 20]).unwrap();
        assert!(matches!(unpack(Encoding::Zstd, silent, 1 << 21), Err(NetError::Protocol(_))));
    }

    #[test]
    fn damage_is_refused_and_no_prefix_is_taken_for_a_frame() {
        let packed = zeros(2000);
        for cut in 0..packed.len() {
            assert!(unpack(Encoding::Zstd, packed[..cut].to_vec(), 4096).is_err());
        }
        assert!(unpack(Encoding::Zstd, b"no zstd at all".to_vec(), 4096).is_err());
        assert!(Encoding::from_byte(2).is_err());
    }
}
