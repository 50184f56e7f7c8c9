//! Files of SQLite under sync, as their users see them: edited by the `sqlite3` program or another connection, never
//! by ours.

mod attaching;
mod attacks;
mod cascades;
mod constraints;
mod copies;
mod crash;
mod detaching;
mod failures;
mod many;
mod meanwhile;
mod memory;
mod misfits;
mod merging;
mod prepared;
mod readers;
mod schemas;
mod shop;
mod sizes;
mod table;
mod together;
mod unusable;
mod values;

/// How the application opens its file, and who notes what it does: `tests/in_process` runs all of this with others.
type App = rusqlite::Connection;
const CAPTURE: driftless_rows::Capture = driftless_rows::Capture::Triggers;
