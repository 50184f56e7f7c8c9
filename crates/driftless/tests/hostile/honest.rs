//! An honest space of two authors, its bundle in pieces, and what must hold after somebody has damaged it.

use driftless::{Database, Error, Imported, Insert, Kind, Permission, Space, Strength, Subject};
use driftless_core::cbor::{Reader, Writer};
use driftless_core::clock::Timestamp;
use driftless_core::commit::{Header, Received, Vouched};
use driftless_core::id::{CommitId, SpaceId};
use driftless_core::sign::{AuthorKey, Signature};

use crate::pen::{Pen, bundle_of_received};
use crate::simulated::{Hand, START, bundle, database, import, map, send};

/// The author whose commits are forged; it may write. So may the one who only writes honestly.
pub(crate) const MALLORY: u8 = 9;

/// A space with more than 100 commits of two authors, and what belongs to it.
pub(crate) struct Honest {
    pub(crate) hand: Hand,
    pub(crate) space: Space,
    pub(crate) bytes: Vec<u8>,
    /// The rule commit that lets Mallory write.
    pub(crate) grant: CommitId,
}

impl Honest {
    pub(crate) fn new(commits: i64) -> Self {
        Self::named("team", commits)
    }

    pub(crate) fn named(name: &str, commits: i64) -> Self {
        let hand = Hand::new();
        let (ann, bob) = (database(1, &hand), database(2, &hand));
        let space = ann.create_space(name).unwrap();
        let write = Permission::Write(Strength(10));
        let grant = space.grant(Subject::Key(Pen::author(MALLORY)), write).unwrap();
        space.grant(Subject::Key(bob.author().unwrap()), write).unwrap();
        let theirs = send(&space, &bob);
        for id in 0..commits {
            hand.advance(1);
            let insert = Insert { id: Some(id.into()), parent: None };
            let by = if id % 2 == 0 { &space } else { &theirs };
            by.collection("notes").unwrap().insert_with(map(&format!(r#"{{"n": {id}}}"#)), insert).unwrap();
        }
        send(&theirs, &ann);
        hand.advance(1000);
        let bytes = bundle(&space);
        Self { hand, space, bytes, grant }
    }

    /// What is not a commit of the space, after the honest bundle: a fresh database takes both.
    pub(crate) fn with(&self, commits: impl IntoIterator<Item = Received>) -> Vec<u8> {
        bundle_of_received(received(&self.bytes).into_iter().chain(commits))
    }

    /// A first commit of Mallory's on top of the grant, with everything else as it should be.
    pub(crate) fn header(&self, kind: Kind) -> Header {
        Header {
            kind,
            continues: false,
            space: Some(self.space.id()),
            author: Pen::author(MALLORY),
            seq: 1,
            previous: None,
            parents: vec![self.grant],
            time: Timestamp::from_ms(START + 5000),
            body_hash: [0; 32],
            body_length: 0,
            body_encoding: driftless_core::commit::BodyEncoding::Plain,
            extensions: Header::no_extensions(),
        }
    }

    /// Takes damaged bytes into a fresh database, and then the intact original.
    pub(crate) fn take(&self, bytes: &[u8], name: &str) -> Taken {
        let db = database(50, &self.hand);
        let imported = db.import(&mut &*bytes, &mut |_| {});
        let refused = db.status().unwrap().refused;
        assert!(refused.iter().all(|line| !line.reason.is_empty()), "{name}: {refused:?}");
        let here = db.space(&self.space.id().to_string()).ok();
        if let Some(here) = &here {
            self.only_honest(here, name);
        }
        Taken { codes: refused.into_iter().map(|line| line.code).collect(), imported, db }
    }

    // Every document that is visible is the one that its author wrote.
    fn only_honest(&self, here: &Space, name: &str) {
        let find =
            |space: &Space| space.collection("notes").unwrap().find(driftless::Filter::all()).run().unwrap();
        let honest = find(&self.space);
        for document in find(here) {
            let same = honest.iter().find(|other| other.id == document.id);
            assert_eq!(same.map(|other| &other.fields), Some(&document.fields), "{name}");
        }
        assert_eq!(here.collections().unwrap().iter().filter(|name| *name != "notes").count(), 0, "{name}");
    }

    /// The original goes in after whatever came before, and the replicas are equal.
    pub(crate) fn heals(&self, db: &Database, name: &str) {
        import(db, &self.bytes);
        let there = db.space(&self.space.id().to_string()).unwrap();
        assert_eq!(there.digest().unwrap(), self.space.digest().unwrap(), "{name}");
        assert_eq!(there.rebuild().unwrap(), self.space.digest().unwrap(), "{name}");
    }
}

/// What came of damaged bytes.
pub(crate) struct Taken {
    pub(crate) db: Database,
    pub(crate) imported: Result<Imported, Error>,
    pub(crate) codes: Vec<String>,
}

/// The places of the records of a bundle: where the marker stands and where the payload ends.
pub(crate) fn records(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut found) = (17, Vec::new());
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at + 5..at + 9].try_into().unwrap()) as usize;
        found.push(at..at + 9 + length);
        at += 9 + length;
    }
    found
}

/// The commits of a bundle.
pub(crate) fn received(bytes: &[u8]) -> Vec<Received> {
    let commits = records(bytes).into_iter().filter(|record| bytes[record.start + 4] == 1);
    commits
        .map(|record| {
            let mut reader = Reader::new(&bytes[record.start + 9..record.end]);
            reader.array_of(3).unwrap();
            let header = reader.bytes().unwrap().to_vec();
            let signature = if reader.take_null().unwrap() {
                None
            } else {
                Some(Signature(reader.array_bytes().unwrap()))
            };
            let body =
                if reader.take_null().unwrap() { None } else { Some(reader.bytes().unwrap().to_vec()) };
            Received { header, signature, body }
        })
        .collect()
}

/// Signs header bytes as they are, however wrong.
pub(crate) fn sign_bytes(header: Vec<u8>, body: Option<Vec<u8>>, seed: u8) -> Received {
    let key = AuthorKey::from_seed(&[seed; 32]);
    let signature = Some(key.sign_commit(&driftless_core::commit::commit_id(&header)));
    Received { header, signature, body }
}

/// Signs a header for a body, as its author would.
pub(crate) fn sign(header: Header, body: Vec<u8>) -> Received {
    Vouched::sign(header, body, &AuthorKey::from_seed(&[MALLORY; 32])).unwrap().to_received()
}

/// A body around items that stand where the edits should.
pub(crate) fn raw_body(edits: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(edits.len() + 32);
    writer.array(2).bytes(&[7; 16]).map(1).u64(0).raw(edits);
    writer.finish()
}

/// Another space's id.
pub(crate) fn elsewhere() -> SpaceId {
    SpaceId([3; 32])
}
