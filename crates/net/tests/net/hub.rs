//! A mailbox over HTTP: the adapter is one like any other; a hub that clients harm, and a hub that harms clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftless_net::mailbox::{
    Access, FolderMailbox, HttpMailbox, Hub, HubLimits, HubOptions, MAX_OBJECT, Mailbox, MailboxError,
    MemoryMailbox, ObjectName, Put, conformance,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Nothing here takes that long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

async fn hub(place: impl Mailbox + 'static, options: HubOptions) -> Hub {
    Hub::serve(Arc::new(place), "127.0.0.1:0".parse().unwrap(), options).await.unwrap()
}

fn limited(limits: HubLimits) -> HubOptions {
    HubOptions { limits, ..HubOptions::default() }
}

fn client_at(at: SocketAddr, token: Option<&str>) -> HttpMailbox {
    let access = Access { token: token.map(str::to_owned), ..Access::default() };
    HttpMailbox::new(format!("http://{at}").parse().unwrap(), &access).unwrap()
}

fn client(hub: &Hub) -> HttpMailbox {
    client_at(hub.address(), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_is_a_mailbox() {
    let hub = hub(MemoryMailbox::new(), HubOptions::default()).await;
    conformance::all(Arc::new(client(&hub)), "t").await;
    // And whoever asks anew finds the same.
    assert_eq!(client(&hub).get(&name("t-b/1"), 0..100).await, Ok(Some(b"first".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_over_a_folder_is_a_mailbox_and_one_with_a_token_for_those_who_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = FolderMailbox::open(folder.path()).unwrap();
    let options = HubOptions { token: Some("secret".into()), ..HubOptions::default() };
    let hub = hub(place.clone(), options).await;
    conformance::all(Arc::new(client_at(hub.address(), Some("secret"))), "t").await;
    assert_eq!(place.list("", "", 1000).await.unwrap().foreign, 0);

    let (at, refused) = (name("t-b/1"), hub.numbers().refused);
    for token in [None, Some("other"), Some("secret2"), Some("")] {
        let stranger = client_at(hub.address(), token);
        let denied = |result: Result<(), MailboxError>| {
            assert!(matches!(result, Err(MailboxError::Denied(_))), "{token:?}: {result:?}");
        };
        denied(stranger.put_if_absent(&name("new"), b"x".to_vec()).await.map(drop));
        denied(stranger.list("", "", 9).await.map(drop));
        denied(stranger.get(&at, 0..9).await.map(drop));
        denied(stranger.delete(&at).await);
        denied(stranger.watch("", None).await.map(drop));
    }
    assert_eq!(hub.numbers().refused, refused + 20);
}

#[tokio::test]
async fn a_hub_that_is_started_again_has_what_it_had_and_counts_it() {
    let place = MemoryMailbox::new();
    let limits = HubLimits { objects: 3, prefix_objects: 2, ..HubLimits::default() };
    let first = hub(place.clone(), limited(limits)).await;
    let full = |result: Result<Put, MailboxError>| matches!(result, Err(MailboxError::Full(_)));
    let mailbox = client(&first);
    for at in ["s/a/1", "s/a/2", "s/b/1"] {
        assert_eq!(mailbox.put_if_absent(&name(at), b"x".to_vec()).await, Ok(Put::Stored));
    }
    assert!(full(mailbox.put_if_absent(&name("s/b/2"), b"x".to_vec()).await), "in all");
    let at = first.address();
    first.close().await;
    assert!(matches!(mailbox.list("", "", 9).await, Err(MailboxError::Unreachable(_))));

    let again = Hub::serve(Arc::new(place.clone()), at, limited(limits)).await.unwrap();
    // The same client goes on.
    assert_eq!(mailbox.list("", "", 9).await.unwrap().objects.len(), 3);
    assert!(full(mailbox.put_if_absent(&name("s/b/2"), b"x".to_vec()).await));
    mailbox.delete(&name("s/b/1")).await.unwrap();
    let refused = mailbox.put_if_absent(&name("s/a/3"), b"x".to_vec()).await;
    assert_eq!(refused, Err(MailboxError::Full("this device has put as much there as it may".into())));
    assert_eq!(mailbox.put_if_absent(&name("s/b/2"), b"x".to_vec()).await, Ok(Put::Stored));
    let numbers = again.numbers();
    assert_eq!((numbers.objects, numbers.bytes, numbers.put, numbers.refused), (3, 3, 1, 2));
}

#[tokio::test]
async fn bytes_count_as_well_and_what_was_refused_takes_no_room() {
    let limits = HubLimits { bytes: 100, prefix_bytes: 60, ..HubLimits::default() };
    let hub = hub(MemoryMailbox::new(), limited(limits)).await;
    let mailbox = client(&hub);
    let put = |at: &str, bytes: usize| {
        let (mailbox, at) = (mailbox.clone(), name(at));
        async move { mailbox.put_if_absent(&at, vec![0; bytes]).await }
    };
    assert!(matches!(put("s/a/1", 61).await, Err(MailboxError::Full(_))));
    assert_eq!(put("s/a/1", 60).await, Ok(Put::Stored));
    assert!(matches!(put("s/a/2", 1).await, Err(MailboxError::Full(_))));
    assert!(matches!(put("s/b/1", 41).await, Err(MailboxError::Full(_))));
    assert_eq!(put("s/b/1", 40).await, Ok(Put::Stored));
    // Also of the largest, which is on its way while the answer is known already.
    assert!(matches!(put("s/c/1", MAX_OBJECT).await, Err(MailboxError::Full(_))));
    assert_eq!((hub.numbers().objects, hub.numbers().bytes), (2, 100));
}

#[tokio::test]
async fn only_what_its_check_admits_is_stored_and_that_is_never_deleted() {
    let place = MemoryMailbox::new();
    let admit = Arc::new(|name: &ObjectName, bytes: &[u8]| name.as_str().as_bytes() == bytes);
    let hub = hub(place.clone(), HubOptions { admit: Some(admit), ..HubOptions::default() }).await;
    let mailbox = client(&hub);
    let denied = |result: Result<(), MailboxError>| matches!(result, Err(MailboxError::Denied(_)));
    assert!(denied(mailbox.put_if_absent(&name("s/a/1"), b"s/a/2".to_vec()).await.map(drop)));
    assert_eq!(mailbox.put_if_absent(&name("s/a/1"), b"s/a/1".to_vec()).await, Ok(Put::Stored));
    assert!(denied(mailbox.delete(&name("s/a/1")).await));
    // One that was damaged behind the hub makes room for the whole one.
    place.replace(&name("s/a/1"), Some(b"damage".to_vec()));
    assert_eq!(mailbox.put_if_absent(&name("s/a/1"), b"s/a/1".to_vec()).await, Ok(Put::Exists));
    assert_eq!(mailbox.delete(&name("s/a/1")).await, Ok(()));
    assert_eq!(mailbox.put_if_absent(&name("s/a/1"), b"s/a/1".to_vec()).await, Ok(Put::Stored));
    assert_eq!(place.names().len(), 1);
}

#[tokio::test]
async fn who_waits_hears_of_a_put_in_its_space_at_once_and_of_none_elsewhere() {
    let hub = hub(MemoryMailbox::new(), HubOptions::default()).await;
    let (reader, writer) = (client(&hub), client(&hub));
    let seen = reader.watch("s", None).await.unwrap().unwrap();
    writer.put_if_absent(&name("t/w/1"), b"x".to_vec()).await.unwrap();
    assert_eq!(reader.watch("s", None).await, Ok(Some(seen)));
    let waiting = tokio::spawn({
        let reader = reader.clone();
        async move { reader.watch("s", Some(seen)).await }
    });
    while hub.numbers().waiting == 0 {
        tokio::task::yield_now().await;
    }
    writer.put_if_absent(&name("s/w/1"), b"x".to_vec()).await.unwrap();
    let heard = timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap().unwrap().unwrap();
    assert_ne!(heard, seen);
    // What happened before one asks is heard at once.
    assert_eq!(reader.watch("s/w/", Some(seen)).await, Ok(Some(heard)));
    // A place that cannot tell says so.
    assert_eq!(MemoryMailbox::new().watch("s", Some(7)).await, Ok(None));
}

#[tokio::test]
async fn ten_thousand_names_come_in_pages_whatever_is_asked_for() {
    let place = MemoryMailbox::new();
    for number in 0..10_000 {
        place.replace(&name(&format!("s/w/{number:05}")), Some(vec![0; 3]));
    }
    let hub = hub(place, HubOptions::default()).await;
    let mailbox = client(&hub);
    let (mut found, mut after, mut pages) = (0, String::new(), 0);
    loop {
        let page = mailbox.list("s/", &after, usize::MAX).await.unwrap();
        assert!(page.objects.len() <= 1000);
        (found, pages) = (found + page.objects.len(), pages + 1);
        after = page.objects.last().unwrap().name.to_string();
        if !page.more {
            break;
        }
    }
    assert_eq!((found, pages, after.as_str()), (10_000, 10, "s/w/09999"));
    let raw = ask(hub.address(), "GET /mailbox/1?prefix=&after=&limit=99999999 HTTP/1.1\r\n", b"").await;
    assert_eq!(raw.lines().filter(|line| line.starts_with("s/w/")).count(), 1000);
}

// What a socket of somebody who writes whatever it likes gets, until it is closed.
async fn ask(at: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(at).await.unwrap();
    let head = format!("{head}host: h\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    // It may be answered before all of it is sent.
    let _ = socket.write_all(body).await;
    rest(&mut socket).await
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("it is closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_before_anything_is_done() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let place = FolderMailbox::open(folder.path().join("box")).unwrap();
    let hub = hub(place, HubOptions::default()).await;
    let at = hub.address();
    let up = format!("GET /mailbox/1/../../..{}/secret HTTP/1.1\r\n", outside.path().display());
    let put = "PUT /mailbox/1/a/b HTTP/1.1\r\ncontent-length: 1\r\n";
    let large = "PUT /mailbox/1/a HTTP/1.1\r\nif-none-match: *\r\ncontent-length: 8388609\r\n";
    for (head, wanted) in [
        (up.as_str(), 400),
        ("GET /mailbox/1/..%2f..%2fsecret HTTP/1.1\r\n", 400),
        ("GET /mailbox/1/%2e%2e/secret HTTP/1.1\r\n", 400),
        ("GET /mailbox/1//etc/passwd HTTP/1.1\r\n", 400),
        ("GET /mailbox/1/UPPER HTTP/1.1\r\n", 400),
        ("GET /mailbox/1/a/b/c/d/e HTTP/1.1\r\n", 400),
        ("GET /etc/passwd HTTP/1.1\r\n", 404),
        ("GET /mailbox/2?prefix=&after=&limit=1 HTTP/1.1\r\n", 404),
        // Compared with names, and opened by nobody.
        ("GET /mailbox/1?prefix=../&after=&limit=1 HTTP/1.1\r\n", 200),
        ("GET /mailbox/1?prefix=%2e&after=&limit=1 HTTP/1.1\r\n", 400),
        ("GET /mailbox/1?prefix=&after=&limit=-1 HTTP/1.1\r\n", 400),
        ("GET /mailbox/1?watch=s&seen=x HTTP/1.1\r\n", 400),
        ("GET /mailbox/1 HTTP/1.1\r\n", 400),
        ("POST /mailbox/1/a HTTP/1.1\r\ncontent-length: 0\r\n", 405),
        ("GET /mailbox/1/a HTTP/1.1\r\nrange: bytes=5-2\r\n", 400),
        ("GET /mailbox/1/a HTTP/1.1\r\nrange: bytes=0-1,3-4\r\n", 400),
        ("GET /mailbox/1?prefix=&after=&limit=1 HTTP/1.1\r\norigin: https://example.org\r\n", 403),
        (put, 428),
        (large, 413),
        ("GET /mailbox HTTP/1.1\r\n", 200),
    ] {
        let answer = ask(at, head, b"").await;
        assert_eq!(status(&answer), wanted, "{head:?}: {answer}");
        assert!(!answer.contains("secret"));
    }
    // More than fits, without having said so.
    let chunked = "PUT /mailbox/1/a HTTP/1.1\r\nif-none-match: *\r\ntransfer-encoding: chunked\r\n";
    let piece = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![7; 1 << 20], b"\r\n".to_vec()].concat();
    let answer = ask(at, chunked, &piece.repeat(9)).await;
    assert!(matches!(status(&answer), 413 | 0), "{answer}");
    // What ended early is not stored.
    let cut = "PUT /mailbox/1/a HTTP/1.1\r\nif-none-match: *\r\ncontent-length: 100\r\nhost: h\r\n\r\nhalf";
    let mut socket = TcpStream::connect(at).await.unwrap();
    socket.write_all(cut.as_bytes()).await.unwrap();
    drop(socket);
    assert_eq!(client(&hub).list("", "", 9).await.unwrap().objects, []);
    let left = std::fs::read_dir(folder.path().join("box")).unwrap().count();
    assert_eq!((left, hub.numbers().objects), (0, 0));
}

#[tokio::test]
async fn who_sends_or_takes_slowly_is_cut_and_gives_its_place_back() {
    let limits = HubLimits {
        bodies: 2,
        request: Duration::from_millis(700),
        header: Duration::from_millis(700),
        ..HubLimits::default()
    };
    let place = MemoryMailbox::new();
    place.replace(&name("large"), Some(vec![7; MAX_OBJECT]));
    let hub = hub(place, limited(limits)).await;
    let mut slow = Vec::new();
    for head in [
        "PUT /mailbox/1/a HTTP/1.1\r\nhost: h\r\nif-none-match: *\r\ncontent-length: 9\r\n\r\nx",
        // Takes no byte of what it asked for.
        "GET /mailbox/1/large HTTP/1.1\r\nhost: h\r\n\r\n",
        "GET /mailbox/1/large HTTP/1.1\r\nhost:",
        "",
    ] {
        let mut socket = TcpStream::connect(hub.address()).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    // Somebody else is served meanwhile or after, in any case.
    let mailbox = client(&hub);
    assert_eq!(mailbox.put_if_absent(&name("b"), b"x".to_vec()).await, Ok(Put::Stored));
    for mut socket in slow {
        let got = rest(&mut socket).await;
        assert!(got.len() < MAX_OBJECT, "all of it came");
    }
    assert_eq!(
        mailbox.get(&name("large"), 0..u64::MAX).await.unwrap().map(|got| got.len()),
        Some(MAX_OBJECT)
    );
    assert_eq!(mailbox.get(&name("a"), 0..9).await, Ok(None));
}

// A hub that answers each request with these bytes, whatever was asked, and then more and more of the last ones.
async fn liar(answer: Vec<u8>, more: Vec<u8>) -> HttpMailbox {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (answer, more) = (answer.clone(), more.clone());
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = socket.read(&mut head).await;
                let _ = socket.write_all(&answer).await;
                while !more.is_empty() && socket.write_all(&more).await.is_ok() {}
            });
        }
    });
    client_at(at, None)
}

fn page(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

#[tokio::test]
async fn a_hub_that_answers_something_else_is_not_believed() {
    let unusable = |result: Result<(), MailboxError>| matches!(result, Err(MailboxError::Unusable(_)));
    for wrong in [
        "",
        "x",
        "1 0\n",
        "0 0\nt/1 1 1\n",
        "0 0\ns/2 1 1\ns/1 1 1\n",
        "0 0\ns/1 1 1\ns/1 1 1\n",
        "0 0\ns/../etc 1 1\n",
        "0 0\ns/a -1 0\n",
        "0 0\ns/a 1\n",
        "0 0\ns/1 1 1\ns/2 1 1\ns/3 1 1\n",
    ] {
        let mailbox = liar(page(wrong), Vec::new()).await;
        let listed = mailbox.list("s/", "s/0", 2).await;
        assert!(unusable(listed.clone().map(drop)), "{wrong:?}: {listed:?}");
    }
    let mailbox = liar(page("seven"), Vec::new()).await;
    assert!(unusable(mailbox.watch("s", None).await.map(drop)));
    assert!(unusable(mailbox.get(&name("a"), 3..9).await.map(drop)), "the whole where a part was asked for");
    assert!(unusable(mailbox.get(&name("a"), 0..3).await.map(drop)), "more than was asked for");
    // Status 200 where 201 says that it is stored.
    assert!(mailbox.put_if_absent(&name("a"), b"x".to_vec()).await.is_err());

    for (head, kind) in [
        ("302 Found\r\nlocation: http://127.0.0.1:1/", "Unusable"),
        ("404 Not Found", "Unusable"),
        ("418 Teapot", "Unusable"),
        ("500 Oh", "Unreachable"),
        ("503 Busy", "Unreachable"),
        ("507 Full", "Full"),
        ("401 Who", "Denied"),
        ("403 No", "Denied"),
    ] {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").into_bytes();
        let mailbox = liar(answer, Vec::new()).await;
        let error = mailbox.list("s/", "", 9).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{head}: {error:?}");
    }
    for garbage in [&b"SSH-2.0-OpenSSH\r\n\r\n"[..], b"HTTP/9.9 200 OK\r\n\r\n", b""] {
        let mailbox = liar(garbage.to_vec(), Vec::new()).await;
        assert!(mailbox.list("s/", "", 9).await.is_err());
    }
}

#[tokio::test]
async fn a_hub_that_never_ends_is_left() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let piece = [&b"1000\r\n"[..], &[b'a'; 4096], b"\r\n"].concat();
    for (answer, more) in [
        (chunked.clone(), piece.clone()),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec(), vec![b'a'; 4096]),
        (b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 4096]),
        (b"HTTP/1.1 507 Full\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), piece.clone()),
    ] {
        let mailbox = liar(answer.clone(), more.clone()).await;
        let all = async {
            assert!(mailbox.list("s/", "", 9).await.is_err());
            assert!(mailbox.get(&name("a"), 0..1000).await.is_err());
            assert!(mailbox.watch("s", Some(1)).await.is_err());
            assert!(mailbox.delete(&name("a")).await.is_err());
            assert!(mailbox.put_if_absent(&name("a"), vec![0; 9]).await.is_err());
        };
        timeout(PATIENCE, all).await.expect("each ends");
    }
}

// While nothing else happens the clock goes on by itself: what takes two minutes takes no time.
#[tokio::test(start_paused = true)]
async fn a_hub_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mailbox = client_at(listener.local_addr().unwrap(), None);
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            kept.push(socket);
        }
    });
    assert!(matches!(mailbox.list("s/", "", 9).await, Err(MailboxError::Unreachable(_))));
    assert!(matches!(mailbox.watch("s", Some(1)).await, Err(MailboxError::Unreachable(_))));
    silent.abort();
}
