//! Copies and damage: backups, databases made from them, damaged files found by `fsck` and put right by `repair`.

mod backups;
mod damage;
mod finding;
mod repairing;
mod sweep;
mod world;
