//! The driftless command as its users meet it: processes, their output and their exit codes. Nothing here sleeps; a
//! test waits for a line of the process it waits for.

mod acceptance;
mod contract;
mod demo;
mod failures;
mod importing;
mod killing;
mod merging;
mod networking;
mod repairing;
mod sandbox;
#[cfg(unix)]
mod serving;
mod terminal;
mod watching;
