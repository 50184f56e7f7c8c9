//! A member whose program is not ours: it signs whatever it likes with a key that was let in.
//!
//! Some of what it makes is valid and merely unusual (forks, runs, retractions, bodies that do not decode), the rest
//! must be refused. It knows nothing of databases; somebody delivers what it makes.

use std::collections::BTreeMap;

use driftless::{AuthorId, CommitId, DocumentId, Kind, Permission, SpaceId, Strength, Subject, Timestamp};
use driftless_core::commit::{
    BodyEncoding, DocumentBody, Header, Received, RuleBody, Vouched, body_hash, commit_id,
};
use driftless_core::operator::{Edit, Operator, operators_from_json};
use driftless_core::rules::RuleOperator;
use driftless_core::sign::AuthorKey;

use crate::dice::Dice;

/// A key without a database.
#[derive(Debug)]
pub struct Hostile {
    key: AuthorKey,
    space: SpaceId,
}

/// What somebody knows of a space: headers by id, and which of them are heads.
#[derive(Debug, Default)]
pub struct Known {
    /// Every header.
    pub headers: BTreeMap<CommitId, Header>,
    /// Commits without a child.
    pub heads: Vec<CommitId>,
}

// 2999-01-01
const FAR: u64 = 32_472_144_000_000;

impl Hostile {
    /// One with the key of a seed, in one space.
    pub fn new(seed: [u8; 32], space: SpaceId) -> Self {
        Self { key: AuthorKey::from_seed(&seed), space }
    }

    /// What it proves to whom it calls.
    pub fn key(&self) -> AuthorKey {
        self.key.clone()
    }

    /// Whom to grant something to.
    pub fn author(&self) -> AuthorId {
        self.key.id()
    }

    /// One to three commits on top of what is known, or beside it, and a word for what they are.
    pub fn commits(
        &self,
        dice: &mut Dice,
        known: &Known,
        others: &[AuthorId],
        now: u64,
    ) -> (&'static str, Vec<Received>) {
        let own: Vec<(&CommitId, &Header)> =
            known.headers.iter().filter(|(_, header)| header.author == self.author()).collect();
        let last = own.iter().max_by_key(|(_, header)| header.seq).copied();
        let next = |header: Header, body: DocumentBody, dice: &mut Dice| {
            let body = body.encode(dice.bytes());
            self.sign(header, body).into_iter().collect::<Vec<_>>()
        };
        let header = self.header(known, last, &known.heads, now);
        let body = DocumentBody { edits: edits(dice), retracts: Vec::new() };
        match dice.below(20) {
            0 | 1 => ("plain", next(header, body, dice)),
            2 => ("wrong seq", next(Header { seq: header.seq + 1, ..header }, body, dice)),
            3 => {
                let previous = known.headers.keys().nth(dice.below(known.headers.len())).copied();
                let parents = header.parents.iter().filter(|id| Some(**id) != previous).copied().collect();
                let seq = header.seq.max(2);
                ("another's previous", next(Header { previous, parents, seq, ..header }, body, dice))
            }
            4 => {
                let time = Timestamp(header.time.0.saturating_sub(dice.bits() % (1 << 40)));
                ("backdated", next(Header { time, ..header }, body, dice))
            }
            5 => {
                let ms = if dice.once_in(3) { FAR } else { now + 60_000 * dice.below(60 * 24) as u64 };
                (
                    "future",
                    next(Header { time: header.time.max(Timestamp::from_ms(ms)), ..header }, body, dice),
                )
            }
            6 | 7 => {
                // On an earlier commit of its own, beside whatever followed there.
                let from = dice.pick(&own).copied();
                let beside = self.header(known, from, &[], now);
                let time = *dice.pick(&times(known)).unwrap_or(&beside.time);
                let time = if dice.once_in(2) { time } else { beside.time };
                ("fork", next(Header { time, ..beside }, body, dice))
            }
            8 => {
                let bytes: [u8; 40] = dice.bytes();
                ("undecodable", self.sign(header, bytes.to_vec()).into_iter().collect())
            }
            9 => {
                let header = Header { body_encoding: BodyEncoding::Sealed, ..header };
                ("sealed", next(header, body, dice))
            }
            10 | 11 => {
                let mut retracts: Vec<CommitId> = Vec::new();
                for _ in 0..=dice.below(3) {
                    let of: Vec<CommitId> = own.iter().map(|(id, _)| **id).collect();
                    retracts.extend(dice.pick(&of));
                }
                retracts.push(CommitId(dice.bytes()));
                let foreign: Vec<CommitId> = known.headers.keys().copied().collect();
                retracts.extend(dice.pick(&foreign));
                let edits = if dice.once_in(2) { body.edits } else { Vec::new() };
                let header = Header { continues: dice.once_in(4), ..header };
                ("retraction", next(header, DocumentBody { edits, retracts }, dice))
            }
            12 | 13 => ("run", self.run(dice, header)),
            14 | 15 => {
                let rules = RuleBody { operators: vec![self.rule(dice, known, others)] };
                let header = Header { kind: Kind::Rules, ..header };
                ("rules", self.sign(header, rules.encode(dice.bytes())).into_iter().collect())
            }
            16 => {
                let mut parents = header.parents.clone();
                parents.push(CommitId(dice.bytes()));
                parents.sort();
                ("missing parent", next(Header { parents, ..header }, body, dice))
            }
            17 => ("another's name", self.in_another_name(dice, header, others)),
            18 => {
                let mut commits = next(header, body, dice);
                if let Some(commit) = commits.first_mut() {
                    commit.body = if dice.once_in(2) { None } else { Some(vec![1, 2, 3]) };
                }
                ("no body", commits)
            }
            _ => {
                let mut commits = next(header, body, dice);
                if let Some(byte) = commits.first_mut().and_then(|commit| {
                    let at = dice.below(commit.header.len());
                    commit.header.get_mut(at)
                }) {
                    *byte ^= 1 << dice.below(8);
                }
                ("flipped bit", commits)
            }
        }
    }

