//! One run of the workload on a recording disk: what happened to the disk, what was acknowledged when, and how the
//! database stood after each step.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftless::{Database, Durability, Error};
use driftless_store::Disk as DiskHook;
use tempfile::TempDir;

use crate::disk::{Disk, Event, Files};
use crate::verify::{Dump, Verify, dump, rebuilt};
use crate::workload::{Hand, Received, Session, bundle, fields, notes, others, script, send, take};

// Small, so that the log is copied into the file and starts over many times.
const CHECKPOINT_PAGES: u32 = 60;
// A database of this size must be open again well within this.
const OPENS_IN: Duration = Duration::from_secs(5);

/// A folder whose database lies on a recording disk.
pub(crate) struct Pen {
    pub(crate) disk: Disk,
    pub(crate) hand: Hand,
    vfs: String,
    home: TempDir,
}

/// How the database stood after a step, and what it had told others.
#[derive(Debug, Clone)]
pub(crate) struct Stand {
    pub(crate) after: &'static str,
    pub(crate) dump: Arc<Dump>,
    /// The space `home`, as others have it.
    pub(crate) told: Option<Arc<Vec<u8>>>,
    /// Events until it was acknowledged.
    pub(crate) acknowledged: usize,
    /// The files then, in the middle of a session.
    pub(crate) files: Files,
    /// The step that comes next: its session, and its place in it.
    pub(crate) next: (usize, usize),
    pub(crate) received: Received,
}

pub(crate) struct Recording {
    pub(crate) start: Files,
    pub(crate) log: Vec<Event>,
    pub(crate) stands: Vec<Stand>,
    pub(crate) sessions: Vec<Session>,
}

impl Stand {
    /// Before the first step.
    pub(crate) fn nothing() -> Self {
        Self {
            after: "nothing",
            dump: Arc::default(),
            told: None,
            acknowledged: 0,
            files: Files::new(),
            next: (0, 0),
            received: Received::new(),
        }
    }
}

impl Pen {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (disk, vfs) = Disk::new();
        Self { disk, hand: Hand::new(), vfs, home }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("db")
    }

    /// The name of the database file on the disk.
    pub(crate) fn file(&self) -> String {
        self.path().join("driftless.sqlite").to_string_lossy().into_owned()
    }

    /// An empty database file, as it is before the first transaction.
    pub(crate) fn start(&self) -> Files {
        // Fails at its first write: what is left is the file.
        let made = Database::builder()
            .wrap_storage(|inner| Box::new(crate::seam::Recorder::failing(inner)))
            .open(self.path());
        assert!(made.is_err());
        let bytes = std::fs::read(self.file()).unwrap();
        Files::from([(self.file(), Arc::new(bytes))])
    }

    pub(crate) fn open(&self, opened: usize, durability: Durability) -> Result<Database, Error> {
        let disk = DiskHook {
            vfs: Some(self.vfs.clone()),
            checkpoint_pages: Some(CHECKPOINT_PAGES),
            cache_kib: None,
        };
        self.hand.builder(opened).durability(durability).disk(disk).open(self.path())
    }

    /// Whether SQLite finds the structure of the file in order; nothing else may have it open.
    pub(crate) fn is_intact(&self) -> bool {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        rusqlite::Connection::open_with_flags_and_vfs(self.file(), flags, self.vfs.as_str())
            .and_then(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
            .is_ok_and(|answer: String| answer == "ok")
    }

    /// Runs the workload from an empty file.
    pub(crate) fn record(&self, rounds: usize) -> Recording {
        let start = self.start();
        self.disk.load(&start);
        let (sessions, mut received, mut round) = (script(rounds), Received::new(), 0);
        let mut stands = vec![Stand { files: start.clone(), ..Stand::nothing() }];
        for (at, session) in sessions.iter().enumerate() {
            let db = self.open(at, session.durability).unwrap();
            for (place, step) in session.steps.iter().enumerate() {
                self.hand.set(stands.len());
                send(step, &db, &mut round, &mut received);
                // What the last stand lacked: what the next step takes.
                stands.last_mut().unwrap().received = received.clone();
                step.run(&db, &received).unwrap_or_else(|error| panic!("{}: {error}", step.name));
                let ends = place + 1 == session.steps.len();
                stands.push(Stand {
                    after: step.name,
                    dump: Arc::new(dump(&db).unwrap()),
                    told: db.space("home").ok().map(|space| Arc::new(bundle(&space))),
                    acknowledged: self.disk.events(),
                    files: self.disk.files(),
                    next: if ends { (at + 1, 0) } else { (at, place + 1) },
                    received: Received::new(),
                });
            }
        }
        Recording { start, log: self.disk.log(), stands, sessions }
    }

    /// Opens what a crash left, and checks that it is how the database stood at one of `allowed`, the first of which
    /// was acknowledged; that the view is what the log says; and that writes go on where others know of the last ones.
    pub(crate) fn check(
        &self,
        left: &Files,
        allowed: &[Stand],
        verify: Verify,
        at: &dyn Fn() -> String,
    ) -> Result<usize, String> {
        self.disk.load(left);
        self.reopen(allowed, verify).map_err(|why| format!("{}: {why}", at()))
    }

    fn reopen(&self, allowed: &[Stand], verify: Verify) -> Result<usize, String> {
        let started = Instant::now();
        let db = self.open(1000, Durability::Each).map_err(|error| format!("does not open: {error}"))?;
        if started.elapsed() > OPENS_IN {
            return Err(format!("took {:?} to open", started.elapsed()));
        }
        examine(&db, allowed, verify)
    }
}

/// Whether a database stands at one of `allowed`, as its log says, and goes on. Which one it is.
pub(crate) fn examine(db: &Database, allowed: &[Stand], verify: Verify) -> Result<usize, String> {
    let found = dump(db).map_err(|error| format!("cannot be read: {error}"))?;
    let stands = allowed.iter().position(|stand| *stand.dump == found);
    let Some(stands) = stands else {
        let wanted = allowed.first().map(|stand| stand.dump.as_slice()).unwrap_or_default();
        let missing: Vec<&String> = wanted.iter().filter(|line| !found.contains(line)).take(3).collect();
        let more: Vec<&String> = found.iter().filter(|line| !wanted.contains(line)).take(3).collect();
        return Err(format!("stands as it never stood: missing {missing:#?}, phantom {more:#?}"));
    };
    verify(db)?;
    go_on(db, allowed.get(stands)).map_err(|error| format!("does not go on: {error}"))?;
    Ok(stands)
}

// Writes, and shows others who have heard of everything acknowledged: nothing may contradict what they know.
fn go_on(db: &Database, stand: Option<&Stand>) -> Result<(), Error> {
    let Some(told) = stand.and_then(|stand| stand.told.as_ref()) else {
        return db.create_space("new").map(drop);
    };
    notes(db)?.insert(fields(r#"{"after": "the crash"}"#))?;
    let other = others(99);
    take(&other, told)?;
    let home = db.space("home")?;
    take(&other, &bundle(&home))?;
    let (here, there) = (home.digest()?, other.space("home")?.digest()?);
    assert_eq!(here, there, "others know of commits that were written again");
    Ok(())
}

/// What the database may stand like after the first `events`: the last that was acknowledged, or what was under way.
pub(crate) fn allowed(stands: &[Stand], events: usize) -> &[Stand] {
    let last = stands.iter().rposition(|stand| stand.acknowledged <= events).unwrap_or(0);
    &stands[last..stands.len().min(last + 2)]
}

pub(crate) const VERIFY: Verify = rebuilt;
