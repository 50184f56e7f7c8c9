//! What a PostgreSQL server sends, looked at before anybody holds it: no message above the limit, no more in all than the
//! question allows, and no way of logging in that gives a password away or makes this machine compute for minutes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::MAX_OBJECT;

/// Bytes of one message: a row with the largest object.
const MAX_MESSAGE: u32 = MAX_OBJECT as u32 + 64 * 1024;
/// Bytes of a message about logging in, or about what a row has.
const MAX_LOGIN: u32 = 2048;
/// Types of what is asked for here: flags, bytes, numbers, text. Of others the client would ask what they are made of,
/// as deep as the server likes.
const TYPES: [u32; 5] = [16, 17, 20, 23, 25];
/// Columns of a row, at most.
const COLUMNS: u16 = 8;
/// Rounds of hashing that a server may ask for; it asks for 4,096 as a rule.
const MAX_ROUNDS: u32 = 1_000_000;

// What a message about logging in begins with.
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const CONTINUED: u32 = 11;

/// A stream of messages of a server.
pub(super) struct Guarded<S> {
    stream: S,
    /// Bytes that may still come.
    room: Arc<AtomicU64>,
    messages: Messages,
}

impl<S> Guarded<S> {
    /// `open`: anybody on the way could read a password, or be the server.
    pub(super) fn new(stream: S, room: Arc<AtomicU64>, open: bool) -> Self {
        Self { stream, room, messages: Messages { open, ..Messages::default() } }
    }
}

#[derive(Debug, Default)]
struct Messages {
    open: bool,
    // The kind and the length of the message, as far as they are here.
    head: Vec<u8>,
    // Bytes of the message that are still to come.
    rest: u32,
    // The message itself and its kind, where it is looked into.
    kept: Option<(u8, Vec<u8>)>,
}

impl Messages {
    // Goes over what came; an error ends the connection.
    fn see(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while let Some((byte, after)) = bytes.split_first() {
            if self.rest == 0 {
                self.head.push(*byte);
                bytes = after;
                let Some((kind, length)) = self.head.first_chunk::<5>().and_then(|head| head.split_first())
                else {
                    continue;
                };
                let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes);
                let kept = matches!(*kind, b'R' | b'T');
                let most = if kept { MAX_LOGIN } else { MAX_MESSAGE };
                if !(4..=most).contains(&length) {
                    return Err("the server sends a message above the limit");
                }
                self.kept = kept.then(|| (*kind, Vec::new()));
                self.rest = length - 4;
                self.head.clear();
            } else {
                let count = bytes.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                let (now, after) = bytes.split_at(count);
                if let Some((_, kept)) = &mut self.kept {
                    kept.extend_from_slice(now);
                }
                self.rest -= u32::try_from(count).unwrap_or(self.rest);
                bytes = after;
            }
            if self.rest == 0
                && let Some((kind, message)) = self.kept.take()
            {
                if kind == b'R' { self.log_in(&message)? } else { columns(&message)? }
            }
        }
        Ok(())
    }

    fn log_in(&self, message: &[u8]) -> Result<(), &'static str> {
        let Some((kind, text)) = message.split_first_chunk::<4>() else { return Ok(()) };
        match u32::from_be_bytes(*kind) {
            CLEARTEXT | MD5 if self.open => Err(
                "the server asks for a password in a way that others could use: `sslmode=require` protects it",
            ),
            CONTINUED => {
                let rounds = text.split(|byte| *byte == b',').find_map(|part| part.strip_prefix(b"i="));
                let rounds = rounds.and_then(|rounds| std::str::from_utf8(rounds).ok()?.parse::<u32>().ok());
                let few = rounds.is_some_and(|rounds| rounds <= MAX_ROUNDS);
                if few { Ok(()) } else { Err("the server asks for too much hashing") }
            }
            _ => Ok(()),
        }
    }
}

