//! One pull flow over one connection: what is shared with the user, what the application wants, then each root since the
//! cursor. Each side does this for itself.
//!
//! It decides what is pulled in which order; how a root is pulled is the puller's.

use std::collections::{BTreeMap, BTreeSet};

use driftless_core::id::{PeerId, SpaceId};
use driftless_core::limits::MAX_ASKED;
use driftless_core::session::{Discovered, Located, Lookup};
use driftless_net::Traffic;

use crate::database::Database;
use crate::error::Error;
use crate::peers::progress::PullProgress;
use crate::share::audience::is_audience;
use crate::sync::command::{Command, News};
use crate::sync::counted::Counted;
use crate::sync::follow::Marks;
use crate::sync::lookup::FoundBy;
use crate::sync::network::{Exchange, Network};
use crate::sync::puller::Pulled;
use crate::sync::roots::Roots;
use crate::sync::space_graph::frontier_digest;
use crate::sync::stream::Moved;

/// Spaces that one peer may make us hold because it says that they are shared with us.
const MAX_SHARED: usize = 1024;
/// How often roots are asked for in one flow: what was pulled may name more.
const PASSES: usize = 3;

/// What one flow over one connection came to.
#[derive(Debug)]
pub struct Flowed {
    /// With whom.
    pub peer: PeerId,
    /// What became of each root that the peer opened.
    pub pulled: Vec<Pulled>,
    /// Roots that the peer does not open to this side, or does not have.
    pub withheld: Vec<SpaceId>,
    /// What else went wrong, each with the root that it went wrong with, if it was one.
    pub failed: Vec<(Option<SpaceId>, Error)>,
}

impl Flowed {
    pub(crate) fn new(peer: PeerId) -> Self {
        Self { peer, pulled: Vec::new(), withheld: Vec::new(), failed: Vec::new() }
    }
}

/// What a flow is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// Everything: also what is shared is asked for.
    pub(crate) everything: bool,
    /// Else these spaces, if they are roots.
    pub(crate) spaces: BTreeSet<SpaceId>,
    /// Only for this user; if unset, for all.
    pub(crate) user: Option<String>,
}

impl Scope {
    pub(crate) fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// What the hints of a peer are about that is not here already.
    pub(crate) fn of(marks: Marks, database: &Database) -> Result<Self, Error> {
        let mut scope = Self { everything: marks.anything, ..Self::default() };
        for changed in marks.spaces {
            let same = database.read(|engine| {
                Ok(engine.load(&changed.space)?
                    && frontier_digest(engine.parts(&changed.space)?.1) == changed.digest)
            })?;
            if !same {
                scope.spaces.insert(changed.space);
            }
        }
        Ok(scope)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.everything && self.spaces.is_empty()
    }
}

/// What was seen of a connection that goes on: it counts from its beginning.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    moved: BTreeMap<SpaceId, Moved>,
    traffic: Traffic,
    /// Questions that the peer was asked: it hears only so many.
    pub(crate) asked: u64,
}

impl Seen {
    // What moved, and what went over the wire, since it was last looked at.
    fn since(&mut self, pulled: &mut Pulled) {
        let before = self.moved.insert(pulled.space, pulled.moved).unwrap_or_default();
        let mut moved = Moved::default();
        moved.add_since(&before, &pulled.moved);
        pulled.moved = moved;
        let Traffic { sent, received } = std::mem::replace(&mut self.traffic, pulled.traffic);
        pulled.traffic.sent = pulled.traffic.sent.saturating_sub(sent);
        pulled.traffic.received = pulled.traffic.received.saturating_sub(received);
    }

    fn may_ask(&self) -> bool {
        self.asked + 8 < MAX_ASKED
    }
}

/// One flow for one user after the other.
pub(crate) struct Flow<'f> {
    pub(crate) network: &'f Network,
    pub(crate) users: &'f [Database],
    pub(crate) roots: &'f Roots,
    pub(crate) counted: &'f Counted,
}

