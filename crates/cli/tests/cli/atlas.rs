//! A real database of another application on two devices: edited by plain `sqlite3` on both while nobody is connected, and
//! the same afterwards, whatever carried the commits.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::Sandbox;

const DEVICES: [&str; 2] = ["north", "south"];
const EXAMPLES: [&str; 6] = [
    "atlas/tables.sql",
    "atlas/atlas.sql",
    "data/countries.jsonl",
    "data/subdivisions.jsonl",
    "data/languages.jsonl",
    "data/currencies.jsonl",
];

/// What the user in the north writes while the line is down.
const NORTH: &str = "
    BEGIN;
    -- Values of every type, in a column of none.
    UPDATE subdivision SET note = 42 WHERE code = 'FI-01';
    UPDATE subdivision SET note = '42' WHERE code = 'FI-02';
    UPDATE subdivision SET note = 42.0 WHERE code = 'FI-03';
    UPDATE subdivision SET note = x'00ff3432' WHERE code = 'FI-04';
    UPDATE subdivision SET note = '' WHERE code = 'FI-05';
    UPDATE subdivision SET note = 9223372036854775807 WHERE code = 'FI-06';
    UPDATE subdivision SET note = 5e-324 WHERE code = 'FI-07';
    UPDATE subdivision SET note = CAST(x'c328' AS TEXT) WHERE code = 'FI-08';
    COMMIT;
    -- Many rows at once, of which the south changes another column.
    UPDATE subdivision SET kind = 'Maakunta' WHERE country = 'FI';
    -- Unique values change places.
    BEGIN;
    UPDATE country SET number = -1 WHERE code = 'NR';
    UPDATE country SET number = 520 WHERE code = 'TV';
    UPDATE country SET number = 798 WHERE code = 'NR';
    COMMIT;
    -- A key changes, and takes what refers to it along.
    UPDATE country SET code = 'EZ' WHERE code = 'SZ';
    -- A counter, and a cell that the south changes later.
    UPDATE visit SET visits = visits + 5 WHERE id = 1;
    UPDATE visit SET spent = 130.25 WHERE id = 1;
    -- Gone, while the south changes it.
    DELETE FROM visit WHERE id = 2;
    -- Gone, while the south begins to refer to it.
    DELETE FROM subdivision WHERE code = 'SI-002';
    DELETE FROM country WHERE code = 'BV';
    -- Claimed by both.
    INSERT INTO language VALUES('qaa', 'qx', 'Northern', 'I', 'C');
    INSERT INTO visit(place, language, spent) VALUES('FI-10', 'fin', 10), ('FI-12', 'swe', 11);
    INSERT INTO money VALUES('NR', 'XAU', 1968);
";

/// And the one in the south.
const SOUTH: &str = "
    UPDATE subdivision SET name = name || ' (Suomi)' WHERE country = 'FI';
    UPDATE subdivision SET name = 'Hhohho!' WHERE country = 'SZ' AND code LIKE '%-HH';
    UPDATE visit SET visits = visits + 7 WHERE id = 1;
    UPDATE visit SET spent = 99.5, photo = x'ffd8ff' WHERE id = 1;
    UPDATE visit SET spent = 81 WHERE id = 2;
    -- It refers to what is gone in the north.
    INSERT INTO visit(place, language, spent) VALUES('SI-002', 'slv', 20);
    INSERT INTO subdivision VALUES('BV-01', 'BV', NULL, 'Bouvet', 'Island', 'nobody');
    INSERT INTO subdivision VALUES('BV-02', 'BV', 'BV-01', 'Larsøya', 'Islet', NULL);
    INSERT INTO language VALUES('qab', 'qx', 'Southern', 'I', 'C');
    INSERT INTO visit(place, language, spent) VALUES('FI-10', 'fin', 12), ('FI-13', 'fin', 13);
    INSERT INTO money VALUES('NR', 'XAU', 1969), ('TV', 'XAG', 1976);
    DELETE FROM money WHERE currency = 'EUR' AND country = 'LU';
    INSERT OR REPLACE INTO currency VALUES('XAU', 959, 'Gold', 0.0004);
