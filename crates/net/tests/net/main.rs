//! Tests of the transport adapters, one module for each thing they promise.

#[cfg(feature = "http")]
mod http;
mod memory;
