//! The pages of docs/guide, run as they stand: each `console` line on its device, with what earlier lines printed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::sandbox::{Running, Sandbox};

/// One line: the device, the command, and what its comment says of it.
struct Line {
    device: String,
    command: String,
    comment: String,
}

fn lines(page: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            let (device, rest) = line.split_once("$ ").expect(line);
            let (command, comment) = rest.split_once(" # ").unwrap_or((rest, ""));
            let (command, comment) = (command.trim().to_owned(), comment.to_owned());
            lines.push(Line { device: device.to_owned(), command, comment });
        }
    }
    lines
}

/// Words as a shell splits them: spaces and single quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for character in command.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The first word of `printed` that begins like an id or an address of a kind.
fn found(printed: &str, start: &str) -> Option<String> {
    let end = |c: char| c.is_whitespace() || c == '"' || c == ',';
    printed.split(end).find(|word| word.starts_with(start) && word.len() > 20).map(str::to_owned)
}

#[cfg(unix)]
#[test]
fn the_guide_does_what_it_says() {
    run("people.md");
}

#[cfg(unix)]
#[test]
fn one_person_with_three_devices_needs_only_a_folder() {
    run("devices.md");
}

#[cfg(unix)]
fn run(page: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide").join(page);
    let sandbox = Sandbox::empty();
    let (mut names, mut served) = (BTreeMap::<&str, String>::new(), Vec::<Running>::new());
    let kinds =
        [("ADDRESS", "http://"), ("SPACE", "s_"), ("REQUEST", "r_"), ("PHONE", "a_"), ("LAPTOP", "a_")];
    let folder = format!("file://{}", sandbox.path("shared"));
    names.insert("FOLDER", folder);
    let mut ran_lines = 0;
    for Line { device, command, comment } in lines(&fs::read_to_string(page).unwrap()) {
        let mut words = words(&command);
        assert_eq!(words.remove(0), "driftless", "{command}");
        for word in &mut words {
            if let Some(value) = names.get(word.as_str()) {
                word.clone_from(value);
            }
        }
        let words: Vec<&str> =
            [&["--dir", &device][..], &words.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        let printed = if words.contains(&"serve") {
            let running = sandbox.start(&words);
            let first = running.stdout.next().unwrap();
            served.push(running);
            first
        } else {
            let ran = sandbox.run(&words);
            let code = comment.split_once("exit ").map_or(0, |(_, rest)| {
                rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
            });
            assert_eq!(ran.code, Some(code), "{command}: {ran:?}");
            if let Some((_, wanted)) = comment.split_once("still ") {
                assert!(ran.stdout.replace(' ', "").contains(wanted), "{command}: {ran:?}");
            }
            ran.stdout
        };
        for (name, start) in kinds.iter().filter(|(name, _)| comment.contains(name)) {
            names.insert(*name, found(&printed, start).unwrap_or_else(|| panic!("{command}: {printed}")));
        }
        ran_lines += 1;
    }
    assert!(ran_lines > 15);
}
