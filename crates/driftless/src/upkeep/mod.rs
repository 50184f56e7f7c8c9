//! What keeps a database well: packing, backups, and finding and mending damage.
//!
//! Modules are listed low to high; a module uses only those above it.

pub(crate) mod compact;
pub(crate) mod rebuild;
pub(crate) mod backup;
pub(crate) mod doctor;
pub(crate) mod fsck;
pub(crate) mod repair;
