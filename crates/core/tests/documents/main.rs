//! What documents promise: values, ids, operators and the fold. One file for each.

mod folding;
mod ids;
mod operators;
mod samples;
mod values;
