//! The pure heart of driftless: ids, keys, commits, the graph, the clock, operators, the fold, rules and verdicts.
//!
//! Nothing here reads a file, a clock, a socket or a random number: `now` and randomness are arguments. The crate
//! builds for `wasm32-unknown-unknown`. Modules are listed low to high; a module uses only those above it.

pub mod limits;
#[doc(hidden)]
pub mod broken;
pub mod cbor;
pub mod id;
mod leb128;
pub mod sign;
pub mod clock;

pub mod value;
pub mod document_id;
pub mod operator;
pub mod fold;
pub mod document;
pub mod filter;
pub mod query;

pub mod graph;
pub mod hash_graph;
pub mod reconcile;
pub mod sketch;
pub mod sync_doc;
pub mod rules;

pub mod commit;
pub mod verdict;
pub mod frame;
pub mod session;
