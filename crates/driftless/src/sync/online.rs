//! How a database gets onto the network: which transports it uses, several at the same time.

use std::sync::Arc;

use driftless_net::{ByAddress, HttpOptions, HttpTransport, Transport};
#[cfg(feature = "iroh")]
use driftless_net::{IrohOptions, IrohTransport, Relay};

use crate::database::Database;
use crate::error::Error;
use crate::sync::network::Network;

impl Database {
    /// Puts the database on the network: over HTTP and, where this build has it, over iroh with the relays that addresses
    /// name and no others. Nothing is served before `Network::serve`, and nothing opened before it is needed. Needs a
    /// tokio runtime with several threads.
    pub fn network(&self) -> Result<Network, Error> {
        let builder = Network::builder(self).http();
        #[cfg(feature = "iroh")]
        let builder = builder.iroh(Relay::Named);
        builder.open()
    }
}

impl Network {
    /// Puts a database on the networks that are named to the builder; an address chooses among them.
    pub fn builder(database: &Database) -> NetworkBuilder {
        let database = database.clone();
        NetworkBuilder {
            database,
            http: None,
            transports: ByAddress::new(),
            wrap: None,
            #[cfg(feature = "iroh")]
            iroh: None,
        }
    }
}

/// Which networks a database is on. Without any, no address can be reached.
pub struct NetworkBuilder {
    database: Database,
    http: Option<HttpOptions>,
    #[cfg(feature = "iroh")]
    iroh: Option<IrohOptions>,
    transports: ByAddress,
    wrap: Option<Wrap>,
}

type Wrap = Box<dyn FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport> + Send>;

impl NetworkBuilder {
    /// HTTP, encrypted and proven by driftless itself.
    pub fn http(mut self) -> Self {
        self.http = Some(HttpOptions::default());
        self
    }

    /// iroh: QUIC, directly or through relays, of which `relay` says which.
    #[cfg(feature = "iroh")]
    pub fn iroh(mut self, relay: Relay) -> Self {
        self.iroh = Some(IrohOptions { relay, ..self.iroh.unwrap_or_default() });
        self
    }

    /// Looks for peers on the local network, over iroh, and says there under which key this database is while it serves.
    /// Nobody learns more than that key and the sockets; known peers are found where they are now, others are listed.
    #[cfg(feature = "iroh")]
    pub fn lan(mut self) -> Self {
        let options = self.iroh.unwrap_or_default();
        self.iroh = Some(IrohOptions { lan: true, ..options });
        self
    }

    /// Another network, for addresses that those before it do not take.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transports = self.transports.with(transport);
        self
    }

    /// What stands between the database and its networks: for tests that look at what goes over them.
    #[doc(hidden)]
    pub fn wrap_transport(
        mut self,
        wrap: impl FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport> + Send + 'static,
    ) -> Self {
        self.wrap = Some(Box::new(wrap));
        self
    }

    /// The database on these networks. Nothing is opened on any of them before it is needed.
    pub fn open(self) -> Result<Network, Error> {
        let node = self.database.read(|engine| Ok(engine.node.clone()))?;
        let mut transports = self.transports;
        #[cfg(feature = "iroh")]
        if let Some(options) = self.iroh {
            transports = transports.with(Arc::new(IrohTransport::new(&node, options)));
        }
        if let Some(options) = self.http {
            transports = transports.with(Arc::new(HttpTransport::new(node, options)));
        }
        let transports: Arc<dyn Transport> = Arc::new(transports);
        let transports = match self.wrap {
            Some(wrap) => wrap(transports),
            None => transports,
        };
        Network::over(&self.database, transports)
    }
}
