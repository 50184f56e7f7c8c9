//! The socket in the folder of a served database: others' commands come in, and what they print goes back.
//!
//! A client sends its command line as one JSON request. `serve` runs it like any other and answers with frames: what
//! to print on which stream, a wish for standard input, and the exit code at last. Who can open the socket (its owner)
//! could as well open the database.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use driftless::Password;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{Served, Serving, execute};
use crate::args::{Arguments, Command};
use crate::failure::{Exit, Failure};
use crate::output::print_failure;
use crate::secret::{self, Question, Secrets};
use crate::terminal::{Input, Looks, Terminal};

const NAME: &str = "socket";
/// Raised when what goes over the socket changes.
const VERSION: u64 = 2;
// Bytes of a command line: systems allow one of 2 MiB; JSON may need several bytes for one.
const MAX_REQUEST: usize = 8 * 1024 * 1024;
// Bytes of what is read or printed, in one frame.
const MAX_PIECE: usize = 64 * 1024;
// Each is two threads.
const MAX_CLIENTS: usize = 64;
// A client sends its request at once.
const REQUEST_TIME: Duration = Duration::from_secs(10);
// Commands that still run get this long when `serve` ends.
const FAREWELL: Duration = Duration::from_secs(5);
// Bytes of the longest path that a socket can have on every system.
const MAX_PATH: usize = 100;

// From the client.
const REQUEST: u8 = b'r';
const STDIN: u8 = b'i';
// 0: none; 1 and a password; 2 and why a file is not there; 3 and why it cannot be read.
const SECRET: u8 = b's';
// To the client.
const BEGUN: u8 = b'b';
const BUSY: u8 = b'f';
const OTHER_VERSION: u8 = b'v';
const STDOUT: u8 = b'o';
const STDERR: u8 = b'e';
const WANT: u8 = b'w';
// A question for a password: only the client has the user's terminal, files and environment.
const ASK: u8 = b'p';
const EXIT: u8 = b'x';

#[derive(Serialize, Deserialize)]
struct Request {
    version: u64,
    /// Of the program: another one may know other words.
    program: String,
    words: Vec<Word>,
    folder: Word,
    looks: Looks,
}

/// A word of a command line; hardly ever it is no text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Bytes(Vec<u8>),
}

impl Word {
    fn new(word: &OsStr) -> Self {
        match word.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(word.as_bytes().to_vec()),
        }
    }

    fn into_os(self) -> OsString {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => OsString::from_vec(bytes),
        }
    }
}

fn write_frame(mut stream: &UnixStream, kind: u8, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // In one write, so that two threads do not mix.
    // It may be a password.
    let mut frame = Zeroizing::new(Vec::with_capacity(body.len() + 5));
    frame.push(kind);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame)
}

fn read_frame(mut stream: &UnixStream, most: usize) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

/// Lets the `serve` of a folder run a command. `None` if there is none, and the command has to run by itself.
pub(super) fn forward(dir: &Path, words: &[OsString], command: &Command, json: bool) -> Option<ExitCode> {
    let stream = connect(&dir.join(NAME)).ok()?;
    let request = Request {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        words: words.iter().map(|word| Word::new(word)).collect(),
        folder: Word::new(std::env::current_dir().ok()?.as_os_str()),
        looks: Looks::own(),
    };
    let request = serde_json::to_vec(&request).ok().filter(|request| request.len() <= MAX_REQUEST)?;
    // Where there are too many, the answer comes without the question being heard.
    let _ = write_frame(&stream, REQUEST, &request);
    let outcome = match read_frame(&stream, MAX_PIECE) {
        Ok((BEGUN, _)) => None,
        Ok((BUSY, _)) => {
            let message = format!("{MAX_CLIENTS} commands run in `driftless serve` already");
            Some(Failure::new(Exit::Failed, "busy", message, "end some of them, and try again"))
        }
        Ok((OTHER_VERSION, version)) => {
            let version = String::from_utf8_lossy(&version);
            let message = format!("the `driftless serve` on this folder is of another version, {version}");
            let hint = "stop it, and start it again with the version of this command";
            Some(Failure::new(Exit::Store, "locked", message, hint))
        }
        // It is just ending, and has not begun with this.
        _ => return None,
    };
    if command.is_watch() {
        // As where a watch runs by itself: that somebody ends it is how it ends.
        let _ = ctrlc::set_handler(|| std::process::exit(0));
    }
    Some(match outcome.map_or_else(|| relay(&stream), Err) {
        Ok(code) => code.into(),
        Err(failure) => {
            if !failure.is_silent() {
                print_failure(&mut io::stderr(), Looks::own(), &failure, json);
            }
            failure.exit.into()
        }
    })
}

