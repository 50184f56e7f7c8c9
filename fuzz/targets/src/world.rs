//! A small space that is alive: an admin, writers, a fork, a run, a removal; and what must hold of a database that has
//! taken it and whatever came after. All keys are known here, so that mutants can be signed.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use driftless::{Database, Digest, DocumentId, Error, LogQuery, Map, Space, Timestamp};
use driftless_core::commit::{
    BodyEncoding, DocumentBody, Header, Kind, Received, RuleBody, body_hash, commit_id,
};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::operator::{Edit, Operator, operators_from_json};
use driftless_core::rules::invite::InviteKey;
use driftless_core::rules::{Permission, RuleOperator, Strength, Subject};

use crate::signed::{bundle, key, sign};

/// 2026-01-01T00:00:00Z, and the clock of every database here.
pub(crate) const START: u64 = 1_767_225_600_000;
pub(crate) const FOUNDER: u8 = 1;
pub(crate) const ADMIN: u8 = 2;
pub(crate) const WRITER: u8 = 3;
pub(crate) const OTHER: u8 = 4;
pub(crate) const READER: u8 = 5;
/// Seeds of keys; the last one is let in by nobody.
pub(crate) const ACTORS: [u8; 6] = [FOUNDER, ADMIN, WRITER, OTHER, READER, 6];
/// Seeds of databases whose users may write.
pub(crate) const LEFT: u8 = 50;
pub(crate) const RIGHT: u8 = 51;
/// The secret of an invite in the genesis, and its place there.
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// The commits of a space, in causal order.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) space: SpaceId,
    pub(crate) known: Vec<Known>,
}

/// A commit and what others build on it with.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) id: CommitId,
    pub(crate) header: Header,
    pub(crate) received: Received,
}

pub(crate) static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// A database in memory, the same in every run.
pub(crate) fn database(seed: u8) -> Database {
    let made = Database::builder().seed([seed; 32]).clock(|| START).memory();
    made.expect("memory does not fail")
}

/// Takes a bundle into a database.
pub(crate) fn import(database: &Database, bundle: &[u8]) -> driftless::Imported {
    let done = database.import(&mut &*bundle, &mut |_| {});
    done.expect("a bundle of whole records is taken, whatever its commits are")
}

