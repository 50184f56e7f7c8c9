//! The one door: how a commit gets into the log, whoever wrote it, and what it does there. Nothing else writes to the log.
//!
//! Modules are listed low to high; a module uses only those above it.

pub(crate) mod judge;
pub(crate) mod author;
pub(crate) mod commit;
pub(crate) mod ingest;
pub(crate) mod write;
