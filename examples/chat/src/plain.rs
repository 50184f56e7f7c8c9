//! Lines in, lines out: for pipes, and wherever there is no screen.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::online::Online;
use crate::room::Room;

// How often what cannot be heard of is looked at: whether a peer has acknowledged.
const LOOK: Duration = Duration::from_millis(100);
// After the last line, what was not delivered yet gets this long; it is delivered the next time otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints every message of a room, and sends what comes in; ends after the last line.
pub(crate) fn run(online: &Online, room: &Room) -> Result<(), Box<dyn Error>> {
    let changes = online.database.changes();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send_lines(online, room);
            ended.store(true, Ordering::Release);
            sent
        });
        let (mut printed, mut until) = (BTreeSet::new(), None);
        loop {
            // Known before looking, so that the last line is printed too.
            let last = ended.load(Ordering::Acquire);
            for message in room.messages()? {
                if printed.insert(message.id) {
                    let mut out = io::stdout().lock();
                    writeln!(out, "{}: {}", message.from, message.text)?;
                    out.flush()?;
                }
            }
            if last {
                let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
                if room.unsent()?.is_empty() || Instant::now() > until {
                    break;
                }
            }
            changes.wait_for(LOOK);
        }
        sender.join().unwrap_or_else(|_| Err("reading stopped".into())).map_err(Into::into)
    })
}

fn send_lines(online: &Online, room: &Room) -> Result<(), String> {
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        if !line.trim().is_empty() {
            room.send(&online.username, &line).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
