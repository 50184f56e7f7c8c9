//! Everything that holds where triggers note what the application does, where its own connection does; and what only such
//! a connection sees.

mod hook;

#[path = "../rows/constraints.rs"]
mod constraints;
#[path = "../rows/crash.rs"]
mod crash;
#[path = "../rows/failures.rs"]
mod failures;
#[path = "../rows/merging.rs"]
mod merging;
#[path = "../rows/schemas.rs"]
mod schemas;
#[path = "../rows/shop.rs"]
mod shop;
#[path = "../rows/together.rs"]
mod together;
#[path = "../rows/values.rs"]
mod values;

type App = driftless_rows::Captured;
const CAPTURE: driftless_rows::Capture = driftless_rows::Capture::InProcess;
