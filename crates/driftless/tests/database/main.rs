//! The database as its users see it: documents, exchange, rules, states.

mod documents;
mod exchange;
mod pen;
mod simulated;
mod states;
