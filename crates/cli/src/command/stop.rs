//! Somebody wants a command to end that would go on: by a signal, or because the client of `serve` is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Context;
use crate::failure::{Exit, Failure};

// How often it is looked for.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Whether the command is to end. Clones are the same wish.
#[derive(Clone)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on a signal does not end the process, but is a wish. Once in a process.
    pub(super) fn of(context: &Context) -> Result<Self, Failure> {
        if let Some(served) = &context.served {
            return Ok(Self(served.gone.clone()));
        }
        let stop = Self(Arc::default());
        let wish = stop.0.clone();
        ctrlc::set_handler(move || wish.store(true, Ordering::SeqCst)).map_err(|error| {
            Failure::new(Exit::Failed, "io", error, "start the command from a terminal or a service manager")
        })?;
        Ok(stop)
    }

    pub(super) fn is_wished(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits for the wish. Needs a runtime.
    pub(super) async fn wished(&self) {
        while !self.is_wished() {
            tokio::time::sleep(LOOK_UP).await;
        }
    }
}
