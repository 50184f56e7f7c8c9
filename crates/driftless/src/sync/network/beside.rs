//! Whoever follows the connections of a network, and uses them beside their owners.

use std::sync::PoisonError;

use driftless_core::id::PeerId;
use tokio::sync::mpsc;

use super::{Exchange, Network};
use crate::sync::command::{Command, News};
use crate::sync::follow::Follower;

impl Network {
    /// Who follows the connections, as long as somebody does.
    pub(super) fn follower(&self) -> Option<Follower> {
        let follower = self.shared.follower.lock().unwrap_or_else(PoisonError::into_inner);
        follower.clone().filter(|follower| !follower.opened.is_closed())
    }

    /// Follows all connections that begin from now on; `false` if somebody does already.
    pub(crate) fn follow(&self, by: Follower) -> bool {
        let mut follower = self.shared.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let free = follower.as_ref().is_none_or(|follower| follower.opened.is_closed());
        if free {
            *follower = Some(by);
        }
        free
    }

    /// Whether the sync engine keeps the peers of this network connected.
    pub(crate) fn has_engine(&self) -> bool {
        self.shared.engine.get().is_some_and(|engine| !engine.is_closed())
    }
}

impl Exchange {
    /// A connection of somebody else, to be used beside its owner; `None` if it has ended.
    pub(crate) fn beside(
        peer: PeerId,
        commands: &mpsc::WeakSender<Command>,
        news: mpsc::UnboundedReceiver<News>,
    ) -> Option<Self> {
        Some(Self { peer, commands: commands.upgrade()?, news, task: None, connected: None })
    }

    /// Waits until the connection has ended, whatever is told meanwhile.
    pub(crate) async fn ended(&mut self) {
        while self.news.recv().await.is_some() {}
    }

    /// Gives back what was lent for `beside`.
    pub(crate) fn into_news(self) -> mpsc::UnboundedReceiver<News> {
        self.news
    }
}