";

/// The user in the north makes room for what waits.
const FREED: &str = "
    UPDATE language SET short = 'qn' WHERE code = 'qaa';
    UPDATE visit SET place = 'FI-11' WHERE place = 'FI-10';
    INSERT INTO subdivision VALUES('SI-002', 'SI', NULL, 'Beltinci', 'Municipality', NULL);
";

/// Of the notes of the north.
const TYPES: &str = "integer,text,real,blob,text,integer,real,text";

/// The program of the users, with foreign keys as their application has them.
fn sqlite3(sandbox: &Sandbox, device: &str, words: &[&str]) -> String {
    let mut command = Command::new("sqlite3");
    command.args(["-bail", "-cmd", ".timeout 10000", "-cmd", "PRAGMA foreign_keys = ON"]);
    command.arg(format!("{device}.db")).args(words).current_dir(sandbox.path("."));
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.is_empty(), "{device} {words:?}: {said}");
    // Not all text in a file of SQLite is UTF-8; no two texts are written alike.
    let line = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    };
    let lines = ran.stdout.split(|byte| *byte == b'\n').map(line);
    lines.collect::<Vec<_>>().join("\n")
}

/// Every table with its rows by `quote` and `typeof`.
fn dump(sandbox: &Sandbox, device: &str) -> Vec<(String, Vec<String>)> {
    let tables = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
        AND name NOT LIKE 'driftless%' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let tables = sqlite3(sandbox, device, &[tables]);
    let rows = |table: &str| {
        let columns = format!(
            "SELECT group_concat('quote(' || name || ') || '' '' || typeof(' || name || ')', ' || '','' || ')
             FROM pragma_table_info('{table}')"
        );
        let columns = sqlite3(sandbox, device, &[&columns]);
        let rows = sqlite3(sandbox, device, &[&format!("SELECT {} FROM {table} ORDER BY 1", columns.trim())]);
        rows.lines().map(str::to_owned).collect()
    };
    // Not under sync, without a key: what each device saw happen.
    let tables = tables.lines().filter(|table| *table != "log");
    tables.map(|table| (table.to_owned(), rows(table))).collect()
}

