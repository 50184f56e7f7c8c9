//! `serve --mailbox`: devices that are never on together exchange through a hub, whichever of them is killed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::sandbox::{Ran, Running, Sandbox};

const ROWS: u64 = 6_000;

// A hub of its own, which is no member of anything; gives its first line.
fn hub(sandbox: &Sandbox, at: &str, more: &[&str]) -> (Running, Value) {
    let words = ["--dir", "hub", "serve", "--http", "127.0.0.1:0", "--json", "--mailbox", "box"];
    let hub = sandbox.start(&[&words[..], &["--mailbox-http", at], more].concat());
    let line = hub.stdout.json();
    (hub, line)
}

fn url(line: &Value) -> String {
    line["mailbox"].as_str().unwrap().to_owned()
}

#[test]
fn two_devices_exchange_through_a_hub_that_is_killed_and_so_are_they() {
    let sandbox = Sandbox::new();
    sandbox.fill(ROWS);
    sandbox.ok(&["--dir", "hub", "init"]);
    sandbox.ok(&["--dir", "other", "init"]);
    let (mut serve, line) = hub(&sandbox, "127.0.0.1:0", &[]);
    let url = url(&line);
    let at = url.trim_start_matches("http://").trim_end_matches("/mailbox").to_owned();
    let id = sandbox.space();
    sandbox.ok(&["mailbox", "add", "world", &url]);
    sandbox.other(&["mailbox", "add", &id, &url]);

    // The device is killed while it sends, then the hub is.
    let mut sync = sandbox.start(&["mailbox", "sync", "-v"]);
    sync.stderr.until("sent");
    sync.kill();
    let mut sync = sandbox.start(&["mailbox", "sync", "-v"]);
    sync.stderr.until("sent");
    serve.kill();
    let ended = sync.wait().code();
    // It had everything there already, or could not go on.
    assert!(matches!(ended, Some(0 | 6)), "{ended:?}");
    let (message, hint) = sandbox.fails(6, "mailbox_unreachable", &["mailbox", "sync"]);
    assert!(message.starts_with(&url) && hint.contains("serve --mailbox"), "{message}; {hint}");
    (serve, _) = hub(&sandbox, &at, &[]);
    sandbox.ok(&["mailbox", "sync"]);

    // The same while the other one receives.
    let mut sync = sandbox.start(&["--dir", "other", "mailbox", "sync", "-v"]);
    sync.stderr.until("received");
    sync.kill();
    let mut sync = sandbox.start(&["--dir", "other", "mailbox", "sync", "-v"]);
    sync.stderr.until("received");
    serve.kill();
    assert!(matches!(sync.wait().code(), Some(0 | 6)));
    (serve, _) = hub(&sandbox, &at, &[]);
    sandbox.other(&["mailbox", "sync"]);

    assert_eq!(sandbox.json(&["digest", "world"]), sandbox.other(&["digest", &id]));
    assert_eq!(sandbox.other(&["count", &id, "numbers"])["count"], ROWS);
    for words in [&["mailbox", "sync"][..], &["--dir", "other", "mailbox", "sync"]] {
        let idle = sandbox.json(words);
        assert_eq!((&idle["sent"], &idle["received"], &idle["alarms"]), (&json!(0), &json!(0), &json!([])));
    }
    assert!(sandbox.objects(&id) >= 3);
    assert_eq!(sandbox.json(&["fsck"])["ok"], true);
    #[cfg(unix)]
    assert_eq!(serve.interrupt().code(), Some(0));
    drop(serve);
}

#[test]
fn a_hub_wakes_who_watches_asks_for_its_token_and_says_how_it_goes() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["--dir", "hub", "init"]);
    sandbox.ok(&["--dir", "other", "init"]);
    let options = ["--mailbox-token-file", "token", "--metrics", "127.0.0.1:0"];
    let (_serve, line) = hub(&sandbox, "127.0.0.1:0", &options);
    let (url, token) = (url(&line), sandbox.path("token"));
    let id = sandbox.space();
    let wrong = sandbox.file("wrong", "another\n");
    for more in [&[][..], &["--token-file", &wrong]] {
        let words = [&["mailbox", "add", "world", &url][..], more].concat();
        let (message, hint) = sandbox.fails(4, "mailbox_denied", &words);
        assert!(message.contains("token") && hint.contains("--token-file"), "{message}; {hint}");
    }
    sandbox.fails(3, "not_found", &["mailbox", "sync"]);
    sandbox.fails(3, "file_not_found", &["mailbox", "add", "world", &url, "--token-file", "nowhere"]);
    sandbox.ok(&["mailbox", "add", "world", &url, "--token-file", &token]);
    sandbox.ok(&["mailbox", "sync"]);
    let secret = std::fs::read_to_string(&token).unwrap();
    assert!(!sandbox.ok(&["mailbox", "list", "--json"]).contains(secret.trim()));

    sandbox.other(&["mailbox", "add", &id, &url, "--token-file", &token]);
    let watch = ["--dir", "other", "mailbox", "sync", "--watch", "--interval", "3600", "--json"];
    let watch = sandbox.start(&watch);
    assert_eq!(watch.stdout.json()["received"], 1);
    sandbox.ok(&["insert", "world", "towns", r#"{"name": "Turku"}"#]);
    sandbox.ok(&["mailbox", "sync"]);
    // An hour before its time.
    while watch.stdout.json()["received"] != 1 {}
    #[cfg(unix)]
    {
        let mode = |path: &str| std::fs::metadata(sandbox.path(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("box"), mode(&format!("box/{id}"))), (0o700, 0o700));
    }

    let at = line["metrics"].as_str().unwrap().trim_start_matches("http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n").unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.contains("\ndriftless_mailbox_objects 2\n"), "{told}");
    assert!(told.contains("\ndriftless_mailbox_put_total 2\n"), "{told}");
}

