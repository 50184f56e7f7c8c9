//! The users of this device and their keys: sealed under a password, and open while somebody acts.
//!
//! Modules are listed low to high; a module uses only those above it.

pub(crate) mod seal;
pub(crate) mod user;
pub(crate) mod acting;
