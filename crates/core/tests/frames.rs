//! DATA frames: what comes out is what was signed, with one verification per author run; hostile bytes cost nothing.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, Received, Vouched, vouch};
use driftless_core::document_id::DocumentId;
use driftless_core::frame::{FrameBuilder, FrameCommit, FrameError, PushError, decode};
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::limits::{FRAME_TARGET, MAX_BODY, MAX_FRAME, MAX_FRAME_COMMITS, MAX_HEADER, MAX_PARENTS};
use driftless_core::operator::{Edit, Operator};
use driftless_core::sign::AuthorKey;
use driftless_core::value::{Path, Value};

/// SplitMix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

fn key(number: u8) -> AuthorKey {
    AuthorKey::from_seed(&[number; 32])
}

fn header(space: Option<SpaceId>, time: Timestamp) -> Header {
    Header {
        kind: if space.is_some() { Kind::Documents } else { Kind::Rules },
        continues: false,
        space,
        author: AuthorId([0; 32]),
        seq: 1,
        previous: None,
        parents: Vec::new(),
        time,
        body_hash: [0; 32],
        body_length: 0,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    }
}

fn genesis(number: u8) -> Vouched {
    let body = vec![number; 19];
    Vouched::sign(header(None, Timestamp::from_ms(1_700_000_000_000)), body, &key(number)).unwrap()
}

/// The author's next commit: after `previous` or, without one, the first; `parents` in any order.
fn next(
    author: u8,
    space: SpaceId,
    previous: Option<&Vouched>,
    parents: &[CommitId],
    body: &[u8],
) -> Vouched {
    let mut header = header(Some(space), Timestamp::from_ms(1_700_000_000_000));
    if let Some(previous) = previous {
        header.seq = previous.header().seq + 1;
        header.previous = Some(previous.id());
        header.time = previous.header().time.next();
    }
    header.parents = parents.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    Vouched::sign(header, body.to_vec(), &key(author)).unwrap()
}

/// A history of several authors with forks, merges, rules, runs, sealed bodies and extensions.
fn history(seed: u64, length: usize) -> Vec<Vouched> {
    let random = &mut Random(seed);
    let mut commits = vec![genesis(0)];
    let space = commits[0].space();
    let mut own: HashMap<u8, Vec<usize>> = HashMap::from([(0, vec![0])]);
    while commits.len() < length {
        let author = random.below(5) as u8;
        let mine = own.entry(author).or_default();
        // A fork now and then: after some older commit of the author, or another first one.
        let previous = match mine.len() {
            0 => None,
            _ if random.one_in(40) => None,
            many if random.one_in(12) => Some(mine[random.below(many)]),
            _ => mine.last().copied(),
        };
        let previous = previous.map(|at| commits[at].clone());
        let count = match random.below(20) {
            0 => MAX_PARENTS,
            1..6 => random.below(4),
            _ => 1,
        };
        let mut parents: BTreeSet<_> = (0..count)
            .map(|back| commits[commits.len() - 1 - random.below(4 * back + 2).min(commits.len() - 1)].id())
            .collect();
        if let Some(previous) = &previous {
            parents.remove(&previous.id());
        } else {
            parents.insert(commits[0].id());
        }
        let last = commits.last().unwrap().header().time;
        let mut header = header(Some(space), last.next());
        header.time = match random.below(4) {
            0 => last.next(),
            1 => Timestamp(last.0 - (random.next() >> 44)),
            _ => Timestamp::from_ms(last.ms() + random.next() % 5_000),
        };
        header.seq = previous.as_ref().map_or(1, |previous| previous.header().seq + 1);
        header.previous = previous.map(|previous| previous.id());
        header.parents = parents.into_iter().take(MAX_PARENTS).collect();
        match random.below(8) {
            0 => header.kind = Kind::Rules,
            1 => header.continues = true,
            2 => header.body_encoding = BodyEncoding::Sealed,
            3 => header.extensions = vec![0xa1, 0x05, 0x43, random.next() as u8, 2, 3],
            _ => {}
        }
        let length = random.below(60);
        let body = (0..length).map(|_| random.next() as u8).collect();
        own.get_mut(&author).unwrap().push(commits.len());
        commits.push(Vouched::sign(header, body, &key(author)).unwrap());
    }
    commits
}

