//! Damage to every message, and to a session that hears it.

use super::super::{Creator, InviteProof, Role, Session, SpaceProof, numbered};
use super::*;
use crate::id::{PeerId, RequestId, UserId};
use crate::reconcile::Entry;
use crate::rules::Shown;
use crate::rules::{Permission, Strength};
use crate::sign::AuthorKey;

fn messages() -> Vec<Message> {
    let entry = |seq| Entry { tag: [1; 4], seq, check: [2; 4] };
    let heads = vec![CommitId([3; 32]), CommitId([4; 32])];
    let clock = Clock(vec![entry(0), entry(300)]);
    let filter = Filter::from_bytes(&[7; 5]).unwrap();
    let summary = |detail| Summary { digest: [5; 8], detail };
    let invite = InviteProof {
        invite: CommitId([6; 32]),
        index: 70_000,
        joiner: AuthorId([7; 32]),
        proof: Signature([8; 64]),
    };
    let space = SpaceId([9; 32]);
    let shown = Shown { header: vec![1], signature: Some(Signature([5; 64])), body: Some(vec![2; 9]) };
    let team =
        Pass::Space(SpaceProof { joiner: AuthorId([7; 32]), space: SpaceId([6; 32]), proof: vec![shown; 2] });
    let request = |permission, note: &str| {
        let author = AuthorId([7; 32]);
        AccessRequest { space, author, permission, note: note.into() }
    };
    let lookup = |by, after| Lookup { collection: "profile".into(), by, after };
    let verdict = Verdict { hash: [1; 32], code: "bad_header".into() };
    let cursor = Cursor { store: [1; 16], at: 70_000, digest: [2; 8] };
    vec![
        Message::Pull { request: 0, space, cursor: None, budget: 0, wanted: Vec::new() },
        Message::Pull { request: 300, space, cursor: Some(cursor), budget: u64::MAX, wanted: heads.clone() },
        Message::Pulled { request: 3, frames: vec![vec![7; 30]; 2], cursor, more: true },
        Message::Pulled { request: 3, frames: Vec::new(), cursor, more: false },
        Message::Stale { request: 3, cursor },
        Message::Withheld { request: 24 },
        Message::Request { number: 0, request: request(Permission::Write(Strength(7)), "hi, it is me") },
        Message::Request { number: 300, request: request(Permission::Read, "") },
        Message::Answer { number: 0, answer: Answer::Refused },
        Message::Answer { number: 1, answer: Answer::Allowed(Permission::Admin(Strength(300))) },
        Message::Answer { number: 2, answer: Answer::Queued(RequestId([3; 32])) },
        Message::Answer { number: 3, answer: Answer::Full },
        Message::Changed(Vec::new()),
        Message::Changed(vec![Changed { space, digest: [3; 8] }; 2]),
        Message::Shared { number: 0, after: Some(space), pass: None },
        Message::Shared { number: 300, after: None, pass: Some(team.clone()) },
        Message::Find { number: 1, lookup: lookup(Creator::Author(AuthorId([7; 32])), None) },
        Message::Find { number: 24, lookup: lookup(Creator::User(UserId([8; 32])), Some(space)) },
        Message::Located { number: 1, located: Located::default() },
        Message::Located {
            number: 24,
            located: Located { documents: vec![(space, vec![1, 2, 3]); 2], next: Some(space), cut: true },
        },
        Message::Discover { number: 0, after: None },
        Message::Discover { number: 24, after: Some(space) },
        Message::Found { number: 0, spaces: Vec::new(), more: false },
        Message::Found { number: 1, spaces: vec![Discovered { space, name: "team".into() }; 2], more: true },
        Message::Hello { version: 1, nonce: [1; 16] },
        Message::Proof(vec![(AuthorId([1; 32]), Signature([2; 64])); 2]),
        Message::Open {
            slot: 24,
            space,
            invite: Some(Pass::Invite(invite)),
            summary: summary(Detail::Clock(clock.clone())),
        },
        Message::Open { slot: 0, space, invite: None, summary: Summary::default() },
        Message::Open { slot: 0, space, invite: Some(team), summary: Summary::default() },
        Message::Reopen { slot: 2, item: [3; 12], digest: [4; 8], clock: clock.clone() },
        Message::Spaces { count: 10_000, sum: [5; 8] },
        Message::Cells(vec![Cell { count: 300, sum: [6; 12], check: [7; 4] }; 2]),
        Message::Cells(Vec::new()),
        Message::More,
        Message::Rest { slot: 300 },
        Message::Have { slot: 3, summary: summary(Detail::Since([8; 8], clock.clone())) },
        Message::Have { slot: 3, summary: summary(Detail::Otherwise(clock)) },
        Message::Summary { slot: 3, summary: summary(Detail::Bare) },
        Message::Have { slot: 3, summary: summary(Detail::Recent([8; 8], filter.clone())) },
        Message::Summary { slot: 3, summary: summary(Detail::Marks(vec![[6; 12]; 3])) },
        Message::Summary { slot: 3, summary: summary(Detail::Filter(vec![true; 9], filter.clone())) },
        Message::Data { slot: 4, number: 1 << 40, frame: vec![1, 2, 3], digest: [4; 8] },
        Message::Ack { slot: 4, number: 256, refused: vec![verdict; 2], digest: [4; 8] },
        Message::End { slot: 4, digest: [1; 8], heads: heads.clone() },
        Message::Want { slot: 4, ids: heads.clone(), again: None },
        Message::Want {
            slot: 4,
            ids: heads,
            again: Some(summary(Detail::Again(3, vec![[6; 12]; 3], filter))),
        },
        Message::Decline { slot: 4, reason: "too_many".into(), retry_after_ms: 5000 },
        Message::Close { slot: u64::MAX },
    ]
}

