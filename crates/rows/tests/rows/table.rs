//! The truth table of docs/rows.md in real files: every sequence of steps on a row, every split over two and three devices,
//! every choice of when they meet, and every order in which they hear of each other at the end. Each sequence has a row of
//! its own, so that all of them happen in the same few files at once. What must come out says a model that knows nothing
//! of operators, commits or triggers: lists of edits, gone through from nothing.

use std::collections::BTreeSet;

use driftless_rows::{DoubleCreate, Options, PerColumn, Policy};
use rusqlite::Connection;

use crate::shop::{Shop, shops_with};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    // The row as a whole, whether it is there or not.
    Put,
    SetA,
    SetB,
    Count,
    High,
    Low,
    Tag,
    Untag,
    Delete,
    // Deleted and made again in one transaction.
    Recreate,
}
use Step::*;

// Columns of which the last write wins, and then one of each other policy.
const PLAIN: &[Step] = &[Put, SetA, SetB, Delete, Recreate];
const POLICIES: &[Step] = &[Put, Count, High, Low, Tag, Untag, Delete, Recreate];
const SCHEMA: &str =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, n INTEGER, high INTEGER, low INTEGER, tags TEXT);";
// What the steps write: neither rising nor falling.
const VALUES: [i64; 5] = [5, 2, 9, 4, 7];

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Row {
    a: i64,
    b: i64,
    n: i64,
    high: i64,
    low: i64,
    tags: BTreeSet<i64>,
}

impl Row {
    fn new(value: i64) -> Self {
        Self { a: value, b: value, n: value, high: value, low: value, tags: [value].into() }
    }
}

// One edit as its device meant it.
#[derive(Debug, Clone)]
enum Edit {
    Create(i64),
    Delete,
    Recreate(i64),
    Change {
        a: Option<i64>,
        b: Option<i64>,
        n: i64,
        high: Option<i64>,
        low: Option<i64>,
        tag: Option<i64>,
        untag: BTreeSet<i64>,
    },
}

const NOTHING: Edit =
    Edit::Change { a: None, b: None, n: 0, high: None, low: None, tag: None, untag: BTreeSet::new() };

// The table, cell by cell.
fn fold<'e>(edits: impl Iterator<Item = &'e Edit>) -> Option<Row> {
    let (mut row, mut there) = (None::<Row>, false);
    for edit in edits {
        match edit {
            Edit::Delete => there = false,
            Edit::Recreate(value) => (row, there) = (Some(Row::new(*value)), true),
            Edit::Create(value) => {
                let new = Row::new(*value);
                row = Some(match row.take().filter(|_| there) {
                    // Two creations of one row: all cells of the later one, where they do not merge by a policy.
                    Some(old) => Row {
                        high: old.high.max(new.high),
                        low: old.low.min(new.low),
                        tags: old.tags.union(&new.tags).copied().collect(),
                        ..new
                    },
                    None => new,
                });
                there = true;
            }
            Edit::Change { a, b, n, high, low, tag, untag } => {
                let Some(row) = &mut row else { continue };
                row.a = a.unwrap_or(row.a);
                row.b = b.unwrap_or(row.b);
                row.n += n;
                row.high = row.high.max(high.unwrap_or(row.high));
                row.low = row.low.min(low.unwrap_or(row.low));
                row.tags.retain(|tag| !untag.contains(tag));
                row.tags.extend(tag);
            }
        }
    }
    row.filter(|_| there)
}

