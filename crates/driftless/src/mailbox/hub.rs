//! A hub that serves a mailbox over HTTP. It needs no database and knows no space: who may write where is said by the
//! objects, which their writers have signed.

use std::net::SocketAddr;
use std::sync::Arc;

use driftless_net::mailbox::{self, Access, FolderUse, Hub, HubError, HubNumbers, HubOptions};

use super::{object, settings};
use crate::error::Error;

/// A mailbox that is served. Dropping it ends that at once.
#[derive(Debug)]
pub struct MailboxHub(Hub);

impl MailboxHub {
    /// Serves the mailbox at `url` (a folder, which is then this user's alone, or any other) at an address; port 0 takes any free one. An object is stored
    /// under the name that its writer has signed it for, and stays as long as it is whole. Needs a runtime.
    pub async fn serve(url: &str, at: SocketAddr, options: HubOptions) -> Result<Self, Error> {
        let access = Access { folder: FolderUse::Private, ..Access::default() };
        let at_url = |error| Error::Mailbox { url: settings::shown(url), error };
        let place = mailbox::open(url, &access).map_err(at_url)?;
        let admit = Arc::new(object::belongs);
        let served = Hub::serve(place, at, HubOptions { admit: Some(admit), ..options }).await;
        served.map(Self).map_err(|error| match error {
            HubError::Listen { .. } => Error::Io(error.to_string()),
            HubError::Mailbox(error) => at_url(error),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What it has done, and holds.
    pub fn numbers(&self) -> HubNumbers {
        self.0.numbers()
    }

    /// Ends it: what is being answered may finish, within some seconds.
    pub async fn close(&self) {
        self.0.close().await;
    }
}
