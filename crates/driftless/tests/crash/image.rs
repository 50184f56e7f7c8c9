//! What a power cut leaves of a disk: everything that was flushed, and of the rest whatever the mode makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Dice;
use crate::disk::{Event, Files, put};

/// What becomes of writes that were not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They are there: only the process died.
    Kept,
    /// They are gone.
    Dropped,
    /// Each one is there or not.
    Subset,
    /// They are there up to one, of which some sectors are.
    Torn,
    /// Some are there, and the later ones are no likelier to be missing.
    Reordered,
}

pub(crate) const MODES: [Mode; 5] = [Mode::Kept, Mode::Dropped, Mode::Subset, Mode::Torn, Mode::Reordered];

#[derive(Debug, Clone)]
enum Op {
    Write { at: usize, bytes: Arc<[u8]> },
    Truncate { size: usize },
}

#[derive(Debug, Clone, Default)]
struct File {
    flushed: Arc<Vec<u8>>,
    pending: Vec<Op>,
}

/// A disk on the way through its events.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    files: BTreeMap<usize, File>,
    // Names as the program sees them, and as they are on the disk for certain.
    names: BTreeMap<String, usize>,
    flushed: BTreeMap<String, usize>,
}

impl Replay {
    pub(crate) fn new(start: &Files) -> Self {
        let mut replay = Self::default();
        // In the order in which the disk numbers them.
        for (number, (name, bytes)) in start.iter().enumerate() {
            replay.names.insert(name.clone(), number);
            replay.files.insert(number, File { flushed: bytes.clone(), pending: Vec::new() });
        }
        replay.flushed = replay.names.clone();
        replay
    }

    pub(crate) fn advance(&mut self, event: &Event) {
        match event {
            Event::Create { name, file } => {
                self.names.insert(name.clone(), *file);
                self.files.insert(*file, File::default());
            }
            Event::Delete { name } => drop(self.names.remove(name)),
            Event::Write { file, at, bytes } => self.pend(*file, Op::Write { at: *at, bytes: bytes.clone() }),
            Event::Truncate { file, size } => self.pend(*file, Op::Truncate { size: *size }),
            Event::Lost { file } => {
                if let Some(file) = self.files.get_mut(file) {
                    file.pending.clear();
                }
            }
            Event::Sync { file: number } => {
                if let Some(file) = self.files.get_mut(number) {
                    let pending = std::mem::take(&mut file.pending);
                    let content = Arc::make_mut(&mut file.flushed);
                    pending.iter().for_each(|op| op.apply(content));
                }
                // SQLite flushes the folder with the first flush of a file that it made.
                let named = self.names.iter().filter(|(_, file)| *file == number);
                self.flushed.extend(named.map(|(name, file)| (name.clone(), *file)));
            }
        }
    }

    fn pend(&mut self, file: usize, op: Op) {
        if let Some(file) = self.files.get_mut(&file) {
            file.pending.push(op);
        }
    }

    /// What is left if the power goes now.
    pub(crate) fn crash(&self, mode: Mode, dice: &mut Dice) -> Files {
        let mut names: Vec<&String> = self.names.keys().chain(self.flushed.keys()).collect();
        names.sort();
        names.dedup();
        let mut left = Files::new();
        for name in names {
            let (now, before) = (self.names.get(name), self.flushed.get(name));
            let sees_now = match mode {
                Mode::Kept | Mode::Torn => true,
                Mode::Dropped => false,
                Mode::Subset | Mode::Reordered => dice.below(2) == 0,
            };
            let file = if sees_now { now } else { before };
            if let Some(file) = file.and_then(|file| self.files.get(file)) {
                left.insert(name.clone(), file.crash(mode, dice));
            }
        }
        left
    }
}

impl File {
    fn crash(&self, mode: Mode, dice: &mut Dice) -> Arc<Vec<u8>> {
        if self.pending.is_empty() || mode == Mode::Dropped {
            return self.flushed.clone();
        }
        let mut content = self.flushed.to_vec();
        match mode {
            Mode::Kept | Mode::Dropped => self.pending.iter().for_each(|op| op.apply(&mut content)),
            Mode::Subset => {
                self.pending.iter().filter(|_| dice.below(2) == 0).for_each(|op| op.apply(&mut content));
            }
            Mode::Torn => {
                let torn = dice.below(self.pending.len());
                self.pending.iter().take(torn).for_each(|op| op.apply(&mut content));
                if let Some(op) = self.pending.get(torn) {
                    op.tear(&mut content, dice);
                }
            }
            Mode::Reordered => {
                let mut order: Vec<&Op> = self.pending.iter().collect();
                for at in (1..order.len()).rev() {
                    order.swap(at, dice.below(at + 1));
                }
                let kept = 1 + dice.below(order.len());
                order.iter().take(kept).for_each(|op| op.apply(&mut content));
            }
        }
        Arc::new(content)
    }
}

impl Op {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(content, *at, bytes),
            Self::Truncate { size } => content.resize(*size, 0),
        }
    }

    // Some sectors of the write arrive, of 512 bytes or of 4 KiB.
    fn tear(&self, content: &mut Vec<u8>, dice: &mut Dice) {
        let Self::Write { at, bytes } = self else { return };
        let sector = if dice.below(2) == 0 { 512 } else { 4096 };
        let mut from = *at;
        while from < at + bytes.len() {
            let end = ((from / sector + 1) * sector).min(at + bytes.len());
            if dice.below(2) == 0 {
                put(content, from, &bytes[from - at..end - at]);
            }
            from = end;
        }
    }
}
