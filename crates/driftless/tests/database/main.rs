//! The database as its users see it: documents, exchange, rules, states.

mod documents;
mod concurrent;
mod exchange;
mod explained;
mod failing;
mod feeds;
mod forks;
mod filters;
mod following;
mod late;
mod laws;
mod past;
mod pen;
mod recovery;
mod sessions;
mod signed;
mod simulated;
mod states;
mod watching;
