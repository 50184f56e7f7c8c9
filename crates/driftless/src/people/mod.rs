//! Who may do what, and how somebody comes in: grants planned and tried out, requests and tickets, log-ins and keys.
//!
//! Modules are listed low to high; a module uses only those above it.

pub(crate) mod decided;
pub(crate) mod draft;
pub(crate) mod delegation;
pub(crate) mod grant;
pub(crate) mod cases;
pub(crate) mod bootstrap;
pub(crate) mod login;
pub(crate) mod key_text;
pub(crate) mod ticket;
pub(crate) mod identity;
pub(crate) mod keys;
