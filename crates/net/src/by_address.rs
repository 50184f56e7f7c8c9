//! Several transports as one: an address chooses the one that serves it. What an address looks like is not known here.

use std::sync::Arc;

use tokio::sync::watch;

use crate::address::Address;
use crate::neighbours::Neighbours;
use crate::transport::{BoxFuture, Connection, Listener, NetError, Transport};

/// The first of some transports that does not answer `NetError::Address`, for each address anew.
#[derive(Clone, Default)]
pub struct ByAddress(Vec<Arc<dyn Transport>>);

impl ByAddress {
    /// No transport yet: no address can be reached.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, for addresses that none of those before takes.
    pub fn with(mut self, transport: Arc<dyn Transport>) -> Self {
        self.0.push(transport);
        self
    }
}

impl Transport for ByAddress {
    fn dial<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Connection, NetError>> {
        Box::pin(async move {
            for transport in &self.0 {
                match transport.dial(address).await {
                    Err(NetError::Address(_)) => {}
                    dialed => return dialed,
                }
            }
            Err(NetError::Address(address.clone()))
        })
    }

    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Box<dyn Listener>, NetError>> {
        Box::pin(async move {
            for transport in &self.0 {
                match transport.listen(address).await {
                    Err(NetError::Address(_)) => {}
                    listening => return listening,
                }
            }
            Err(NetError::Address(address.clone()))
        })
    }

    fn neighbours(&self) -> Result<Option<watch::Receiver<Neighbours>>, NetError> {
        self.0
            .iter()
            .map(|transport| transport.neighbours())
            .find(|told| !matches!(told, Ok(None)))
            .unwrap_or(Ok(None))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for transport in &self.0 {
                transport.close().await;
            }
        })
    }
}