impl Flow<'_> {
    /// Pulls what is in scope. That the connection ended is in `failed`; the rest is for the next one.
    pub(crate) async fn run(&self, line: &mut Exchange, seen: &mut Seen, scope: &Scope) -> Flowed {
        let mut flowed = Flowed::new(line.peer);
        let mut done = BTreeSet::new();
        for user in self.users {
            if scope.user.is_some() && scope.user != user.user().ok() {
                continue;
            }
            if let Err(error) = self.for_user((line, seen), user, scope, &mut done, &mut flowed).await {
                flowed.failed.push((None, error));
                break;
            }
        }
        flowed
    }

    async fn for_user(
        &self,
        (line, seen): (&mut Exchange, &mut Seen),
        user: &Database,
        scope: &Scope,
        done: &mut BTreeSet<SpaceId>,
        flowed: &mut Flowed,
    ) -> Result<(), Error> {
        let network = self.network.acting_as(user)?;
        let here = |space: &SpaceId| user.read(|engine| engine.load(space));
        // What all devices share, and hints of what is unknown, may name what is not here yet.
        let mut wide = scope.everything;
        for space in user.own_spaces()? {
            wide |= scope.spaces.contains(&space);
        }
        for space in &scope.spaces {
            wide |= !here(space)?;
        }
        let is_due = |space: &SpaceId| {
            Ok::<_, Error>(scope.everything || scope.spaces.contains(space) || wide && !here(space)?)
        };
        // What all devices of the user share comes first: it may name more.
        for _ in 0..2 {
            for space in user.own_spaces()? {
                if is_due(&space)? && done.insert(space) {
                    self.root(&network, (line, seen), space, flowed).await?;
                }
            }
        }
        if wide && seen.may_ask() {
            for Discovered { space, .. } in shared_over(user, line, &mut seen.asked).await? {
                if is_due(&space)? && done.insert(space) {
                    self.root(&network, (line, seen), space, flowed).await?;
                }
            }
        }
        for _ in 0..PASSES {
            let asked = (self.roots.clone(), user.clone());
            let wanted = tokio::task::spawn_blocking(move || asked.0.of(&asked.1)).await;
            let wanted = wanted.map_err(|_| Error::Invalid("asking for the roots stopped".into()))?;
            let mut wanted = match wanted {
                Ok(wanted) => wanted,
                Err(error) => {
                    flowed.failed.push((None, error));
                    Vec::new()
                }
            };
            wanted.extend(user.audiences_among(&scope.spaces)?);
            let before = done.len();
            for space in wanted {
                if is_due(&space)? && done.insert(space) {
                    self.root(&network, (line, seen), space, flowed).await?;
                }
            }
            if done.len() == before {
                break;
            }
        }
        Ok(())
    }

    // One root. An error where the connection is of no more use, or the database is not.
    async fn root(
        &self,
        network: &Network,
        (line, seen): (&mut Exchange, &mut Seen),
        root: SpaceId,
        flowed: &mut Flowed,
    ) -> Result<(), Error> {
        let pulled = match network.pull_over(line, root).await {
            Err(Error::NotOpen(_)) => enter(network, line, root).await,
            Ok(pulled) => enrolled(network, line, pulled).await,
            failed => failed,
        };
        let peer = flowed.peer;
        match pulled {
            Ok(mut pulled) => {
                seen.since(&mut pulled);
                self.count(&pulled, network.database())?;
                flowed.pulled.push(pulled);
            }
            Err(Error::NotOpen(_)) => flowed.withheld.push(root),
            Err(error) => {
                let store = [0; 16];
                let failed = PullProgress { failures: 1, ..PullProgress::new((peer, root, store)) };
                self.counted.note(&failed);
                let ends = matches!(error, Error::Unreachable(_) | Error::Poisoned(_) | Error::Io(_));
                if ends {
                    return Err(error);
                }
                flowed.failed.push((Some(root), error));
            }
        }
        Ok(())
    }

    fn count(&self, pulled: &Pulled, database: &Database) -> Result<(), Error> {
        let Pulled { peer, space, moved, .. } = pulled;
        let store = pulled.cursor.map_or([0; 16], |cursor| cursor.store);
        let new = moved.applied + moved.held + moved.void + moved.wanted;
        let since = PullProgress {
            last_pull_ms: database.read(|engine| Ok(engine.now()))?,
            pulls: 1,
            empty: u64::from(new == 0),
            reconciled: u64::from(pulled.reconciled),
            ..PullProgress::new((*peer, *space, store))
        };
        if self.counted.note(&since) { self.counted.flush() } else { Ok(()) }
    }
}

