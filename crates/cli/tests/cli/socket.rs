//! The socket of a served folder and clients that are not ours: how many there may be, what they may say, how long they
//! may take, and what becomes of another version on either side.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use crate::sandbox::Sandbox;

/// Clients at once.
const MAX_CLIENTS: usize = 64;
/// Bytes of a request.
const MAX_REQUEST: usize = 8 * 1024 * 1024;

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_le_bytes(), body].concat()
}

fn connect(sandbox: &Sandbox) -> UnixStream {
    let path = sandbox.path("db/socket");
    let socket = UnixStream::connect(std::fs::read_link(&path).unwrap_or(path.into())).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

// The first frame of an answer, or nothing where the other side only ended.
fn answer(socket: &mut UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    socket.read_exact(&mut head).ok()?;
    let mut body = vec![0; u32::from_le_bytes(head[1..].try_into().unwrap()) as usize];
    socket.read_exact(&mut body).ok()?;
    Some((head[0], body))
}

fn request(version: u64, program: &str) -> Vec<u8> {
    let looks = r#"{"asks":false,"shows":false,"notes":false,"colours":false}"#;
    let words = r#"["driftless","status"]"#;
    format!(r#"{{"version":{version},"program":"{program}","words":{words},"folder":"/","looks":{looks}}}"#)
        .into()
}

#[test]
fn as_many_clients_as_there_may_be_and_one_more() {
    let sandbox = Sandbox::new();
    let (_serve, _) = sandbox.serve("db");
    let mut idle: Vec<UnixStream> = (1..MAX_CLIENTS - 1).map(|_| connect(&sandbox)).collect();
    // The command is one of them.
    sandbox.ok(&["status"]);
    idle.push(connect(&sandbox));
    sandbox.ok(&["status"]);
    // The place of a command is free a moment after it has ended; who comes before that finds none.
    idle.push(connect(&sandbox));
    let mut refused = 0;
    while refused < 5 {
        if sandbox.run(&["status"]).code == Some(0) {
            idle.push(connect(&sandbox));
            refused = 0;
        }
        refused += 1;
    }
    // However the command and the answer meet.
    for _ in 0..10 {
        sandbox.fails(1, "busy", &["status"]);
    }
    // When they leave, others come.
    drop(idle);
    while sandbox.run(&["status"]).code != Some(0) {}
}

#[test]
fn who_says_nothing_or_no_request_is_let_go() {
    let sandbox = Sandbox::new();
    let (_serve, _) = sandbox.serve("db");
    let lying = |length: usize| [&[b'r'][..], &(length as u32).to_le_bytes()].concat();
    for said in [frame(b'x', b"{}"), frame(b'o', &[0; 100]), lying(MAX_REQUEST + 1), lying(u32::MAX as usize)]
    {
        let mut socket = connect(&sandbox);
        socket.write_all(&said).unwrap();
        assert_eq!(answer(&mut socket), None, "{:?}", &said[..5]);
    }
    // At the limit and below it, it waits for the rest, and looks at it.
    for length in [MAX_REQUEST - 1, MAX_REQUEST] {
        let mut socket = connect(&sandbox);
        socket.write_all(&lying(length)).unwrap();
        socket.write_all(&vec![b' '; length]).unwrap();
        assert_eq!(answer(&mut socket).unwrap().0, b'v', "{length}");
    }
    // Nothing at all, for ten seconds.
    let begun = std::time::Instant::now();
    assert_eq!(answer(&mut connect(&sandbox)), None);
    assert!((9..30).contains(&begun.elapsed().as_secs()));
    sandbox.ok(&["status"]);
}

#[test]
fn another_version_is_told_so_on_either_side() {
    let sandbox = Sandbox::new();
    let ours = env!("CARGO_PKG_VERSION");
    let (mut serve, _) = sandbox.serve("db");
    for (version, program, kind) in [(3, ours, b'v'), (1, ours, b'v'), (2, "9.9.9", b'v'), (2, ours, b'b')] {
        let mut socket = connect(&sandbox);
        socket.write_all(&frame(b'r', &request(version, program))).unwrap();
        let (said, body) = answer(&mut socket).unwrap();
        assert_eq!(said, kind, "{version} {program}");
        assert!(kind != b'v' || body == ours.as_bytes(), "it says which version it is");
    }
    assert_eq!(serve.interrupt().code(), Some(0));

    // And a `serve` of another version, as a command meets it.
    let listener = UnixListener::bind(sandbox.path("db/socket")).unwrap();
    let newer = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = [0; 5];
        socket.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_le_bytes(head[1..].try_into().unwrap()) as usize];
        socket.read_exact(&mut body).unwrap();
        socket.write_all(&frame(b'v', b"9.9.9")).unwrap();
    });
    let ran = sandbox.run(&["status", "--json"]);
    assert!(ran.code == Some(7) && ran.stderr.contains("9.9.9"), "{ran:?}");
    newer.join().unwrap();
}

// Runs a command as somebody who sits at a terminal and types `answer` to whatever is asked; the exit code, what was printed
// on standard error, and how often something was asked.
fn at_a_terminal(sandbox: &Sandbox, words: &[&str], typed: &str) -> (u8, String, usize) {
    let looks = r#"{"asks":true,"shows":true,"notes":true,"colours":false}"#;
    let words = serde_json::to_string(&[&["driftless"], words].concat()).unwrap();
    let program = env!("CARGO_PKG_VERSION");
    let request =
        format!(r#"{{"version":2,"program":"{program}","words":{words},"folder":"/","looks":{looks}}}"#);
    let mut socket = connect(sandbox);
    socket.write_all(&frame(b'r', request.as_bytes())).unwrap();
    let (mut said, mut asked) = (Vec::new(), 0);
    loop {
        match answer(&mut socket).unwrap() {
            (b'e', text) => said.extend(text),
            (b'w', _) => {
                asked += 1;
                socket.write_all(&frame(b'i', typed.as_bytes())).unwrap();
            }
            (b'x', code) => return (code[0], String::from_utf8(said).unwrap(), asked),
            _ => {}
        }
    }
}

#[test]
fn a_removal_at_a_terminal_asks_first_and_a_grant_that_only_gives_does_not() {
    let sandbox = Sandbox::new();
    let key = sandbox.json(&["--dir", "ben", "init"])["author"].as_str().unwrap().to_owned();
    let (_serve, _) = sandbox.serve("db");
    let members = || sandbox.lines(&["members", "world"]).len();
    let (code, _, asked) = at_a_terminal(&sandbox, &["grant", "world", &key, "write"], "no\n");
    assert_eq!((code, asked, members()), (0, 0, 2));
    for typed in ["no\n", "\n", "Yes, later\n"] {
        let (code, said, asked) = at_a_terminal(&sandbox, &["revoke", "world", &key], typed);
        assert_eq!((code, asked, members()), (1, 1, 2), "{said}");
        let told = ["has write:100 now, and will have none", "nothing of it is kept", "nothing was signed"];
        assert!(told.iter().all(|text| said.contains(text)), "{said}");
    }
    let (code, said, asked) = at_a_terminal(&sandbox, &["grant", "world", "*", "read"], "no\n");
    assert!((code, asked, members()) == (1, 1, 2) && said.contains("warning: anyone"), "{said}");
    let (code, _, asked) = at_a_terminal(&sandbox, &["revoke", "world", &key], "yes\n");
    assert_eq!((code, asked, members()), (0, 1, 1));
    let (code, said, asked) = at_a_terminal(&sandbox, &["grant", "world", "*", "read", "--yes"], "");
    assert_eq!((code, asked, members()), (0, 0, 2), "{said}");
}
