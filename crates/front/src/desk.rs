//! Where operations are done: on few threads, so that a database that is slow or busy makes clients wait, and nothing else.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::arguments::Arguments;
use crate::backend::Backend;
use crate::limits::{EXCHANGES, THREADS};
use crate::operation::{Answer, Operation, Work};
use crate::refusal::Refusal;

/// Does the work of all clients.
pub(crate) struct Desk {
    pub(crate) backend: Backend,
    /// A stream whose client takes nothing for this long ends.
    pub(crate) slow: Duration,
    threads: Semaphore,
    exchanges: Semaphore,
}

impl Desk {
    pub(crate) fn new(backend: Backend, slow: Duration) -> Self {
        Self { backend, slow, threads: Semaphore::new(THREADS), exchanges: Semaphore::new(EXCHANGES) }
    }

    /// Does something that may block, when its turn comes.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Backend) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.in_turn(&self.threads, work).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        turns: &Semaphore,
        work: impl FnOnce(&Backend) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        // Nobody closes the semaphores.
        let _turn = turns.acquire().await;
        let backend = self.backend.clone();
        let done = spawn_blocking(move || work(&backend)).await;
        done.unwrap_or_else(|_| {
            Err(Refusal::new(500, "io", "the operation did not end", "see what the server printed"))
        })
    }

    /// Does an operation that is no stream.
    pub(crate) async fn answer(&self, operation: &'static Operation, arguments: Arguments) -> Answer {
        match operation.work {
            Work::Once(work) => self.work(move |backend| work(backend, &arguments)).await,
            Work::WithPeers(work) => {
                self.in_turn(&self.exchanges, move |backend| work(backend, &arguments)).await
            }
            Work::Watch | Work::Events => Err(Refusal::new(
                400,
                "needs_websocket",
                "what goes on after it was asked for needs the WebSocket",
                "connect to /api/1/ws; /docs says how",
            )),
        }
    }
}
