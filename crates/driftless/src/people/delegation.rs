//! Spaces that let in the keys of other spaces: proofs out of the local copy of a space, enrolling and withdrawing.
//!
//! What a proof is worth is decided by the rules of the space that it is shown to, never by what this machine has.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use driftless_core::cbor::Writer;
use driftless_core::commit::Kind;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::limits::MAX_PROOF;
use driftless_core::rules::{RuleOperator, Shown, Subject, encode_proof};
use driftless_core::session::{Pass, SpaceProof};
use driftless_core::verdict::{Delegation, Via};

use crate::door::write::seen;
use crate::error::Error;
use crate::space::Space;
use crate::state::engine::Engine;
use crate::tables::layout::{LogKey, LogSeq, Row};
use crate::tables::log;

impl Space {
    /// Enters this space with the key of this database, which the space `by` lets in and this one grants something.
    /// What `by` says of the key is shown as far as it is here and was not shown before.
    pub fn enrol(&self, by: &SpaceId) -> Result<CommitId, Error> {
        self.database().write(|engine| engine.enrol(&self.id(), by))
    }

    /// Takes back here what the space `by` has taken back from a key. Needs a key that is stronger here than that one,
    /// for instance another of the same user. What is here of the key stays; what it writes without knowing is void.
    pub fn withdraw(&self, by: &SpaceId, key: &AuthorId) -> Result<CommitId, Error> {
        self.database().write(|engine| {
            let proof = engine.proof_for(&self.id(), by)?;
            engine.present(&self.id())?;
            let (storage, replica) = engine.parts(&self.id())?;
            let keep = seen(storage, replica, &Subject::Key(*key))?;
            let withdraw = RuleOperator::Withdraw { space: *by, key: *key, proof, keep };
            engine.write_rules(&self.id(), vec![withdraw])
        })
    }
}

impl Engine {
    fn enrol(&mut self, space: &SpaceId, by: &SpaceId) -> Result<CommitId, Error> {
        let Delegation { commit, index, .. } = self.delegation(space, by)?.ok_or_else(|| {
            Error::NotPermitted(format!(
                "this space grants nothing to those of space {by}: ask an admin here"
            ))
        })?;
        let proof = self.proof_for(space, by)?;
        let enrol = RuleOperator::Enrol { grant: commit, index, proof };
        // By the key that the other space lets in, whatever others of the user may do here.
        let key = self.author_in(by)?;
        self.with_key(key, |engine| engine.write_rules(space, vec![enrol]))
    }

    fn delegation(&mut self, space: &SpaceId, by: &SpaceId) -> Result<Option<Delegation>, Error> {
        let delegations = self.present(space)?.rules.delegations();
        Ok(delegations.into_iter().find(|delegation| delegation.space == *by))
    }

    /// Whether no key of the user is named in a space, and one could enter by another space.
    pub(crate) fn could_enrol(&mut self, space: &SpaceId) -> Result<bool, Error> {
        Ok(!self.doors(space)?.is_empty())
    }

