//! What documents promise: values and ids. One file for each.

mod ids;
mod samples;
mod values;