#[test]
fn a_hub_is_told_where_and_how_much() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["--dir", "hub", "init"]);
    let serve = ["--dir", "hub", "serve", "--http", "127.0.0.1:0"];
    let fails =
        |exit: i32, code: &str, words: &[&str]| sandbox.fails(exit, code, &[&serve[..], words].concat());
    fails(5, "not_loopback", &["--mailbox", "box", "--mailbox-http", "0.0.0.0:0"]);
    fails(5, "invalid_address", &["--mailbox", "box", "--mailbox-http", "nowhere"]);
    fails(2, "usage", &["--mailbox-bytes", "5"]);
    fails(5, "invalid", &["--mailbox", "gopher://box"]);
    fails(5, "invalid_token", &["--mailbox", "box", "--mailbox-token-file", &sandbox.file("short", "x")]);
    let (_serve, line) = hub(&sandbox, "127.0.0.1:0", &["--mailbox-writer-bytes", "100"]);
    let taken = url(&line).trim_start_matches("http://").trim_end_matches("/mailbox").to_owned();
    let again = ["serve", "--http", "127.0.0.1:0", "--mailbox", "box", "--mailbox-http", &taken];
    sandbox.fails(1, "cannot_listen", &again);
    sandbox.ok(&["mailbox", "add", "world", &url(&line)]);
    let (_, hint) = sandbox.fails(4, "mailbox_full", &["mailbox", "sync"]);
    assert!(hint.contains("more room"), "{hint}");
    sandbox.fails(5, "invalid", &["mailbox", "add", "world", "http://ann:secret@127.0.0.1"]);
}

// What a proxy does: ends TLS, and passes on what is inside. Its certificate is for 127.0.0.1, by an authority that is made
// for this test alone and good for a hundred years; no machine believes it unless it is told to.
#[cfg(all(target_os = "linux", feature = "tls"))]
fn proxy(runtime: &tokio::runtime::Runtime, hub: String) -> u16 {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto};

    let certificate = CertificateDer::from_pem_slice(include_bytes!("certificates/hub.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("certificates/hub.key")).unwrap();
    let config = ServerConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, hub) = (acceptor.clone(), hub.clone());
            tokio::spawn(async move {
                let Ok(mut inside) = acceptor.accept(socket).await else { return };
                let mut outside = tokio::net::TcpStream::connect(&hub).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    port
}

#[cfg(all(target_os = "linux", feature = "tls"))]
#[test]
fn a_hub_behind_a_proxy_with_tls_is_believed_if_the_machine_believes_its_certificate() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["--dir", "hub", "init"]);
    let (_serve, line) = hub(&sandbox, "127.0.0.1:0", &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let at = url(&line).trim_start_matches("http://").trim_end_matches("/mailbox").to_owned();
    let url = format!("https://127.0.0.1:{}", proxy(&runtime, at));
    let (message, hint) = sandbox.fails(6, "mailbox_untrusted", &["mailbox", "add", "world", &url]);
    assert!(message.contains("TLS") && hint.contains("trust"), "{message}; {hint}");
    let authority = sandbox.file("authority.pem", include_bytes!("certificates/ca.pem"));
    let believes = |words: &[&str]| Ran::of(sandbox.command(words).env("SSL_CERT_FILE", &authority));
    assert_eq!(believes(&["mailbox", "add", "world", &url]).code, Some(0));
    let synced = believes(&["mailbox", "sync", "--json"]);
    assert_eq!(synced.code, Some(0), "{synced:?}");
    assert!(synced.stdout.contains("\"sent\":1"), "{synced:?}");
}