/// Prints and reads what the command in `serve` wants to, until it ends.
fn relay(stream: &UnixStream) -> Result<u8, Failure> {
    let ended = |_| {
        let message = "`driftless serve` on this folder ended before the command did";
        Failure::new(Exit::Failed, "serve_ended", message, "run the command again")
    };
    loop {
        let (kind, body) = read_frame(stream, MAX_PIECE).map_err(ended)?;
        match kind {
            STDOUT => {
                let mut stdout = io::stdout();
                stdout.write_all(&body)?;
                stdout.flush()?;
            }
            // Nobody is left to hear that this cannot be written.
            STDERR => drop(io::stderr().write_all(&body)),
            WANT => {
                let mut piece = vec![0; MAX_PIECE];
                let read = loop {
                    match io::stdin().read(&mut piece) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        read => break read,
                    }
                };
                piece.truncate(read.map_err(|error| Failure::file(Path::new("standard input"), &error))?);
                write_frame(stream, STDIN, &piece).map_err(ended)?;
            }
            ASK => {
                let question: Question =
                    serde_json::from_slice(&body).map_err(|error| ended(error.into()))?;
                let answer = match secret::read(&question) {
                    Ok(None) => Zeroizing::new(vec![0]),
                    Ok(Some(password)) => Zeroizing::new([&[1], password.as_slice()].concat()),
                    Err(failure) => {
                        let kind = if failure.code == "file_not_found" { 2 } else { 3 };
                        Zeroizing::new([&[kind], failure.message.as_bytes()].concat())
                    }
                };
                write_frame(stream, SECRET, &answer).map_err(ended)?;
            }
            EXIT => return Ok(body.first().copied().unwrap_or(Exit::Failed as u8)),
            _ => return Err(ended(io::ErrorKind::InvalidData.into())),
        }
    }
}

// Paths of sockets are short; a longer one leads over a link to a short one.
fn connect(path: &Path) -> io::Result<UnixStream> {
    match fs::read_link(path) {
        Ok(target) => UnixStream::connect(target),
        Err(_) => UnixStream::connect(path),
    }
}

/// Where the clients of a `serve` come in.
pub(super) struct Door {
    path: PathBuf,
    bound: PathBuf,
    clients: Arc<Clients>,
    // Holds the socket where its own path is too long.
    _elsewhere: Option<TempDir>,
}

#[derive(Default)]
struct Clients {
    stopping: AtomicBool,
    // One for each client that is here: whether it has gone.
    here: Mutex<Vec<Arc<AtomicBool>>>,
    left: Condvar,
}

impl Door {
    /// Opens the door. What an earlier `serve` left there is replaced: there is only one, it holds the writer's lock.
    pub(super) fn open(dir: &Path, serving: Arc<Serving>) -> io::Result<Self> {
        let path = dir.join(NAME);
        // Made in a folder that nobody else can enter, and moved when its permissions are set.
        let inside = tempfile::Builder::new().prefix(".socket-").tempdir_in(dir)?;
        let long = inside.path().as_os_str().len() + NAME.len() > MAX_PATH;
        let elsewhere = match long {
            true => Some(tempfile::Builder::new().prefix("driftless-").tempdir()?),
            false => None,
        };
        let bound = elsewhere.as_ref().unwrap_or(&inside).path().join(NAME);
        let listener = UnixListener::bind(&bound)?;
        fs::set_permissions(&bound, Permissions::from_mode(0o600))?;
        let moved = inside.path().join(NAME);
        if long {
            symlink(&bound, &moved)?;
        }
        fs::rename(&moved, &path)?;
        let clients = Arc::new(Clients::default());
        let door = clients.clone();
        std::thread::spawn(move || accept(&listener, &door, &serving));
        let bound = if long { bound } else { path.clone() };
        Ok(Self { path, bound, clients, _elsewhere: elsewhere })
    }

