//! The database as its users see it: documents, exchange, rules, states.

mod documents;
mod concurrent;
mod exchange;
mod failing;
mod filters;
mod laws;
mod pen;
mod recovery;
mod signed;
mod simulated;
mod states;
mod watching;
