//! The adapter: asks a hub, which it does not trust. Each answer is bounded in bytes and in time, and one that is not an
//! answer to what was asked is none. Connections that went well are used again.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, IF_NONE_MATCH, RANGE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{Sender, connect};
use super::{ALL_FULL, HubAddress, MAX_PAGE, PREFIX_FULL, VERSION, WATCH, is_plain, read_page};
use crate::mailbox::{
    Access, Listing, MAX_LISTING, Mailbox, MailboxError, ObjectName, Put, check_size, length,
};
use crate::transport::BoxFuture;

/// To connect, with TLS.
const CONNECT: Duration = Duration::from_secs(20);
/// To take a request and begin to answer it: the largest object at 64 KiB in a second, and some.
const ANSWER: Duration = Duration::from_secs(150);
/// Between two pieces of an answer.
const PIECE: Duration = Duration::from_secs(30);
/// For the whole of an answer, however steadily it comes.
const WHOLE: Duration = Duration::from_secs(150);
/// Between two questions for news that are answered at once with no news.
const PAUSE: Duration = Duration::from_secs(5);
/// Connections that are kept for the next request.
const KEPT: usize = 4;
/// Bytes of an answer that says why not.
const MAX_REASON: usize = 1024;

/// A mailbox that a hub serves.
#[derive(Debug, Clone)]
pub struct HttpMailbox(Arc<Inside>);

struct Inside {
    address: HubAddress,
    token: Option<HeaderValue>,
    kept: Mutex<Vec<Sender>>,
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpMailbox").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What is asked.
struct Question<'q> {
    method: Method,
    /// After the version: `/name`, `?query`.
    rest: &'q str,
    header: Option<(HeaderName, String)>,
    body: Bytes,
    /// Bytes of the answer.
    limit: usize,
}

impl<'q> Question<'q> {
    fn get(rest: &'q str, limit: usize) -> Self {
        Self { method: Method::GET, rest, header: None, body: Bytes::new(), limit }
    }
}

impl HttpMailbox {
    /// The mailbox at this address. Nothing is reached before something is asked; that needs a runtime with IO and time.
    pub fn new(address: HubAddress, access: &Access) -> Result<Self, MailboxError> {
        let token = access.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| MailboxError::Unusable("no token of a hub has such characters".into()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let kept = Mutex::default();
        Ok(Self(Arc::new(Inside { address, token: token.transpose()?, kept })))
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Full<Bytes>>, MailboxError> {
        let Inside { address, token, .. } = &*self.0;
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(format!("{}{VERSION}{}", address.path, question.rest))
            .header(HOST, address.authority());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some((name, value)) = &question.header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(question.body.clone()));
        request.map_err(|error| MailboxError::Unusable(error.to_string()))
    }

    async fn ask(&self, question: Question<'_>) -> Result<(StatusCode, Vec<u8>), MailboxError> {
        let (answer, sender) = self.answer(&question).await?;
        let status = answer.status();
        let limit = if status.is_success() { question.limit } else { MAX_REASON };
        let read = timeout(WHOLE, read(answer.into_body(), limit)).await;
        match read.unwrap_or(Err(too_slow())) {
            Ok(body) => {
                self.keep(sender);
                Ok((status, body))
            }
            // Why not is of no use where the answer is no in any case.
            Err(_) if !status.is_success() => Ok((status, Vec::new())),
            Err(error) => Err(error),
        }
    }

    // A connection that was kept may have been ended by the hub meanwhile: then once more on a new one. Each request
    // may be made twice.
    async fn answer(&self, question: &Question<'_>) -> Result<(Response<Incoming>, Sender), MailboxError> {
        while let Some(mut sender) = self.take() {
            if sender.ready().await.is_err() {
                continue;
            }
            match timeout(ANSWER, sender.send_request(self.request(question)?)).await {
                Ok(Ok(answer)) => return Ok((answer, sender)),
                Ok(Err(_)) => break,
                Err(_) => return Err(too_slow()),
            }
        }
        let connected = timeout(CONNECT, connect(&self.0.address)).await;
        let mut sender = connected.unwrap_or(Err(too_slow()))?;
        let answer = timeout(ANSWER, sender.send_request(self.request(question)?)).await;
        match answer {
            Ok(Ok(answer)) => Ok((answer, sender)),
            Ok(Err(error)) if error.is_parse() || error.is_parse_too_large() => {
                Err(MailboxError::Unusable("what is there does not speak HTTP as a hub does".into()))
            }
            Ok(Err(error)) => Err(MailboxError::Unreachable(error.to_string())),
            Err(_) => Err(too_slow()),
        }
    }

    fn take(&self) -> Option<Sender> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, sender: Sender) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && kept.len() < KEPT {
            kept.push(sender);
        }
    }
}

fn too_slow() -> MailboxError {
    MailboxError::Unreachable("the hub takes too long".into())
}

fn nonsense() -> MailboxError {
    MailboxError::Unusable("what is there answers something else than was asked".into())
}

