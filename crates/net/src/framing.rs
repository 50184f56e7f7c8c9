//! Frames cut into records of bounded size, and put together again. Nothing here encrypts or touches a socket.
//!
//! A frame starts in a record of its own: 4 bytes, big-endian, how many follow; 1 byte, the encoding; then the content,
//! which goes on in further records. Every record but the last is full, so a frame has one form and nobody can send it
//! a byte at a time. A length of 0 is no frame but the clean end, which thereby is as well protected as a frame is.

use crate::compression::{self, Encoding, Encodings};
use crate::transport::NetError;

/// Bytes before the content: the length, and the encoding that it counts.
const HEADER: usize = 5;

/// The record that ends the connection cleanly.
pub(crate) const END: [u8; 4] = [0; 4];

/// Cuts `frame` into payloads of records of at most `record` bytes for a side that reads `theirs`.
pub(crate) fn cut(frame: &[u8], theirs: Encodings, record: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
    let (encoding, content) = compression::pack(frame, theirs);
    // A frame is at most MAX_FRAME.
    let length = u32::try_from(content.len() + 1).unwrap_or(u32::MAX);
    let mut header = Some(length.to_be_bytes());
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut payload = Vec::with_capacity((content.len() - at + HEADER).min(record));
        match header.take() {
            Some(length) => {
                payload.extend_from_slice(&length);
                payload.push(encoding as u8);
            }
            None if at == content.len() => return None,
            None => {}
        }
        let end = content.len().min(at + record - payload.len());
        payload.extend_from_slice(&content[at..end]);
        at = end;
        Some(payload)
    })
}

/// What a record brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The frame goes on in the next record.
    Part,
    /// A whole frame.
    Frame(Vec<u8>),
    /// The other side has closed.
    End,
}

/// Puts records together; `limit` is the largest frame from now on.
#[derive(Debug)]
pub(crate) struct Joiner {
    pub(crate) limit: usize,
    record: usize,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    encoding: Encoding,
    missing: usize,
    content: Vec<u8>,
}

impl Joiner {
    pub(crate) fn new(record: usize, limit: usize) -> Self {
        Self { limit, record, begun: None }
    }

    /// Takes the payload of the next record. After an error this is of no more use.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<Joined, NetError> {
        let (mut begun, part, room) = match self.begun.take() {
            Some(begun) => (begun, payload, self.record),
            None => {
                let (length, rest) = payload
                    .split_first_chunk()
                    .ok_or(NetError::Protocol("a record too short for a frame"))?;
                let length = u32::from_be_bytes(*length) as usize;
                let Some(size) = length.checked_sub(1) else {
                    return if rest.is_empty() {
                        Ok(Joined::End)
                    } else {
                        Err(NetError::Protocol("bytes after the end"))
                    };
                };
                // Before anything of it is kept. Packed content is never longer than the frame.
                if size > self.limit {
                    return Err(NetError::TooLarge { size, limit: self.limit });
                }
                let (encoding, part) =
                    rest.split_first().ok_or(NetError::Protocol("a record too short for a frame"))?;
                let begun =
                    Begun { encoding: Encoding::from_byte(*encoding)?, missing: size, content: Vec::new() };
                (begun, part, self.record - HEADER)
            }
        };
        if part.len() != begun.missing.min(room) {
            return Err(NetError::Protocol("a record that does not fit the length of its frame"));
        }
        begun.missing -= part.len();
        begun.content.extend_from_slice(part);
        if begun.missing > 0 {
            self.begun = Some(begun);
            return Ok(Joined::Part);
        }
        compression::unpack(begun.encoding, begun.content, self.limit).map(Joined::Frame)
    }
}

/// The records of a frame for a side that reads what this build reads. For fuzzing, where there is no connection.
pub fn cut_frame(frame: &[u8], record: usize) -> Vec<Vec<u8>> {
    cut(frame, Encodings::ours(), record).collect()
}

/// The frames in records of at most `record` bytes, of which there are at least 16. For fuzzing as well.
pub fn join_records<'r>(
    records: impl IntoIterator<Item = &'r [u8]>,
    record: usize,
    limit: usize,
) -> Result<Vec<Vec<u8>>, NetError> {
    let (mut joiner, mut frames) = (Joiner::new(record.max(16), limit), Vec::new());
    for payload in records {
        match joiner.push(payload)? {
            Joined::Part => {}
            Joined::Frame(frame) => frames.push(frame),
            Joined::End => break,
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: usize = 100;
    const PLAIN: Encodings = Encodings(0);

    fn counted(length: usize) -> Vec<u8> {
        (0..length).map(|at| at as u8).collect()
    }

    fn header(length: u32, encoding: u8) -> Vec<u8> {
        [&length.to_be_bytes()[..], &[encoding]].concat()
    }

    #[test]
    fn frames_of_every_size_come_back_in_full_records() {
        for length in 0..500 {
            let payloads: Vec<_> = cut(&counted(length), PLAIN, RECORD).collect();
            assert_eq!(payloads.len(), (length + HEADER).div_ceil(RECORD));
            let mut joiner = Joiner::new(RECORD, 500);
            let (last, parts) = payloads.split_last().unwrap();
            for part in parts {
                assert_eq!((part.len(), joiner.push(part)), (RECORD, Ok(Joined::Part)));
            }
            assert_eq!(joiner.push(last), Ok(Joined::Frame(counted(length))));
            assert_eq!(joiner.push(&END), Ok(Joined::End));
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_in_the_first_record() {
        for limit in [0, 99, 100, 4096] {
            let mut joiner = Joiner::new(RECORD, limit);
            let first = cut(&counted(limit + 1), PLAIN, RECORD).next().unwrap();
            assert_eq!(joiner.push(&first), Err(NetError::TooLarge { size: limit + 1, limit }));
        }
        let lie = [header(u32::MAX, 0), counted(95)].concat();
        let refused = Err(NetError::TooLarge { size: u32::MAX as usize - 1, limit: 500 });
        assert_eq!(Joiner::new(RECORD, 500).push(&lie), refused);
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        for lie in [
            // More and less content than announced.
            [header(11, 0), counted(11)].concat(),
            [header(11, 0), counted(9)].concat(),
            header(11, 0),
            // A first record that could hold more.
            [header(300, 0), counted(94)].concat(),
            // No encoding, an unknown one, no header, bytes after the end.
            vec![0, 0, 0, 2],
            header(1, 9),
            vec![0, 0, 0],
            vec![],
            vec![0, 0, 0, 0, 0],
        ] {
            assert!(matches!(Joiner::new(RECORD, 500).push(&lie), Err(NetError::Protocol(_))), "{lie:?}");
        }
    }

    #[test]
    fn later_records_are_full_but_the_last() {
        for wrong in [0, 1, RECORD - 1, RECORD + 1] {
            let mut joiner = Joiner::new(RECORD, 500);
            assert_eq!(joiner.push(&cut(&counted(400), PLAIN, RECORD).next().unwrap()), Ok(Joined::Part));
            assert!(matches!(joiner.push(&counted(wrong)), Err(NetError::Protocol(_))), "{wrong}");
        }
    }

    #[test]
    fn a_raised_limit_holds_for_the_next_frame() {
        let mut joiner = Joiner::new(RECORD, 10);
        assert_eq!(
            joiner.push(&cut(&counted(10), PLAIN, RECORD).next().unwrap()),
            Ok(Joined::Frame(counted(10)))
        );
        joiner.limit = 11;
        assert_eq!(
            joiner.push(&cut(&counted(11), PLAIN, RECORD).next().unwrap()),
            Ok(Joined::Frame(counted(11)))
        );
    }
}
