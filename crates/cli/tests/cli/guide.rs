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

/// Words as a shell splits them: spaces and quotes of both kinds.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], None);
    for character in command.chars() {
        match (character, quoted) {
            ('\'' | '"', None) => quoted = Some(character),
            (end, Some(begin)) if end == begin => quoted = None,
            (' ', None) => words.push(String::new()),
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

/// Runs a page: the names of what is printed stand for it from then on.
#[cfg(unix)]
fn run(sandbox: &Sandbox, page: &str, kinds: &[(&'static str, &str)]) -> usize {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide").join(page);
    let (mut names, mut served) = (BTreeMap::<&str, String>::new(), Vec::<Running>::new());
    // Of each device, what tells that something has changed there.
    let mut watching = BTreeMap::<String, Running>::new();
    names.insert("FOLDER", format!("file://{}", sandbox.path("shared")));
    names.extend(sandbox.in_environment("ENDPOINT").map(|endpoint| ("ENDPOINT", endpoint)));
    let mut ran_lines = 0;
    for Line { device, command, comment } in lines(&fs::read_to_string(page).unwrap()) {
        ran_lines += 1;
        let mut words = words(&command);
        if words[0] == "sqlite3" {
            let wanted = comment.split_once("shows ").map(|(_, wanted)| wanted.trim());
            loop {
                let shown = sqlite3(sandbox, &words[1..]);
                if wanted.is_none_or(|wanted| shown.trim() == wanted) {
                    break;
                }
                let watch = watching.get(&device).unwrap_or_else(|| panic!("{command}: {shown}"));
                watch.stdout.next().unwrap_or_else(|| panic!("{command}: {shown}"));
            }
            continue;
        }
        assert_eq!(words.remove(0), "driftless", "{command}");
        for word in &mut words {
            if let Some(name) = names.keys().find(|name| word.ends_with(**name)) {
                *word = word.replace(*name, &names[name]);
            }
        }
        let words: Vec<&str> =
            [&["--dir", &device][..], &words.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        let printed = if words.contains(&"serve") {
            let running = sandbox.start(&words);
            let first = running.stdout.next().unwrap();
            served.push(running);
            first
        } else if words.contains(&"--watch") {
            let running = sandbox.start(&words);
            watching.insert(device.clone(), running);
            continue;
        } else {
            let ran = sandbox.run(&words);
            let code = comment.split_once("exit ").map_or(0, |(_, rest)| {
                rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
            });
            assert_eq!(ran.code, Some(code), "{command}: {ran:?}");
            if let Some((_, wanted)) = comment.split_once("still ") {
                assert!(ran.stdout.replace(' ', "").contains(&wanted.replace(' ', "")), "{command}: {ran:?}");
            }
            ran.stdout
        };
        for (name, start) in kinds.iter().filter(|(name, _)| comment.contains(name)) {
            names.insert(*name, found(&printed, start).unwrap_or_else(|| panic!("{command}: {printed}")));
        }
    }
    ran_lines
}

/// The program of the shops, which waits a while where somebody else writes.
#[cfg(unix)]
fn sqlite3(sandbox: &Sandbox, words: &[String]) -> String {
    let mut command = std::process::Command::new("sqlite3");
    command.args(["-cmd", ".timeout 10000"]).args(words).current_dir(sandbox.path("."));
    let ran = command.output().unwrap();
    let (shown, said) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.is_empty(), "{words:?}: {said}");
    shown.replace("wal\n", "")
}

#[cfg(unix)]
#[test]
fn the_guide_about_people_does_what_it_says() {
    let kinds = [("ADDRESS", "http://"), ("SPACE", "s_"), ("REQUEST", "r_"), ("PHONE", "a_")];
    assert!(run(&Sandbox::empty(), "people.md", &kinds) > 15);
}

#[cfg(unix)]
#[test]
fn the_guide_about_sharing_does_what_it_says() {
    let kinds = [("ADDRESS", "http://"), ("BEN", "s_"), ("SHARED", "s_"), ("PUBLIC", "s_")];
    assert!(run(&Sandbox::empty(), "sharing.md", &kinds) > 15);
}

#[cfg(unix)]
#[test]
fn two_shops_keep_one_catalogue_as_their_page_says() {
    let sandbox = Sandbox::empty();
    for file in ["shops/tables.sql", "shops/catalogue.sql", "data/countries.jsonl", "data/subdivisions.jsonl"]
    {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(file);
        fs::copy(from, sandbox.path(file.split_once('/').unwrap().1)).unwrap();
    }
    assert!(run(&sandbox, "shops.md", &[("ADDRESS", "http://"), ("TICKET", "driftless")]) > 25);
    // Every table is the same, by value and by type.
    let dumps = ["north.db", "south.db"].map(|file| {
        ["country", "region", "article"].map(|table| {
            let columns = "SELECT group_concat('quote(' || name || ') || typeof(' || name || ')', ' || ') FROM pragma_table_info('TABLE')";
            let columns = sqlite3(&sandbox, &[file.to_owned(), columns.replace("TABLE", table)]);
            sqlite3(&sandbox, &[file.to_owned(), format!("SELECT {columns} FROM {table} ORDER BY 1")])
        })
    });
    assert_eq!(dumps[0], dumps[1]);
    assert!(dumps[0].iter().all(|dump| !dump.is_empty()));
}

#[cfg(unix)]
#[test]
fn one_person_with_three_devices_needs_only_a_folder() {
    let kinds = [("SPACE", "s_"), ("PHONE", "a_"), ("LAPTOP", "a_")];
    assert!(run(&Sandbox::empty(), "devices.md", &kinds) > 15);
}

#[cfg(all(unix, feature = "object-store"))]
#[test]
fn two_devices_meet_in_a_bucket_as_their_page_says() {
    use crate::s3_server::{KEYS, Server};

    let sandbox = Sandbox::empty().with(&KEYS).with(&[("AWS_ALLOW_HTTP", "true")]);
    let server = Server::start(Path::new(&sandbox.path("s3")), true);
    let sandbox = sandbox.with(&[("ENDPOINT", &server.endpoint())]);
    assert!(run(&sandbox, "bucket.md", &[("SPACE", "s_"), ("PHONE", "a_")]) > 12);
}
