//! The database as its users see it: documents, exchange, rules, states.

mod documents;
mod concurrent;
mod exchange;
mod failing;
mod pen;
mod recovery;
mod simulated;
mod states;
