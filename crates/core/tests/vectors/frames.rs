//! DATA frames: the commits in them, which of these are vouched for, and bytes that are no frame.

use std::collections::BTreeSet;

use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, Header, Kind, Received, Vouched, commit_id, vouch};
use driftless_core::frame::{FrameBuilder, FrameCommit, decode};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::sign::{AuthorKey, Signature};
use serde::{Deserialize, Serialize};

use crate::{Hex, RefusedBytes, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    frames: Vec<Case>,
    refused_space: String,
    refused: Vec<RefusedBytes>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    space: String,
    bytes: Hex,
    commits: Vec<CommitFields>,
}

/// A commit as it is sent and received.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitFields {
    pub(crate) id: String,
    pub(crate) header: Hex,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) signature: Option<Hex>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) body: Option<Hex>,
    pub(crate) vouched: bool,
}

impl CommitFields {
    pub(crate) fn of(received: &Received, vouched: bool) -> Self {
        Self {
            id: commit_id(&received.header).to_string(),
            header: Hex::of(&received.header),
            signature: received.signature.map(|signature| Hex::of(signature.0)),
            body: received.body.as_ref().map(Hex::of),
            vouched,
        }
    }

    pub(crate) fn received(&self) -> Received {
        Received {
            header: self.header.0.clone(),
            signature: self.signature.as_ref().map(|bytes| Signature(bytes.array())),
            body: self.body.as_ref().map(|body| body.0.clone()),
        }
    }
}

pub(crate) fn key(number: u8) -> AuthorKey {
    AuthorKey::from_seed(&[number; 32])
}

pub(crate) fn genesis(number: u8) -> Vouched {
    let header = Header {
        kind: Kind::Rules,
        continues: false,
        space: None,
        author: AuthorId([0; 32]),
        seq: 1,
        previous: None,
        parents: Vec::new(),
        time: Timestamp::from_ms(1_700_000_000_000),
        body_hash: [0; 32],
        body_length: 0,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    };
    Vouched::sign(header, vec![number; 19], &key(number)).unwrap()
}

/// The author's next commit: after `previous` or, without one, the first.
pub(crate) fn next(
    author: u8,
    previous: Option<&Vouched>,
    parents: &[&Vouched],
    body: &[u8],
    change: impl FnOnce(&mut Header),
) -> Vouched {
    let last = previous.or(parents.first().copied()).unwrap();
    let parents: BTreeSet<CommitId> = parents.iter().map(|parent| parent.id()).collect();
    let mut header = Header {
        kind: Kind::Documents,
        space: Some(last.space()),
        seq: previous.map_or(1, |previous| previous.header().seq + 1),
        previous: previous.map(Vouched::id),
        parents: parents.into_iter().collect(),
        time: last.header().time.next(),
        ..last.header().clone()
    };
    change(&mut header);
    Vouched::sign(header, body.to_vec(), &key(author)).unwrap()
}

fn bodiless(commit: &Vouched) -> FrameCommit<'_> {
    FrameCommit { body: None, ..commit.into() }
}

fn unsigned(commit: &Vouched) -> FrameCommit<'_> {
    FrameCommit { signature: None, ..commit.into() }
}

fn cases() -> Vec<Case> {
    let first = genesis(1);
    let space = first.space();
    let second = next(1, Some(&first), &[], b"one", |_| {});
    let third = next(1, Some(&second), &[], b"two", |_| {});
    let other = next(2, None, &[&third], b"three", |_| {});
    let frame = |name: &str, keep: bool, commits: &[FrameCommit<'_>]| {
        let mut builder = FrameBuilder::new(space);
        commits.iter().for_each(|commit| builder.push(*commit).unwrap());
        let bytes = if keep { builder.finish_keeping_signatures() } else { builder.finish() };
        let received = decode(&space, &bytes).unwrap();
        let vouched: BTreeSet<CommitId> = vouch(received.clone()).vouched.iter().map(Vouched::id).collect();
        let commits = received
            .iter()
            .map(|received| CommitFields::of(received, vouched.contains(&commit_id(&received.header))));
        Case { name: name.into(), space: space.to_string(), bytes: Hex(bytes), commits: commits.collect() }
    };
    let fork = next(1, Some(&first), &[&other], b"again", |_| {});
    let merge = next(2, Some(&other), &[&third, &fork], b"", |header| header.continues = true);
    let sealed = next(2, Some(&merge), &[], b"?", |header| {
        header.body_encoding = BodyEncoding::Sealed;
        header.extensions = vec![0xa1, 0x05, 0x43, 1, 2, 3];
    });
    let early = next(2, Some(&merge), &[], b"early", |header| header.time = Timestamp::from_ms(7));
    let late = next(2, Some(&early), &[], b"late", |header| header.time = Timestamp(u64::MAX));
    let first_time = next(2, Some(&late), &[], b"zero", |header| header.time = Timestamp(1));
    let seq = next(3, Some(&late), &[], b"no chain", |header| header.seq = u64::MAX);
    let heads: Vec<Vouched> = (0..64).map(|n| next(4 + n % 3, None, &[&first], &[n], |_| {})).collect();
    let many = next(9, None, &heads.iter().collect::<Vec<_>>(), b"", |_| {});
    vec![
        frame(
            "the example of docs/protocol.md",
            false,
            &[(&second).into(), (&third).into(), bodiless(&other)],
        ),
        frame("a genesis", false, &[(&first).into()]),
        frame(
            "a genesis and what follows: one signature",
            false,
            &[(&first).into(), (&second).into(), (&third).into()],
        ),
        frame("all signatures kept", true, &[(&first).into(), (&second).into(), (&third).into()]),
        frame(
            "a fork, a merge, a run, a sealed body, extensions",
            false,
            &[&first, &second, &third, &other, &fork, &merge, &sealed].map(FrameCommit::from),
        ),
        frame(
            "times that go back, and the last time of all",
            false,
            &[&early, &late, &first_time].map(FrameCommit::from),
        ),
        frame("the last seq", false, &[(&seq).into()]),
        frame("as many parents as can be, all outside", false, &[(&many).into()]),
        frame("a child before its parent", false, &[(&third).into(), (&second).into()]),
        frame("the same commit twice", false, &[(&second).into(), (&second).into()]),
        frame("nobody vouches for the last", false, &[(&first).into(), unsigned(&second)]),
    ]
}

