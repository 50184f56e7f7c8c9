//! A chat in a pseudo-terminal: what a person would see, and the keys they would press.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

// How long something may take to appear on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
const SIZE: PtySize = PtySize { rows: 16, cols: 92, pixel_width: 0, pixel_height: 0 };

/// What the terminal shows, and whether the process is gone.
struct Seen {
    screen: vt100::Parser,
    ended: bool,
}

/// A chat and the person before it.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    pub(crate) fn start(words: &[String]) -> Self {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_driftless-chat"));
        command.args(words);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let (mut output, keys) =
            (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let screen = vt100::Parser::new(SIZE.rows.try_into().unwrap(), SIZE.cols.try_into().unwrap(), 0);
        let seen = Arc::new((Mutex::new(Seen { screen, ended: false }), Condvar::new()));
        let shared = seen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                // The end of a pseudo-terminal is an error on some systems.
                let read = output.read(&mut bytes).unwrap_or(0);
                let mut seen = shared.0.lock().unwrap();
                seen.screen.process(&bytes[..read]);
                seen.ended = read == 0;
                shared.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        Self { child, keys, seen, _master: pair.master }
    }

    // Waits until it holds.
    fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut seen = self.seen.0.lock().unwrap();
        while !holds(&seen) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !seen.ended, "{what}\n{}", seen.screen.screen().contents());
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits for a text.
    pub(crate) fn sees(&self, text: &str) {
        self.until(&format!("waited for {text:?}"), |seen| seen.screen.screen().contents().contains(text));
    }

    /// Waits for the first line of what is no screen.
    pub(crate) fn reads_line(&self) -> String {
        self.until("waited for a line", |seen| {
            let screen = seen.screen.screen();
            !screen.contents().is_empty() && screen.cursor_position().1 == 0
        });
        self.text().trim().to_owned()
    }

    /// Waits until this is the whole screen, whatever the time is.
    pub(crate) fn shows(&self, screen: &str) {
        let timeless = |text: &str| text.trim_end().replace(|letter: char| letter.is_ascii_digit(), "0");
        let wanted = timeless(screen);
        self.until("not the same", |seen| timeless(&seen.screen.screen().contents()) == wanted);
    }

    /// Waits until a text is gone.
    pub(crate) fn sees_no_more(&self, text: &str) {
        self.until(&format!("still there: {text:?}"), |seen| !seen.screen.screen().contents().contains(text));
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Types a line and sends it, once there is where to type.
    pub(crate) fn writes(&mut self, line: &str) {
        self.sees("Esc quits");
        self.types(&format!("{line}\r"));
    }

    /// Ctrl-C; the process ends well, and leaves no trace on the screen.
    pub(crate) fn leaves(mut self) {
        self.types("\u{3}");
        self.until("the chat goes on", |seen| seen.ended);
        assert!(self.child.wait().unwrap().success());
        assert!(!self.seen.0.lock().unwrap().screen.screen().alternate_screen());
    }

    pub(crate) fn text(&self) -> String {
        self.seen.0.lock().unwrap().screen.screen().contents()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
