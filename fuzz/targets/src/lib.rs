//! What the fuzzer runs: one function for each decoder, for the receive path, and for two sessions. Bytes go in; a panic
//! is a finding. The libFuzzer programs in `fuzz/fuzz_targets` and the test of the corpus call the same functions.
//!
//! Nothing here knows libFuzzer. Modules are listed low to high; a module uses only those above it.

mod target;
mod measure;
mod choices;
mod damage;
mod signed;
mod texts;
mod encodings;
mod wire;
mod graphs;
mod world;
mod receive;
mod sessions;
mod mailbox;
mod hostile;
mod live;
mod corpus;

pub use corpus::{TARGETS, find};
pub use damage::damaged;
pub use hostile::{Attack, attacks};
pub use live::attacks_on_database;
pub use measure::{Meter, check};
pub use target::{Allowance, Target};
