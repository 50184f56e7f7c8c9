//! The threads that drive connections. Commands wait for what runs on them, and know nothing else of it.

use tokio::runtime::{Builder, Runtime};

use crate::failure::{Exit, Failure};

// A peer is served by one thread while a big commit of another is checked on the other.
const THREADS: usize = 2;

/// Starts the threads.
pub(crate) fn start() -> Result<Runtime, Failure> {
    let built = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    built.map_err(|error| Failure::new(Exit::Failed, "io", error, "end some other programs and try again"))
}
