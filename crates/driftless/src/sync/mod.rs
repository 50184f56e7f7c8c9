//! Sync over a network: hosts, connections, and the network they make. Modules low to high.

pub mod plan;
pub(crate) mod space_graph;
pub(crate) mod pull;
pub(crate) mod stream;
pub(crate) mod missing;
pub(crate) mod events;
pub(crate) mod routes;
pub(crate) mod discovery;
pub(crate) mod lookup;
pub(crate) mod counted;
pub(crate) mod command;
pub(crate) mod follow;
pub(crate) mod owed;
pub(crate) mod host;
pub(crate) mod driven;
pub(crate) mod connection;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod near;
pub(crate) mod ledger;
pub(crate) mod engine;
pub(crate) mod joining;
pub(crate) mod online;
pub(crate) mod puller;
pub(crate) mod asking;
pub(crate) mod roots;

pub(crate) mod flow;
pub(crate) mod document_sync;
