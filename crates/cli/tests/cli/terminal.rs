//! What reaches a terminal or a pipe: escapes, colours, closed pipes, help, completions.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::sandbox::Sandbox;

/// Characters with which others could act on a terminal; a line break of ours is none.
fn acts(text: &str) -> bool {
    text.chars().any(|character| {
        (character.is_control() && character != '\n') || ('\u{202a}'..='\u{202e}').contains(&character)
    })
}

#[test]
fn names_and_strings_of_others_cannot_act_on_a_terminal() {
    let sandbox = Sandbox::new();
    let fields = "{\"text\": \"\\u001b[31m\u{9b}31m \u{202e}drow\\u0007\", \"\\u001b]0;title\": 1}";
    sandbox.ok(&["space", "create", "\u{202e}dlrow"]);
    let space = sandbox.lines(&["space", "list"])[1]["space"].as_str().unwrap().to_owned();
    sandbox.ok(&["insert", &space, "c", fields, "--id", "\u{202e}\u{9b}x"]);
    let id = "\"\\u202e\\u009bx\"";
    assert_eq!(sandbox.ok(&["find", &space, "c"]).lines().count(), 1);
    for words in [
        &["space", "list"][..],
        &["space", "show", &space],
        &["status"],
        &["digest", &space],
        &["log", &space],
        &["log", &space, "c", id],
        &["get", &space, "c", id],
        &["find", &space, "c"],
        &["find", &space, "c", "--json"],
        &["edit", &space, "c", id, r#"{"$set": {"a": 1}}"#],
        &["delete", &space, "c", id],
        &["space", "forget", &space],
    ] {
        let ran = sandbox.run(words);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(!acts(&ran.stdout) && !acts(&ran.stderr), "{words:?}: {ran:?}");
    }
    for words in [
        &["digest", "\u{1b}[31mred"][..],
        &["--dir", "\u{1b}[31mred", "status"],
        &["\u{1b}[31mred"],
        &["get", "world", "c", "\u{9b}31m"],
        &["edit", "world", "c", "x", "{\"$\u{1b}[31m\": 1}"],
        &["import", "world", "c", "\u{1b}[31m.csv"],
    ] {
        for words in [words, &[words, &["--json"]].concat()] {
            let ran = sandbox.run(words);
            assert_ne!(ran.code, Some(0));
            assert!(!acts(&ran.stdout) && !acts(&ran.stderr), "{words:?}: {ran:?}");
        }
    }
}

#[test]
fn strings_come_back_as_they_went_in() {
    let sandbox = Sandbox::new();
    let text = "tab\t \u{1b}[31m \u{9b} \u{202e} \u{2028} é 🇦🇼 \"quotes\" \\";
    let fields = serde_json::json!({ "text": text }).to_string();
    sandbox.ok(&["insert", "world", "c", &fields, "--id", "x"]);
    assert_eq!(sandbox.json(&["get", "world", "c", "x"])["text"], text);
    assert_eq!(sandbox.lines(&["find", "world", "c"])[0]["text"], text);
}

#[test]
fn a_pipe_that_nobody_reads_ends_quietly() {
    let sandbox = Sandbox::with_subdivisions();
    for words in [
        &["find", "world", "subdivisions"][..],
        &["log", "world", "--json"],
        &["bundle", "export", "world", "-"],
    ] {
        let mut command = sandbox.command(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One buffer is read, and the rest is refused.
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.fill_buf().unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    }
}

#[test]
fn quiet_says_nothing_but_results() {
    let sandbox = Sandbox::empty();
    assert_eq!(sandbox.run(&["init", "--quiet"]).stderr, "");
    assert_eq!(sandbox.run(&["space", "list", "-q"]).stderr, "");
    assert!(!sandbox.run(&["space", "list"]).stderr.is_empty());
    sandbox.ok(&["space", "create", "world"]);
    let file = sandbox.file("rows.jsonl", "nonsense\n{}\n");
    let ran = sandbox.run(&["import", "world", "c", &file, "--quiet"]);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("1 inserted, 0 updated, 0 skipped, 1 rejected\n", "")
    );
}

#[test]
fn help_version_and_completions_go_to_standard_output() {
    let sandbox = Sandbox::empty();
    for words in [&["--help"][..], &["help"], &["find", "--help"], &["space", "create", "--help"]] {
        let ran = sandbox.run(words);
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains("EXAMPLES") && ran.stderr.is_empty(), "{ran:?}");
    }
    let version = format!("driftless {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(sandbox.ok(&["--version"]), version);
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.ok(&["completions", shell]);
        assert!(
            script.contains("driftless") && script.contains("subdivisions") || script.len() > 1000,
            "{shell}"
        );
    }
    sandbox.fails(2, "usage", &["completions", "cmd.exe"]);
}

#[test]
fn a_camera_reads_the_ticket() {
    let sandbox = Sandbox::new();
    let words = ["ticket", "world", "--address", "http://192.0.2.7:7477", "--qr"];
    let printed = sandbox.ok(&words);
    let (ticket, code) = printed.split_once('\n').unwrap();
    assert!(ticket.starts_with("driftless:"));
    // Into a pipe goes the negative: a full block is two light squares.
    let rows: Vec<Vec<char>> = code.lines().map(|line| line.chars().collect()).collect();
    let dark = |x: usize, y: usize| match rows[y / 2].get(x) {
        Some('\u{2588}') => false,
        Some('\u{2580}') => y % 2 == 1,
        Some('\u{2584}') => y.is_multiple_of(2),
        _ => true,
    };
    let (width, zoom) = (rows[0].len(), 4);
    let size = width * zoom;
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(size, size, |x, y| {
        if dark(x / zoom, y / zoom) { 0 } else { 255 }
    });
    let grids = image.detect_grids();
    assert_eq!(grids.first().expect("a code").decode().unwrap().1, ticket);

    // For programs it is a ticket like any other.
    assert!(sandbox.json(&words)["ticket"].as_str().unwrap().starts_with("driftless:"));
}
