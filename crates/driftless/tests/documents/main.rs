//! The document store: schemas of collections, what strangers write into them, and the vectors of its design.

mod pen;
mod recovered;
mod schemas;
mod vectors;
mod world;