fn builder<'c>(space: SpaceId, commits: impl IntoIterator<Item = &'c Vouched>) -> FrameBuilder {
    let mut builder = FrameBuilder::new(space);
    for commit in commits {
        builder.push(commit.into()).unwrap();
    }
    builder
}

fn ids(commits: &[Vouched]) -> Vec<CommitId> {
    commits.iter().map(Vouched::id).collect()
}

#[test]
fn what_comes_out_is_what_was_signed() {
    for seed in 0..40 {
        let random = &mut Random(!seed);
        let commits = history(seed, 2 + random.below(150));
        let space = commits[0].space();
        // A window of the history: what is before it is outside the frame.
        let window = &commits[if random.one_in(3) { 0 } else { random.below(commits.len()) }..];
        let mut frame = FrameBuilder::new(space);
        let mut sent = Vec::new();
        for commit in window {
            let mut received = commit.to_received();
            if random.one_in(4) {
                received.body = None;
            }
            if random.one_in(4) {
                received.signature = None;
            }
            let Received { signature, body, .. } = &received;
            let body = body.as_deref();
            frame
                .push(FrameCommit { header: commit.header(), id: commit.id(), signature: *signature, body })
                .unwrap();
            sent.push(received);
        }
        assert_eq!(decode(&space, &frame.finish_keeping_signatures()).unwrap(), sent, "seed {seed}");
    }
}

#[test]
fn one_signature_per_author_run_is_sent_and_vouches_for_all() {
    for seed in 100..140 {
        let commits = history(seed, 120);
        let window = &commits[Random(seed).below(60)..];
        let ends: HashSet<_> = window.iter().map(Vouched::id).collect();
        let named: HashSet<_> = window.iter().filter_map(|commit| commit.header().previous).collect();
        let ends = ends.difference(&named).count();

        let builder = builder(commits[0].space(), window);
        assert!(!builder.unvouched());
        let estimate = builder.size();
        let bytes = builder.finish();
        assert!(bytes.len() <= estimate && estimate <= bytes.len() + 16);
        let received = decode(&commits[0].space(), &bytes).unwrap();
        assert_eq!(received.iter().filter(|received| received.signature.is_some()).count(), ends);
        let frame = vouch(received);
        assert!(frame.unusable.is_empty(), "seed {seed}: {:?}", frame.unusable);
        assert_eq!(ids(&frame.vouched), ids(window));
        assert!(frame.vouched.iter().all(|commit| commit.body().is_some()));
        assert_eq!(frame.verified, ends as u64);
    }
}

#[test]
fn a_frame_is_not_cut_inside_a_run_whose_end_has_the_only_signature() {
    let first = genesis(1);
    let space = first.space();
    let second = next(1, space, Some(&first), &[], b"two");
    let third = next(1, space, Some(&second), &[], b"three");
    let unsigned = |commit| FrameCommit { signature: None, ..FrameCommit::from(commit) };

    let mut builder = FrameBuilder::new(space);
    assert!(builder.is_empty() && !builder.unvouched());
    builder.push((&first).into()).unwrap();
    assert_eq!((builder.unvouched(), builder.closed()), (false, 1));
    builder.push(unsigned(&second)).unwrap();
    assert_eq!((builder.unvouched(), builder.closed()), (true, 1));
    // A signature under an unvouched commit stays: nothing else vouches for that one.
    let mut cut = FrameBuilder::new(space);
    cut.push((&first).into()).unwrap();
    cut.push(unsigned(&second)).unwrap();
    let frame = vouch(decode(&space, &cut.finish()).unwrap());
    assert_eq!((ids(&frame.vouched), frame.unusable.len()), (vec![first.id()], 1));

    builder.push((&third).into()).unwrap();
    assert_eq!((builder.unvouched(), builder.closed(), builder.len()), (false, 3, 3));
    let frame = vouch(decode(&space, &builder.finish()).unwrap());
    assert_eq!((ids(&frame.vouched).len(), frame.unusable.len(), frame.verified), (3, 0, 1));
}

#[test]
fn a_commit_before_its_parents_still_arrives_as_it_was_signed() {
    let mut commits = history(7, 80);
    let space = commits[0].space();
    commits.reverse();
    let received = decode(&space, &builder(space, &commits).finish()).unwrap();
    let frame = vouch(received);
    assert!(frame.unusable.is_empty());
    assert_eq!(ids(&frame.vouched), ids(&commits));
    // And one that is there twice.
    let twice: Vec<_> = commits.iter().chain(&commits).cloned().collect();
    let frame = vouch(decode(&space, &builder(space, &twice).finish()).unwrap());
    assert_eq!((frame.vouched.len(), frame.unusable.len()), (160, 0));
}

