//! What a hub answers: put, list, get, delete, and waiting for news. Everything a request says is checked before anything
//! is done for it, the cheapest first.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_NONE_MATCH, ORIGIN, RANGE, RETRY_AFTER,
};
use hyper::{Method, Request, Response, StatusCode};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio::time::timeout;

use super::hub::Admit;
use super::places::{Place, Places};
use super::quota::{Full as QuotaFull, Quota, prefix};
use super::watched::{Watched, first};
use super::{ALL_FULL, PREFIX_FULL, ROOT, VERSION, WATCH, is_plain, write_page};
use crate::mailbox::{MAX_LISTING, MAX_OBJECT, Mailbox, MailboxError, ObjectName, Put};
use crate::source::Source;

/// Bytes that are handed to a socket at once.
const PIECE: usize = 64 * 1024;
/// What a browser shows.
const WHAT_THIS_IS: &str =
    "This is a mailbox: `driftless mailbox add SPACE URL` with the address of this page.\n";

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What all sockets of one hub share.
pub(super) struct Desk {
    pub(super) place: Arc<dyn Mailbox>,
    pub(super) quota: Quota,
    pub(super) watched: Watched,
    pub(super) bodies: Places,
    pub(super) listings: Places,
    pub(super) waiting: Places,
    /// One after the other, so that nothing is counted twice.
    pub(super) deleting: tokio::sync::Mutex<()>,
    /// Nobody waits any longer.
    pub(super) closing: watch::Sender<bool>,
    pub(super) token: Option<String>,
    pub(super) admit: Option<Admit>,
    pub(super) put: AtomicU64,
    pub(super) got: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Desk {
    pub(super) async fn answer(self: &Arc<Self>, source: &Source, request: Request<Incoming>) -> Answer {
        let answered = self.decide(source, request).await;
        answered.unwrap_or_else(|refusal| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let (status, reason) = refusal;
            let mut answer = text(status, reason);
            if status == StatusCode::SERVICE_UNAVAILABLE {
                answer.headers_mut().insert(RETRY_AFTER, 10.into());
            }
            answer
        })
    }

    async fn decide(
        self: &Arc<Self>,
        source: &Source,
        request: Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        // A page of somebody else's has no business here, whatever network its reader is on.
        if request.headers().contains_key(ORIGIN) {
            return Err((StatusCode::FORBIDDEN, "not for web pages\n"));
        }
        let rest = request.uri().path().strip_prefix(ROOT);
        let rest = rest.ok_or((StatusCode::NOT_FOUND, "only /mailbox is here\n"))?;
        if matches!(rest, "" | "/") {
            return Ok(text(StatusCode::OK, WHAT_THIS_IS));
        }
        if !self.lets_in(&request) {
            return Err((StatusCode::UNAUTHORIZED, "a token is wanted\n"));
        }
        let rest = rest.strip_prefix(VERSION).ok_or((StatusCode::NOT_FOUND, "another version\n"))?;
        if rest.is_empty() {
            if request.method() != Method::GET {
                return Err((StatusCode::METHOD_NOT_ALLOWED, ""));
            }
            let query = request.uri().query().unwrap_or_default().to_owned();
            return self.query(source, &query).await;
        }
        let name = rest.strip_prefix('/').and_then(ObjectName::new);
        let name = name.ok_or((StatusCode::BAD_REQUEST, "no name of an object\n"))?;
        match *request.method() {
            Method::GET => self.get(source, &request, &name).await,
            Method::PUT => self.put(source, request, name).await,
            Method::DELETE => self.delete(source, &name).await,
            _ => Err((StatusCode::METHOD_NOT_ALLOWED, "")),
        }
    }

    fn lets_in(&self, request: &Request<Incoming>) -> bool {
        let Some(token) = &self.token else { return true };
        let shown =
            request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        // How long it takes says nothing about where they differ.
        shown.is_some_and(|shown| token.as_bytes().ct_eq(shown).into())
    }