// What a step is on a device that sees this row. What is no larger in a column that keeps the largest says nothing.
fn edit(step: Step, value: i64, row: Option<&Row>) -> Option<Edit> {
    let change = |with: &dyn Fn(&Row, &mut Edit)| {
        let mut edit = NOTHING.clone();
        with(row?, &mut edit);
        Some(edit)
    };
    match (step, row) {
        (Put | Recreate, None) => Some(Edit::Create(value)),
        (Recreate, Some(_)) => Some(Edit::Recreate(value)),
        (Delete, row) => row.map(|_| Edit::Delete),
        (Put, Some(row)) => Some(Edit::Change {
            a: Some(value),
            b: Some(value),
            n: value - row.n,
            high: Some(value).filter(|value| *value > row.high),
            low: Some(value).filter(|value| *value < row.low),
            tag: Some(value),
            untag: row.tags.iter().copied().filter(|tag| *tag != value).collect(),
        }),
        (SetA, _) => change(&|_, edit| {
            if let Edit::Change { a, .. } = edit {
                *a = Some(value)
            }
        }),
        (SetB, _) => change(&|_, edit| {
            if let Edit::Change { b, .. } = edit {
                *b = Some(value)
            }
        }),
        (Count, _) => change(&|_, edit| {
            if let Edit::Change { n, .. } = edit {
                *n = value
            }
        }),
        (High, _) => change(&|row, edit| {
            if let Edit::Change { high, .. } = edit {
                *high = Some(value).filter(|value| *value > row.high)
            }
        }),
        (Low, _) => change(&|row, edit| {
            if let Edit::Change { low, .. } = edit {
                *low = Some(value).filter(|value| *value < row.low)
            }
        }),
        (Tag, _) => change(&|_, edit| {
            if let Edit::Change { tag, .. } = edit {
                *tag = Some(value)
            }
        }),
        (Untag, _) => change(&|row, edit| {
            if let Edit::Change { untag, .. } = edit {
                untag.clone_from(&row.tags)
            }
        }),
    }
}

fn sql(step: Step) -> &'static [&'static str] {
    match step {
        Put => &[
            "INSERT INTO t VALUES(?1, ?2, ?2, ?2, ?2, ?2, json_array(?2)) ON CONFLICT DO UPDATE SET a = ?2, b = ?2, n = ?2, high = ?2, low = ?2, tags = json_array(?2)",
        ],
        SetA => &["UPDATE t SET a = ?2 WHERE id = ?1"],
        SetB => &["UPDATE t SET b = ?2 WHERE id = ?1"],
        Count => &["UPDATE t SET n = n + ?2 WHERE id = ?1"],
        High => &["UPDATE t SET high = ?2 WHERE id = ?1"],
        Low => &["UPDATE t SET low = ?2 WHERE id = ?1"],
        // In front, and once: an order says nothing.
        Tag => &[
            "UPDATE t SET tags = (SELECT json_group_array(value) FROM (SELECT ?2 AS value UNION SELECT value FROM json_each(tags))) WHERE id = ?1",
        ],
        Untag => &["UPDATE t SET tags = '[]' WHERE id = ?1 AND ?2"],
        Delete => &["DELETE FROM t WHERE id = ?1 AND ?2"],
        Recreate => &[
            "DELETE FROM t WHERE id = ?1 AND ?2",
            "INSERT INTO t VALUES(?1, ?2, ?2, ?2, ?2, ?2, json_array(?2))",
        ],
    }
}

