//! Requests of HTTP: who asks is looked at first, then what; pages, operations, and the way to the WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::arguments::Arguments;
use crate::assets;
use crate::caller::{Callers, Page};
use crate::cbor;
use crate::crowd::Place;
use crate::desk::Desk;
use crate::limits::{BODY, MAX_MESSAGE};
use crate::numbers::tame;
use crate::openapi;
use crate::operation::Operation;
use crate::pages::Pages;
use crate::refusal::Refusal;
use crate::socket;
use crate::token::Token;

const CBOR: &str = "application/cbor";
const PROTOCOL: &str = "driftless.1";
const BEARER: &str = "bearer.";
/// Where somebody's own pages are.
pub(crate) const PAGES: &str = "/pages/";

/// What all requests go through.
pub(crate) struct Door {
    pub(crate) desk: Arc<Desk>,
    pub(crate) token: Token,
    pub(crate) callers: Callers,
    pub(crate) pages: Option<Pages>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Door {
    /// Answers a request that came to the socket at `local`.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        local: SocketAddr,
        place: Arc<Place>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let page = self.callers.check(&parts.headers, local);
        let theirs = parts.uri.path().starts_with(PAGES);
        let mut response = match &page {
            Ok(page) => match self.serve(parts, body, page, place).await {
                Ok(response) => response,
                Err((refusal, as_cbor)) => refused(&refusal, as_cbor),
            },
            Err(refusal) => refused(refusal, false),
        };
        let foreign = match &page {
            Ok(Page::Foreign(origin)) => Some(origin),
            _ => None,
        };
        assets::harden(response.headers_mut(), foreign.is_some(), !theirs);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = foreign.and_then(|origin| HeaderValue::from_str(origin).ok()) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        response
    }

    async fn serve(
        self: &Arc<Self>,
        mut parts: Parts,
        body: Incoming,
        page: &Page,
        place: Arc<Place>,
    ) -> Result<Response<Body>, (Refusal, bool)> {
        let as_cbor = names_cbor(&parts.headers, header::ACCEPT.as_str());
        let refuse = |refusal: Refusal| (refusal, as_cbor);
        let path = parts.uri.path().to_owned();
        match (&parts.method, path.strip_prefix("/api/")) {
            (&Method::OPTIONS, _) if *page != Page::Own => Ok(preflight()),
            (&Method::GET | &Method::HEAD, None) => {
                let headers = &parts.headers;
                let response = match path.as_str() {
                    "/openapi.json" => {
                        let text = openapi::document().to_string();
                        Some(assets::file(
                            "application/json",
                            Body::from(text.clone()),
                            text.as_bytes(),
                            headers,
                        ))
                    }
                    "/docs" => {
                        let text = openapi::page();
                        Some(assets::file(
                            "text/html; charset=utf-8",
                            Body::from(text.clone()),
                            text.as_bytes(),
                            headers,
                        ))
                    }
                    path => match path.strip_prefix(PAGES) {
                        Some(rest) => self.page(rest, headers).await,
                        None => assets::get(path, headers),
                    },
                };
                response.ok_or_else(|| refuse(nothing_there()))
            }
            (_, None) => Err(refuse(nothing_there())),
            (method, Some(rest)) => {
                let shown =
                    if rest == "1/ws" { shown_to_socket(&parts.headers) } else { shown(&parts.headers) };
                if !shown.is_some_and(|shown| self.token.is(shown.as_bytes())) {
                    let hint =
                        "open the address that `driftless serve --ui` prints, with what follows the `#`";
                    return Err(refuse(Refusal::new(
                        401,
                        "wrong_token",
                        "the token is missing or not right",
                        hint,
                    )));
                }
                place.stay();
                match (method, rest.strip_prefix("1/")) {
                    (&Method::GET, Some("ws")) => self.upgrade(&mut parts, place).await.map_err(refuse),
                    (&Method::POST, Some(name)) => {
                        let arguments = arguments(&parts.headers, body).await.map_err(refuse)?;
                        let operation = Operation::find(name, &arguments).map_err(refuse)?;
                        let answer = self.desk.answer(operation, arguments).await.map_err(refuse)?;
                        Ok(answered(200, answer, as_cbor))
                    }
                    (_, Some(_)) => Err(refuse(Refusal::new(
                        405,
                        "wrong_method",
                        "operations are asked for with POST",
                        "/docs lists them",
                    ))),
                    (_, None) => Err(refuse(Refusal::new(
                        404,
                        "unknown_operation",
                        "the operations of this version are under /api/1",
                        "/docs lists them",
                    ))),
                }
            }
        }
    }