// Every prefix, every flipped bit, every byte made the head of something long, every byte doubled or left out.
fn each_damage(bytes: &[u8], mut look: impl FnMut(&[u8])) {
    let mut see = |damaged: &[u8]| {
        if damaged != bytes {
            look(damaged);
        }
    };
    for at in 0..bytes.len() {
        see(&bytes[..at]);
        let replace = |by: &[u8]| [&bytes[..at], by, &bytes[at + 1..]].concat();
        (0..8).for_each(|bit| see(&replace(&[bytes[at] ^ (1 << bit)])));
        for head in [0x3b, 0x5b, 0x7b, 0x9b, 0xbb] {
            see(&replace(&[&[head][..], &[0xff; 8]].concat()));
        }
        for other in [0x9f, 0xbf, 0xff, 0xf6, 0xfb, 0xc0] {
            see(&replace(&[other]));
        }
        see(&replace(&[bytes[at], bytes[at]]));
        see(&replace(&[]));
    }
}

fn message_is_canonical(bytes: &[u8]) -> bool {
    match Message::decode(bytes) {
        // Of a greeting that says more than we know, only the version is taken.
        Ok(Message::Hello { nonce: [0, ..], .. }) => true,
        Ok(message) => {
            assert_eq!(message.encode(), bytes);
            true
        }
        Err(_) => false,
    }
}

#[test]
fn a_damaged_message_is_refused_or_is_another_message() {
    for message in messages() {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes), Ok(message.clone()));
        each_damage(&bytes, |damaged| {
            assert_ne!(Message::decode(damaged).as_ref(), Ok(&message));
            message_is_canonical(damaged);
        });
    }
}

#[test]
fn a_session_ends_with_an_error_when_its_peer_sends_damage() {
    let greeting = [Message::Hello { version: 1, nonce: [1; 16] }, Message::Proof(Vec::new())];
    let new = || {
        let keys = vec![AuthorKey::from_seed(&[1; 32])];
        let mut session = Session::new(Role::Listener, PeerId([1; 32]), PeerId([2; 32]), [3; 16], keys);
        for (number, message) in (0..).zip(&greeting) {
            session.handle_frame(&numbered(number, message)).unwrap();
        }
        session
    };
    let mut heard = 0;
    for message in messages() {
        let bytes = message.encode();
        // Also what decodes comes without having been asked for, and in an order that nobody keeps to.
        let mut session = new();
        each_damage(&bytes, |damaged| {
            let number = u8::try_from(session.heard_messages).unwrap();
            let taken = session.handle_frame(&[&[number], damaged].concat());
            if taken.is_err() || number > 100 {
                session = new();
            }
            heard += u32::from(taken.is_ok());
            while session.poll().is_some() {}
        });
    }
    assert!(heard > 100, "damage is looked at, not only the numbers before it: {heard}");
}

#[test]
fn nesting_and_counts_that_lie_are_refused() {
    for message in messages() {
        let bytes = message.encode();
        for at in 0..bytes.len() {
            let lie = [&bytes[..at], &[0x9b], &[0xff; 8]].concat();
            // Of the length that was said, it may be the end of an id.
            assert!(!message_is_canonical(&lie) || lie.len() == bytes.len());
            assert!(!message_is_canonical(&[&bytes[..at], &[0x81; 100_000]].concat()));
        }
    }
}
