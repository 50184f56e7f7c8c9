//! A file that another program detaches, and perhaps attaches to another space, while a handle has it open.

use driftless_rows::{Options, Rows, detach};

use crate::shop::{Shop, shops};

fn one() -> Shop {
    let mut shop = shops(1, "CREATE TABLE t(id INTEGER PRIMARY KEY, a);").pop().unwrap();
    shop.sql("INSERT INTO t VALUES(1, 'old')");
    shop.sync();
    shop
}

fn count(space: &driftless::Space) -> usize {
    space.collection("t").unwrap().page(0, 100).unwrap().0.len()
}

#[test]
fn a_handle_sends_nothing_to_a_space_that_the_file_was_taken_out_of() {
    let mut shop = one();
    detach(&shop.path).unwrap();
    shop.sql("INSERT INTO t VALUES(2, 'private')");
    assert_eq!(shop.rows().sync().unwrap_err().code(), "not_attached");
    let other = shop.database.create_space("other").unwrap();
    let mut rows = Rows::attach(&shop.path, &other, Options::default()).unwrap();
    shop.sql("INSERT INTO t VALUES(3, 'private')");
    assert_eq!(shop.rows().flush().unwrap_err().code(), "attached");
    assert_eq!(shop.rows().apply().unwrap_err().code(), "attached");
    assert_eq!(shop.rows().audit().unwrap_err().code(), "attached");
    // A watch ends by itself.
    let mut asked = 0;
    let goes_on = || {
        asked += 1;
        asked < 3
    };
    let ended = shop.rows().watch(goes_on, |told| panic!("{told:?}"));
    assert_eq!(ended.unwrap_err().code(), "attached");
    assert_eq!(count(&shop.space), 1);
    let done = rows.sync().unwrap();
    assert_eq!((done.flushed.rows, done.flushed.again), (3, 0));
    assert_eq!(count(&other), 3);
}

#[test]
fn what_was_read_for_one_space_is_not_committed_after_the_file_was_taken_out_of_it() {
    let mut shop = one();
    let path = shop.path.clone();
    shop.sql("INSERT INTO t VALUES(2, 'private')");
    let mut done = false;
    // As another process does it, which waits for nobody of this one: between the reading of notes and their commit.
    shop.rows().on_progress(move |_| {
        if std::mem::replace(&mut done, true) {
            return;
        }
        let other = rusqlite::Connection::open(&path).unwrap();
        let ours = "SELECT 'DROP ' || type || ' ' || name FROM sqlite_schema WHERE name LIKE 'driftless%' AND type <> 'index' ORDER BY type DESC";
        let drops: Vec<String> = {
            let mut statement = other.prepare(ours).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        other.execute_batch(&drops.join(";")).unwrap();
    });
    assert_eq!(shop.rows().sync().unwrap_err().code(), "not_attached");
    assert_eq!(count(&shop.space), 1);
}

#[test]
fn a_file_of_another_format_is_not_taken_as_it_is() {
    let mut shop = one();
    shop.rows = None;
    shop.sql("UPDATE driftless_settings SET value = 2 WHERE name = 'format'");
    let refused = Rows::open(&shop.path, &shop.database).unwrap_err();
    assert!(refused.code() == "attached" && refused.to_string().contains("format 2"), "{refused}");
    let again = Rows::attach(&shop.path, &shop.space, Options::default());
    assert_eq!(again.unwrap_err().code(), "attached");
    detach(&shop.path).unwrap();
}