fn rows(app: &Connection) -> Vec<(usize, Row)> {
    let mut statement = app.prepare("SELECT * FROM t ORDER BY id").unwrap();
    let rows = statement.query_map([], |row| {
        let tags: String = row.get(6)?;
        let tags = serde_json::from_str(&tags).unwrap_or_else(|_| panic!("{tags}"));
        let cells =
            Row { a: row.get(1)?, b: row.get(2)?, n: row.get(3)?, high: row.get(4)?, low: row.get(5)?, tags };
        Ok((row.get::<_, i64>(0)? as usize, cells))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

// Every sequence of so many steps.
fn sequences(steps: &[Step], length: usize) -> Vec<Vec<Step>> {
    (0..length).fold(vec![Vec::new()], |all, _| {
        all.iter()
            .flat_map(|before| steps.iter().map(|step| [before.as_slice(), &[*step]].concat()))
            .collect()
    })
}

// Who does which step: every way in which so many devices all do something, whatever they are called.
fn splits(length: usize, devices: usize) -> Vec<Vec<usize>> {
    let all = (0..length).fold(vec![Vec::new()], |all: Vec<Vec<usize>>, _| {
        all.iter()
            .flat_map(|before| {
                let next = before.iter().max().map_or(0, |last| last + 1).min(devices - 1);
                (0..=next).map(|device| [before.as_slice(), &[device]].concat())
            })
            .collect()
    });
    let everybody = |split: &Vec<usize>| split.iter().max() == Some(&(devices - 1));
    // Of two devices one may only look on.
    all.into_iter().filter(|split| devices == 2 || everybody(split)).collect()
}

fn orders(devices: usize) -> Vec<Vec<usize>> {
    match devices {
        2 => vec![vec![0, 1], vec![1, 0]],
        _ => vec![vec![0, 1, 2], vec![0, 2, 1], vec![1, 0, 2], vec![1, 2, 0], vec![2, 0, 1], vec![2, 1, 0]],
    }
}

// Some steps of all sequences at once.
struct History<'h> {
    sequences: &'h [Vec<Step>],
    split: &'h [usize],
    // After which steps everybody hears everything.
    meets: usize,
    order: &'h [usize],
    // What comes at such a meeting is in the space at once, and in the file only after the next own step.
    late: bool,
}

fn hear(all: &mut [Shop], order: &[usize]) {
    for to in order {
        for from in order.iter().filter(|from| *from != to) {
            let bundle = all[*from].bundle();
            all[*to].database.import(&mut &*bundle, &mut |_| {}).unwrap();
            all[*to].sync();
        }
    }
}

impl History<'_> {
    fn happens(&self, options: &Options) {
        let devices = self.order.len();
        let mut all = shops_with(devices, SCHEMA, options);
        let mut edits: Vec<Vec<(usize, Option<Edit>)>> = vec![Vec::new(); self.sequences.len()];
        // Of which steps each device has heard.
        let mut heard = vec![0usize; devices];
        let mut came = vec![0usize; devices];
        for (at, device) in self.split.iter().copied().enumerate() {
            let shop = &mut all[device];
            shop.sql("BEGIN");
            for (row, sequence) in self.sequences.iter().enumerate() {
                for sql in sql(sequence[at]) {
                    shop.app.prepare_cached(sql).unwrap().execute((row as i64, VALUES[at])).unwrap();
                }
                let seen = edits[row].iter().filter(|(step, _)| heard[device] >> step & 1 == 1);
                let seen = fold(seen.filter_map(|(_, edit)| edit.as_ref()));
                edits[row].push((at, edit(sequence[at], VALUES[at], seen.as_ref())));
            }
            shop.sql("COMMIT");
            shop.sync();
            heard[device] |= 1 << at | came[device];
            if self.meets >> at & 1 == 1 && self.late {
                crate::shop::carry(&all.iter().collect::<Vec<_>>());
                came.fill((1 << (at + 1)) - 1);
            } else if self.meets >> at & 1 == 1 {
                hear(&mut all, self.order);
                heard.fill((1 << (at + 1)) - 1);
            }
        }
        hear(&mut all, self.order);
        let wanted: Vec<(usize, Row)> = edits
            .iter()
            .enumerate()
            .filter_map(|(row, edits)| Some((row, fold(edits.iter().filter_map(|(_, edit)| edit.as_ref()))?)))
            .map(|(at, row)| match options.columns == PerColumn::default() {
                true => (at, Row { a: row.a, b: row.b, ..Row::default() }),
                false => (at, row),
            })
            .collect();
        for shop in &mut all {
            assert_eq!(shop.sync().flushed.rows, 0, "it goes on for ever");
            let mut got = rows(&shop.app);
            if options.columns == PerColumn::default() {
                // The other columns are like these two.
                got.iter_mut().for_each(|(_, row)| *row = Row { a: row.a, b: row.b, ..Row::default() });
            }
            let odd = (0..self.sequences.len()).find(|row| {
                let find = |rows: &[(usize, Row)]| rows.iter().find(|(key, _)| key == row).cloned();
                got.len() != wanted.len() && find(&got) != find(&wanted)
            });
            let odd = odd.or_else(|| got.iter().zip(&wanted).find(|(a, b)| a != b).map(|(_, (row, _))| *row));
            if let Some(row) = odd {
                let find = |rows: &[(usize, Row)]| rows.iter().find(|(key, _)| *key == row).cloned();
                panic!(
                    "{:?} by {:?}, meets {:b}, order {:?}: {:?}, not {:?}",
                    self.sequences[row],
                    self.split,
                    self.meets,
                    self.order,
                    find(&got),
                    find(&wanted)
                );
            }
            assert_eq!(shop.rows().audit().unwrap(), 0);
            assert_eq!(shop.waiting(), []);
        }
    }
}

// All histories of up to so many steps; of those of `sampled` steps each has one of the orders in turn.
fn all_histories(
    steps: &[Step],
    devices: usize,
    lengths: std::ops::RangeInclusive<usize>,
    sampled: usize,
    options: &Options,
) {
    let start = std::time::Instant::now();
    let (mut histories, mut in_turn) = (0, 0);
    for length in lengths {
        let mut sequences = sequences(steps, length);
        if length > 3 {
            // Before there is a row every other step does nothing, or the same: that is a shorter sequence.
            sequences.retain(|sequence| sequence.first() == Some(&Put));
        }
        let orders = orders(devices);
        for split in splits(length, devices) {
            for meets in 0..1 << (length - 1) {
                in_turn += 1;
                for (at, order) in orders.iter().enumerate() {
                    if length >= sampled && at != in_turn % orders.len() {
                        continue;
                    }
                    let history = |late| History { sequences: &sequences, split: &split, meets, order, late };
                    history(false).happens(options);
                    histories += sequences.len();
                    // Where the second creation is refused, what comes of it depends on who has heard.
                    if meets > 0
                        && at == in_turn % orders.len()
                        && options.double_create == DoubleCreate::Merge
                    {
                        history(true).happens(options);
                        histories += sequences.len();
                    }
                }
            }
        }
    }
    eprintln!("{histories} histories in {devices} files, {:?}", start.elapsed());
}

fn full() -> bool {
    std::env::var_os("DRIFTLESS_ROWS").is_some()
}

fn policies() -> Options {
    let mut options = Options::default();
    options.columns = PerColumn::default()
        .with("t", "n", Policy::Counter)
        .with("t", "high", Policy::Max)
        .with("t", "low", Policy::Min)
        .with("t", "tags", Policy::Set);
    options
}

#[test]
fn two_files_end_as_the_table_says_whatever_happens_and_whoever_hears_of_it_when() {
    all_histories(PLAIN, 2, 1..=if full() { 5 } else { 3 }, usize::MAX, &Options::default());
}

#[test]
fn three_files_end_as_the_table_says_whatever_happens_and_whoever_hears_of_it_when() {
    all_histories(PLAIN, 3, 3..=if full() { 5 } else { 3 }, 5, &Options::default());
}

#[test]
fn files_that_refuse_a_second_creation_end_as_the_table_says_where_nobody_knew_of_the_first() {
    let mut options = Options::default();
    options.double_create = DoubleCreate::Refuse;
    all_histories(PLAIN, 2, 1..=if full() { 5 } else { 3 }, 3, &options);
    all_histories(PLAIN, 3, 3..=if full() { 4 } else { 3 }, 3, &options);
}

#[test]
fn columns_of_every_policy_end_as_the_table_says_in_two_and_in_three_files() {
    all_histories(POLICIES, 2, 1..=if full() { 4 } else { 2 }, 4, &policies());
    all_histories(POLICIES, 3, 3..=if full() { 4 } else { 3 }, 3, &policies());
}
