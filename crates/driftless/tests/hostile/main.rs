//! What others may send: damaged, forged, endless. Never a panic; the honest rest is taken, and the intact original after it.

mod bundles;
mod commits;
mod floods;
mod honest;
mod limits;
#[allow(dead_code, reason = "shared with the tests of the database, which use the rest")]
#[path = "../database/pen.rs"]
mod pen;
mod repaired;
#[allow(dead_code, reason = "shared with the tests of the database, which use the rest")]
#[path = "../database/simulated.rs"]
mod simulated;
