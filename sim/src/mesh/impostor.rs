//! Somebody whose program is not ours, on a connection of its own: it proves a key that was let in, and then says what it
//! likes: messages of others in another order, absurd summaries, wishes for everything.

use driftless_core::reconcile::{Clock, Detail, Summary};
use driftless_core::session::{InviteProof, Output, Pass, Session};
use driftless_core::sign::Signature;

use super::*;

/// Messages of others that it knows.
const OVERHEARD: usize = 48;
/// An answer to it may be long, and ends.
const MOST_ANSWERS: usize = 5000;

impl Mesh {
    /// Somebody listens.
    pub(super) fn overhear(&mut self, parcel: &Parcel) {
        let Some(message) = &parcel.message else { return };
        if self.overheard.len() < OVERHEARD {
            self.overheard.push(message.clone());
        } else if self.dice.once_in(8) {
            let at = self.dice.below(OVERHEARD);
            if let Some(old) = self.overheard.get_mut(at) {
                *old = message.clone();
            }
        }
    }

    /// It calls a member.
    pub(super) fn impostor(&mut self, at: usize) -> Result<(), Fault> {
        if !self.is_up(at) || self.members.get(at).is_some_and(|member| member.frozen) {
            return Ok(());
        }
        let database = self.database(at)?;
        let (us, them) = (PeerId(self.dice.bytes()), database.peer().map_err(fault("a peer"))?);
        let mut side = DrivenSession::new(&database, Role::Listener, us).map_err(fault("a session"))?;
        let keys = vec![self.hostile.key()];
        let mut own = Session::new(Role::Dialer, us, them, self.dice.bytes(), keys);
        self.note(&format!("somebody hostile calls {at}"));
        let (mut said, mut answers) = (0, 0);
        // It greets as one should.
        for _ in 0..3 {
            while let Some(output) = own.poll() {
                if let Output::Send(message) = output {
                    said += 1;
                    side.receive(&message).map_err(fault("a greeting"))?;
                }
            }
            while let Some(turn) = side.turn().map_err(fault("a greeting"))? {
                if let SessionTurn::Message(message) = turn {
                    own.handle_frame(&message).map_err(fault("a greeting"))?;
                }
            }
        }
        let known: Vec<CommitId> = self
            .members
            .get(at)
            .map(|member| member.held(&self.spaces))
            .unwrap_or_default()
            .into_iter()
            .collect();
        let count = 5 + self.dice.below(30);
        'talk: for _ in 0..count {
            let message = self.absurdity(&known);
            match side.receive(&numbered(said, &message)) {
                Ok(()) => said += 1,
                Err(Error::Peer(_)) => break,
                Err(error) => return Err(format!("{at} hears somebody hostile: {error}")),
            }
            loop {
                match side.turn() {
                    Ok(Some(SessionTurn::Message(message))) => {
                        answers += 1;
                        if message.windows(MARKER.len()).any(|window| window == MARKER) {
                            return Err(format!("{at} sent somebody hostile what it may not read"));
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(Error::Peer(_)) => break 'talk,
                    Err(error) => return Err(format!("{at} answers somebody hostile: {error}")),
                }
                if answers > MOST_ANSWERS {
                    return Err(format!("{at} answers somebody hostile without end"));
                }
            }
        }
        self.note(&format!("after {said} messages and {answers} answers"));
        self.count("hostile session");
        self.plan_for(self.now + SECOND / 2, What::Flush(at));
        self.listen(at)
    }

    fn absurdity(&mut self, known: &[CommitId]) -> Message {
        let slot = 2 * self.dice.below(4) as u64;
        let space = match self.dice.below(4) {
            0 => SpaceId(self.dice.bytes()),
            1 => self.spaces[1],
            _ => self.spaces[0],
        };
        match self.dice.below(16) {
            0..3 => {
                let invite = self.dice.once_in(4).then(|| InviteProof {
                    invite: known.first().copied().unwrap_or(CommitId([0; 32])),
                    index: self.dice.below(3) as u32,
                    joiner: self.hostile.author(),
                    proof: Signature([7; 64]),
                });
                Message::Open { slot, space, invite: invite.map(Pass::Invite), summary: self.summary() }
            }
            3..5 => Message::Summary { slot, summary: self.summary() },
            5 => Message::Have { slot, summary: self.summary() },
            6..8 => {
                let again = if self.dice.once_in(2) { Some(self.summary()) } else { None };
                Message::Want { slot, ids: known.iter().take(1000).copied().collect(), again }
            }
            8 => Message::End { slot, digest: self.dice.bytes(), heads: vec![CommitId(self.dice.bytes())] },
            9 => Message::Ack {
                slot,
                number: self.dice.below(4) as u64,
                refused: Vec::new(),
                digest: self.dice.bytes(),
            },
            10 => {
                let cursor = Cursor {
                    store: self.dice.bytes(),
                    at: self.dice.bits() >> 20,
                    digest: self.dice.bytes(),
                };
                let cursor = Some(cursor).filter(|_| self.dice.once_in(2));
                let wanted = known.iter().take(self.dice.below(20)).copied().collect();
                Message::Pull {
                    wanted,
                    request: self.dice.below(40) as u64,
                    space,
                    cursor,
                    budget: self.dice.bits() >> 30,
                }
            }
            11 => Message::Spaces { count: self.dice.bits() >> 50, sum: self.dice.bytes() },
            // What somebody else said elsewhere.
            _ => self.dice.pick(&self.overheard).cloned().unwrap_or(Message::More),
        }
    }

    fn summary(&mut self) -> Summary {
        let overheard = self.overheard.iter().filter_map(|message| match message {
            Message::Open { summary, .. }
            | Message::Have { summary, .. }
            | Message::Summary { summary, .. } => Some(summary),
            _ => None,
        });
        let overheard: Vec<Summary> = overheard.cloned().collect();
        match self.dice.below(6) {
            0 => Summary::default(),
            1 => Summary { digest: self.dice.bytes(), detail: Detail::Bare },
            2 => Summary {
                digest: self.dice.bytes(),
                detail: Detail::Since(self.dice.bytes(), Clock(Vec::new())),
            },
            3 => {
                let detail =
                    self.dice.pick(&overheard).map(|summary| summary.detail.clone()).unwrap_or_default();
                Summary { digest: self.dice.bytes(), detail }
            }
            4 => Summary { digest: self.dice.bytes(), detail: Detail::Clock(Clock(Vec::new())) },
            _ => self.dice.pick(&overheard).cloned().unwrap_or_default(),
        }
    }
}
