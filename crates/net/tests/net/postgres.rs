//! The mailbox in a table, against a real server: the contract, who may not, what lies there beside it, and a server that
//! says nothing or lies.

use std::process::Command;
use std::sync::Arc;

use driftless_net::mailbox::{
    MAX_OBJECT, Mailbox, MailboxError, ObjectName, PostgresMailbox, Put, conformance,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::postgres_server::{PASSWORD, Server};

fn open(url: &str) -> PostgresMailbox {
    PostgresMailbox::with_password(url, PASSWORD).unwrap()
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_keeps_the_contract_and_is_shared() {
    let Some(server) = Server::start(&[]) else { return };
    let (tcp, socket) = (open(&server.url("ann", "")), open(&server.socket_url("ann")));
    conformance::all(Arc::new(tcp.clone()), "tcp").await;
    conformance::all(Arc::new(socket.clone()), "socket").await;
    // Both are the same table; another one is another mailbox.
    assert_eq!(tcp.put_if_absent(&name("both/1"), vec![1]).await, Ok(Put::Stored));
    assert_eq!(socket.put_if_absent(&name("both/1"), vec![2]).await, Ok(Put::Exists));
    let other = open(&server.url("ann", "table=other"));
    assert_eq!(other.get(&name("both/1"), 0..9).await, Ok(None));
    // A replaced object has another mark.
    let before = tcp.list("both/", "", 9).await.unwrap().objects;
    server.sql("UPDATE public.driftless_mailbox SET content = 'x' WHERE name = 'both/1'");
    let after = tcp.list("both/", "", 9).await.unwrap().objects;
    assert_ne!((before[0].mark, before.len()), (after[0].mark, 0));
    // Many that find no table at once: one makes it.
    for round in 0..8 {
        let makers = (0..8).map(|number| {
            let mailbox = open(&server.url("ann", &format!("table=raced{round}")));
            tokio::spawn(async move { mailbox.put_if_absent(&name(&format!("a/{number}")), vec![1]).await })
        });
        for maker in makers.collect::<Vec<_>>() {
            assert_eq!(maker.await.unwrap(), Ok(Put::Stored));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so_and_who_may_only_use_the_table_uses_it() {
    let Some(server) = Server::start(&[]) else { return };
    server.sql(&format!("CREATE ROLE bob LOGIN PASSWORD '{PASSWORD}'"));
    let bob = open(&server.url("bob", ""));
    let refused = bob.list("", "", 9).await;
    assert!(matches!(refused, Err(MailboxError::Denied(_))), "{refused:?}");
    let ann = open(&server.url("ann", ""));
    assert_eq!(ann.put_if_absent(&name("a/1"), vec![1]).await, Ok(Put::Stored));
    server.sql("GRANT SELECT, INSERT ON public.driftless_mailbox TO bob");
    assert_eq!(bob.put_if_absent(&name("a/2"), vec![2]).await, Ok(Put::Stored));
    assert_eq!(bob.get(&name("a/1"), 0..9).await, Ok(Some(vec![1])));
    let refused = bob.delete(&name("a/1")).await;
    assert!(matches!(refused, Err(MailboxError::Denied(_))), "{refused:?}");
    let wrong = PostgresMailbox::with_password(&server.url("ann", ""), "another").unwrap();
    let refused = wrong.list("", "", 9).await;
    assert!(matches!(refused, Err(MailboxError::Denied(_))), "{refused:?}");
    assert!(!format!("{wrong:?} {refused:?}").contains("another"));
    // Nobody here has told it any.
    let without = PostgresMailbox::open(&server.url("ann", "")).unwrap();
    let refused = without.list("", "", 9).await;
    assert!(matches!(refused, Err(MailboxError::Denied(_))), "{refused:?}");
    let nowhere = open(&server.url("ann", "").replace("/postgres?", "/nowhere?"));
    assert!(matches!(nowhere.list("", "", 9).await, Err(MailboxError::Unusable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_no_objects_and_functions_that_are_not_the_servers_harm_nobody() {
    let Some(server) = Server::start(&[]) else { return };
    // Made by somebody else, without any check, in the order of a language.
    server.sql(
        "CREATE TABLE public.driftless_mailbox (name text PRIMARY KEY, content bytea NOT NULL, more int)",
    );
    server.sql(
        "INSERT INTO public.driftless_mailbox VALUES ('../etc', ''), ('A/B', ''), ('a/', ''), (E'a/1\\n', ''),
         ('', ''), (repeat('a', 100000) || '/x', ''), ('a/big', convert_to(repeat('x', 30000000), 'UTF8'))",
    );
    server.sql(
        "CREATE FUNCTION public.octet_length(bytea) RETURNS int LANGUAGE sql AS 'SELECT 7';
         CREATE FUNCTION public.substring(bytea, int, int) RETURNS bytea LANGUAGE sql AS $$SELECT 'lie'::bytea$$;
         ALTER ROLE ann SET search_path TO public, pg_catalog",
    );
    let mailbox = open(&server.url("ann", ""));
    for at in ["a/_", "a/0", "a/a", "a-b", "a0"] {
        assert_eq!(mailbox.put_if_absent(&name(at), b"abc".to_vec()).await, Ok(Put::Stored));
    }
    let listed = mailbox.list("a", "", 100).await.unwrap();
    let found: Vec<_> = listed.objects.iter().map(|object| (object.name.as_str(), object.size)).collect();
    let wanted = [("a-b", 3), ("a/0", 3), ("a/_", 3), ("a/a", 3), ("a/big", 30_000_000), ("a0", 3)];
    assert_eq!((found, listed.more), (wanted.to_vec(), false));
    let big = mailbox.get(&name("a/big"), 0..u64::MAX).await.unwrap().unwrap();
    assert_eq!(big.len(), MAX_OBJECT + 1);
    assert_eq!(mailbox.get(&name("a/0"), 1..9).await, Ok(Some(b"bc".to_vec())));
    // It goes on after a server that was started anew.
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'driftless'");
    let first = mailbox.get(&name("a/0"), 0..9).await;
    assert!(matches!(first, Ok(Some(_)) | Err(MailboxError::Unreachable(_))), "{first:?}");
    assert_eq!(mailbox.get(&name("a/0"), 0..9).await, Ok(Some(b"abc".to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_proves_by_tls_that_it_is_the_one() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("not tried: there is no `openssl` that makes certificates on this machine");
        return;
    }
    let Some(server) = Server::start(&[]) else { return };
    for (from, to) in [(&certificate, "cert.pem"), (&key, "key.pem")] {
        let to = server.folder().join(to);
        std::fs::copy(from, &to).unwrap();
        server.own(&to);
    }
    for (setting, file) in [("ssl_cert_file", "cert.pem"), ("ssl_key_file", "key.pem")] {
        server.sql(&format!("ALTER SYSTEM SET {setting} = '{}'", server.folder().join(file).display()));
    }
    // Without a certificate of its own it has no TLS, and nothing is said to it.
    let refused = open(&server.url("ann", "sslmode=require")).list("", "", 9).await;
    assert!(matches!(&refused, Err(MailboxError::Unusable(why)) if why.contains("no TLS")), "{refused:?}");
    server.sql("ALTER SYSTEM SET ssl = on");
    server.sql("SELECT pg_reload_conf()");
    let known = format!("sslmode=require&sslrootcert={}", certificate.display());
    let mailbox = open(&server.url("ann", &known));
    assert_eq!(mailbox.put_if_absent(&name("a/1"), vec![7; 3_000_000]).await, Ok(Put::Stored));
    assert_eq!(mailbox.get(&name("a/1"), 0..u64::MAX).await.unwrap().unwrap().len(), 3_000_000);
    // Nobody whom this machine trusts has signed it.
    let refused = open(&server.url("ann", "sslmode=require")).list("", "", 9).await;
    assert!(matches!(&refused, Err(MailboxError::Untrusted(why)) if why.contains("TLS")), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://ann@{}/notes", listener.local_addr().unwrap());
    let held = tokio::spawn(async move { listener.accept().await.unwrap() });
    let given_up = open(&url).list("", "", 9).await;
    assert!(
        matches!(&given_up, Err(MailboxError::Unreachable(why)) if why.contains("within")),
        "{given_up:?}"
    );
    held.await.unwrap();
}

#[tokio::test]
async fn a_server_that_sends_too_much_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://ann@{}/notes", listener.local_addr().unwrap());
    let liar = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 100]).await.unwrap();
        // An error of two thousand megabytes.
        stream.write_all(&[b'E', 0x7f, 0xff, 0xff, 0xff]).await.unwrap();
        // It is the client who hangs up.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let left = open(&url).list("", "", 9).await;
    assert!(
        matches!(&left, Err(MailboxError::Unreachable(why)) if why.contains("above the limit")),
        "{left:?}"
    );
    liar.await.unwrap();
}
