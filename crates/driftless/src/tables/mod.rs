//! What lies in storage: every table and key, and how the rows of each are read and written. No file here knows what is in
//! memory, and none decides whether a commit counts.
//!
//! Modules are listed low to high; a module uses only those above it.

pub(crate) mod layout;
pub(crate) mod digest;
pub(crate) mod pack;
pub(crate) mod log;
pub(crate) mod agreed;
pub(crate) mod cursor;
pub(crate) mod moved;
pub(crate) mod stored;
pub(crate) mod collections;
pub(crate) mod marks;
pub(crate) mod view;
pub(crate) mod refused;
pub(crate) mod requests;
