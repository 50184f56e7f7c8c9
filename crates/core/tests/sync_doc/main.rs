//! `sync_doc`: against the real Automerge, against its list of behaviours, under loss, and against hostile bytes.

mod plain;
mod automerge_changes;
mod interop;
mod behaviours;
mod read_only;
mod properties;
mod hostile;
mod walks;
