//! The driftless command as its users meet it: processes, their output and their exit codes. Nothing here sleeps; a
//! test waits for a line of the process it waits for.

mod acceptance;
mod asking;
#[cfg(unix)]
mod atlas;
#[cfg(feature = "object-store")]
mod buckets;
mod contract;
mod demo;
mod failures;
mod forks;
mod guide;
mod hubs;
mod importing;
mod killing;
#[cfg(feature = "iroh")]
mod lan;
mod looking;
mod mailboxes;
mod merging;
mod networking;
#[cfg(feature = "iroh")]
mod over_iroh;
mod permissions;
mod prefs;
mod pulling;
mod repairing;
mod rows;
mod rows_killed;
#[cfg(feature = "object-store")]
#[path = "../../../net/tests/net/s3_server.rs"]
mod s3_server;
mod sandbox;
mod schemas;
#[cfg(unix)]
mod serving;
mod sharing;
#[cfg(unix)]
mod socket;
mod spans;
mod terminal;
mod ui;
mod unattended;
mod uploads;
mod users;
mod watching;