// A root that does not open to the keys alone: by what another space, or an invite, says of one of them.
async fn enter(network: &Network, line: &mut Exchange, root: SpaceId) -> Result<Pulled, Error> {
    let database = network.database();
    let pass = database.read(|engine| engine.pass(&root))?;
    let mut synced = Err(Error::NotOpen(root));
    if pass.is_some() {
        synced = match line.open(root, pass).await {
            Ok(synced) => network.enrol_over(line, synced).await,
            Err(error) => Err(error),
        };
    }
    if matches!(synced, Err(Error::NotOpen(_)))
        && let Some(ticket) = database.accepted_ticket(&root)?
    {
        let author = database.author()?;
        synced = match network.join_over(line, &ticket, author).await {
            // It was ended, or used up: nobody can do anything about that here.
            Err(Error::NotPermitted(_)) => Err(Error::NotOpen(root)),
            synced => synced,
        };
    }
    let synced = synced?;
    Ok(Pulled {
        space: root,
        peer: line.peer,
        moved: synced.moved,
        traffic: synced.traffic,
        reconciled: true,
        settled: synced.settled,
        cursor: None,
        wanted: 0,
    })
}

// A key that another space lets in enters this one, as soon as it has the rules.
async fn enrolled(network: &Network, line: &mut Exchange, pulled: Pulled) -> Result<Pulled, Error> {
    let (space, database) = (pulled.space, network.database().clone());
    let could = database.read(|engine| Ok(engine.load(&space)? && engine.could_enrol(&space)?))?;
    if could && network.enrol_where_let_in(space).await? {
        // So that the peer, too, knows it from now on.
        line.open(space, None).await?;
    }
    Ok(pulled)
}

/// What the peer shares with a user by name, also by what the user's identity says of a key.
pub(crate) async fn shared_over(
    user: &Database,
    line: &mut Exchange,
    asked: &mut u64,
) -> Result<Vec<Discovered>, Error> {
    let pass = user.read(|engine| match engine.own_identity() {
        Some(identity) if engine.load(&identity)? => match engine.pass_by(&identity) {
            Err(Error::Invalid(_)) => Ok(None),
            pass => pass.map(Some),
        },
        _ => Ok(None),
    })?;
    let mut found: Vec<Discovered> = Vec::new();
    loop {
        let after = found.last().map(|last| last.space);
        let command = Command::Shared(after, pass.clone());
        *asked += 1;
        let (page, more) = line
            .ask(command, |news| match news {
                News::Found(spaces, more) => Some((spaces, more)),
                _ => None,
            })
            .await?;
        let goes_on = page.first().is_none_or(|first| after.is_none_or(|after| first.space > after));
        if !goes_on {
            return Err(Error::Peer("the peer tells of spaces without end".into()));
        }
        found.extend(page);
        if !more || found.len() >= MAX_SHARED {
            found.truncate(MAX_SHARED);
            return Ok(found);
        }
    }
}

/// One page of the documents that a peer finds for a look-up.
pub(crate) async fn find_over(line: &mut Exchange, lookup: Lookup) -> Result<FoundBy, Error> {
    let collection = lookup.collection.clone();
    let Located { documents, next, cut } = line
        .ask(Command::Find(lookup), |news| match news {
            News::Located(located) => Some(located),
            _ => None,
        })
        .await?;
    FoundBy::read(&collection, documents, next, cut)
}

impl Database {
    /// Which of these spaces are here and were made for exactly some users.
    pub(crate) fn audiences_among(&self, spaces: &BTreeSet<SpaceId>) -> Result<Vec<SpaceId>, Error> {
        let mut found = Vec::new();
        for space in spaces {
            let is =
                self.read(|engine| Ok(engine.load(space)? && is_audience(&engine.parts(space)?.1.rules)))?;
            found.extend(is.then_some(*space));
        }
        Ok(found)
    }
}
