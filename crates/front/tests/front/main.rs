//! The front over real sockets: what clients get, and what those get who should have nothing.

mod client;
mod hostile;
mod live;
mod operations;
mod pages;
