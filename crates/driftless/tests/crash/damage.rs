//! Files that changed by themselves: a bit that flipped, an end that is missing. The answer is right, or an error that
//! says so; what reading cannot notice, verifying must.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftless::{Database, Durability, Error};

use crate::disk::Files;
use crate::recorded::{Pen, VERIFY};
use crate::verify::{Dump, documents, dump};
use crate::workload::{bundle, fields, insert, notes, others, path, take};
use crate::{Dice, is_full, say};

const PAGE: usize = 4096;
// However a file is damaged, looking at all of it takes no longer.
const LOOKED_AT_IN: Duration = Duration::from_secs(20);

/// What came of reading a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// Everything is as it was.
    Right,
    /// Somebody was told.
    Error,
    /// Something is not there, and nobody was told.
    Missing,
    /// Something is there that never was.
    Altered,
}

// A database with everything in it: rows small and large, indexes, edits by others, more than one space.
fn fill(db: &Database, documents: i64) -> Result<(), Error> {
    let home = db.create_space("home")?;
    let notes = home.collection("notes")?;
    notes.create_index(&path("n"))?;
    let mut transaction = db.transaction();
    for n in 0..documents {
        let words = "words that make a document as long as documents are ".repeat(1 + n as usize % 5);
        transaction
            .insert(&notes, fields(&format!(r#"{{"n": {n}, "words": "{words}", "of": {}}}"#, n % 7)))?;
    }
    transaction.commit()?;
    for n in 0..documents / 10 {
        insert(&notes, n, &format!(r#"{{"n": {n}}}"#))?;
        let edit = r#"{"$inc": {"n": 1}, "$push": {"tags": "red"}}"#;
        notes.edit(&n.into(), driftless::operators_from_json(edit)?)?;
    }
    insert(&notes, -1, &format!(r#"{{"n": -1, "long": "{}"}}"#, "long ".repeat(4000)))?;
    let theirs = others(3).create_space("theirs")?;
    for n in 0..documents / 20 {
        insert(&theirs.collection("notes")?, n, r#"{"n": 1}"#)?;
    }
    take(db, &bundle(&theirs))
}

struct Damaged<'p> {
    pen: &'p Pen,
    whole: Arc<Vec<u8>>,
    documents: Dump,
    all: Dump,
}

impl Damaged<'_> {
    fn new(pen: &Pen, count: i64) -> Damaged<'_> {
        pen.disk.load(&pen.start());
        let db = pen.open(0, Durability::Each).unwrap();
        fill(&db, count).unwrap();
        let (documents, all) = (documents(&db).unwrap(), dump(&db).unwrap());
        drop(db);
        let whole = pen.disk.files()[&pen.file()].clone();
        Damaged { pen, whole, documents, all }
    }

    // Opens, reads, verifies and writes. What reading documents, reading everything and verifying found.
    fn look(&self, bytes: Vec<u8>) -> [Found; 3] {
        let files = Files::from([(self.pen.file(), Arc::new(bytes))]);
        self.pen.disk.load(&files);
        let intact = self.pen.is_intact();
        self.pen.disk.load(&files);
        let started = Instant::now();
        let db = match self.pen.open(1, Durability::Each) {
            Ok(db) => db,
            Err(error) => {
                explicit(&error);
                return [Found::Error; 3];
            }
        };
        let read = compare(&self.documents, documents(&db));
        let all = compare(&self.all, dump(&db));
        // What is nobody's but this database's, such as which indexes there are, no log brings back: `fsck` sees it gone.
        let sound = db.fsck(None, &mut |_| {}).is_ok_and(|report| report.is_ok());
        let verified = if !intact || !sound || VERIFY(&db).is_err() {
            Found::Error
        } else {
            compare(&self.all, dump(&db))
        };
        if let Err(error) = notes(&db).and_then(|notes| notes.insert(fields("{}"))) {
            explicit(&error);
        }
        drop(db);
        assert!(started.elapsed() < LOOKED_AT_IN, "took {:?}", started.elapsed());
        [read, all.max(read), verified]
    }
}

// An error that a user can tell from a mistake of their own.
fn explicit(error: &Error) {
    let told = matches!(
        error,
        Error::Damaged(_)
            | Error::Io(_)
            | Error::Poisoned(_)
            | Error::NotFound { .. }
            | Error::Newer { .. }
            | Error::Older { .. }
            | Error::NotPermitted(_)
            | Error::Exists(_)
            | Error::Locked
    );
    assert!(told, "damage is told as {error:?}");
}

fn compare(truth: &Dump, found: Result<Dump, Error>) -> Found {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            explicit(&error);
            return Found::Error;
        }
    };
    if *truth == found {
        return Found::Right;
    }
    let known: BTreeMap<&str, &str> = truth.iter().filter_map(|line| line.split_once(": ")).collect();
    let part = |line: &&String| {
        truth.contains(line)
            || line.split_once(": ").is_some_and(|(name, list)| {
                // Fewer of a list, and nothing that was not in it.
                let whole = known.get(name).copied().unwrap_or_default();
                (name.contains(" by ") || name.contains(" get "))
                    && list.split(' ').all(|part| whole.contains(part))
                    || name.contains(" counted")
            })
    };
    let altered = found.iter().find(|line| !part(line));
    if let Some(altered) = altered.filter(|_| std::env::var("DRIFTLESS_CRASH_SHOW").is_ok()) {
        say(&format!("altered: {:.300}", altered));
    }
    if altered.is_some() { Found::Altered } else { Found::Missing }
}

#[derive(Debug, Default)]
struct Tally(BTreeMap<[Found; 3], usize>);

impl Tally {
    fn add(&mut self, found: [Found; 3], place: impl Fn() -> String) {
        let [documents, all, verified] = found;
        assert!(documents < Found::Altered, "a document that never was is served: {}", place());
        assert!(all < Found::Altered, "a commit that never was is served: {}", place());
        assert!(verified < Found::Missing, "verifying does not find {documents:?} at {}", place());
        *self.0.entry(found).or_default() += 1;
    }

    fn told(&self) -> String {
        let count = |fits: &dyn Fn(&[Found; 3]) -> bool| -> usize {
            self.0.iter().filter(|(found, _)| fits(found)).map(|(_, count)| count).sum()
        };
        let (right, error) =
            (count(&|found| found[0] == Found::Right), count(&|found| found[0] == Found::Error));
        let missing = count(&|found| found[0] == Found::Missing);
        format!("{right} read right, {error} told by reading, {missing} by verifying only, none served wrong")
    }
}

fn size() -> i64 {
    if is_full() { 1200 } else { 100 }
}

#[test]
fn a_flipped_bit_is_never_read_as_something_else() {
    let pen = Pen::new();
    let damaged = Damaged::new(&pen, size());
    let flips = if is_full() { 10_000 } else { 300 };
    let (mut dice, mut tally) = (Dice(3), Tally::default());
    let pages = damaged.whole.len() / PAGE;
    for flip in 0..flips {
        // Every page in turn; the heads of pages, where their structure is, as often as all the rest.
        let within = if dice.below(2) == 0 { dice.below(64) } else { dice.below(PAGE) };
        let (at, bit) = (flip % pages * PAGE + within, dice.below(8));
        let mut bytes = damaged.whole.to_vec();
        bytes[at] ^= 1 << bit;
        tally.add(damaged.look(bytes), || format!("bit {bit} of byte {within} of page {}", at / PAGE + 1));
    }
    say(&format!("flips: {flips} in {pages} pages: {}", tally.told()));
}

#[test]
fn a_file_that_ends_early_is_never_read_as_something_else() {
    let pen = Pen::new();
    let damaged = Damaged::new(&pen, size());
    let mut tally = Tally::default();
    let ends: Vec<usize> = (0..damaged.whole.len()).step_by(512).collect();
    let every = if is_full() { 1 } else { ends.len() / 50 };
    for end in ends.iter().step_by(every) {
        tally.add(damaged.look(damaged.whole[..*end].to_vec()), || format!("byte {end}, the last"));
    }
    let cut = ends.len().div_ceil(every);
    say(&format!("truncations: {cut} of {} bytes: {}", damaged.whole.len(), tally.told()));
}

#[test]
fn pages_that_are_empty_or_those_of_others_are_never_read_as_something_else() {
    let pen = Pen::new();
    let damaged = Damaged::new(&pen, size());
    let (mut dice, mut tally) = (Dice(5), Tally::default());
    let pages = damaged.whole.len() / PAGE;
    let every = if is_full() { 1 } else { pages / 25 };
    for page in (0..pages).step_by(every) {
        let at = page * PAGE..(page + 1) * PAGE;
        let mut empty = damaged.whole.to_vec();
        empty[at.clone()].fill(0);
        tally.add(damaged.look(empty), || format!("page {}, empty", page + 1));
        let mut other = damaged.whole.to_vec();
        let from = dice.below(pages) * PAGE;
        other.copy_within(from..from + PAGE, at.start);
        tally.add(damaged.look(other), || format!("page {}, that of {}", page + 1, from / PAGE + 1));
    }
    say(&format!("pages: {} empty or exchanged: {}", 2 * pages.div_ceil(every), tally.told()));
}

#[test]
fn a_write_that_meets_damage_changes_nothing_and_the_rest_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("db");
    let db = Database::open(&folder).unwrap();
    let space = db.create_space("home").unwrap();
    let notes = space.collection("notes").unwrap();
    for n in 0..3 {
        insert(&notes, n, r#"{"n": 1}"#).unwrap();
    }
    drop((space, notes, db));
    // The body of the second insert: the genesis came first.
    let file = rusqlite::Connection::open(folder.join("driftless.sqlite")).unwrap();
    let third = "(SELECT key FROM body ORDER BY key LIMIT 1 OFFSET 2)";
    assert_eq!(file.execute(&format!("UPDATE body SET value = x'00' WHERE key = {third}"), []), Ok(1));
    drop(file);

    let db = Database::open(&folder).unwrap();
    let space = db.space("home").unwrap();
    let before = documents(&db).unwrap();
    // Half way through the log there is no going on, and what was thrown away comes back.
    assert!(matches!(space.rebuild(), Err(Error::Damaged(_))));
    assert_eq!(documents(&db).unwrap(), before);
    let notes = space.collection("notes").unwrap();
    insert(&notes, 3, r#"{"n": 1}"#).unwrap();
    assert_eq!((space.digest().unwrap().commits, space.digest().unwrap().documents), (5, 4));
    drop((space, notes, db));
    let db = Database::open(&folder).unwrap();
    assert_eq!(db.space("home").unwrap().digest().unwrap().commits, 5);
    assert!(matches!(dump(&db), Err(Error::Damaged(_))), "the commit itself is still damaged, and says so");
}
