//! The steps of the walk as spans, for whoever collects them (`tracing`): one table of names, levels and fields.
//!
//! A span tells where, with whom and how much; never what is in a document, and no key or ticket. Without a subscriber
//! each of these is one comparison. ARCHITECTURE.md has the steps, docs/deploy.md how to see them.

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::session::{Ask, Slot};
use tracing::field::{self, Empty};
use tracing::span::EnteredSpan;
use tracing::{Level, Span, span};

/// Step 1: edits are staged.
pub(crate) fn stage(space: &SpaceId) -> EnteredSpan {
    span!(Level::TRACE, "walk.stage", space = field::display(space)).entered()
}

/// Step 2: a commit is built and signed.
pub(crate) fn build(space: &SpaceId) -> EnteredSpan {
    span!(Level::TRACE, "walk.build", space = field::display(space)).entered()
}

/// Step 3: it is in the one door; steps 4 to 6 are inside.
pub(crate) fn enter(space: &SpaceId) -> EnteredSpan {
    span!(Level::TRACE, "walk.enter", space = field::display(space)).entered()
}

/// Step 4: its header is held against its ancestors.
pub(crate) fn admit() -> EnteredSpan {
    span!(Level::TRACE, "walk.admit").entered()
}

/// Step 5: it is appended to the log.
pub(crate) fn append() -> EnteredSpan {
    span!(Level::TRACE, "walk.append").entered()
}

/// Step 6: what counts is said; folding is inside.
pub(crate) fn judge() -> EnteredSpan {
    span!(Level::TRACE, "walk.judge").entered()
}

/// Step 6: documents are folded. What came late is so once for many commits, inside step 7.
pub(crate) fn fold() -> EnteredSpan {
    span!(Level::TRACE, "walk.fold").entered()
}

/// Step 7: what was staged becomes durable, by so many steps of staging.
pub(crate) fn durable(staged: usize) -> EnteredSpan {
    span!(Level::DEBUG, "walk.durable", staged).entered()
}

/// Step 8: the changes of so many spaces are published.
pub(crate) fn publish(spaces: usize) -> EnteredSpan {
    span!(Level::DEBUG, "walk.publish", spaces).entered()
}

/// Step 9: connections and the sync engine hear of it; no space is any.
pub(crate) fn wake(space: Option<&SpaceId>) -> EnteredSpan {
    span!(Level::DEBUG, "walk.wake", space = space.map(field::display)).entered()
}

/// Step 10: the session asks the database what to say, or (step 12) hands it what a peer sent.
pub(crate) fn answer(peer: &PeerId, ask: &Ask, space_of: impl Fn(Slot) -> Option<SpaceId>) -> Span {
    let slot = |slot: &Slot| space_of(*slot);
    match ask {
        Ask::Ingest { slot: at, .. } => receive(peer, slot(at)),
        Ask::Take { space, .. } => receive(peer, Some(*space)),
        Ask::Open { space, .. } => decide(peer, "open", Some(*space)),
        Ask::Hear { slot: at, .. } => decide(peer, "hear", slot(at)),
        Ask::Go { slot: at } => decide(peer, "go", slot(at)),
        Ask::Read { slot: at } => decide(peer, "read", slot(at)),
        Ask::Acknowledged { slot: at, .. } => decide(peer, "acknowledged", slot(at)),
        Ask::Check { slot: at, .. } => decide(peer, "check", slot(at)),
        Ask::Confirm { slot: at, .. } => decide(peer, "confirm", slot(at)),
        Ask::Want { slot: at, .. } => decide(peer, "want", slot(at)),
        Ask::Feed { space, .. } => decide(peer, "feed", Some(*space)),
        Ask::Request { request, .. } => decide(peer, "request", Some(request.space)),
        Ask::Discover { .. } => decide(peer, "discover", None),
        Ask::Shared { .. } => decide(peer, "shared", None),
        Ask::Find { .. } => decide(peer, "find", None),
        Ask::Tell { .. } => decide(peer, "tell", None),
        Ask::Survey { .. } => decide(peer, "survey", None),
        Ask::Forget { slot: at } => decide(peer, "forget", slot(at)),
    }
}

// `commits` is how many are sent.
fn decide(peer: &PeerId, ask: &'static str, space: Option<SpaceId>) -> Span {
    span!(
        Level::DEBUG,
        "walk.decide",
        peer = field::display(peer),
        ask,
        space = space.map(field::display),
        commits = Empty
    )
}

/// Step 11: a frame is handed to the network.
pub(crate) fn send(peer: &PeerId, bytes: usize) -> Span {
    span!(Level::DEBUG, "walk.send", peer = field::display(peer), bytes)
}

// A frame is taken, through the same door; `commits` is how many were in it.
fn receive(peer: &PeerId, space: Option<SpaceId>) -> Span {
    span!(
        Level::DEBUG,
        "walk.receive",
        peer = field::display(peer),
        space = space.map(field::display),
        commits = Empty
    )
}

/// Says how many commits it was, once that is known.
pub(crate) fn commits(span: &Span, count: u64) {
    span.record("commits", count);
}