/// Documents that wait to be rows: table, key, reason.
fn waiting(sandbox: &Sandbox, device: &str) -> BTreeSet<(String, String, String)> {
    let status = sandbox.json(&["--dir", device, "rows", "status"]);
    assert_eq!(status["refused"], Value::Array(Vec::new()), "{status}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = status["waiting"].as_array().unwrap().iter();
    rows.map(|row| {
        assert!(row["since"].is_u64(), "{row}");
        (text(&row["collection"]), text(&row["id"]), text(&row["reason"]))
    })
    .collect()
}

/// Both devices exchange until neither has had anything to say or to write for a whole round.
fn meet(sandbox: &Sandbox, exchange: &dyn Fn(&str)) {
    let mut quiet = 0;
    for _ in 0..8 {
        let mut changes = 0;
        for device in DEVICES {
            for _ in 0..2 {
                let counts = sandbox.json(&["--dir", device, "rows", "sync"]);
                let changed =
                    ["sent", "inserted", "updated", "deleted"].map(|field| counts[field].as_u64().unwrap());
                changes += changed.iter().sum::<u64>();
                exchange(device);
            }
        }
        quiet = if changes == 0 { quiet + 1 } else { 0 };
        if quiet == 2 {
            return;
        }
    }
    panic!("the two devices never have the same");
}

/// Every table is the same by value and by type, what waits is the same, and every constraint holds.
fn the_same(sandbox: &Sandbox) -> BTreeSet<(String, String, String)> {
    let [north, south] = DEVICES.map(|device| dump(sandbox, device));
    assert!(north.len() >= 7, "{north:?}");
    for (here, there) in north.iter().zip(&south) {
        let different: Vec<_> = here.1.iter().filter(|row| !there.1.contains(row)).collect();
        assert_eq!(here, there, "{}: {different:?}", here.0);
    }
    assert_eq!(north.len(), south.len());
    for device in DEVICES {
        assert_eq!(sqlite3(sandbox, device, &["PRAGMA foreign_key_check; PRAGMA integrity_check"]), "ok\n");
    }
    let [north, south] = DEVICES.map(|device| waiting(sandbox, device));
    assert_eq!(north, south);
    north
}

/// The tables of the atlas in a file of the north, and a copy of it in the south.
fn two_copies(sandbox: &Sandbox) {
    for file in EXAMPLES {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(file);
        fs::copy(from, sandbox.path(file.split_once('/').unwrap().1)).unwrap();
    }
    sqlite3(sandbox, "north", &[".read tables.sql", ".read atlas.sql"]);
    sqlite3(sandbox, "north", &["VACUUM INTO 'south.db'"]);
    sqlite3(sandbox, "south", &["PRAGMA journal_mode = WAL"]);
}

fn attach(sandbox: &Sandbox, device: &str, part: &str) {
    let words = ["--dir", device, "rows", "attach", &format!("{device}.db"), "atlas"];
    let choices = ["--merge", "visit.visits=counter", "--part", part];
    let attached = sandbox.json(&[&words[..], &choices].concat());
    let tables = attached["tables"].as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap());
    assert_eq!(
        tables.collect::<BTreeSet<_>>(),
        BTreeSet::from(["country", "currency", "language", "money", "subdivision", "visit"])
    );
}

/// The whole story, once both devices have the space `atlas` and a way to each other.
fn edited_apart_and_the_same_together(sandbox: &Sandbox, exchange: &dyn Fn(&str)) {
    meet(sandbox, exchange);
    assert_eq!(the_same(sandbox), BTreeSet::new());

    sqlite3(sandbox, "north", &[NORTH]);
    sandbox.json(&["--dir", "north", "rows", "sync"]);
    sqlite3(sandbox, "south", &[SOUTH]);
    sandbox.json(&["--dir", "south", "rows", "sync"]);
    meet(sandbox, exchange);
    let wait = |table: &str, id: &str, reason: &str| (table.to_owned(), id.to_owned(), reason.to_owned());
    // The second row that the south numbered, and the first: its part of the numbers is its own.
    let (claimed, orphan) = ((2_u64 << 40) + 2, (2_u64 << 40) + 1);
    assert_eq!(
        the_same(sandbox),
        BTreeSet::from([
            wait("language", "qab", "not_unique"),
            wait("visit", &orphan.to_string(), "parent_missing"),
            wait("visit", &claimed.to_string(), "not_unique"),
        ])
    );
    let shows = |device: &str, query: &str, wanted: &str| {
        assert_eq!(sqlite3(sandbox, device, &[query]).trim(), wanted, "{device}: {query}");
    };
    for device in DEVICES {
        // Both counted; of the rest the last write holds, cell by cell.
        shows(device, "SELECT visits, spent, hex(photo), edits FROM visit WHERE id = 1", "12|99.5|FFD8FF|1");
        shows(device, "SELECT name || kind FROM subdivision WHERE code = 'FI-18'", "Uusimaa (Suomi)Maakunta");
        shows(
            device,
            "SELECT group_concat(typeof(note)) FROM (SELECT note FROM subdivision WHERE note IS NOT NULL ORDER BY code)",
            TYPES,
        );
        shows(device, "SELECT number FROM country WHERE code = 'NR'", "798");
        shows(device, "SELECT country || name FROM subdivision WHERE code = 'SZ-HH'", "EZHhohho!");
        // Gone: deleted on one side, and with its country; the last to make it decides about the other.
        shows(device, "SELECT count(*) FROM visit WHERE id = 2", "0");
        shows(device, "SELECT count(*) FROM subdivision WHERE country = 'BV'", "0");
        shows(device, "SELECT since FROM money WHERE country = 'NR' AND currency = 'XAU'", "1969");
    }

    // What waits comes in as soon as it can, on both.
    sqlite3(sandbox, "north", &[FREED]);
    sandbox.json(&["--dir", "north", "rows", "sync"]);
    meet(sandbox, exchange);
    assert_eq!(the_same(sandbox), BTreeSet::new());
    for device in DEVICES {
        shows(device, "SELECT count(*) FROM visit WHERE place IN ('SI-002', 'FI-10', 'FI-11')", "3");
        shows(device, "SELECT name FROM language WHERE short = 'qx'", "Southern");
    }
}