    async fn query(&self, source: &Source, query: &str) -> Result<Answer, Refusal> {
        let wrong = (StatusCode::BAD_REQUEST, "a question that is none\n");
        let word = |key: &str| {
            let word =
                query.split('&').find_map(|part| part.split_once('=').filter(|(found, _)| *found == key));
            word.map(|(_, word)| word).filter(|word| is_plain(word))
        };
        if let Some(space) = word("watch") {
            let seen = word("seen").map(str::parse).transpose().map_err(|_| wrong)?;
            let _place = self.waiting.enter(source).await.ok_or(BUSY)?;
            let wait = self.watched.wait(first(space), seen);
            // Nobody can tell then; it is asked again.
            let mut closing = self.closing.subscribe();
            let number = tokio::select! {
                number = timeout(Duration::from_secs(WATCH), wait) => number.ok(),
                _ = closing.wait_for(|closing| *closing) => None,
            };
            let number = number.unwrap_or_else(|| self.watched.now(first(space)));
            return Ok(text(StatusCode::OK, format!("{number}\n")));
        }
        let (prefix, after, limit) =
            (word("prefix").ok_or(wrong)?, word("after").ok_or(wrong)?, word("limit"));
        let limit = limit.and_then(|limit| limit.parse().ok()).ok_or(wrong)?;
        let _place = self.listings.enter(source).await.ok_or(BUSY)?;
        let listing = self.place.list(prefix, after, MAX_LISTING.min(limit)).await.map_err(failed)?;
        Ok(text(StatusCode::OK, write_page(&listing)))
    }

    async fn get(
        &self,
        source: &Source,
        request: &Request<Incoming>,
        name: &ObjectName,
    ) -> Result<Answer, Refusal> {
        let most = MAX_OBJECT as u64 + 1;
        let range = match request.headers().get(RANGE) {
            Some(range) => {
                let range = range.to_str().ok().and_then(read_range);
                let (start, last) = range.ok_or((StatusCode::BAD_REQUEST, "no range of bytes\n"))?;
                start..last.saturating_add(1).min(start.saturating_add(most))
            }
            None => 0..most,
        };
        let place = self.bodies.enter(source).await.ok_or(BUSY)?;
        let start = range.start;
        let bytes = self.place.get(name, range).await.map_err(failed)?;
        let bytes = bytes.ok_or((StatusCode::NOT_FOUND, "no such object\n"))?;
        self.got.fetch_add(1, Ordering::Relaxed);
        if request.headers().contains_key(RANGE) {
            if bytes.is_empty() {
                return Ok(text(StatusCode::RANGE_NOT_SATISFIABLE, ""));
            }
            let range = format!("bytes {start}-{}/*", start + bytes.len() as u64 - 1);
            let mut answer = object(StatusCode::PARTIAL_CONTENT, bytes, place);
            if let Ok(range) = range.parse() {
                answer.headers_mut().insert(CONTENT_RANGE, range);
            }
            return Ok(answer);
        }
        Ok(object(StatusCode::OK, bytes, place))
    }

    async fn put(
        self: &Arc<Self>,
        source: &Source,
        request: Request<Incoming>,
        name: ObjectName,
    ) -> Result<Answer, Refusal> {
        if request.headers().get(IF_NONE_MATCH).is_none_or(|value| value != "*") {
            return Err((StatusCode::PRECONDITION_REQUIRED, "objects are put with `if-none-match: *`\n"));
        }
        let said =
            request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let said: u64 = said.unwrap_or(0);
        if said > MAX_OBJECT as u64 {
            return Err(TOO_LARGE);
        }
        // Before anything is read; it is asked again with the bytes.
        if let Err(refused) = self.quota.room(prefix(&name), said).map(drop) {
            // Taken and thrown away: who is cut off while it sends may never read why.
            read(request.into_body(), |_| ()).await?;
            return Err(full(refused));
        }
        let place = self.bodies.enter(source).await.ok_or(BUSY)?;
        // Room is made for what has come, whatever is said about the length.
        let mut bytes = Vec::new();
        read(request.into_body(), |piece| bytes.extend_from_slice(piece)).await?;
        let this = self.clone();
        // To the end, whoever waits for it: what is stored is counted.
        let stored = tokio::spawn(async move {
            let stored = this.store(name, bytes).await;
            drop(place);
            stored
        });
        match stored.await.unwrap_or(Err((StatusCode::INTERNAL_SERVER_ERROR, "")))? {
            Put::Stored => Ok(text(StatusCode::CREATED, "")),
            Put::Exists => Ok(text(StatusCode::PRECONDITION_FAILED, "")),
        }
    }

    async fn store(&self, name: ObjectName, bytes: Vec<u8>) -> Result<Put, Refusal> {
        let (bytes, admitted) = self.admits(&name, bytes).await?;
        if !admitted {
            return Err((StatusCode::FORBIDDEN, "its writer has not signed it for that name\n"));
        }
        let room = self.quota.room(prefix(&name), bytes.len() as u64).map_err(full)?;
        let put = self.place.put_if_absent(&name, bytes).await.map_err(failed)?;
        if put == Put::Stored {
            room.used();
            self.put.fetch_add(1, Ordering::Relaxed);
            self.watched.changed(first(name.as_str()));
        }
        Ok(put)
    }

