//! Peers that lie, each against three honest databases, in memory and over HTTP: whatever is said to them, the three
//! come to the same, lose nothing, keep nothing that grows without end, and tell a stranger nothing.

mod endless;
mod forging;
mod forking;
mod limits;
mod lying;
mod peer;
mod pen;
mod pulling;
mod revoked;
mod slow;
mod trio;
