//! What documents promise: values, ids, operators, the fold, filters. One file for each.

mod filters;
mod folding;
mod ids;
mod operators;
mod samples;
mod values;
