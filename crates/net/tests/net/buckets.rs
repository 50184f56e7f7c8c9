//! Mailboxes in buckets: what every adapter does, over a real server of S3, and what a hostile one does to nobody.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use driftless_net::mailbox::{
    BucketAddress, BucketMailbox, Listing, Mailbox, MailboxError, ObjectName, Put, S3, S3Patience,
    conformance,
};
use object_store::memory::InMemory;

use crate::s3_server::{BUCKET, KEYS, Server};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn environment(name: &str) -> Option<String> {
    let known = KEYS.iter().chain(&[("AWS_ALLOW_HTTP", "true")]).find(|(known, _)| *known == name);
    known.map(|(_, value)| (*value).to_owned())
}

fn address(endpoint: &str, path: &str) -> BucketAddress {
    BucketAddress::read(&format!("{path}?endpoint={endpoint}")).unwrap()
}

fn place(endpoint: &str, path: &str) -> S3 {
    S3::of(&address(endpoint, path), &environment).unwrap()
}

fn bucket(server: &Server, prefix: &str) -> BucketMailbox {
    BucketMailbox::s3(place(&server.endpoint(), &format!("{BUCKET}{prefix}"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_is_a_mailbox() {
    for prefix in ["", "ann/notes"] {
        let mailbox = Arc::new(BucketMailbox::over(Arc::new(InMemory::new()), prefix).unwrap());
        assert_eq!(mailbox.probe().await, Ok(()));
        conformance::all(mailbox, "t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_s3_is_a_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), true);
    for prefix in ["", "/ann/notes"] {
        let mailbox = Arc::new(bucket(&server, prefix));
        assert_eq!(mailbox.probe().await, Ok(()));
        assert_eq!(mailbox.list("", "", 10).await.unwrap().objects, [], "the probe is gone");
        conformance::all(mailbox, "t").await;
    }
}

#[tokio::test]
async fn a_server_that_replaces_what_is_there_is_no_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), false);
    let refused = bucket(&server, "").probe().await;
    assert!(
        matches!(&refused, Err(MailboxError::Unusable(why)) if why.contains("If-None-Match")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn who_is_not_let_in_and_what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), true);
    let wrong = |name: &str| match name {
        "AWS_SECRET_ACCESS_KEY" => Some("another".to_owned()),
        name => environment(name),
    };
    let address = address(&server.endpoint(), BUCKET);
    let stranger = BucketMailbox::s3(S3::of(&address, &wrong).unwrap()).unwrap();
    for refused in [
        stranger.probe().await,
        stranger.list("", "", 1).await.map(drop),
        stranger.get(&name("a"), 0..10).await.map(drop),
    ] {
        assert!(matches!(refused, Err(MailboxError::Denied(_))), "{refused:?}");
    }
    let nowhere = BucketMailbox::s3(place(&server.endpoint(), "nowhere")).unwrap();
    for refused in [nowhere.probe().await, nowhere.list("", "", 1).await.map(drop)] {
        assert!(
            matches!(&refused, Err(MailboxError::Unusable(why)) if why.contains("no such bucket")),
            "{refused:?}"
        );
    }
    let endpoint = server.endpoint();
    drop(server);
    let gone = BucketMailbox::s3(place(&endpoint, BUCKET).with_patience(quick())).unwrap();
    let refused = gone.list("", "", 1).await;
    assert!(matches!(refused, Err(MailboxError::Unreachable(_))), "{refused:?}");
    let unknown = BucketMailbox::s3(place("http://nobody.invalid", BUCKET).with_patience(quick())).unwrap();
    for refused in [unknown.probe().await, unknown.list("", "", 1).await.map(drop)] {
        assert!(matches!(&refused, Err(MailboxError::NoHost(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_keys_beside_ours_are_counted_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), true);
    let mailbox = bucket(&server, "/box");
    for ours in ["s/w/1", "s/w/2"] {
        assert_eq!(mailbox.put_if_absent(&name(ours), b"ours".to_vec()).await, Ok(Put::Stored));
    }
    for odd in ["s/w/UPPER", "s/w/1 (copy)", "s/a&b", "s/<x>", "s/\u{fc}", "s/1/2/3/4/5", "0.txt"] {
        let path = folder.path().join(BUCKET).join("box").join(odd);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"odd").unwrap();
    }
    let listing = mailbox.list("", "", 100).await.unwrap();
    let found: Vec<_> = listing.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!((found, listing.more, listing.foreign), (vec!["s/w/1", "s/w/2"], false, 7));
    // One object a page, and the odd ones do not end it.
    let page = mailbox.list("s/", "s/w/1", 1).await.unwrap();
    assert_eq!(page.objects.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["s/w/2"]);
    assert_ne!(listing.objects[0].mark, 0);
}

/// A mailbox that waits for nothing long.
fn quick() -> S3Patience {
    let moment = Duration::from_millis(1);
    let a_while = Duration::from_millis(300);
    S3Patience { attempts: 3, wait: moment, connect: a_while, idle: a_while, whole: 2 * a_while }
}

/// A server that answers each request by what `answer` makes of its first line, until it is dropped.
struct Hostile {
    endpoint: String,
    asked: Arc<AtomicUsize>,
}

impl Hostile {
    fn start(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let counted = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (counted, answer) = (counted.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &counted, &*answer));
            }
        });
        Self { endpoint, asked }
    }

    fn mailbox(&self) -> BucketMailbox {
        BucketMailbox::s3(place(&self.endpoint, BUCKET).with_patience(quick())).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

// One request for each connection.
fn serve(mut stream: TcpStream, asked: &AtomicUsize, answer: &(dyn Fn(&str, &mut TcpStream) + Send + Sync)) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let head = String::from_utf8_lossy(&head).into_owned();
    answer(head.lines().next().unwrap_or_default(), &mut stream);
}

fn say(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    // Whoever has heard enough goes away.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    );
}

fn listed(keys: &str, next: &str) -> String {
    format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated>{keys}<NextContinuationToken>{next}</NextContinuationToken></ListBucketResult>"
    )
}

async fn list(server: &Hostile) -> Result<Listing, MailboxError> {
    server.mailbox().list("", "", 1000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_without_end_ends() {
    // Always the same page, with the same next one; pages of nothing; pages of what is no object.
    let again = listed("<Contents><Key>a</Key><Size>1</Size></Contents>", "x");
    let odd = listed(&"<Contents><Key>A B</Key><Size>1</Size></Contents>".repeat(1000), "x");
    for page in [again, listed("", "x"), odd] {
        let server = Hostile::start(move |_, stream| say(stream, "200 OK", "", &page));
        let refused = list(&server).await;
        assert!(
            matches!(&refused, Err(MailboxError::Unreachable(why)) if why.contains("without end")),
            "{refused:?}"
        );
        assert!(server.asked() <= 110, "{}", server.asked());
    }
    // A page that is far longer than any.
    let server = Hostile::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>");
        let key = "<Contents><Key>a</Key><Size>1</Size></Contents>".repeat(1000);
        while stream.write_all(key.as_bytes()).is_ok() {}
    });
    let refused = list(&server).await;
    assert!(matches!(&refused, Err(MailboxError::Unreachable(why)) if why.contains("longer")), "{refused:?}");
    assert_eq!(server.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_of_an_object_is_taken_than_was_asked_for() {
    // Bytes for ever, for whatever range.
    let server = Hostile::start(|_, stream| {
        let head = "HTTP/1.1 206 Partial\r\nlast-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\netag: \"x\"\r\ncontent-range: bytes 0-9/10\r\ncontent-length: 99999999999\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(&[7; 65_536]).is_ok() {}
    });
    let refused = server.mailbox().get(&name("a"), 0..10).await;
    assert!(matches!(&refused, Err(MailboxError::Unreachable(why)) if why.contains("longer")), "{refused:?}");
    // More than the range, but not that much.
    let server = Hostile::start(|_, stream| {
        let headers =
            "last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\netag: \"x\"\r\ncontent-range: bytes 0-9/10\r\n";
        say(stream, "206 Partial", headers, &"7".repeat(5000));
    });
    assert_eq!(server.mailbox().get(&name("a"), 0..10).await, Ok(Some(b"7777777777".to_vec())));
    // Another part than was asked for.
    let server = Hostile::start(|_, stream| {
        let headers = "last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\ncontent-range: bytes 90-99/100\r\n";
        say(stream, "206 Partial", headers, "7777777777");
    });
    assert!(server.mailbox().get(&name("a"), 0..10).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_given_up() {
    let server = Hostile::start(|_, stream| {
        // Until the other side goes away.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let refused = list(&server).await;
    assert!(matches!(refused, Err(MailboxError::Unreachable(_))), "{refused:?}");
    // A byte at a time is no answer either: the whole of it has its time.
    let server = Hostile::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        // Another byte whenever the other side has said nothing for a moment, until it goes away.
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while stream.read(&mut [0]).is_err() && stream.write_all(b" ").is_ok() {}
    });
    let refused = list(&server).await;
    assert!(
        matches!(&refused, Err(MailboxError::Unreachable(why)) if why.contains("did not answer")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_asked_again_and_what_does_not_is_not() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let server = Hostile::start(move |_, stream| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => say(stream, "503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>"),
        // Cut off in the middle.
        1 => drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n<List")),
        _ => say(stream, "200 OK", "", "<ListBucketResult><Name>b</Name></ListBucketResult>"),
    });
    assert_eq!(list(&server).await, Ok(Listing::default()));
    assert_eq!(server.asked(), 3);
    for (status, asked) in [("500 Oh", 3), ("400 No", 1), ("301 Elsewhere", 1), ("501 Never", 1)] {
        let server = Hostile::start(move |_, stream| {
            say(stream, status, "location: http://127.0.0.1:1/\r\n", "<Code>Because</Code>");
        });
        let refused = list(&server).await;
        assert!(
            matches!(&refused, Err(MailboxError::Unreachable(why)) if why.contains(&status[..3])),
            "{refused:?}"
        );
        assert_eq!(server.asked(), asked, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_of_an_error_is_not_repeated() {
    // It shows what it was sent, and more.
    let server = Hostile::start(|head, stream| {
        let body =
            format!("<Error><Code>No {head}\u{1b}[31m</Code>{}{}</Error>", KEYS[1].1, "x".repeat(100_000));
        say(stream, "403 Forbidden", "", &body);
    });
    let mailbox = server.mailbox();
    for refused in [
        mailbox.list("", "", 1).await.map(drop),
        mailbox.get(&name("a"), 0..10).await.map(drop),
        mailbox.put_if_absent(&name("a"), b"a".to_vec()).await.map(drop),
        mailbox.delete(&name("a")).await,
    ] {
        let told = match refused {
            Err(MailboxError::Denied(told)) => told,
            other => panic!("{other:?}"),
        };
        assert!(told.len() < 300 && !told.contains(KEYS[1].1) && !told.contains('\u{1b}'), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_there_and_is_not_is_an_error_in_the_end() {
    let server = Hostile::start(|head, stream| {
        let status = if head.starts_with("PUT") { "412 Precondition Failed" } else { "404 Not Found" };
        say(stream, status, "", "");
    });
    let refused = server.mailbox().put_if_absent(&name("a"), b"a".to_vec()).await;
    assert!(
        matches!(&refused, Err(MailboxError::Unreachable(why)) if why.contains("does not have it")),
        "{refused:?}"
    );
    // Three times both questions; a connection that ends too early for us is tried again.
    assert!(server.asked() <= 20, "{}", server.asked());
}