    async fn delete(&self, source: &Source, name: &ObjectName) -> Result<Answer, Refusal> {
        let _place = self.bodies.enter(source).await.ok_or(BUSY)?;
        let _alone = self.deleting.lock().await;
        let listed = self.place.list(name.as_str(), "", 1).await.map_err(failed)?;
        let Some(listed) = listed.objects.first().filter(|listed| listed.name == *name) else {
            return Ok(text(StatusCode::NO_CONTENT, ""));
        };
        if self.admit.is_some() {
            let bytes = self.place.get(name, 0..MAX_OBJECT as u64 + 1).await.map_err(failed)?;
            if self.admits(name, bytes.unwrap_or_default()).await?.1 {
                return Err((StatusCode::FORBIDDEN, "a whole object stays\n"));
            }
        }
        self.place.delete(name).await.map_err(failed)?;
        self.quota.forget(prefix(name), listed.size);
        Ok(text(StatusCode::NO_CONTENT, ""))
    }

    // Hashing the largest object takes a while, in which nobody else waits.
    async fn admits(&self, name: &ObjectName, bytes: Vec<u8>) -> Result<(Vec<u8>, bool), Refusal> {
        let Some(admit) = self.admit.clone() else { return Ok((bytes, true)) };
        let name = name.clone();
        let done = tokio::task::spawn_blocking(move || {
            let admitted = bytes.len() <= MAX_OBJECT && admit(&name, &bytes);
            (bytes, admitted)
        });
        done.await.map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, ""))
    }
}

/// A status that is no, and a line for whoever looks at it.
type Refusal = (StatusCode, &'static str);

const BUSY: Refusal = (StatusCode::SERVICE_UNAVAILABLE, "too much to do\n");
const TOO_LARGE: Refusal = (StatusCode::PAYLOAD_TOO_LARGE, "an object has at most 8 MiB\n");

fn full(full: QuotaFull) -> Refusal {
    match full {
        QuotaFull::Prefix => (StatusCode::INSUFFICIENT_STORAGE, PREFIX_FULL),
        QuotaFull::All => (StatusCode::INSUFFICIENT_STORAGE, ALL_FULL),
    }
}

// What went wrong behind the hub is nobody's business in front of it.
fn failed(error: MailboxError) -> Refusal {
    match error {
        MailboxError::Unreachable(_)
        | MailboxError::NoHost(_)
        | MailboxError::Untrusted(_)
        | MailboxError::Gone(_) => (StatusCode::SERVICE_UNAVAILABLE, "what is behind does not answer\n"),
        MailboxError::TooLarge { .. } => TOO_LARGE,
        MailboxError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, ALL_FULL),
        MailboxError::Denied(_) | MailboxError::Unusable(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "what is behind does not work\n")
        }
    }
}

// `bytes=first-last`, and nothing else that HTTP allows.
fn read_range(range: &str) -> Option<(u64, u64)> {
    let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, last) = (start.parse().ok()?, last.parse().ok()?);
    (start <= last).then_some((start, last))
}

// Takes a body, piece by piece, up to the largest object.
async fn read(mut body: Incoming, mut take: impl FnMut(&[u8])) -> Result<(), Refusal> {
    let mut length = 0;
    while let Some(piece) = body.frame().await {
        let piece = piece.map_err(|_| (StatusCode::BAD_REQUEST, "the body ended early\n"))?;
        let Ok(piece) = piece.into_data() else { continue };
        length += piece.len();
        if length > MAX_OBJECT {
            return Err(TOO_LARGE);
        }
        take(&piece);
    }
    Ok(())
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    if let Ok(kind) = "text/plain; charset=utf-8".parse() {
        answer.headers_mut().insert(CONTENT_TYPE, kind);
    }
    answer
}

// In pieces, so that the place is taken until the last has left.
fn object(status: StatusCode, bytes: Vec<u8>, place: Place) -> Answer {
    let length = bytes.len();
    let pieces = stream::unfold((Bytes::from(bytes), place), |(mut left, place)| async move {
        if left.is_empty() {
            return None;
        }
        let piece = left.split_to(PIECE.min(left.len()));
        Some((Ok::<_, Infallible>(Frame::data(piece)), (left, place)))
    });
    let mut answer = Response::new(StreamBody::new(pieces).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    if let Ok(kind) = "application/octet-stream".parse() {
        answer.headers_mut().insert(CONTENT_TYPE, kind);
    }
    answer
}
