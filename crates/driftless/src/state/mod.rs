//! What is in memory while a database is open, all of it behind one lock: the replica of each open space, who may read,
//! whom to tell.
//!
//! Modules are listed low to high; a module uses only those above it.

pub(crate) mod policy;
pub(crate) mod readers;
pub(crate) mod serving;
pub(crate) mod failures;
pub(crate) mod guard;
pub(crate) mod replica;
pub(crate) mod fork;
pub(crate) mod met;
pub(crate) mod inbox;
pub(crate) mod changes;
pub(crate) mod engine;
