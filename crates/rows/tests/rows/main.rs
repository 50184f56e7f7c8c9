//! Files of SQLite under sync, as their users see them: edited by the `sqlite3` program or another connection, never
//! by ours.

mod constraints;
mod crash;
mod failures;
mod merging;
mod schemas;
mod shop;
mod together;
mod values;