#[test]
fn two_copies_of_an_atlas_are_the_same_through_a_folder() {
    let sandbox = Sandbox::empty();
    let url = format!("file://{}", sandbox.path("shared"));
    through_a_mailbox(&sandbox, &url);
}

#[cfg(feature = "object-store")]
#[test]
fn two_copies_of_an_atlas_are_the_same_through_a_bucket() {
    use crate::s3_server::{BUCKET, KEYS, Server};

    let sandbox = Sandbox::empty().with(&KEYS).with(&[("AWS_ALLOW_HTTP", "true")]);
    let server = Server::start(Path::new(&sandbox.path("s3")), true);
    through_a_mailbox(&sandbox, &format!("s3://{BUCKET}/atlas?endpoint={}", server.endpoint()));
}

fn through_a_mailbox(sandbox: &Sandbox, url: &str) {
    two_copies(sandbox);
    let [_, south] = DEVICES.map(|device| sandbox.json(&["--dir", device, "init", "--name", device]));
    sandbox.ok(&["--dir", "north", "space", "create", "atlas"]);
    sandbox.ok(&["--dir", "north", "grant", "atlas", south["author"].as_str().unwrap(), "write"]);
    let shown = sandbox.json(&["--dir", "north", "space", "show", "atlas"]);
    let space = shown["space"].as_str().unwrap();
    attach(sandbox, "north", "1");
    let exchange = |device: &str| drop(sandbox.json(&["--dir", device, "mailbox", "sync"]));
    sandbox.ok(&["--dir", "north", "mailbox", "add", "atlas", url]);
    sandbox.json(&["--dir", "north", "rows", "sync"]);
    exchange("north");
    sandbox.ok(&["--dir", "south", "mailbox", "add", space, url]);
    exchange("south");
    sandbox.ok(&["--dir", "south", "space", "rename", space, "atlas"]);
    attach(sandbox, "south", "2");
    edited_apart_and_the_same_together(sandbox, &exchange);
}

#[test]
fn two_copies_of_an_atlas_are_the_same_through_a_hub() {
    let sandbox = Sandbox::empty();
    two_copies(&sandbox);
    sandbox.person("hub");
    sandbox.ok(&["--dir", "hub", "space", "create", "atlas"]);
    let (_hub, _) = sandbox.serve("hub");
    let ticket = sandbox.json(&["--dir", "hub", "ticket", "atlas", "--permission", "write", "--uses", "2"]);
    for (device, part) in DEVICES.into_iter().zip(["1", "2"]) {
        sandbox.ok(&["--dir", device, "init", "--name", device]);
        sandbox.ok(&["--dir", device, "join", ticket["ticket"].as_str().unwrap()]);
        attach(&sandbox, device, part);
        // The first brings the rows, the second finds those of its copy there.
        sandbox.json(&["--dir", device, "rows", "sync"]);
        sandbox.lines(&["--dir", device, "sync"]);
    }
    edited_apart_and_the_same_together(&sandbox, &|device| drop(sandbox.lines(&["--dir", device, "sync"])));
}