impl World {
    fn new() -> Self {
        let mut world = Self { space: SpaceId([0; 32]), known: Vec::new() };
        let write = |strength| Some(Permission::Write(Strength(strength)));
        let grant = |subject, permission| RuleOperator::Grant { subject, permission, keep: None };
        let to = |seed: u8| Subject::Key(key(seed).id());
        let of = |seed: u8| Subject::Key(database(seed).author().expect("a user"));
        let genesis = vec![
            grant(to(FOUNDER), Some(Permission::Admin(Strength(0)))),
            grant(to(ADMIN), Some(Permission::Admin(Strength(5)))),
            grant(to(WRITER), write(10)),
            grant(to(OTHER), write(10)),
            grant(to(READER), Some(Permission::Read)),
            grant(of(LEFT), write(20)),
            grant(of(RIGHT), write(20)),
            RuleOperator::Name("team".into()),
            RuleOperator::Invite {
                key: InviteKey::from_secret(&SECRET).public(),
                permission: Permission::Write(Strength(30)),
                uses: Some(2),
                expires_ms: None,
            },
        ];
        let first = Header { space: None, parents: vec![], ..world.next(FOUNDER, None, &[]) };
        let first = Header { kind: Kind::Rules, ..first };
        world.add(FOUNDER, first, RuleBody { operators: genesis }.encode([1; 16]));
        world.space = SpaceId(world.known[0].id.0);

        let text = r#"{"$set": {"a": 1, "b.c": "x"}, "$push": {"log": {"$each": [1, 2]}}}"#;
        let operators = operators_from_json(text).expect("operators");
        let insert = |id: i64| {
            let fields = Map::from_json(&format!(r#"{{"n": {id}}}"#)).expect("fields");
            edit(id, vec![Operator::Insert { fields, parent: None }])
        };
        world.write(WRITER, None, &[0], false, vec![insert(1)], vec![]);
        world.write(OTHER, None, &[0], false, vec![insert(2), edit(1, operators.clone())], vec![]);
        world.write(WRITER, Some(1), &[2], false, vec![edit(2, operators)], vec![]);
        let mut rule = world.next(ADMIN, None, &[3]);
        rule.kind = Kind::Rules;
        let removal = RuleOperator::Grant { subject: to(READER), permission: None, keep: Some(vec![]) };
        world.add(ADMIN, rule, RuleBody { operators: vec![removal] }.encode([2; 16]));
        world.write(OTHER, Some(2), &[4], true, vec![insert(3)], vec![]);
        world.write(OTHER, Some(5), &[], false, vec![edit(1, vec![Operator::Delete])], vec![]);
        // A fork, which its author then takes back.
        world.write(WRITER, Some(1), &[], false, vec![insert(4)], vec![]);
        world.write(WRITER, Some(3), &[6, 7], false, vec![], vec![world.known[7].id]);
        world
    }

    /// The header of the next commit of an author after `previous`, on top of others, all by their places.
    pub(crate) fn next(&self, seed: u8, previous: Option<usize>, parents: &[usize]) -> Header {
        let at = |place: &usize| self.known.get(*place);
        let previous = previous.as_ref().and_then(at);
        let mut ids: Vec<CommitId> = parents.iter().filter_map(at).map(|known| known.id).collect();
        ids.retain(|id| previous.is_none_or(|known| known.id != *id));
        ids.sort();
        ids.dedup();
        let below = parents.iter().filter_map(at).chain(previous);
        let after = below.map(|known| known.header.time.next()).max().unwrap_or_default();
        Header {
            kind: Kind::Documents,
            continues: false,
            space: Some(self.space),
            author: key(seed).id(),
            seq: previous.map_or(1, |known| known.header.seq.saturating_add(1)),
            previous: previous.map(|known| known.id),
            parents: ids,
            time: after.max(Timestamp::from_ms(START)),
            body_hash: [0; 32],
            body_length: 0,
            body_encoding: BodyEncoding::Plain,
            extensions: Header::no_extensions(),
        }
    }

    fn write(
        &mut self,
        seed: u8,
        previous: Option<usize>,
        parents: &[usize],
        continues: bool,
        edits: Vec<Edit>,
        retracts: Vec<CommitId>,
    ) {
        let header = Header { continues, ..self.next(seed, previous, parents) };
        self.add(seed, header, DocumentBody { edits, retracts }.encode([3; 16]));
    }

    fn add(&mut self, seed: u8, header: Header, body: Vec<u8>) {
        let header = Header { body_hash: body_hash(&body), body_length: body.len() as u32, ..header };
        let received = sign(header.encode(), Some(body), &key(seed));
        self.known.push(Known { id: commit_id(&received.header), header, received });
    }

    /// A bundle of the first commits.
    pub(crate) fn bundle(&self, count: usize) -> Vec<u8> {
        bundle(self.known.iter().take(count).map(|known| &known.received), |_| false)
    }
}

/// An edit of a document whose id is a number.
pub(crate) fn edit(id: i64, operators: Vec<Operator>) -> Edit {
    Edit { collection: "notes".into(), document: DocumentId::from(id), operators }
}

/// What must hold of a space whatever was taken: its log is causally closed, and its view is the fold of its log.
pub(crate) fn sound(space: &Space) -> Result<BTreeSet<CommitId>, Error> {
    let log = space.log(LogQuery::default())?;
    let mut here: BTreeSet<CommitId> = BTreeSet::new();
    for line in log.iter().rev() {
        assert!(line.parents.iter().all(|parent| here.contains(parent)), "the log has a hole: {line:?}");
        assert!(here.insert(line.commit), "a commit is in the log twice: {line:?}");
    }
    let digest = space.digest()?;
    assert_eq!(digest.commits as usize, here.len());
    assert_eq!(space.rebuild()?, digest, "the view is not the fold of the log");
    Ok(here)
}

/// A fresh database that takes everything that was let in gets the same.
pub(crate) fn passes_on(space: &Space) -> Result<(), Error> {
    let mut bytes = Vec::new();
    space.export(&mut bytes, &mut |_| {})?;
    let fresh = database(70);
    import(&fresh, &bytes);
    let there = fresh.space(&space.id().to_string())?;
    assert_eq!(there.digest()?, space.digest()?, "what was let in here was not let in elsewhere");
    Ok(())
}

/// The digest of the space of the world.
pub(crate) fn digest(database: &Database) -> Option<Digest> {
    let space = database.space(&WORLD.space.to_string()).ok()?;
    Some(space.digest().expect("a space in memory has a digest"))
}

/// The ids of the authors among whom a mutant may choose.
pub(crate) fn authors() -> Vec<AuthorId> {
    ACTORS.iter().map(|seed| key(*seed).id()).collect()
}
