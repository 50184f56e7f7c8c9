//! How a bucket is asked: HTTPS with the TLS of this program, each answer whole, of bounded size and within a time, and asked
//! again after a while where that can help. It knows nothing of objects.
//!
//! Of an answer that is an error only the code is kept, a word: the rest is the server's to write, and might repeat what it
//! was sent.

use std::error::Error as _;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::{Client, Method, Request, StatusCode, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::{Instant, sleep, timeout};

use super::super::{MAX_OBJECT, MailboxError};
use super::s3::S3Patience;

/// Bytes of an answer that are held: the largest object and one byte, or the longest page of a listing.
const MAX_ANSWER: usize = MAX_OBJECT + 64 * 1024;
/// Bytes of an error that are read to find its code.
const MAX_ERROR: usize = 16 * 1024;
/// What the client says, among other things, where a name has no address.
const NO_ADDRESS: &str = "dns error";
/// Characters of a code.
const MAX_CODE: usize = 64;
/// The longest wait before it is asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Asks one server.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    client: Client,
    patience: S3Patience,
}

/// What came of a request.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: reqwest::header::HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Http(String),
    #[error("{0}")]
    NoHost(String),
    #[error("TLS: {0}")]
    Untrusted(String),
    #[error("its answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("it did not answer within {} seconds", .0.as_secs_f32())]
    Slow(Duration),
}

impl Wire {
    /// `plain` where the address has no TLS.
    pub(super) fn new(plain: bool, loopback: bool, patience: S3Patience) -> Result<Self, MailboxError> {
        let unusable = |error: &dyn std::fmt::Display| {
            MailboxError::Unusable(format!("no connections can be made here: {error}"))
        };
        let mut client = Client::builder()
            .tls_backend_preconfigured(tls(plain).map_err(|error| unusable(&error))?)
            .https_only(!plain)
            .http1_only()
            // Whoever redirects would choose what else is asked from here.
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(patience.connect)
            .read_timeout(patience.idle)
            .pool_max_idle_per_host(2);
        if loopback {
            client = client.no_proxy();
        }
        Ok(Self { client: client.build().map_err(|error| unusable(&error))?, patience })
    }

    /// The answer, whatever it says, as soon as it is one that would not be another the next time.
    pub(super) async fn ask(&self, request: HttpRequest) -> Result<Answer, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let url: Url =
            parts.uri.to_string().parse().map_err(|_| {
                HttpError::new(HttpErrorKind::Decode, Trouble::Http("this is no address".into()))
            })?;
        let begun = Instant::now();
        let mut wait = self.patience.wait;
        for left in (0..self.patience.attempts.max(1)).rev() {
            let mut request = Request::new(parts.method.clone(), url.clone());
            *request.headers_mut() = parts.headers.clone();
            if !body.is_empty() || parts.method == Method::PUT {
                *request.body_mut() = Some(body.clone().into());
            }
            let answer = timeout(self.patience.whole, self.once(request)).await;
            let answer = answer.unwrap_or_else(|_| {
                Err(HttpError::new(HttpErrorKind::Timeout, Trouble::Slow(self.patience.whole)))
            });
            let again = match &answer {
                Ok(answer) => passes(&parts.method, answer.status),
                Err(error) => error.kind() != HttpErrorKind::Decode,
            };
            if !again || left == 0 || begun.elapsed() >= self.patience.whole {
                return answer;
            }
            // Not at the same moment as everybody else who was refused.
            sleep(wait / 2 + wait.mul_f64((random() % 1000) as f64 / 2000.0)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Err(HttpError::new(HttpErrorKind::Unknown, Trouble::Http("it was not asked".into())))
    }

    async fn once(&self, request: Request) -> Result<Answer, HttpError> {
        let mut response = self.client.execute(request).await.map_err(failed)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let most = if status.is_success() { MAX_ANSWER } else { MAX_ERROR };
            if body.len() + chunk.len() > most {
                if status.is_success() {
                    return Err(HttpError::new(HttpErrorKind::Decode, Trouble::TooLong));
                }
                body.extend_from_slice(chunk.get(..most - body.len()).unwrap_or_default());
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            body = code(&body).into_bytes();
        }
        Ok(Answer { status, headers, body })
    }
}

/// A number that nobody guesses, and that need not be secret.
pub(super) fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

// Whether it may be otherwise in a moment. A conflict is somebody else who is just putting the same.
fn passes(method: &Method, status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        || status == StatusCode::CONFLICT && method == Method::PUT
}

// `<Code>NoSuchBucket</Code>`, and nothing but a word.
fn code(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map(|(code, _)| code).unwrap_or_default();
    let word = (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if word { code.to_owned() } else { String::new() }
}

fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_builder() {
        HttpErrorKind::Decode
    } else {
        HttpErrorKind::Interrupted
    };
    // Its causes say more than it does, and it would say the address as well.
    let causes = || std::iter::successors(error.source(), |&cause| cause.source());
    let said = causes().last().map_or_else(|| error.to_string(), ToString::to_string);
    let trouble = if error.is_timeout() {
        Trouble::Http("it did not answer in time".into())
    } else if causes().any(|cause| cause.to_string() == NO_ADDRESS) {
        Trouble::NoHost(said)
    } else if causes().any(is_untrusted) {
        Trouble::Untrusted(said)
    } else {
        Trouble::Http(said)
    };
    HttpError::new(kind, trouble)
}

// Errors of TLS come inside those of the system.
fn is_untrusted(cause: &(dyn std::error::Error + 'static)) -> bool {
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let tls = match inner {
        Some(inner) => inner.downcast_ref::<rustls::Error>(),
        None => cause.downcast_ref::<rustls::Error>(),
    };
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

fn tls(plain: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    if plain {
        return Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    Ok(config.with_platform_verifier()?.with_no_client_auth())
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Wire {
    fn call<'w, 'f>(
        &'w self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        'w: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let Answer { status, headers, body } = self.ask(request).await?;
            let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
            let mut response = HttpResponse::new(HttpResponseBody::new(body));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_error_only_a_word_is_kept() {
        assert_eq!(code(b"<Error><Code>AccessDenied</Code><Message>x</Message></Error>"), "AccessDenied");
        let long = format!("<Code>{}</Code>", "a".repeat(65));
        for odd in ["", "<Code>", "<Code></Code>", "<Code>a b</Code>", "<Code>\u{1b}[31m</Code>", &long] {
            assert_eq!(code(odd.as_bytes()), "", "{odd:?}");
        }
    }
}