    /// Lets nobody in any more, and waits a while for those that are here.
    pub(super) fn close(self) {
        self.clients.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for clients.
        let _ = UnixStream::connect(&self.bound);
        let _ = fs::remove_file(&self.path);
        let end = Instant::now() + FAREWELL;
        let mut here = self.clients.here();
        here.iter().for_each(|gone| gone.store(true, Ordering::SeqCst));
        while !here.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.clients.left.wait_timeout(here, left);
            here = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Clients {
    fn here(&self) -> std::sync::MutexGuard<'_, Vec<Arc<AtomicBool>>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &UnixListener, clients: &Arc<Clients>, serving: &Arc<Serving>) {
    for stream in listener.incoming() {
        if clients.stopping.load(Ordering::SeqCst) {
            return;
        }
        // An error here concerns one client, or there are too many open files, which passes.
        let Ok(stream) = stream else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        let gone = Arc::new(AtomicBool::new(false));
        let full = {
            let mut here = clients.here();
            let full = here.len() >= MAX_CLIENTS;
            if !full {
                here.push(gone.clone());
            }
            full
        };
        if full {
            let _ = write_frame(&stream, BUSY, &[]);
            continue;
        }
        let (clients, shared) = (clients.clone(), serving.clone());
        std::thread::spawn(move || {
            let _here = Here { clients, gone: gone.clone() };
            // What fails is the connection, and then nobody is there to be told.
            let _ = serve_one(stream, Served { shared, gone });
        });
    }
}

/// A client that is here, until this is dropped.
struct Here {
    clients: Arc<Clients>,
    gone: Arc<AtomicBool>,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.clients.here().retain(|other| !Arc::ptr_eq(other, &self.gone));
        self.clients.left.notify_all();
    }
}

fn serve_one(stream: UnixStream, served: Served) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIME))?;
    let (kind, body) = read_frame(&stream, MAX_REQUEST)?;
    if kind != REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    stream.set_read_timeout(None)?;
    let request: Option<Request> = serde_json::from_slice(&body).ok();
    let known =
        |request: &Request| request.version == VERSION && request.program == env!("CARGO_PKG_VERSION");
    let Some(Request { words, folder, looks, .. }) = request.filter(known) else {
        return write_frame(&stream, OTHER_VERSION, env!("CARGO_PKG_VERSION").as_bytes());
    };
    write_frame(&stream, BEGUN, &[])?;
    let arguments = match Arguments::try_parse_from(words.into_iter().map(Word::into_os)) {
        Ok(arguments) if super::runs_in_serve(&arguments.command) => arguments,
        // The client looks at its words first.
        _ => return write_frame(&stream, EXIT, &[Exit::Usage as u8]),
    };

    let (sender, pieces) = sync_channel(1);
    let (teller, answers) = sync_channel(1);
    let (incoming, gone) = (stream.try_clone()?, served.gone.clone());
    std::thread::spawn(move || {
        // Where the command reads no more, only whether the client stays matters.
        while let Ok((kind, piece)) = read_frame(&incoming, MAX_PIECE) {
            let _ = match kind {
                STDIN => sender.send(piece).is_ok(),
                SECRET => teller.send(Zeroizing::new(piece)).is_ok(),
                _ => break,
            };
        }
        gone.store(true, Ordering::SeqCst);
    });

    let stream = Arc::new(stream);
    let shows = |kind| Box::new(Printer { stream: stream.clone(), kind });
    let wishes = Wishes { stream: stream.clone(), pieces, piece: Vec::new(), at: 0, ended: false };
    let terminal = Terminal {
        stdout: shows(STDOUT),
        stderr: shows(STDERR),
        input: Input::new(Box::new(wishes), folder.into_os().into()),
        secrets: Box::new(Asked { stream: stream.clone(), answers }),
        looks,
    };
    let run = std::panic::AssertUnwindSafe(|| execute(arguments, terminal, Some(served)));
    // A command that panics must not look like one that was cut off.
    let exit = std::panic::catch_unwind(run).unwrap_or(Exit::Failed);
    let told = write_frame(&stream, EXIT, &[exit as u8]);
    // Ends the thread that reads.
    let _ = stream.shutdown(std::net::Shutdown::Both);
    told
}

/// The client's user, who is asked for passwords. What is answered is printed nowhere.
struct Asked {
    stream: Arc<UnixStream>,
    answers: Receiver<Zeroizing<Vec<u8>>>,
}

impl Secrets for Asked {
    fn ask(&mut self, question: &Question) -> Result<Option<Password>, Failure> {
        let lost = || Failure::new(Exit::Failed, "io", "the client is gone", "run the command again");
        let asked = serde_json::to_vec(question).map_err(|_| {
            Failure::invalid("invalid", "the path of a password file is not UTF-8", "rename the file")
        })?;
        write_frame(&self.stream, ASK, &asked).map_err(|_| lost())?;
        let answer = self.answers.recv().map_err(|_| lost())?;
        let (kind, rest) = answer.split_first().ok_or_else(lost)?;
        let why = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            0 => Ok(None),
            1 => Ok(Some(Password::from_bytes(rest.to_vec()))),
            2 => Err(Failure::new(Exit::NotFound, "file_not_found", why(), "check the path")),
            _ => Err(Failure::invalid("invalid", why(), "check what was given as the password")),
        }
    }
}

/// One of the client's two streams.
struct Printer {
    stream: Arc<UnixStream>,
    kind: u8,
}

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..MAX_PIECE).unwrap_or(bytes);
        write_frame(&self.stream, self.kind, piece)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The client's standard input, of which nothing is taken that the command does not ask for.
struct Wishes {
    stream: Arc<UnixStream>,
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Wishes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.piece.len() && !self.ended {
            write_frame(&self.stream, WANT, &[])?;
            // A client that is gone has not ended its input: what it was about to say is not known.
            self.piece = self.pieces.recv().map_err(|_| io::ErrorKind::ConnectionAborted)?;
            self.at = 0;
            self.ended = self.piece.is_empty();
        }
        let mut rest = self.piece.get(self.at..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.at += read;
        Ok(read)
    }
}