    /// A file of somebody's own pages.
    async fn page(&self, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        let (pages, path) = (self.pages.clone()?, path.to_owned());
        let (kind, content) = tokio::task::spawn_blocking(move || pages.find(&path)).await.ok()??;
        Some(assets::file(kind, Body::from(content.clone()), &content, headers))
    }

    async fn upgrade(
        self: &Arc<Self>,
        parts: &mut Parts,
        place: Arc<Place>,
    ) -> Result<Response<Body>, Refusal> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
        let upgrade = upgrade.map_err(|error| {
            Refusal::new(
                400,
                "needs_websocket",
                error,
                "connect with `new WebSocket(url, [\"driftless.1\", \"bearer.TOKEN\"])`",
            )
        })?;
        let (desk, mut stop) = (self.desk.clone(), self.stop.clone());
        Ok(upgrade
            .protocols([PROTOCOL])
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            // So much waits in the socket itself; the rest is bounded by the outbox.
            .write_buffer_size(0)
            .max_write_buffer_size(usize::MAX)
            .on_upgrade(async move |socket| {
                let stop = async move {
                    // A front that is gone stops as well.
                    let _ = stop.wait_for(|stop| *stop).await;
                };
                socket::serve(socket, desk, stop).await;
                drop(place);
            }))
    }
}

// What a program or a page shows.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

// A browser lets a page choose nothing of a WebSocket but its subprotocols.
fn shown_to_socket(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let words: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let token = words.iter().find_map(|word| word.strip_prefix(BEARER));
    token.filter(|_| words.contains(&PROTOCOL))
}

async fn arguments(headers: &HeaderMap, body: Incoming) -> Result<Arguments, Refusal> {
    let too_large = || {
        let message = format!("a request has at most {} MiB", MAX_MESSAGE >> 20);
        Refusal::too_large(message, "a document has at most 1 MiB; write several one after the other")
    };
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_MESSAGE as u64) {
        return Err(too_large());
    }
    let broken = |why: &str| Refusal::new(400, "invalid_message", format!("the body {why}"), "send it again");
    let collected = timeout(BODY, Limited::new(body, MAX_MESSAGE).collect()).await;
    let bytes = match collected.map_err(|_| broken("took too long"))? {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(_) => return Err(broken("ended early")),
    };
    if names_cbor(headers, header::CONTENT_TYPE.as_str()) && !bytes.is_empty() {
        return Arguments::parse(&cbor::to_json(&bytes)?);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Refusal::new(400, "invalid_json", "the body is not UTF-8", "send JSON, or CBOR with its content type")
    })?;
    Arguments::parse(text)
}

fn names_cbor(headers: &HeaderMap, name: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ';'])).any(|value| value.trim().eq_ignore_ascii_case(CBOR))
}

fn answered(status: u16, mut answer: Value, as_cbor: bool) -> Response<Body> {
    let (kind, body) = if as_cbor {
        (CBOR, Body::from(cbor::encode(&answer)))
    } else {
        tame(&mut answer);
        ("application/json", Body::from(answer.to_string()))
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Nothing of a database stays in a cache.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refused(refusal: &Refusal, as_cbor: bool) -> Response<Body> {
    let mut response = answered(refusal.status, json!({"error": refusal.to_json()}), as_cbor);
    if refusal.status == 401 {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn nothing_there() -> Refusal {
    Refusal::new(
        404,
        "not_found",
        "there is nothing at this path",
        "`/` is the inspector, `/docs` says what else there is",
    )
}

// A browser asks before a page of another origin may.
fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization, content-type"),
        ("access-control-allow-private-network", "true"),
        ("access-control-max-age", "600"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
