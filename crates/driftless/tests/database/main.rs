//! The database as its users see it: documents, exchange, rules, states.

mod documents;
mod concurrent;
mod exchange;
mod pen;
mod simulated;
mod states;