#[test]
fn a_largest_commit_fits_and_the_next_one_is_for_another_frame() {
    let first = genesis(1);
    let space = first.space();
    let parents: Vec<_> = (0..MAX_PARENTS).map(|n| CommitId([n as u8; 32])).collect();
    let mut header = next(1, space, Some(&first), &parents, b"").header().clone();
    let room = MAX_HEADER - header.encode().len() - 8;
    header.extensions = [&[0xa1, 0x00, 0x59, (room >> 8) as u8, room as u8][..], &vec![9; room]].concat();
    let largest = Vouched::sign(header, vec![7; MAX_BODY], &key(1)).unwrap();
    assert_eq!(largest.to_received().header.len(), MAX_HEADER);
    let mut builder = FrameBuilder::new(space);
    builder.push((&largest).into()).unwrap();
    let other = next(1, space, Some(&largest), &[], &vec![1; MAX_BODY]);
    assert_eq!(builder.push((&other).into()), Err(PushError::Full));
    let bytes = builder.finish();
    assert!(bytes.len() <= MAX_FRAME);
    assert_eq!(decode(&space, &bytes).unwrap(), [largest.to_received()]);

    let foreign = genesis(2);
    let other = next(2, foreign.space(), Some(&foreign), &[], b"");
    assert_eq!(FrameBuilder::new(space).push((&other).into()), Err(PushError::Foreign));
}

#[test]
fn the_genesis_of_another_space_is_in_no_frame() {
    let (first, foreign) = (genesis(1), genesis(2));
    let space = first.space();
    assert_eq!(FrameBuilder::new(space).push((&foreign).into()), Err(PushError::Foreign));
    let second = next(2, foreign.space(), Some(&foreign), &[], b"two");
    let bodiless = FrameCommit { body: None, ..FrameCommit::from(&foreign) };
    for commits in [vec![(&foreign).into()], vec![bodiless], vec![(&foreign).into(), (&second).into()]] {
        let mut builder = FrameBuilder::new(foreign.space());
        commits.into_iter().for_each(|commit| builder.push(commit).unwrap());
        let bytes = builder.finish();
        assert!(decode(&foreign.space(), &bytes).is_ok());
        let refused = Err(FrameError::Malformed("the genesis of another space"));
        assert_eq!(decode(&space, &bytes), refused);
    }
}

#[test]
fn a_full_frame_decodes_however_its_commits_look() {
    let first = genesis(1);
    let space = first.space();
    // Small commits: the number is the limit. Many parents: what the headers decode into is.
    for parents in [0, MAX_PARENTS] {
        let mut commits = vec![first.clone()];
        let mut builder = builder(space, &commits);
        loop {
            let last = commits.len() - 1;
            let others: Vec<_> = commits.iter().rev().skip(1).take(parents).map(Vouched::id).collect();
            let commit = next(1, space, Some(&commits[last]), &others, b"");
            match builder.push((&commit).into()) {
                Ok(()) => commits.push(commit),
                Err(error) => break assert_eq!(error, PushError::Full),
            }
        }
        assert!(builder.len() == MAX_FRAME_COMMITS || parents > 0);
        let received = decode(&space, &builder.finish()).unwrap();
        assert_eq!(ids(&vouch(received).vouched), ids(&commits));
    }
}

