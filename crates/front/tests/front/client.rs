//! Clients of a front: one that speaks HTTP over a bare socket, one on the WebSocket.

use std::net::SocketAddr;
use std::time::Duration;

use driftless::{Database, Space};
use driftless_front::Front;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Nothing here takes that long, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Served {
    pub(crate) front: Front,
    pub(crate) space: Space,
}

/// An answer of HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Served {
    /// A front on a new database with the space `home`.
    pub(crate) async fn new() -> Self {
        let db = Database::memory().unwrap();
        let space = db.create_space("home").unwrap();
        let front = Front::builder(&db).listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { front, space }
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.front.address()
    }

    /// The head of a request that is fine so far, without the empty line at its end.
    pub(crate) fn head(&self, method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.at())
    }

    pub(crate) fn bearer(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.front.token().as_str())
    }

    /// Asks for an operation, as a program does.
    pub(crate) async fn ask(&self, operation: &str, arguments: Value) -> Answer {
        let body = arguments.to_string();
        self.ask_with(operation, "content-type: application/json\r\n", body.as_bytes()).await
    }

    pub(crate) async fn ask_with(&self, operation: &str, headers: &str, body: &[u8]) -> Answer {
        let head = self.head("POST", &format!("/api/1/{operation}"));
        let head = format!("{head}{}{headers}content-length: {}\r\n\r\n", self.bearer(), body.len());
        self.send(&[head.as_bytes(), body].concat()).await
    }

    /// The result of an operation that succeeds.
    pub(crate) async fn done(&self, operation: &str, arguments: Value) -> Value {
        let answer = self.ask(operation, arguments).await;
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// Sends bytes, and reads until the front closes.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.at()).await.unwrap();
        // Whoever is refused early may find the socket closed while it still writes.
        let _ = socket.write_all(bytes).await;
        let mut all = Vec::new();
        let _ = timeout(PATIENCE, socket.read_to_end(&mut all)).await.expect("an answer");
        read(&all)
    }

    pub(crate) async fn socket(&self) -> Client {
        Client::connect(self.at(), self.front.token().as_str()).await
    }
}

fn read(all: &[u8]) -> Answer {
    let end = all.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = all[end + 4..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    Answer { status, head, body }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|part| part == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
    body
}

/// A client on the WebSocket.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    next: u64,
    /// Messages that came while another was waited for.
    waiting: Vec<Value>,
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr, token: &str) -> Self {
        let mut request = format!("ws://{at}/api/1/ws").into_client_request().unwrap();
        let protocols = format!("driftless.1, bearer.{token}");
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        let tcp = TcpStream::connect(at).await.unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "driftless.1");
        Self { socket, next: 1, waiting: Vec::new() }
    }

    pub(crate) async fn say(&mut self, operation: &str, arguments: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        let message = json!({"id": id, "op": operation, "args": arguments});
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        id
    }

    /// The next message that fits; others are kept.
    pub(crate) async fn hear(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at);
        }
        loop {
            let message = timeout(PATIENCE, self.socket.next())
                .await
                .expect("a message")
                .expect("an open socket")
                .unwrap();
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if fits(&message) {
                return message;
            }
            self.waiting.push(message);
        }
    }

    /// What comes with this id next.
    pub(crate) async fn of(&mut self, id: u64) -> Value {
        self.hear(|message| message["id"] == id).await
    }

    pub(crate) async fn done(&mut self, operation: &str, arguments: Value) -> Value {
        let id = self.say(operation, arguments).await;
        let mut message = self.of(id).await;
        assert!(message["error"].is_null(), "{operation}: {message}");
        message["ok"].take()
    }

    pub(crate) async fn event(&mut self, id: u64) -> Value {
        let mut message = self.of(id).await;
        assert!(message["event"].is_object(), "{message}");
        message["event"].take()
    }
}
