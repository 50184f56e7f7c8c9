//! The truth table of docs/rows.md, enumerated: every sequence of up to five operations on a row, over two and three
//! devices, whoever does which, ends with one row; and what that row is. Here by the fold alone, in `table` in files.

use std::collections::BTreeMap;

use driftless::{Map, Operator, Timestamp, Value};
use driftless_core::fold::{Position, fold};
use driftless_core::id::{AuthorId, CommitId};
use driftless_rows::{CellChange, Deed, PerColumn, Reconciler, RowChange};

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

#[test]
fn a_row_that_was_made_again_has_no_cell_of_the_old_one_whoever_heard_of_what_when() {
    let schema = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b INTEGER DEFAULT 7, c);";
    for by_document in [false, true] {
        let mut all = crate::shop::shops(3, schema);
        all[0].sql("INSERT INTO t VALUES(1, 'x', 2, 3), (2, 'y', 2, 3)");
        crate::shop::settle(&mut all);
        // An older version of the application has no such column, and whoever writes documents needs none.
        let t = all[0].space.collection("t").unwrap();
        t.delete(&1.into()).unwrap();
        crate::shop::carry(&all.iter().collect::<Vec<_>>());
        // The second hears of the deletion, the third of both at once.
        all[1].sync();
        if by_document {
            t.save(&1.into(), driftless::Map::from_json(r#"{"a": "new"}"#).unwrap()).unwrap();
            t.edit(&2.into(), driftless::operators_from_json(r#"{"$unset": {"b": 1}}"#).unwrap()).unwrap();
        } else {
            all[2].sql("CREATE TABLE other(id INTEGER PRIMARY KEY)");
            t.save(&1.into(), driftless::Map::from_json(r#"{"a": "old", "c": 9}"#).unwrap()).unwrap();
            t.delete(&1.into()).unwrap();
            t.save(&1.into(), driftless::Map::from_json(r#"{"a": "new"}"#).unwrap()).unwrap();
        }
        crate::shop::settle(&mut all);
        all[2].sql("DROP TABLE IF EXISTS other");
        crate::shop::settle(&mut all);
        crate::shop::assert_same(&all);
        let row = "SELECT a || b || coalesce(c, '-') v FROM t ORDER BY id";
        let other = if by_document { "'y73'" } else { "'y23'" };
        for shop in &mut all {
            assert_eq!(shop.quoted(row), format!("'new7-' {other}"));
            assert_eq!(shop.rows().audit().unwrap(), 0);
        }
        // What is made of it from now on is everybody's.
        all[1].sql("UPDATE t SET b = 8 WHERE id = 1");
        all[2].sql("UPDATE t SET a = 'newer' WHERE id = 1");
        crate::shop::settle(&mut all);
        crate::shop::assert_same(&all);
        assert!(all[0].quoted(row).starts_with("'newer8-'"));
    }
}

#[test]
fn what_a_row_has_in_a_column_that_nobody_else_has_stays_its_own() {
    let mut all = crate::shop::shops(1, "CREATE TABLE t(id INTEGER PRIMARY KEY, a);");
    all[0].sql("INSERT INTO t VALUES(1, 'x')");
    all[0].sync();
    let path = all[0]._folder.path().join("wider.db");
    let app = rusqlite::Connection::open(&path).unwrap();
    app.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, shelf); INSERT INTO t VALUES(1, 'x', 'top')",
    )
    .unwrap();
    let mut rows = driftless_rows::Rows::attach(&path, &all[0].space, Default::default()).unwrap();
    rows.sync().unwrap();
    all[0].sql("UPDATE t SET a = 'y'");
    all[0].sync();
    rows.sync().unwrap();
    let row: String = app.query_row("SELECT a || shelf FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(row, "ytop");
}