    // The header of the commit after `previous`, and after `heads`.
    fn header(
        &self,
        known: &Known,
        previous: Option<(&CommitId, &Header)>,
        heads: &[CommitId],
        now: u64,
    ) -> Header {
        let mut parents: Vec<CommitId> =
            heads.iter().filter(|id| previous.is_none_or(|(own, _)| own != *id)).copied().collect();
        if previous.is_none() && parents.is_empty() {
            parents.push(CommitId(self.space.0));
        }
        parents.sort();
        let last = parents.iter().filter_map(|id| known.headers.get(id)).chain(previous.map(|(_, own)| own));
        let after = last.map(|header| header.time.next()).max().unwrap_or_default();
        Header {
            kind: Kind::Documents,
            continues: false,
            space: Some(self.space),
            author: self.author(),
            seq: previous.map_or(1, |(_, own)| own.seq + 1),
            previous: previous.map(|(id, _)| *id),
            parents,
            time: after.max(Timestamp::from_ms(now)),
            body_hash: [0; 32],
            body_length: 0,
            body_encoding: BodyEncoding::Plain,
            extensions: Header::no_extensions(),
        }
    }

    fn sign(&self, header: Header, body: Vec<u8>) -> Option<Received> {
        Vouched::sign(header, body, &self.key).ok().map(|commit| commit.to_received())
    }

    // A transaction of two or three commits, of which the last may be missing.
    fn run(&self, dice: &mut Dice, first: Header) -> Vec<Received> {
        let length = 2 + dice.below(2);
        let mut commits: Vec<Received> = Vec::new();
        for at in 0..length {
            let mut header = Header { continues: at + 1 < length, ..first.clone() };
            if let Some(before) = commits.last() {
                header.previous = Some(commit_id(&before.header));
                header.parents = Vec::new();
                header.seq += at as u64;
                header.time = Timestamp(header.time.0 + at as u64);
            }
            let body = DocumentBody { edits: edits(dice), retracts: Vec::new() };
            commits.extend(self.sign(header, body.encode(dice.bytes())));
        }
        if dice.once_in(3) {
            commits.pop();
        }
        commits
    }

    fn rule(&self, dice: &mut Dice, known: &Known, others: &[AuthorId]) -> RuleOperator {
        let subject = match dice.pick(others) {
            Some(author) if !dice.once_in(8) => Subject::Key(*author),
            _ => Subject::Anyone,
        };
        let of_subject = |header: &Header| match subject {
            Subject::Key(author) => header.author == author,
            Subject::Anyone | Subject::Space(_) => true,
        };
        let theirs: Vec<CommitId> =
            known.headers.iter().filter(|(_, header)| of_subject(header)).map(|(id, _)| *id).collect();
        let mut keep: Vec<CommitId> =
            (0..dice.below(3)).filter_map(|_| dice.pick(&theirs)).copied().collect();
        keep.sort();
        keep.dedup();
        let keep = if dice.once_in(4) { None } else { Some(keep) };
        let strength = Strength(dice.below(30) as u32);
        let permission = match dice.below(4) {
            0 => None,
            1 => Some(Permission::Read),
            2 => Some(Permission::Write(strength)),
            _ => Some(Permission::Admin(strength)),
        };
        RuleOperator::Grant { subject, permission, keep }
    }

    fn in_another_name(&self, dice: &mut Dice, header: Header, others: &[AuthorId]) -> Vec<Received> {
        let Some(author) = dice.pick(others) else { return Vec::new() };
        let body = DocumentBody { edits: edits(dice), retracts: Vec::new() }.encode(dice.bytes());
        let body_length = body.len() as u32;
        let header = Header { author: *author, body_hash: body_hash(&body), body_length, ..header }.encode();
        let signature = Some(self.key.sign_commit(&commit_id(&header)));
        vec![Received { header, signature, body: Some(body) }]
    }
}

fn times(known: &Known) -> Vec<Timestamp> {
    known.headers.values().map(|header| header.time).collect()
}

/// Some edits of few documents, so that they meet those of others.
fn edits(dice: &mut Dice) -> Vec<Edit> {
    (0..=dice.below(3)).filter_map(|_| edit(dice)).collect()
}

fn edit(dice: &mut Dice) -> Option<Edit> {
    let n = dice.below(1000);
    let text = match dice.below(6) {
        0 => return Some(whole(dice, Operator::Delete)),
        1 => return Some(whole(dice, Operator::Restore)),
        2 => {
            let fields = driftless::Map::from_json(&format!(r#"{{"a": {n}, "by": "hostile"}}"#)).ok()?;
            return Some(whole(dice, Operator::Insert { fields, parent: None }));
        }
        3 => format!(r#"{{"$set": {{"a": {n}}}}}"#),
        4 => format!(r#"{{"$inc": {{"n": {n}}}, "$unset": {{"b": true}}}}"#),
        _ => format!(r#"{{"$push": {{"log": {n}}}, "$set": {{"b.c": {n}}}}}"#),
    };
    Some(Edit { operators: operators_from_json(&text).ok()?, ..whole(dice, Operator::Delete) })
}

fn whole(dice: &mut Dice, operator: Operator) -> Edit {
    Edit {
        collection: if dice.once_in(2) { "notes" } else { "tasks" }.into(),
        document: DocumentId::from(dice.below(4) as i64),
        operators: vec![operator],
    }
}
