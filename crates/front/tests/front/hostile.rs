//! Those who should have nothing: foreign pages, foreign names, no token; and those who want to cost much.

use std::time::Duration;

use driftless::{Database, Map};
use driftless_front::{Front, FrontError};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::client::{PATIENCE, Served};

#[tokio::test]
async fn foreign_pages_foreign_names_and_wrong_tokens_get_nothing() {
    let served = Served::new().await;
    let (at, token) = (served.at(), served.front.token().as_str().to_owned());
    let other = "a".repeat(52);
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let port = at.port();
    let mut cases = vec![
        (format!("host: {at}\r\norigin: https://evil.example\r\n"), token.clone(), 403, "wrong_origin"),
        (format!("host: {at}\r\norigin: null\r\n"), token.clone(), 403, "wrong_origin"),
        (format!("host: {at}\r\norigin: http://localhost:{port}\r\n"), token.clone(), 403, "wrong_origin"),
        (
            format!("host: {at}\r\norigin: http://{at}\r\norigin: https://evil.example\r\n"),
            token.clone(),
            403,
            "wrong_origin",
        ),
        (format!("host: evil.example:{port}\r\n"), token.clone(), 421, "wrong_host"),
        (
            format!("host: evil.example:{port}\r\norigin: http://evil.example:{port}\r\n"),
            token.clone(),
            421,
            "wrong_host",
        ),
        ("host: 127.0.0.1\r\n".to_owned(), token.clone(), 421, "wrong_host"),
        (String::new(), token.clone(), 421, "wrong_host"),
        (format!("host: {at}\r\nhost: {at}\r\n"), token.clone(), 421, "wrong_host"),
        (format!("host: {at}\r\n"), other.clone(), 401, "wrong_token"),
        (format!("host: {at}\r\n"), token[..51].to_owned(), 401, "wrong_token"),
        (format!("host: {at}\r\n"), format!("{token}a"), 401, "wrong_token"),
        (format!("host: {at}\r\n"), String::new(), 401, "wrong_token"),
    ];
    cases.push((format!("host: {at}\r\norigin: http://{at}\r\n"), other, 401, "wrong_token"));
    for (headers, token, status, code) in cases {
        for (request, shown) in [
            (
                "POST /api/1/hello HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n",
                format!("authorization: Bearer {token}\r\n"),
            ),
            (
                &format!("GET /api/1/ws HTTP/1.1\r\n{upgrade}"),
                format!("sec-websocket-protocol: driftless.1, bearer.{token}\r\n"),
            ),
        ] {
            let mut socket = TcpStream::connect(at).await.unwrap();
            socket.write_all(format!("{request}{headers}{shown}\r\n").as_bytes()).await.unwrap();
            let mut answer = vec![0; 4096];
            let length = timeout(PATIENCE, socket.read(&mut answer)).await.unwrap().unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}{shown}: {answer}");
            assert!(answer.contains(code) && !answer.to_lowercase().contains("access-control"), "{answer}");
        }
    }
    // A page cannot read the inspector either, and a token in the address or in a cookie is none.
    for head in [
        served.head("GET", "/") + "origin: https://evil.example\r\n\r\n",
        served.head("OPTIONS", "/api/1/hello")
            + "origin: https://evil.example\r\naccess-control-request-method: POST\r\n\r\n",
        served.head("POST", &format!("/api/1/hello?token={token}")) + "content-length: 0\r\n\r\n",
        served.head("POST", "/api/1/hello") + &format!("cookie: token={token}\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let answer = served.send(head.as_bytes()).await;
        assert!(matches!(answer.status, 401 | 403), "{head}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_page_of_an_origin_that_was_let_in_reads_answers() {
    let db = Database::memory().unwrap();
    let builder = Front::builder(&db).origin("https://app.example.org").host("db.example.org");
    let front = builder.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let served = Served { space: db.create_space("home").unwrap(), front };
    let origin = "origin: https://app.example.org\r\n";
    let asked = served.ask_with("hello", origin, b"").await;
    assert_eq!(asked.status, 200);
    assert!(asked.head.contains("access-control-allow-origin: https://app.example.org"), "{}", asked.head);
    let preflight = format!(
        "{}{origin}access-control-request-method: POST\r\n\r\n",
        served.head("OPTIONS", "/api/1/hello")
    );
    let preflight = served.send(preflight.as_bytes()).await;
    assert_eq!(preflight.status, 204);
    assert!(
        preflight.head.contains("access-control-allow-headers: authorization, content-type"),
        "{}",
        preflight.head
    );
    let proxied = format!(
        "POST /api/1/hello HTTP/1.1\r\nhost: db.example.org\r\norigin: https://db.example.org\r\nconnection: close\r\n{}content-length: 0\r\n\r\n",
        served.bearer()
    );
    assert_eq!(served.send(proxied.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn other_addresses_than_those_of_loopback_need_a_word_more() {
    let db = Database::memory().unwrap();
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(Front::builder(&db).listen(everywhere).await, Err(FrontError::NotLoopback(_))));
    let front = Front::builder(&db).insecure_http().listen(everywhere).await.unwrap();
    assert!(front.url().starts_with("http://127.0.0.1:"));
    assert!(matches!(
        Front::builder(&db).origin("null").listen(everywhere).await,
        Err(FrontError::Origin(_))
    ));
}

#[tokio::test]
async fn bodies_are_bounded_and_strange_ones_are_refused() {
    let served = Served::new().await;
    let head =
        |length: &str| format!("{}{}{length}\r\n\r\n", served.head("POST", "/api/1/insert"), served.bearer());
    // Said to be too large, without a byte of it; and too large without saying so.
    let said = served.send(head("content-length: 2097153").as_bytes()).await;
    assert_eq!((said.status, said.code()), (413, "too_large".to_owned()));
    let mut chunked = head("transfer-encoding: chunked").into_bytes();
    for _ in 0..40 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b' ', 0x10000));
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(served.send(&chunked).await.status, 413);
    let nested = format!(
        r#"{{"space": "home", "collection": "notes", "document": {{"a": {}1{}}}}}"#,
        "[".repeat(500_000),
        "]".repeat(500_000)
    );
    let deep = served.ask_with("insert", "", nested.as_bytes()).await;
    assert_eq!((deep.status, deep.code()), (400, "invalid_json".to_owned()));
    for (headers, body) in [
        ("", &b"\xff\xfe"[..]),
        ("", b"[1]"),
        ("content-type: application/cbor\r\n", &[0x81; 100_000]),
        ("content-type: application/cbor\r\n", &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        assert_eq!(served.ask_with("insert", headers, body).await.status, 400);
    }
    let long = format!("{}x-long: {}\r\n\r\n", served.head("GET", "/"), "a".repeat(40_000));
    assert!(matches!(served.send(long.as_bytes()).await.status, 400 | 431));
    assert_eq!(served.done("hello", json!({})).await["api"], 1);
}

#[tokio::test]
async fn messages_may_come_in_pieces_and_strange_ones_do_no_harm() {
    let served = Served::new().await;
    let mut client = served.socket().await;
    let text = br#"{"id": 1, "op": "hello"}"#;
    for (at, byte) in text.iter().enumerate() {
        let opcode = OpCode::Data(if at == 0 { Data::Text } else { Data::Continue });
        let header = FrameHeader { opcode, is_final: at + 1 == text.len(), ..FrameHeader::default() };
        client.socket.send(Message::Frame(Frame::from_payload(header, vec![*byte].into()))).await.unwrap();
        if at == 5 {
            client.socket.send(Message::Ping(Default::default())).await.unwrap();
        }
    }
    assert_eq!(client.of(1).await["ok"]["api"], 1);
    for strange in [
        "",
        "{}",
        "[]",
        "{\"id\": -1, \"op\": \"hello\"}",
        "{\"id\": 1}",
        &"[".repeat(1_000_000),
        "{\"id\": 1, \"op\": 1}",
        "{\"id\": 2, \"op\": \"hello\", \"args\": []}",
    ] {
        client.socket.send(Message::text(strange)).await.unwrap();
        let answer = client.hear(|message| message["id"].is_null() && !message["error"].is_null()).await;
        assert_eq!(answer["error"]["code"], "invalid_message", "{}", &strange[..strange.len().min(50)]);
    }
    client.socket.send(Message::text(r#"{"id": 3, "op": "nothing"}"#)).await.unwrap();
    assert_eq!(client.of(3).await["error"]["code"], "unknown_operation");

    // What is no text, and what is too large, ends the connection; others go on.
    for (last, code) in
        [(Message::binary(vec![1, 2, 3]), 1003), (Message::text("a".repeat(3 * 1024 * 1024)), 1009)]
    {
        let mut strange = served.socket().await;
        let _ = strange.socket.send(last).await;
        let end = timeout(PATIENCE, async {
            loop {
                match strange.socket.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => break Some(u16::from(frame.code)),
                    Some(Ok(_)) => {}
                    _ => break None,
                }
            }
        });
        // A front that stops reading may be gone before its reason arrives.
        assert!(matches!(end.await.unwrap(), None | Some(1003 | 1009)), "{code}");
    }
    let id = client.say("hello", json!({})).await;
    assert!(client.of(id).await["ok"].is_object());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_ten_thousand_connections_keeps_nobody_out() {
    let served = Served::new().await;
    let mut client = served.socket().await;
    client.done("hello", json!({})).await;
    // What this process may have open is less than 10,000: the newest hundreds stay open, as far as the front lets them.
    let mut open = std::collections::VecDeque::new();
    for n in 0..10_000 {
        let mut socket = TcpStream::connect(served.at()).await.unwrap();
        if n % 3 == 0 {
            let _ = socket.write_all(b"POST /api/1/hello HTTP/1.1\r\nhost: ").await;
        }
        open.push_back(socket);
        if open.len() > 300 {
            open.pop_front();
        }
        if n % 1000 == 0 {
            assert_eq!(served.done("hello", json!({})).await["api"], 1, "after {n}");
        }
    }
    assert_eq!(client.done("hello", json!({})).await["api"], 1, "who has shown the token stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_loses_the_stream_and_not_the_memory_of_others() {
    let db = Database::memory().unwrap();
    let builder = Front::builder(&db).slow(Duration::from_millis(200));
    let front = builder.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let served = Served { space: db.create_space("home").unwrap(), front };
    let notes = served.space.collection("notes").unwrap();
    // More than waits for one client, and than the system holds for a socket.
    let text = "x".repeat(500_000);
    for n in 0..40 {
        notes.insert(Map::from_json(&format!("{{\"n\": {n}, \"text\": \"{text}\"}}")).unwrap()).unwrap();
    }
    let mut slow = served.socket().await;
    let watch = slow.say("watch", json!({"space": "home", "collection": "notes"})).await;
    // The others are served meanwhile.
    let mut quick = served.socket().await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        quick.done("count", json!({"space": "home", "collection": "notes"})).await;
        quick.done("insert", json!({"space": "home", "collection": "other", "document": {}})).await;
    }
    // It reads again: what waited, why there is no more, and one signal for all that it missed.
    let mut events = 0;
    let code = loop {
        let message = slow.of(watch).await;
        if message["event"].is_null() {
            break message["error"]["code"].clone();
        }
        events += 1;
    };
    assert_eq!(code, "slow_reader");
    assert!(events < 40, "{events}");
    let again = slow.say("watch", json!({"space": "home", "collection": "notes"})).await;
    let mut all = 0;
    while slow.event(again).await["kind"] != "ready" {
        all += 1;
    }
    assert_eq!(all, 40);
}
