//! A folder of its own for each test, and commands that run in it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Far more than any line takes; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The 5,127 subdivisions of ISO 3166-2.
pub(crate) fn subdivisions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/subdivisions.jsonl")
}

/// A temporary folder with room for several databases.
pub(crate) struct Sandbox {
    folder: TempDir,
    // What commands find in their environment besides.
    environment: Vec<(String, String)>,
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process that runs, and its lines as they come; killed when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

/// The lines of a stream of a process.
pub(crate) struct Lines(Receiver<String>);

impl Sandbox {
    /// A folder without a database.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// The same, with this in the environment of each command.
    pub(crate) fn with(mut self, environment: &[(&str, &str)]) -> Self {
        let owned = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.environment.extend(owned);
        self
    }

    /// A folder with a database of ann, and the space `world` in it.
    pub(crate) fn new() -> Self {
        let sandbox = Self::empty();
        sandbox.ok(&["init", "--name", "ann"]);
        sandbox.ok(&["space", "create", "world"]);
        sandbox
    }

    /// As `new`, with all subdivisions under their codes.
    pub(crate) fn with_subdivisions() -> Self {
        let sandbox = Self::new();
        sandbox.import(&subdivisions());
        sandbox
    }

    pub(crate) fn import(&self, file: &Path) -> Value {
        self.json(&["import", "world", "subdivisions", file.to_str().unwrap(), "--key", "code"])
    }

    /// What commands find in their environment besides.
    pub(crate) fn in_environment(&self, name: &str) -> Option<String> {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file, and gives its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// The command with the database `db`; `--dir` chooses another.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_driftless"));
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("DRIFTLESS_DIR", self.path("db")).env("HOME", self.path("home")).env("USER", "somebody");
        command.env_remove("XDG_DATA_HOME").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        let of_others = |name: &str| name.starts_with("AWS_") || name.starts_with("PG");
        for (name, _) in std::env::vars().filter(|(name, _)| of_others(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.command(words))
    }

    /// Runs with something on standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &[u8]) -> Ran {
        let mut child = self.spawn(self.command(words).stdin(Stdio::piped()));
        // Whether all of it is read is the command's business.
        let _ = child.stdin.take().unwrap().write_all(input);
        let stdout: Vec<String> = child.stdout.0.iter().collect();
        let stderr: Vec<String> = child.stderr.0.iter().collect();
        Ran { code: child.wait().code(), stdout: stdout.join("\n"), stderr: stderr.join("\n") }
    }

    /// The output of a command that must succeed.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.stdout
    }

    /// All values that a command prints with `--json`.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<Value> {
        let text = self.ok(&[words, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The one value that a command prints with `--json`.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let mut lines = self.lines(words);
        assert_eq!(lines.len(), 1, "{words:?}: {lines:?}");
        lines.remove(0)
    }

    /// Runs a command that must fail, both ways; gives its message and its hint, which are the same in both.
    pub(crate) fn fails(&self, exit: i32, code: &str, words: &[&str]) -> (String, String) {
        let told = self.run(&[words, &["--json"]].concat());
        assert_eq!(told.code, Some(exit), "{words:?}: {told:?}");
        let last = told.stderr.lines().last().unwrap_or_default();
        let error = &serde_json::from_str::<Value>(last).expect(last)["error"];
        assert_eq!(error["code"], code, "{told:?}");
        let text = |field: &str| error[field].as_str().unwrap().to_owned();
        let (message, hint) = (text("message"), text("hint"));
        assert!(!message.is_empty() && !hint.is_empty(), "{error}");

        let said = self.run(words);
        assert_eq!(said.code, Some(exit), "{words:?}: {said:?}");
        let line = |start: &str| said.stderr.lines().find(|line| line.starts_with(start)).map(str::to_owned);
        let (error, advice) = (line("error: ").expect(&said.stderr), line("hint: ").expect(&said.stderr));
        // The usage line names the options that were given.
        if code != "usage" {
            assert_eq!((error, advice), (format!("error: {message}"), format!("hint: {hint}")));
        }
        assert_eq!(said.stdout, "", "{said:?}");
        (message, hint)
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Running { stdin: child.stdin.take(), stdout, stderr, child }
    }

    pub(crate) fn start(&self, words: &[&str]) -> Running {
        self.spawn(&mut self.command(words))
    }

    /// The one value that a command prints with `--json` on the database `other`.
    pub(crate) fn other(&self, words: &[&str]) -> Value {
        self.json(&[&["--dir", "other"], words].concat())
    }

    /// The whole id of `world`.
    pub(crate) fn space(&self) -> String {
        self.json(&["space", "show", "world"])["space"].as_str().unwrap().to_owned()
    }

    /// How many objects the folder `box` has of a space: of one writer, one for each number, and nothing that is half written.
    pub(crate) fn objects(&self, space: &str) -> usize {
        let mut numbers = Vec::new();
        for writer in fs::read_dir(Path::new(&self.path("box")).join(space)).unwrap().flatten() {
            let objects = fs::read_dir(writer.path()).unwrap().flatten();
            let names = objects.map(|object| object.file_name().into_string().unwrap());
            let whole = names.filter(|name| !name.starts_with('.'));
            numbers.extend(whole.map(|name| name.split_once('-').unwrap().0.to_owned()));
        }
        numbers.sort();
        let wanted: Vec<_> = (1..=numbers.len()).map(|number| format!("{number:016x}")).collect();
        assert_eq!(numbers, wanted);
        numbers.len()
    }

    /// Imports so many documents of some 600 bytes into `numbers` of `world`: several objects in a mailbox.
    pub(crate) fn fill(&self, rows: u64) {
        let text = (0..rows).fold(String::new(), |text, number| {
            // Words that do not repeat, so that they do not get small.
            text + &format!("{{\"n\": {number}, \"text\": \"{:x}{}\"}}\n", number * 7919, "x".repeat(600))
        });
        let file = self.file("numbers.jsonl", text);
        self.ok(&["import", "world", "numbers", &file, "--key", "n"]);
    }

    /// The `view` of the digest of `world` in a database.
    pub(crate) fn view(&self, dir: &str) -> Value {
        self.json(&["--dir", dir, "digest", "world"])["view"].clone()
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Running {
    /// Waits for the end; what is left on the streams can be read then.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().unwrap()
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Like `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Like Ctrl-C.
    #[cfg(unix)]
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        self.signal("INT")
    }

    /// Sends a signal, and waits for the end.
    #[cfg(unix)]
    pub(crate) fn signal(&mut self, name: &str) -> ExitStatus {
        let id = self.id().to_string();
        let kill = format!("kill -{name} $0");
        assert!(Command::new("sh").args(["-c", &kill, &id]).status().unwrap().success());
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line, or none if the stream has ended.
    pub(crate) fn next(&self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next line that holds a text.
    pub(crate) fn until(&self, text: &str) -> String {
        while let Some(line) = self.next() {
            if line.contains(text) {
                return line;
            }
        }
        panic!("the stream ended without `{text}`");
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.next().expect("a line")).unwrap()
    }
}
