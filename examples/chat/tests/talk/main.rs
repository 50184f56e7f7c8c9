//! Two people talk through real processes in pseudo-terminals, over both networks, with one of them away for a while.

mod terminal;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use terminal::Terminal;

/// The folders of everybody, and the network they are on.
struct World {
    folder: TempDir,
    transport: &'static str,
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    fn new(transport: &'static str) -> Self {
        Self { folder: TempDir::new().unwrap(), transport }
    }

    fn words(&self, name: &str, more: &[&str]) -> Vec<String> {
        let dir = self.folder.path().join(name);
        let words = ["--username", name, "--transport", self.transport, "--relay", "none"];
        let words = words.iter().chain(more).map(|word| (*word).to_owned());
        words.chain(["--dir".to_owned(), dir.to_str().unwrap().to_owned()]).collect()
    }

    fn screen(&self, name: &str, more: &[&str]) -> Terminal {
        Terminal::start(&self.words(name, more))
    }

    fn process(&self, name: &str, more: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_driftless-chat"));
        command.args(self.words(name, more));
        Process(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Makes a room that nobody looks at, and says how to connect to it.
    fn room(&self, name: &str, room: &str) -> (Terminal, String) {
        let made = self.screen(name, &["--create-only", "--room-name", room]);
        let line = made.reads_line();
        (made, line)
    }
}

/// The screen that the README shows: it is this one.
fn screen_of_readme() -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let screen = readme.split("```text\n").find(|block| block.contains(" Rooms ")).unwrap();
    screen.split("\n```").next().unwrap().to_owned()
}

fn talk(transport: &'static str) {
    let world = World::new(transport);
    let (made, invitation) = world.room("alice", "Demo");
    assert!(invitation.contains('@') && invitation.contains("127.0.0.1"), "{invitation}");
    let mut bob = world.screen("bob", &["--connect", &invitation]);
    bob.sees("> Demo");
    bob.sees("1 peer connected");
    bob.sees("* alice");
    bob.writes("is anybody there?");
    bob.sees("bob  is anybody there?");
    bob.sees_no_more("(not delivered)");
    made.leaves();
    bob.sees("offline");
    bob.sees("- alice");
    bob.writes("I will ask again later");
    bob.sees("I will ask again later (not delivered)");
    bob.leaves();

    // Alice comes back where she was, and looks now. What Bob wrote meanwhile has not left his device.
    let mut alice = world.screen("alice", &[]);
    alice.sees("bob  is anybody there?");
    alice.sees("offline");
    alice.writes("yes, sorry");
    alice.sees("yes, sorry (not delivered)");
    let mut bob = world.screen("bob", &[]);
    alice.sees("I will ask again later");
    bob.sees("yes, sorry");
    alice.sees("* bob");
    alice.sees_no_more("(not delivered)");
    bob.sees_no_more("(not delivered)");
    bob.writes("good to hear");
    alice.sees("good to hear");
    alice.writes("both ways, on two devices, without a server");
    bob.sees("without a server");
    bob.sees_no_more("(not delivered)");
    bob.shows(&screen_of_readme());
    bob.leaves();
    alice.sees("offline");
    alice.leaves();
}

#[test]
fn two_talk_over_http_and_catch_up() {
    talk("http");
}

#[test]
fn two_talk_over_iroh_and_catch_up() {
    talk("iroh");
}

#[test]
fn each_room_has_its_own_talk() {
    let world = World::new("http");
    let mut alice = world.screen("alice", &["--room-name", "Garden"]);
    alice.writes("the beans are up");
    alice.leaves();
    let mut alice = world.screen("alice", &["--room-name", "Kitchen"]);
    alice.sees("> Kitchen");
    alice.sees_no_more("the beans are up");
    alice.types("\t");
    alice.sees("> Garden");
    alice.sees("the beans are up");
    alice.writes("/invite");
    alice.sees("Others join with --connect");
    alice.sees("@http://127.0.0.1:");
    alice.types("\r");
    for number in 0..40 {
        alice.writes(&format!("bean {number}."));
    }
    alice.sees("bean 39.");
    alice.sees_no_more("the beans are up");
    // Up as far as it goes, and down again.
    alice.types(&"\u{1b}[5~".repeat(9));
    alice.sees("the beans are up");
    alice.sees_no_more("bean 39.");
    alice.types(&"\u{1b}[6~".repeat(9));
    alice.sees("bean 39.");
    alice.leaves();
}

#[test]
fn what_others_write_cannot_act_on_the_terminal() {
    let world = World::new("http");
    let (_made, invitation) = world.room("alice", "Demo\u{202e}");
    let bob = world.screen("bob", &["--connect", &invitation]);
    bob.sees("Demo\\u{202e}");
    let mut mallory = world.process("mallory", &["--connect", &invitation]);
    let mut lines = mallory.0.stdin.take().unwrap();
    writeln!(lines, "\u{1b}]0;owned\u{7}\u{1b}[2J \u{202e}drow").unwrap();
    drop(lines);
    bob.sees("\\u{1b}]0;owned\\u{7}\\u{1b}[2J \\u{202e}drow");
    bob.leaves();
}

#[test]
fn pipes_work_and_a_room_needs_its_id() {
    let world = World::new("http");
    let (_made, invitation) = world.room("alice", "Demo");
    let say = |name: &str, line: &str| {
        let mut process = world.process(name, &["--connect", &invitation, "--plain"]);
        writeln!(process.0.stdin.take().unwrap(), "{line}").unwrap();
        let said = BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
        assert!(process.0.wait().unwrap().success());
        let said: Vec<String> = said;
        said
    };
    assert_eq!(say("bob", "hello"), ["bob: hello"]);
    // It was delivered before the process ended, so the next one has it from the start.
    assert_eq!(say("cleo", "good day"), ["bob: hello", "cleo: good day"]);

    let (other, at) = (world.room("dora", "Other").1, invitation.split_once('@').unwrap().1);
    let wrong = format!("{}@{at}", other.split_once('@').unwrap().0);
    let refused = Command::new(env!("CARGO_BIN_EXE_driftless-chat"))
        .args(world.words("eve", &["--connect", &wrong]))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("driftless-chat: "));
}
