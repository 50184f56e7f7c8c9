//! What must hold at every moment of a run, looked at now and then.

use super::*;
use crate::reference;
use crate::world::agrees;

impl Mesh {
    /// Whether the rules that a member has now let the other end of a connection read the space of some, by a key that it
    /// has proven.
    pub(super) fn lets_in(&self, id: u64, at: usize) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        let proven = connection.side(at).and_then(|side| connection.proven.get(side));
        let Ok(space) = self.space(at, &self.spaces[1]) else { return false };
        let members = space.members().unwrap_or_default();
        let may_read = |subject: &Subject| match subject {
            Subject::Key(key) => proven.is_some_and(|proven| proven.contains(key)),
            Subject::Anyone => true,
            Subject::Space(_) => false,
        };
        members.iter().any(|member| may_read(&member.subject))
    }

    /// Whoever pulls from here on has what came before.
    pub(super) fn has_up_to(
        &self,
        puller: usize,
        server: usize,
        space: &SpaceId,
        cursor: &Cursor,
    ) -> Result<(), Fault> {
        let Ok(log) = self.space(server, space) else { return Ok(()) };
        // Of another log: it will be told so.
        if log.feed(Some(cursor), 1).is_err() {
            return Ok(());
        }
        let lines = log.log(driftless::LogQuery::default()).map_err(fault("a log"))?;
        let Some(puller_has) = self.members.get(puller).and_then(|member| member.peer.ids(space).ok()) else {
            return Ok(());
        };
        let mut before = lines.iter().rev().take(cursor.at as usize);
        match before.find(|line| !puller_has.contains(&line.commit)) {
            None => Ok(()),
            Some(line) => {
                Err(format!("{puller} pulls from {server} after {}, and has no {}", cursor.at, line.commit))
            }
        }
    }

    /// The same for the place that it has just written down.
    pub(super) fn has_what_its_cursor_says(
        &mut self,
        id: u64,
        puller: usize,
        server: usize,
    ) -> Result<(), Fault> {
        let Some(connection) = self.connections.get(&id) else { return Ok(()) };
        let (Some(space), Some(side)) = (connection.pulls, connection.sides.first()) else { return Ok(()) };
        match side.cursor(&space).map_err(fault("a cursor"))? {
            Some(cursor) => self.has_up_to(puller, server, &space, &cursor),
            None => Ok(()),
        }
    }

    /// A member shows what follows from its own log, and the same when it folds it again.
    pub(super) fn look(&mut self, at: usize) -> Result<(), Fault> {
        if !self.is_up(at) {
            return Ok(());
        }
        let space = self.spaces[self.dice.below(2)];
        let again = self.dice.once_in(2);
        let Some(peer) = self.members.get(at).map(|member| &member.peer) else { return Ok(()) };
        let Ok(handle) = peer.space(&space) else { return Ok(()) };
        if again {
            let before = peer.digest(&space)?;
            let after = handle.rebuild().map_err(fault("a rebuild"))?;
            if before != after {
                return Err(format!("{at} folded from its log is another: {before:?}, {after:?}"));
            }
        }
        let admitted = peer.ids(&space)?;
        let mut log = peer.log(&space)?;
        log.retain(|commit| admitted.contains(&driftless_core::commit::commit_id(&commit.header)));
        let expected = reference::expect(&log, &BTreeMap::new(), peer.clock.now())?;
        // What waits for a clock that was set back since may have had its effect already.
        if expected.counts.held > 0 || peer.status(&space)?.counts.held > 0 {
            return Ok(());
        }
        agrees(peer, &space, &expected).map_err(|fault| format!("{at}: {fault}"))?;
        self.count("look at a member");
        Ok(())
    }

    /// All have the same proofs of forks.
    pub(super) fn same_forks(&self) -> Result<(), Fault> {
        for (which, space) in self.spaces.into_iter().enumerate() {
            let mut first = None;
            for member in self.members.iter().filter(|member| which == 0 || member.inside) {
                let mut forks: BTreeMap<(AuthorId, u64), BTreeSet<CommitId>> = BTreeMap::new();
                for fork in member.peer.status(&space)?.forked {
                    forks.entry((fork.author, fork.seq)).or_default().extend(fork.commits);
                    if fork.proof.is_empty() {
                        return Err(format!("a fork of {} without a proof", fork.author));
                    }
                }
                if *first.get_or_insert_with(|| forks.clone()) != forks {
                    return Err(format!("forks are proven differently: {first:?}, {forks:?}"));
                }
            }
        }
        Ok(())
    }
}
