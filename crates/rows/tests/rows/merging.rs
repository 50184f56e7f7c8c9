//! The truth table of docs/rows.md, enumerated: every sequence of up to five operations on a row, over two and three
//! devices, whoever does which, ends with one row; and what that row is.

use std::collections::BTreeMap;

use driftless::{Map, Operator, Timestamp, Value};
use driftless_core::fold::{Position, fold};
use driftless_core::id::{AuthorId, CommitId};
use driftless_rows::{CellChange, Deed, PerColumn, Reconciler, RowChange};

use crate::shop::{assert_same, carry, settle, shops};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create,
    ModifyA,
    ModifyB,
    Delete,
    // Deleted and made again in one transaction.
    Recreate,
}

const STEPS: [Step; 5] = [Step::Create, Step::ModifyA, Step::ModifyB, Step::Delete, Step::Recreate];

type Row = Option<BTreeMap<String, Value>>;

// The table of docs/rows.md, in as few words as it has.
fn table(steps: &[(Step, i64)]) -> Row {
    let mut row: Row = None;
    let mut kept: BTreeMap<String, Value> = BTreeMap::new();
    let mut deleted = false;
    for (step, value) in steps {
        let value = Value::I64(*value);
        match step {
            Step::Create => {
                if deleted {
                    kept.clear();
                }
                kept.insert("a".into(), value.clone());
                kept.insert("b".into(), value);
                deleted = false;
                row = Some(kept.clone());
            }
            Step::Recreate => {
                kept = [("a".to_owned(), value.clone()), ("b".to_owned(), value)].into();
                deleted = false;
                row = Some(kept.clone());
            }
            Step::ModifyA | Step::ModifyB => {
                let field = if *step == Step::ModifyA { "a" } else { "b" };
                kept.insert(field.into(), value);
                row = (!deleted).then(|| kept.clone());
            }
            Step::Delete => {
                deleted = true;
                row = None;
            }
        }
    }
    row
}

fn operators(step: Step, value: i64) -> Vec<Operator> {
    let cell = |field: &str| CellChange {
        column: field.to_owned(),
        field: field.to_owned(),
        now: Value::I64(value),
        before: None,
    };
    let (deed, cells) = match step {
        Step::Create => (Deed::Create, vec![cell("a"), cell("b")]),
        Step::Recreate => (Deed::Recreate, vec![cell("a"), cell("b")]),
        Step::ModifyA => (Deed::Modify, vec![cell("a")]),
        Step::ModifyB => (Deed::Modify, vec![cell("b")]),
        Step::Delete => (Deed::Delete, Vec::new()),
    };
    PerColumn::default().operators(&RowChange { table: "t", deed, cells, writer: "w" })
}

fn row(fields: &Map) -> BTreeMap<String, Value> {
    fields.iter().map(|(field, value)| (field.to_owned(), value.clone())).collect()
}

// Every sequence of so many steps.
fn sequences(length: usize) -> Vec<Vec<Step>> {
    (0..length).fold(vec![Vec::new()], |all, _| {
        all.iter()
            .flat_map(|before| STEPS.map(|step| before.iter().copied().chain([step]).collect()))
            .collect()
    })
}

#[test]
fn every_sequence_of_up_to_five_operations_ends_as_the_table_says() {
    let mut checked = 0;
    for length in 1..=5 {
        for steps in sequences(length) {
            // Who did which changes nothing while the times are different.
            let edits: Vec<_> =
                steps.iter().enumerate().map(|(at, step)| operators(*step, at as i64)).collect();
            let wanted = table(&steps.iter().copied().zip(0..).collect::<Vec<_>>());
            for devices in [2u32, 3] {
                for split in 0..devices.pow(length as u32) {
                    let author = |at: usize| AuthorId([(split / devices.pow(at as u32) % devices) as u8; 32]);
                    let state = fold(edits.iter().enumerate().map(|(at, operators)| {
                        let position = Position {
                            time: Timestamp(at as u64 + 1),
                            commit: CommitId([at as u8; 32]),
                            index: 0,
                        };
                        (position, author(at), operators.as_slice())
                    }));
                    let got = state.visible().then(|| row(state.fields()));
                    assert_eq!(got, wanted, "{steps:?}");
                    checked += 1;
                }
            }
        }
    }
    eprintln!("{checked} histories");
}

fn sql(step: Step, value: i64) -> String {
    match step {
        Step::Create => format!(
            "INSERT INTO t VALUES('k', {value}, {value}) ON CONFLICT DO UPDATE SET a = {value}, b = {value}"
        ),
        Step::Recreate => format!("DELETE FROM t; INSERT INTO t VALUES('k', {value}, {value})"),
        Step::ModifyA => format!("UPDATE t SET a = {value}"),
        Step::ModifyB => format!("UPDATE t SET b = {value}"),
        Step::Delete => "DELETE FROM t".into(),
    }
}

// In files: steps happen here or there, and news is carried or not between them.
fn in_files(count: usize, length: usize) {
    let mut all = shops(count, "CREATE TABLE t(id TEXT PRIMARY KEY, a, b);");
    let splits = count.pow(length as u32);
    let mut checked = 0;
    for steps in sequences(length) {
        for split in 0..splits {
            // All meet in between, or only at the end.
            for meets in 0..1 << (length - 1) {
                for (at, step) in steps.iter().enumerate() {
                    let shop = &mut all[split / count.pow(at as u32) % count];
                    shop.sql(&sql(*step, at as i64));
                    shop.sync();
                    if meets >> at & 1 == 1 {
                        carry(&all.iter().collect::<Vec<_>>());
                        for shop in &mut all {
                            shop.sync();
                        }
                    }
                }
                for _ in 0..2 {
                    carry(&all.iter().collect::<Vec<_>>());
                    for shop in &mut all {
                        shop.sync();
                    }
                }
                assert_same(&all);
                checked += 1;
                all[0].sql("DELETE FROM t");
                all[0].sync();
            }
        }
        // A new history for each, so that it does not grow.
        all = shops(count, "CREATE TABLE t(id TEXT PRIMARY KEY, a, b);");
    }
    settle(&mut all);
    eprintln!("{checked} histories in {count} files");
}

#[test]
fn two_files_end_the_same_whoever_does_what_and_whenever_they_meet() {
    let length = if std::env::var_os("DRIFTLESS_ROWS").is_some() { 4 } else { 2 };
    in_files(2, length);
}

#[test]
fn three_files_end_the_same_whoever_does_what_and_whenever_they_meet() {
    let length = if std::env::var_os("DRIFTLESS_ROWS").is_some() { 3 } else { 2 };
    in_files(3, length);
}