// What a row has: a count, and of each column a name that ends with a zero, and 18 bytes of which 4 are its type.
fn columns(message: &[u8]) -> Result<(), &'static str> {
    let refused = "the server answers with columns that nobody asked for";
    let (count, mut rest) = message.split_first_chunk::<2>().ok_or(refused)?;
    let count = u16::from_be_bytes(*count);
    if count > COLUMNS {
        return Err(refused);
    }
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0).ok_or(refused)?;
        let (column, after) = rest.get(end + 1..).and_then(<[u8]>::split_first_chunk::<18>).ok_or(refused)?;
        let [_, _, _, _, _, _, a, b, c, d, ..] = *column;
        if !TYPES.contains(&u32::from_be_bytes([a, b, c, d])) {
            return Err(refused);
        }
        rest = after;
    }
    Ok(())
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        this.messages.see(new).map_err(refused)?;
        let count = new.len() as u64;
        let took =
            this.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(count));
        took.map_err(|_| refused("the server sends more than was asked for"))?;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    fn seen(open: bool, bytes: &[u8]) -> bool {
        // However it is cut.
        let whole = Messages { open, ..Messages::default() }.see(bytes).is_ok();
        let mut messages = Messages { open, ..Messages::default() };
        assert_eq!(bytes.chunks(1).all(|byte| messages.see(byte).is_ok()), whole);
        whole
    }

    #[test]
    fn messages_pass_and_what_is_too_large_or_asks_too_much_does_not() {
        let row = message(b'D', &[1; 1000]);
        assert!(seen(true, &[row.clone(), message(b'Z', b"I"), message(b'1', b""), row].concat()));
        assert!(!seen(true, &[b'D', 0x7f, 0xff, 0xff, 0xff]));
        assert!(!seen(true, &[b'D', 0, 0, 0, 3]));
        let login = |kind: u32, text: &[u8]| message(b'R', &[&kind.to_be_bytes()[..], text].concat());
        assert!(seen(true, &login(0, b"")) && seen(true, &login(10, b"SCRAM-SHA-256\0\0")));
        assert!(seen(false, &login(CLEARTEXT, b"")) && !seen(true, &login(CLEARTEXT, b"")));
        assert!(!seen(true, &login(MD5, b"salt")));
        assert!(seen(true, &login(CONTINUED, b"r=abc,s=def,i=4096")));
        assert!(!seen(true, &login(CONTINUED, b"r=abc,s=def,i=4000000000")));
        assert!(!seen(true, &login(CONTINUED, b"r=abc,s=def")));
        assert!(!seen(true, &message(b'R', &[0; 3000])));
    }

    #[test]
    fn only_columns_of_types_that_were_asked_for_pass() {
        let column = |of: u32| [&b"name\0"[..], &[0; 6], &of.to_be_bytes(), &[0; 8]].concat();
        let row = |columns: &[u32]| {
            let columns: Vec<Vec<u8>> = columns.iter().map(|of| column(*of)).collect();
            message(b'T', &[&(columns.len() as u16).to_be_bytes()[..], &columns.concat()].concat())
        };
        assert!(seen(true, &row(&[25, 20, 20])) && seen(true, &row(&[17])) && seen(true, &row(&[])));
        assert!(!seen(true, &row(&[25, 70_000])) && !seen(true, &row(&[25; 9])));
        assert!(!seen(true, &message(b'T', &[0, 1, b'a'])) && !seen(true, &message(b'T', &[0; 3000])));
    }

    #[tokio::test]
    async fn no_more_comes_than_there_is_room_for() {
        use tokio::io::AsyncReadExt;
        let bytes = message(b'D', &[1; 1000]);
        let room = Arc::new(AtomicU64::new(1500));
        let mut guarded = Guarded::new(&bytes[..], room.clone(), true);
        guarded.read_exact(&mut [0; 1005]).await.unwrap();
        let mut guarded = Guarded::new(&bytes[..], room, true);
        assert!(guarded.read_exact(&mut [0; 1005]).await.is_err());
    }
}
