//! How fast the SQLite adapter is on this machine: wall time and CPU time per row.
//!
//! `cargo run --release -p driftless-store --example rates [rows]`

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::ops::{Bound, ControlFlow};
use std::time::Instant;

use driftless_store::{Access, Document, Key, KeyKind, Order, Schema, SqliteStorage, Storage, Table};

const LOG: Table = Table { position: 0, name: "log", key: KeyKind::U64 };
const INDEX: Table = Table { position: 1, name: "commit_index", key: KeyKind::Bytes };
const SCHEMA: Schema = Schema { version: 1, tables: &[LOG, INDEX] };
// What one frame of a sync brings, written in one transaction.
const BATCH: u64 = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(100_000), |rows| rows.parse())?;
    let home = tempfile::tempdir_in(".")?;
    let mut storage = SqliteStorage::open(home.path().join("rates.sqlite"), &SCHEMA, Access::Create)?;
    let value = [7u8; 200];
    let json = format!("{{\"title\":\"{}\"}}", "x".repeat(80));

    write(&mut storage, "append 200 bytes to an integer table", rows, |storage, row| {
        storage.put(&LOG, row.into(), &value)
    })?;
    write(&mut storage, "8-byte random key into a byte table", rows, |storage, row| {
        storage.put(&INDEX, Key::Bytes(&scattered(row).to_be_bytes()), &row.to_be_bytes())
    })?;
    write(&mut storage, "insert a document", rows, |storage, row| {
        storage.upsert(&document(row, &format!("~{:026x}", scattered(row)), &json))
    })?;
    write(&mut storage, "edit a document", rows, |storage, row| {
        storage.upsert(&document(row, &format!("~{:026x}", scattered(row)), &json))
    })?;
    read("get from the integer table", rows, || {
        (0..rows).try_for_each(|row| storage.get(&LOG, scattered(row).rem_euclid(rows).into()).map(drop))
    })?;
    read("get from the byte table", rows, || {
        (0..rows).try_for_each(|row| storage.get(&INDEX, Key::Bytes(&scattered(row).to_be_bytes())).map(drop))
    })?;
    read("range over the integer table", rows, || {
        let mut visit = |_: Key<'_>, _: &[u8]| ControlFlow::Continue(());
        storage.range(&LOG, Bound::Unbounded, Bound::Unbounded, Order::Ascending, &mut visit)
    })?;
    read("scan documents", rows, || storage.scan(1, None, &mut |_| ControlFlow::Continue(())))?;
    println!("{:.0} bytes per row of everything", storage.size()? as f64 / rows as f64);
    Ok(())
}

fn document<'a>(number: u64, id: &'a str, json: &'a str) -> Document<'a> {
    Document { number, collection: 1, id, deleted: false, json, state: &[7; 60] }
}

// A different number for each row, in no order.
fn scattered(row: u64) -> u64 {
    row.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
}

fn write<E: Error + 'static>(
    storage: &mut SqliteStorage,
    what: &str,
    rows: u64,
    put: impl Fn(&mut SqliteStorage, u64) -> Result<(), E>,
) -> Result<(), Box<dyn Error>> {
    let start = Start::now();
    for row in 0..rows {
        put(storage, row)?;
        if row % BATCH == BATCH - 1 {
            storage.commit()?;
        }
    }
    storage.commit()?;
    start.report(what, rows);
    Ok(())
}

fn read<E: Error + 'static>(
    what: &str,
    rows: u64,
    read: impl FnOnce() -> Result<(), E>,
) -> Result<(), Box<dyn Error>> {
    let start = Start::now();
    read()?;
    start.report(what, rows);
    Ok(())
}

struct Start {
    wall: Instant,
    cpu: Option<f64>,
}

impl Start {
    fn now() -> Self {
        Self { wall: Instant::now(), cpu: cpu_seconds() }
    }

    fn report(&self, what: &str, rows: u64) {
        let wall = self.wall.elapsed().as_secs_f64();
        let cpu = cpu_seconds().zip(self.cpu).map(|(now, then)| (now - then) * 1e6 / rows as f64);
        let cpu = cpu.map_or("unknown".into(), |cpu| format!("{cpu:.2} us"));
        println!("{what:40} {:>9.0} rows/s, CPU {cpu} per row", rows as f64 / wall);
    }
}

// User and system time of this process, in hundredths of a second; only Linux says it in a file.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok());
    Some((ticks(11)? + ticks(12)?) / 100.0)
}