async fn read(mut body: Incoming, limit: usize) -> Result<Vec<u8>, MailboxError> {
    // Room is made for what has come, whatever is said about the length.
    let mut bytes = Vec::new();
    while let Some(piece) = timeout(PIECE, body.frame()).await.map_err(|_| too_slow())? {
        let piece = piece.map_err(|error| MailboxError::Unreachable(error.to_string()))?;
        let Ok(piece) = piece.into_data() else { continue };
        if bytes.len() + piece.len() > limit {
            return Err(nonsense());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

// What a status means that is no answer to the question itself.
fn refused(status: StatusCode, body: &[u8]) -> MailboxError {
    match status {
        StatusCode::UNAUTHORIZED => MailboxError::Denied("the hub wants another token, or one at all".into()),
        StatusCode::FORBIDDEN => MailboxError::Denied(
            "the hub takes objects from their writers only, and deletes no whole ones".into(),
        ),
        StatusCode::INSUFFICIENT_STORAGE => {
            let whose = match body {
                body if body == PREFIX_FULL.as_bytes() => "this device has put as much there as it may",
                body if body == ALL_FULL.as_bytes() => "the hub holds as much as it may",
                _ => "the hub has no room",
            };
            MailboxError::Full(whose.into())
        }
        StatusCode::NOT_FOUND => MailboxError::Unusable("there is no mailbox at that address".into()),
        status if status.is_redirection() => {
            MailboxError::Unusable("it says that it is elsewhere; give that address".into())
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            MailboxError::Unreachable("the hub has too much to do".into())
        }
        status if status.is_server_error() => {
            MailboxError::Unreachable(format!("the hub answers with status {}", status.as_u16()))
        }
        status => MailboxError::Unusable(format!("what is there answers with status {}", status.as_u16())),
    }
}

impl Mailbox for HttpMailbox {
    // A hub gives four to one source, behind which there may be several devices.
    fn at_once(&self) -> usize {
        2
    }

    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        Box::pin(async move {
            check_size(&bytes)?;
            let (size, rest) = (bytes.len() as u64, format!("/{name}"));
            let question = Question {
                method: Method::PUT,
                rest: &rest,
                header: Some((IF_NONE_MATCH, "*".into())),
                body: bytes.into(),
                limit: MAX_REASON,
            };
            match self.ask(question).await? {
                (StatusCode::CREATED, _) => Ok(Put::Stored),
                (StatusCode::PRECONDITION_FAILED, _) => Ok(Put::Exists),
                (StatusCode::PAYLOAD_TOO_LARGE, _) => {
                    Err(MailboxError::TooLarge { size, limit: size.saturating_sub(1) })
                }
                (status, body) => Err(refused(status, &body)),
            }
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>> {
        Box::pin(async move {
            if !is_plain(prefix) || !is_plain(after) {
                return Err(MailboxError::Unusable("no name begins with that".into()));
            }
            let limit = limit.min(MAX_LISTING);
            let rest = format!("?prefix={prefix}&after={after}&limit={limit}");
            match self.ask(Question::get(&rest, MAX_PAGE)).await? {
                (StatusCode::OK, body) => {
                    let text = std::str::from_utf8(&body).map_err(|_| nonsense())?;
                    read_page(text, prefix, after, limit).ok_or_else(nonsense)
                }
                (status, body) => Err(refused(status, &body)),
            }
        })
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        Box::pin(async move {
            let (wanted, rest) = (length(&range), format!("/{name}"));
            // There is no range of no bytes; one tells whether the object is there.
            let limit = wanted.max(1);
            let last = range.start.saturating_add(limit as u64 - 1);
            let header = Some((RANGE, format!("bytes={}-{last}", range.start)));
            match self.ask(Question { header, ..Question::get(&rest, limit) }).await? {
                (StatusCode::PARTIAL_CONTENT, mut body) => {
                    body.truncate(wanted);
                    Ok(Some(body))
                }
                // Whoever knows no ranges gives the whole.
                (StatusCode::OK, mut body) if range.start == 0 => {
                    body.truncate(wanted);
                    Ok(Some(body))
                }
                (StatusCode::RANGE_NOT_SATISFIABLE, _) => Ok(Some(Vec::new())),
                (StatusCode::NOT_FOUND, _) => Ok(None),
                (status, body) => Err(refused(status, &body)),
            }
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        Box::pin(async move {
            let rest = format!("/{name}");
            let question = Question { method: Method::DELETE, ..Question::get(&rest, MAX_REASON) };
            match self.ask(question).await? {
                (StatusCode::NO_CONTENT | StatusCode::NOT_FOUND, _) => Ok(()),
                (status, body) => Err(refused(status, &body)),
            }
        })
    }

    fn watch<'a>(
        &'a self,
        prefix: &'a str,
        seen: Option<u64>,
    ) -> BoxFuture<'a, Result<Option<u64>, MailboxError>> {
        Box::pin(async move {
            if !is_plain(prefix) {
                return Err(MailboxError::Unusable("no name begins with that".into()));
            }
            let seen_word = seen.map_or_else(String::new, |seen| format!("&seen={seen}"));
            let rest = format!("?watch={prefix}{seen_word}");
            let patience = Duration::from_secs(WATCH) + PIECE;
            loop {
                let begun = Instant::now();
                let asked = timeout(patience, self.ask(Question::get(&rest, MAX_REASON))).await;
                match asked.unwrap_or(Err(too_slow()))? {
                    (StatusCode::OK, body) => {
                        let number =
                            std::str::from_utf8(&body).ok().and_then(|text| text.trim().parse().ok());
                        let number: u64 = number.ok_or_else(nonsense)?;
                        if seen != Some(number) {
                            return Ok(Some(number));
                        }
                        // A hub that does not wait is not asked without end.
                        if begun.elapsed() < PAUSE {
                            sleep(PAUSE).await;
                        }
                    }
                    (status, body) => return Err(refused(status, &body)),
                }
            }
        })
    }
}
