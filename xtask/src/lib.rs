//! The rules of the house as code: each checks a `Tree` of files and returns findings, so each can be tried on a
//! small made-up tree. `tests/tidy.rs` runs them on this repository. Nothing here knows what driftless does.

pub mod tree;

pub mod source;

pub mod files;
pub mod layers;
pub mod links;
pub mod purity;

pub mod licences;

pub mod iso_codes;