fn refused(space: &SpaceId) -> Vec<RefusedBytes> {
    let first = genesis(1);
    let second = next(1, Some(&first), &[], b"one", |_| {});
    let mut builder = FrameBuilder::new(first.space());
    [&first, &second].into_iter().for_each(|commit| builder.push(commit.into()).unwrap());
    let good = builder.finish();
    let other = genesis(2);
    let mut foreign = FrameBuilder::new(other.space());
    foreign.push((&other).into()).unwrap();
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    // One commit of one author, with no id outside: flags, author, seq, number of parents, and so on follow.
    let one = |rest: &[u8]| [&[1, 1, 1][..], &[3; 32], &[0], rest].concat();
    vec![
        ("nothing", Vec::new()),
        ("a newer version", [&[2], &good[1..]].concat()),
        ("no commits", vec![1, 0, 0, 0]),
        ("cut off in the author table", good[..20].to_vec()),
        ("cut off in the last body", good[..good.len() - 1].to_vec()),
        ("a byte after the last body", [&good[..], &[0]].concat()),
        ("4097 commits", [&[1, 0x81, 0x20][..], &vec![0; 6 * 4097]].concat()),
        ("more commits than bytes", [&[1][..], &huge].concat()),
        ("more authors than bytes", [&[1, 1][..], &huge, &[0; 64]].concat()),
        ("a count that is not in its shortest form", [&[1, 0x81, 0][..], &[0; 64]].concat()),
        ("an author that is not in the table", one(&[0x08, 1, 1, 0, 0, 0, 0])),
        ("implied, without a commit of that author before it", one(&[0x48, 0, 0, 0, 0, 0])),
        ("previous: a place that is not in the frame", one(&[0x88, 0, 2, 0, 0, 0, 0, 0])),
        ("previous: an index that is not in the outside table", one(&[0x88, 0, 2, 1, 0, 0, 0, 0])),
        ("a parent that is the commit itself or after it", one(&[0x08, 0, 1, 1, 0, 0, 0, 0])),
        ("65 parents", one(&[&[0x08, 0, 1, 65][..], &[0; 80]].concat())),
        ("a time before 1970", one(&[0x08, 0, 1, 0, 1, 0, 0])),
        ("a time of 49 bits", one(&[0x08, 0, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0, 0])),
        ("a counter of 17 bits", one(&[0x08, 0, 1, 0, 0, 0x80, 0x80, 4, 0])),
        ("a body of 33 bits", one(&[0x08, 0, 1, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10])),
        ("the genesis of another space", foreign.finish()),
        ("extensions of 4097 bytes", one(&[&[0x28, 0, 1, 0, 0, 0, 0, 0x81, 0x20][..], &[0; 4097]].concat())),
    ]
    .into_iter()
    .map(|(name, bytes)| RefusedBytes::new(name, bytes, |bytes| decode(space, bytes)))
    .collect()
}

#[test]
fn frames_hold_the_commits_that_the_vectors_say() {
    let space = genesis(1).space();
    let file = File {
        about: "The frame of a DATA message, for a space. commits: what comes out of it, in its order; header is in the canonical \
                form that was signed, id its hash; signature and body are null where they are not in the frame. vouched: whether \
                the frame vouches for it: a signature of its own, or one of a later commit of the run. refused: bytes that are \
                no frame, of which nothing is used. Another encoder may write another frame for the same commits: tables in \
                another order, more signatures, explicit where implied would do."
            .into(),
        frames: cases(),
        refused_space: space.to_string(),
        refused: refused(&space),
    };
    hold("frames", &file, |file: File| {
        for case in &file.frames {
            let space: SpaceId = case.space.parse().unwrap();
            let received = decode(&space, &case.bytes.0).unwrap();
            let wanted: Vec<Received> = case.commits.iter().map(CommitFields::received).collect();
            assert_eq!(received, wanted, "{}", case.name);
            // Built anew from what it says, it says the same.
            let headers: Vec<Header> =
                wanted.iter().map(|commit| Header::decode(&commit.header).unwrap()).collect();
            let mut builder = FrameBuilder::new(space);
            for (commit, header) in wanted.iter().zip(&headers) {
                let (id, body) = (commit_id(&commit.header), commit.body.as_deref());
                builder.push(FrameCommit { header, id, signature: commit.signature, body }).unwrap();
            }
            assert_eq!(builder.finish_keeping_signatures(), case.bytes.0, "{}", case.name);
            let vouched: BTreeSet<String> =
                vouch(received).vouched.iter().map(|commit| commit.id().to_string()).collect();
            let wanted: BTreeSet<String> =
                case.commits.iter().filter(|commit| commit.vouched).map(|commit| commit.id.clone()).collect();
            assert_eq!(vouched, wanted, "{}", case.name);
        }
        let space: SpaceId = file.refused_space.parse().unwrap();
        file.refused.iter().for_each(|refused| refused.check(|bytes| decode(&space, bytes)));
    });
}
