//! Tests of the storage adapters, one module for each thing they promise.

#[cfg(all(feature = "sqlite", unix))]
mod crash;
mod folder;
mod memory;
mod model;
#[cfg(feature = "sqlite")]
mod sqlite;