#[test]
fn what_is_cut_off_or_too_long_is_refused_by_name() {
    let commits = history(3, 40);
    let space = commits[0].space();
    let bytes = builder(space, &commits[5..]).finish();
    for length in 0..bytes.len() {
        assert_eq!(decode(&space, &bytes[..length]), Err(FrameError::Truncated), "{length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode(&space, &longer), Err(FrameError::Trailing));
    let newer = [&[2], &bytes[1..]].concat();
    assert_eq!(decode(&space, &newer), Err(FrameError::Version(2)));
    assert_eq!(decode(&space, &vec![1; MAX_FRAME + 1]), Err(FrameError::TooLarge("bytes")));
    assert_eq!(decode(&space, &FrameBuilder::new(space).finish()), Err(FrameError::Malformed("no commits")));
}

#[test]
fn changed_bytes_never_become_a_commit_that_was_not_signed() {
    let commits = history(11, 30);
    let space = commits[0].space();
    let signed: HashSet<_> = ids(&commits).into_iter().collect();
    let bytes = builder(space, &commits[3..]).finish();
    let random = &mut Random(5);
    for round in 0..bytes.len() + 3_000 {
        let mut changed = bytes.clone();
        // Every byte once, then several anywhere.
        for change in 0..=random.below(4) {
            let at = if change == 0 && round < bytes.len() { round } else { random.below(bytes.len()) };
            changed[at] = match random.below(3) {
                0 => changed[at] ^ (1 << random.below(8)),
                1 => 0xff,
                _ => random.next() as u8,
            };
        }
        let Ok(received) = decode(&space, &changed) else { continue };
        assert!(weight(&received) <= MAX_FRAME);
        assert!(vouch(received).vouched.iter().all(|commit| signed.contains(&commit.id())));
    }
}

fn weight(received: &[Received]) -> usize {
    received
        .iter()
        .map(|one| {
            one.header.len() + 64 * usize::from(one.signature.is_some()) + one.body.iter().flatten().count()
        })
        .sum()
}

#[test]
fn counts_that_lie_are_refused_before_anything_is_allocated() {
    let space = SpaceId([1; 32]);
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let with = |parts: &[&[u8]]| decode(&space, &parts.concat());
    assert_eq!(with(&[&[1], &huge]), Err(FrameError::Truncated));
    assert_eq!(with(&[&[1, 1], &huge, &[0; 64]]), Err(FrameError::Truncated));
    assert_eq!(with(&[&[1, 1, 1], &[3; 32], &huge, &[0; 64]]), Err(FrameError::Truncated));
    let many = [0x81, 0x20]; // 4097
    assert_eq!(with(&[&[1], &many, &vec![0; 100_000]]), Err(FrameError::TooLarge("commits")));
    assert_eq!(
        with(&[&[1, 0x81, 0x00], &[0; 64]]),
        Err(FrameError::Malformed("a number that is not in its shortest form"))
    );

    // One commit whose every part is right, and then what each column may not say: flags, author, seq, previous,
    // parents, their number first, milliseconds, counter, body length.
    let table = [3; 32];
    let start: &[&[u8]] = &[&[1, 1, 1], &table, &[0]];
    let commit = |rest: &[u8]| with(&[start.concat().as_slice(), rest]);
    assert!(commit(&[0x08, 0, 1, 0, 0, 0, 0]).is_ok());
    assert_eq!(
        commit(&[0x08, 1, 1, 0, 0, 0, 0]),
        Err(FrameError::Malformed("an author that is not in the table"))
    );
    assert_eq!(
        commit(&[0x48, 0, 0, 0, 0, 0]),
        Err(FrameError::Malformed("no commit of the author before it"))
    );
    for reference in [0, 1, 2] {
        let nothing = Err(FrameError::Malformed("a reference to nothing"));
        assert_eq!(commit(&[0x88, 0, 2, reference, 0, 0, 0, 0]), nothing);
        assert_eq!(commit(&[0x08, 0, 1, 1, reference, 0, 0, 0]), nothing);
    }
    assert_eq!(commit(&[0x08, 0, 1, 65, 0, 0, 0]), Err(FrameError::Malformed("too many parents")));
    assert_eq!(
        commit(&[0x08, 0, 1, 0, 1, 0, 0]),
        Err(FrameError::Malformed("a time before or after all time"))
    );
    assert_eq!(commit(&[0x08, 0, 1, 0, 0, 0, 5]), Err(FrameError::Truncated));
    assert_eq!(commit(&[0x08, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(FrameError::Truncated));

    // A few bytes that stand for kilobytes: 4096 commits that each name the one outside id 64 times.
    // Once is fine.
    for parents in [1, 64] {
        let count = MAX_FRAME_COMMITS;
        let mut bytes = [&[1, 0x80, 0x20, 1][..], &table, &[1], &table].concat();
        bytes.extend(vec![0x08; count]); // flags
        bytes.extend(vec![0; count]); // authors
        for _ in 0..count {
            bytes.extend(huge); // seqs
        }
        bytes.extend(vec![parents; count]);
        bytes.extend(vec![1; count * usize::from(parents)]);
        bytes.extend(vec![0; 2 * count]); // times
        bytes.extend(vec![0; count]); // body lengths
        match decode(&space, &bytes) {
            Ok(received) => assert!(parents == 1 && weight(&received) <= MAX_FRAME),
            Err(error) => assert_eq!((error, parents), (FrameError::TooLarge("headers"), 64)),
        }
    }
}

#[test]
fn random_bytes_are_no_frame() {
    let random = &mut Random(99);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8 & 0x4b).collect();
        bytes.splice(0..0, [1]);
        if let Ok(received) = decode(&SpaceId([1; 32]), &bytes) {
            assert!(weight(&received) <= MAX_FRAME && vouch(received).vouched.is_empty());
        }
    }
}

/// `count` commits of four authors who take turns as people do, each changing one field of one document.
fn one_change_each(count: usize) -> Vec<Vouched> {
    let random = &mut Random(1);
    let mut commits = vec![genesis(0)];
    let space = commits[0].space();
    let mut own: HashMap<u8, Vouched> = HashMap::from([(0, commits[0].clone())]);
    while commits.len() <= count {
        let author = random.below(4) as u8;
        let last = commits.last().unwrap();
        let edit = Edit {
            collection: "tasks".into(),
            document: DocumentId::random(random.bytes()),
            operators: vec![Operator::Set {
                path: Path::new(vec!["done".to_owned()]).unwrap(),
                value: Value::Bool(random.one_in(2)),
            }],
        };
        let body = DocumentBody { edits: vec![edit], retracts: vec![] }.encode(random.bytes());
        let mut header =
            header(Some(space), Timestamp::from_ms(last.header().time.ms() + random.next() % 8_000));
        let previous = own.get(&author);
        header.seq = previous.map_or(1, |previous| previous.header().seq + 1);
        header.previous = previous.map(Vouched::id);
        header.parents = [last.id()].into_iter().filter(|id| Some(*id) != header.previous).collect();
        let commit = Vouched::sign(header, body, &key(author)).unwrap();
        own.insert(author, commit.clone());
        commits.push(commit);
    }
    commits
}

#[test]
fn a_commit_of_one_change_takes_sixty_bytes_of_which_half_are_random() {
    let commits = one_change_each(400);
    let (genesis, commits) = commits.split_first().unwrap();
    let plain: usize = commits.iter().map(|commit| weight(&[commit.to_received()])).sum();
    let start = Instant::now();
    let bytes = builder(genesis.space(), commits).finish();
    let encoding = start.elapsed();
    let start = Instant::now();
    let received = decode(&genesis.space(), &bytes).unwrap();
    let decoding = start.elapsed();
    assert_eq!(received.len(), 400);
    let each = |length: usize| length as f64 / 400.0;
    for level in [1, 3, 9] {
        let compressed = zstd::bulk::compress(&bytes, level).unwrap().len();
        println!("zstd {level}: {:.1} bytes per commit", each(compressed));
        assert!(each(compressed) <= 60.0, "{}", each(compressed));
    }
    println!("one by one: {:.1}, as a frame: {:.1} bytes per commit", each(plain), each(bytes.len()));
    println!("encode {} ns, decode {} ns per commit", encoding.as_nanos() / 400, decoding.as_nanos() / 400);
    assert!(bytes.len() < FRAME_TARGET, "one frame");
}

#[test]
fn the_example_in_the_documentation_is_this_frame() {
    // The genesis is not in the frame. Of two commits by key 1 the second vouches; key 2's comes without its body.
    let first = genesis(1);
    let space = first.space();
    let second = next(1, space, Some(&first), &[], b"one");
    let third = next(1, space, Some(&second), &[], b"two");
    let other = next(2, space, None, &[third.id()], b"three");
    let mut builder = FrameBuilder::new(space);
    builder.push((&second).into()).unwrap();
    builder.push((&third).into()).unwrap();
    builder.push(FrameCommit { body: None, ..(&other).into() }).unwrap();
    let bytes = builder.finish();

    let page = include_str!("../../../docs/protocol.md");
    let example = page.split("```hex\n").nth(1).unwrap().split("```").next().unwrap();
    let digits: String = example.lines().flat_map(|line| line.split("  ").next()).collect();
    let digits: String = digits.split_whitespace().collect();
    assert_eq!(digits, bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(vouch(decode(&space, &bytes).unwrap()).vouched.len(), 3);
}