    /// Enters a space by whichever other one lets a key of the user in, if none was ever named there.
    pub(crate) fn enrol_where_let_in(&mut self, space: &SpaceId) -> Result<bool, Error> {
        for by in self.doors(space)? {
            // What is not let in now may be later; that is no error of whoever synchronises.
            match self.enrol(space, &by) {
                Ok(_) => return Ok(true),
                Err(Error::NotPermitted(_) | Error::Invalid(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// What to show a peer to be served a space that the user has not entered yet.
    pub(crate) fn pass(&mut self, space: &SpaceId) -> Result<Option<Pass>, Error> {
        let by = match self.doors(space)?.first() {
            Some(by) => Some(*by),
            // Nothing is known of a space that is not here; whoever grants it to a person grants it to the identity.
            None if !self.load(space)? => self.own_identity().filter(|identity| identity != space),
            None => None,
        };
        let Some(by) = by else { return Ok(None) };
        if !self.load(&by)? {
            return Ok(None);
        }
        match self.pass_by(&by) {
            // The peer may know the key all the same.
            Err(Error::Invalid(_)) => Ok(None),
            pass => pass.map(Some),
        }
    }

    /// The same for a space that is not here, by a space that is.
    pub(crate) fn pass_by(&mut self, by: &SpaceId) -> Result<Pass, Error> {
        let proof = self.proof(by, &HashSet::new())?;
        let joiner = self.author_in(by)?;
        Ok(Pass::Space(SpaceProof { joiner, space: *by, proof }))
    }

    // The spaces by which the user could enter: granted something there, here, and with a word for one of the user's keys.
    fn doors(&mut self, space: &SpaceId) -> Result<Vec<SpaceId>, Error> {
        if !self.load(space)? {
            return Ok(Vec::new());
        }
        let keys = self.own_keys();
        let rules = &self.present(space)?.rules;
        // Whoever was removed by one key does not come back by another without being asked to.
        if keys.iter().any(|key| rules.was_named(key)) {
            return Ok(Vec::new());
        }
        let delegations = rules.delegations();
        let mut doors = BTreeSet::new();
        for Delegation { space: by, .. } in delegations {
            if self.load(&by)? {
                let key = self.author_in(&by)?;
                let standing = self.present(&by)?.rules.member(&key);
                if standing.is_some_and(|standing| standing.via == Via::Key) {
                    doors.insert(by);
                }
            }
        }
        Ok(doors.into_iter().collect())
    }

    fn proof_for(&mut self, space: &SpaceId, by: &SpaceId) -> Result<Vec<Shown>, Error> {
        let replica = self.present(space)?;
        // What a held commit showed is not below what is written now.
        let known = if replica.held.is_empty() { replica.rules.shown(by) } else { HashSet::new() };
        self.proof(by, &known)
    }

    // The rule commits of a space and all they stand on, without what is known already: all that its rules look at.
    fn proof(&mut self, of: &SpaceId, known: &HashSet<CommitId>) -> Result<Vec<Shown>, Error> {
        self.present(of)?;
        let (storage, replica) = self.parts(of)?;
        let number = replica.number;
        let mut open: Vec<LogSeq> = replica.rule_at.keys().copied().collect();
        let mut rows: BTreeMap<LogSeq, Row> = BTreeMap::new();
        loop {
            while let Some(at) = open.pop() {
                if rows.contains_key(&at) {
                    continue;
                }
                let row = log::row(storage, LogKey::new(number, at))?;
                if !known.contains(&row.id) {
                    open.extend(row.previous.iter().chain(&row.parents));
                    rows.insert(at, row);
                }
                if rows.len() > MAX_PROOF / 128 {
                    return Err(too_long(of));
                }
            }
            // Who is vouched for by neither a signature nor the next commit of its author needs that one, too.
            let next: BTreeSet<LogSeq> = rows.values().filter_map(|row| row.previous).collect();
            let bare = |(at, row): (&LogSeq, &Row)| {
                let signed = row.signature.is_some_and(|(_, verified)| verified);
                (!signed && !next.contains(at)).then_some(*at)
            };
            let bare: BTreeSet<LogSeq> = rows.iter().filter_map(bare).collect();
            let Some(first) = bare.first() else { break };
            for at in first + 1..replica.next {
                let row = log::row(storage, LogKey::new(number, at))?;
                if row.previous.is_some_and(|previous| bare.contains(&previous)) {
                    open.push(at);
                }
            }
            if open.is_empty() {
                return Err(Error::Invalid(format!("a commit of space {of} is not vouched for here")));
            }
        }
        let next: BTreeSet<LogSeq> = rows.values().filter_map(|row| row.previous).collect();
        let mut proof = Vec::with_capacity(rows.len());
        for (at, row) in &rows {
            let (header, body) = log::parts(storage, of, LogKey::new(number, *at), row)?;
            let signature = row.signature.map(|(signature, _)| signature).filter(|_| !next.contains(at));
            let body = body.filter(|_| row.kind == Kind::Rules);
            proof.push(Shown { header: header.encode(), signature, body });
        }
        let mut writer = Writer::default();
        encode_proof(&proof, &mut writer);
        if writer.finish().len() > MAX_PROOF { Err(too_long(of)) } else { Ok(proof) }
    }
}

fn too_long(of: &SpaceId) -> Error {
    Error::Invalid(format!(
        "the rules of space {of} take more than 64 KiB to show: grant its keys one by one, or keep teams in a space of their own"
    ))
}
