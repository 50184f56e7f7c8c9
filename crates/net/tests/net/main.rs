//! Tests of the transport adapters, one module for each thing they promise.

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod hub;
#[cfg(feature = "iroh")]
mod iroh;
#[cfg(all(feature = "http", target_os = "linux"))]
mod limits;
mod mailboxes;
mod memory;
#[cfg(all(feature = "postgres", unix))]
mod postgres;
#[cfg(all(feature = "postgres", unix))]
mod postgres_server;
