//! Files of SQLite under sync, as their users see them: edited by the `sqlite3` program or another connection, never
//! by ours.

mod attacks;
mod constraints;
mod copies;
mod crash;
mod failures;
mod merging;
mod readers;
mod schemas;
mod shop;
mod table;
mod together;
mod values;
