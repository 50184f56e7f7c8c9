//! Many rows that change together, so that they are written together: whatever stands in the way of some of them.

use crate::shop::{Shop, assert_same, carry, settle, shops};

const SCHEMA: &str =
    "CREATE TABLE seat(id INTEGER PRIMARY KEY, rank INTEGER UNIQUE, who TEXT CHECK(who <> 'nobody'), note);";
const SEATS: &str =
    "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 700)
    INSERT INTO seat SELECT value, value, 'who' || value, NULL FROM n";

fn contested(shop: &Shop) -> String {
    shop.quoted("SELECT count(*) v FROM driftless_contested")
}

fn seated() -> Vec<Shop> {
    let mut shops = shops(2, SCHEMA);
    shops[0].sql(SEATS);
    settle(&mut shops);
    assert_same(&shops);
    shops
}

#[test]
fn rows_that_change_in_different_columns_are_the_same_everywhere() {
    let mut shops = seated();
    shops[0].sql(
        "BEGIN; UPDATE seat SET who = 'new ' || id WHERE id % 3 = 0; UPDATE seat SET note = x'00' || id WHERE id % 5 = 0;
         UPDATE seat SET rank = NULL WHERE id % 7 = 0; DELETE FROM seat WHERE id % 11 = 0;
         INSERT INTO seat(id, who) SELECT id + 1000, 'more' FROM seat WHERE id % 13 = 0; COMMIT",
    );
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT who v FROM seat WHERE id = 3"), "'new 3'");
    assert_eq!(shops[1].rows().audit().unwrap(), 0);
    assert_eq!(shops[1].sync().flushed.rows, 0);
}

#[test]
fn unique_values_that_go_round_among_many_rows_go_round_everywhere() {
    let mut shops = seated();
    shops[0].sql(
        "BEGIN; UPDATE seat SET rank = -rank; UPDATE seat SET rank = 1 - rank; UPDATE seat SET rank = 1 WHERE rank = 701; COMMIT",
    );
    settle(&mut shops);
    assert_same(&shops);
    assert_eq!(shops[1].quoted("SELECT rank v FROM seat WHERE id IN (1, 700) ORDER BY id"), "2 1");
    assert_eq!(shops[1].waiting(), []);
    assert_eq!(shops[1].rows().audit().unwrap(), 0);
}

#[test]
fn one_row_among_many_that_a_constraint_refuses_waits_alone() {
    let mut shops = seated();
    // What the other file would not take.
    shops[0]
        .sql("PRAGMA ignore_check_constraints = ON; UPDATE seat SET who = iif(id = 350, 'nobody', 'all')");
    shops[0].sync();
    carry(&shops.iter().collect::<Vec<_>>());
    assert_eq!(shops[1].sync().applied.updated, 699);
    assert_eq!(shops[1].waiting(), [("seat".into(), "350".into(), "check".into())]);
    assert_eq!(shops[1].quoted("SELECT who v FROM seat WHERE id = 350"), "'who350'");
    assert_eq!(shops[1].rows().audit().unwrap(), 0);
}

#[test]
fn a_row_that_went_without_a_trace_comes_again_with_the_others() {
    let mut shops = seated();
    // Nothing notes it: the triggers are those of a file that was edited while they were away.
    shops[1].sql("DELETE FROM seat WHERE id = 20; DELETE FROM driftless_pending");
    shops[0].sql("UPDATE seat SET who = 'all'");
    shops[0].sync();
    carry(&shops.iter().collect::<Vec<_>>());
    shops[1].sync();
    assert_eq!(shops[1].quoted("SELECT rank || who v FROM seat WHERE id = 20"), "'20all'");
    assert_same(&shops);
}

#[test]
fn only_rows_that_were_changed_on_both_sides_may_have_lost_a_value() {
    let mut shops = seated();
    // Each knows what the other wrote before.
    shops[1].sql("UPDATE seat SET note = 'seen' WHERE id = 1");
    settle(&mut shops);
    shops[0].sql("UPDATE seat SET who = 'here'");
    settle(&mut shops);
    assert_eq!(contested(&shops[1]), "0");
    // Neither knows.
    shops[0].sql("UPDATE seat SET who = 'one'");
    shops[1].sql("UPDATE seat SET who = 'other'");
    settle(&mut shops);
    assert_same(&shops);
    let lost: Vec<usize> = shops.iter_mut().map(|shop| shop.rows().losers().unwrap().len()).collect();
    assert!(lost.contains(&700), "{lost:?}");
}
