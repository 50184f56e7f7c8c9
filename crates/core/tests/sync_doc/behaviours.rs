//! Automerge's own list of what its protocol does (rust/automerge/src/sync.rs, tests/test.rs, sync_test.ts), and what
//! ours does besides. Each test is named after the behaviour.

use driftless_core::hash_graph::{HashGraph, HashGraphMut, NodeId};
use driftless_core::sync_doc::{
    BloomFilter, ChunkList, Have, Message, MessageFlags, MessageVersion, State, SyncDoc,
};

use crate::plain::{Doc, alternate, change, id_of, reconnect, sync};

fn two_with(common: usize) -> (Doc, Doc) {
    let mut a = Doc::new(1);
    a.puts(common, "common");
    let b = a.fork(2);
    (a, b)
}

fn met(common: usize) -> (Doc, Doc, State, State) {
    let (mut a, mut b) = two_with(common);
    let (mut to_b, mut to_a) = (State::new(), State::new());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    (a, b, to_b, to_a)
}

fn changes(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.changes.len()).sum()
}

fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.encode().len()).sum()
}

fn empty_message(version: MessageVersion) -> Message {
    let (heads, need, have) = (Vec::new(), Vec::new(), Vec::new());
    Message { heads, need, have, changes: ChunkList::empty(), flags: None, version }
}

#[test]
fn encode_decode_empty_message() {
    for version in [MessageVersion::V1, MessageVersion::V2] {
        let message = empty_message(version);
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn old_and_new_flags_are_read() {
    let mut flags = MessageFlags::new();
    flags.set(MessageFlags::READ_ONLY);
    let message = Message { flags: Some(flags), ..empty_message(MessageVersion::V1) };
    assert_eq!(message.encode(), [0x42, 0, 0, 0, 0, 2, 2, 0x82]);
    assert_eq!(Message::decode(&message.encode()), Ok(message));
    for old in [&[0x42, 0, 0, 0, 0, 1, 2][..], &[0x42, 0, 0, 0, 0, 2, 1, 2], &[0x42, 0, 0, 0, 0, 1, 2, 9, 9]]
    {
        assert_eq!(Message::decode(old).unwrap().flags, Some(MessageFlags::new()));
    }
}

#[test]
fn a_state_keeps_what_is_shared_and_nothing_else() {
    let (a, _, to_b, _) = met(3);
    assert_eq!(to_b.encode(), [&[0x43, 1][..], &a.heads()[0]].concat());
    let again = reconnect(&to_b);
    assert_eq!(again.shared_heads(), a.heads());
    assert_eq!(again.their_heads(), None);
    assert!(State::decode(&[0x42, 0]).is_err() && State::decode(&[0x43, 1, 0]).is_err());
}

#[test]
fn generate_sync_message_twice_does_nothing() {
    let mut a = Doc::new(1);
    a.put("x");
    let mut state = State::new();
    assert!(a.say(&mut state).is_some());
    assert!(a.say(&mut state).is_none());
}

#[test]
fn first_response_is_some_even_if_no_changes() {
    let (a, mut b) = two_with(1);
    let (mut to_b, mut to_a) = (State::new(), State::new());
    b.hear(&mut to_a, a.say(&mut to_b).unwrap());
    assert!(b.say(&mut to_a).is_some());
}

#[test]
fn should_not_reply_if_we_have_no_data_after_first_round() {
    let (a, mut b) = two_with(0);
    let (mut to_b, mut to_a) = (State::new(), State::new());
    let hello = a.say(&mut to_b).unwrap();
    assert!(hello.heads.is_empty() && hello.changes.is_empty() && hello.have == [Have::default()]);
    b.hear(&mut to_a, hello);
    assert!(b.say(&mut to_a).is_some());
    assert!(a.say(&mut to_b).is_none() && b.say(&mut to_a).is_none());
}

#[test]
fn equal_heads_need_no_reply() {
    let (mut a, mut b) = two_with(10);
    let messages = alternate(&mut a, &mut b, &mut State::new(), &mut State::new());
    assert_eq!((messages.len(), changes(&messages)), (2, 0));
}

#[test]
fn one_side_offers_everything_to_an_empty_one() {
    for turned in [false, true] {
        let (mut a, _) = two_with(10);
        let mut b = Doc::new(2);
        if turned {
            std::mem::swap(&mut a, &mut b);
        }
        let messages = alternate(&mut a, &mut b, &mut State::new(), &mut State::new());
        assert_eq!(a.heads(), b.heads());
        assert_eq!(changes(&messages), 10);
        assert!(messages.len() <= 4);
    }
}

#[test]
fn one_side_ahead_without_and_with_prior_state() {
    for persisted in [false, true] {
        let (mut a, mut b, mut to_b, mut to_a) = met(10);
        a.puts(5, "new");
        if persisted {
            (to_b, to_a) = (reconnect(&to_b), reconnect(&to_a));
        } else {
            (to_b, to_a) = (State::new(), State::new());
        }
        let messages = alternate(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!((a.heads(), changes(&messages)), (b.heads(), 5));
    }
}

#[test]
fn diverged_without_and_with_prior_state() {
    for persisted in [false, true] {
        let (mut a, mut b, mut to_b, mut to_a) = met(10);
        a.puts(5, "a");
        b.puts(5, "b");
        (to_b, to_a) =
            if persisted { (reconnect(&to_b), reconnect(&to_a)) } else { (State::new(), State::new()) };
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!(a.heads(), b.heads());
        assert_eq!(to_b.shared_heads(), a.heads());
        assert_eq!(to_a.shared_heads(), a.heads());
    }
}

#[test]
fn no_messages_once_synced() {
    let (mut a, mut b, mut to_b, mut to_a) = met(5);
    a.put("x");
    b.put("y");
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    for _ in 0..5000 {
        assert!(a.say(&mut to_b).is_none() && b.say(&mut to_a).is_none());
    }
}

#[test]
fn should_allow_simultaneous_messages_during_synchronisation() {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    let (mut to_b, mut to_a) = (State::new(), State::new());
    a.puts(5, "x");
    b.puts(5, "y");
    let mut both = [a.heads(), b.heads()].concat();
    both.sort();

    let (from_a, from_b) = (a.say(&mut to_b).unwrap(), b.say(&mut to_a).unwrap());
    assert!(from_a.changes.is_empty() && from_b.changes.is_empty());
    assert!(from_a.have[0].last_sync.is_empty() && from_b.have[0].last_sync.is_empty());
    a.hear(&mut to_b, from_b);
    b.hear(&mut to_a, from_a);

    let (from_a, from_b) = (a.say(&mut to_b).unwrap(), b.say(&mut to_a).unwrap());
    assert!(!from_a.changes.is_empty() && !from_b.changes.is_empty());
    a.hear(&mut to_b, from_b);
    b.hear(&mut to_a, from_a);
    if a.heads() != both || b.heads() != both {
        // One in a hundred: a filter was mistaken.
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
    }

    // Each acknowledges, and sends nothing more.
    while let (Some(from_a), Some(from_b)) = (a.say(&mut to_b), b.say(&mut to_a)) {
        assert!(from_a.changes.is_empty() && from_b.changes.is_empty());
        a.hear(&mut to_b, from_b);
        b.hear(&mut to_a, from_a);
    }
    assert_eq!(to_b.shared_heads(), both);
    assert_eq!(to_a.shared_heads(), both);
    assert!(a.say(&mut to_b).is_none() && b.say(&mut to_a).is_none());

    a.put("x 5");
    assert_eq!(a.say(&mut to_b).unwrap().have[0].last_sync, both);
}

#[test]
fn sent_changes_are_taken_for_received_until_the_peer_says_otherwise() {
    let (mut a, mut b, mut to_b, mut to_a) = met(5);
    let mut sent = Vec::new();
    for number in 0..20 {
        a.put(&format!("key {number}"));
        sent.extend(a.say(&mut to_b));
    }
    assert!(sent.iter().all(|message| message.changes.len() == 1), "each change once, at once");
    sent.into_iter().for_each(|message| b.hear(&mut to_a, message));
    let messages = alternate(&mut b, &mut a, &mut to_a, &mut to_b);
    assert_eq!((b.heads(), changes(&messages)), (a.heads(), 0));
}

#[test]
fn in_flight_logic_should_not_sabotage_concurrent_changes() {
    for round in 0..300 {
        let (mut a, mut b, mut to_b, mut to_a) = met(0);
        b.put(&format!("x {round}"));
        a.hear(&mut to_b, b.say(&mut to_a).unwrap());
        a.put(&format!("y {round}"));
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!(a.heads(), b.heads());
    }
}

#[test]
fn should_handle_lots_of_branching_and_merging() {
    let mut a = Doc::new(1);
    let root = a.put("root");
    let (mut b, mut c) = (a.fork(2), a.fork(3));
    let side = c.put("side");
    let (mut last_a, mut last_b) = (root, root);
    for number in 1..20 {
        let on: Vec<NodeId> = if last_a == last_b { vec![last_a] } else { vec![last_a, last_b] };
        let (from_a, from_b) = (a.put_on(&on, &format!("a {number}")), b.put_on(&on, &format!("b {number}")));
        (last_a, last_b) = (from_a, from_b);
        let (before_a, before_b) = (a.clone(), b.clone());
        b.take_all(&before_a);
        a.take_all(&before_b);
    }
    let (mut to_b, mut to_a) = (State::new(), State::new());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    // A change concurrent to the heads of the last sync.
    b.take_all(&c);
    a.put("final");
    b.put("final");
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert_eq!(a.heads(), b.heads());
    assert!(a.has(&side));
}

/// Texts whose changes on `parents` look as if they were in `filter`, each on the one before.
fn false_positives(filter: &BloomFilter, parents: &[NodeId], author: u8, count: usize) -> Vec<Vec<u8>> {
    let mut parents = parents.to_vec();
    let mut found = Vec::new();
    for seq in 0..count {
        let mut texts = 0..;
        let bytes = texts.find_map(|number| {
            let bytes = change(&parents, author, seq as u64, &format!("ground {number}"));
            filter.contains_hash(&id_of(&bytes)).then_some(bytes)
        });
        let bytes = bytes.unwrap();
        parents = vec![id_of(&bytes)];
        found.push(bytes);
    }
    found
}

#[test]
fn should_handle_false_positive_head() {
    let (mut a, mut b, to_b, to_a) = met(10);
    a.put("n1");
    let filter = BloomFilter::from_hashes(a.heads().iter());
    for bytes in false_positives(&filter, &b.heads(), 2, 1) {
        let Ok(_) = b.graph.insert(&bytes);
    }
    sync(&mut a, &mut b, &mut reconnect(&to_b), &mut reconnect(&to_a));
    assert_eq!(a.heads(), b.heads());
    assert_eq!(a.heads().len(), 2);
}

fn chain_of_false_positives(count: usize, flags: bool, last: bool) -> usize {
    let (mut a, mut b, to_b, to_a) = met(5);
    a.put("c5");
    let filter = BloomFilter::from_hashes(a.heads().iter());
    for bytes in false_positives(&filter, &b.heads(), 2, count) {
        let Ok(_) = b.graph.insert(&bytes);
    }
    if last {
        b.put("a true negative on top");
    }
    let known = |state: &State| if flags { reconnect(state).with_flags() } else { reconnect(state) };
    let (mut to_b, mut to_a) = (known(&to_b), known(&to_a));
    let mut messages = 0;
    for _ in 0..3 * count + 10 {
        let (from_a, from_b) = (a.say(&mut to_b), b.say(&mut to_a));
        messages += usize::from(from_a.is_some()) + usize::from(from_b.is_some());
        from_a.into_iter().for_each(|message| b.hear(&mut to_a, message));
        from_b.into_iter().for_each(|message| a.hear(&mut to_b, message));
    }
    assert_eq!(a.heads(), b.heads(), "{count} {flags} {last}");
    messages
}

#[test]
fn should_handle_chains_of_false_positives() {
    for last in [true, false] {
        for count in [1, 2, 3, 10] {
            chain_of_false_positives(count, false, last);
        }
    }
}

#[test]
fn a_ground_chain_of_false_positives_is_repaired_in_one_round_between_ours() {
    for last in [true, false] {
        let messages = chain_of_false_positives(30, true, last);
        assert!(messages <= 12, "{messages} messages");
    }
}

#[test]
fn false_positives_among_three_that_meet_in_turn() {
    let (mut a, mut b, to_b, to_a) = met(5);
    let mut c = b.fork(3);
    a.put("only here");
    let filter = BloomFilter::from_hashes(a.heads().iter());
    for bytes in false_positives(&filter, &b.heads(), 2, 2) {
        let Ok(_) = b.graph.insert(&bytes);
        let Ok(_) = c.graph.insert(&bytes);
    }
    b.put("on top, in one");
    c.put("on top, in the other");
    let (mut one, mut two) = (reconnect(&to_b), State::new());
    sync(&mut a, &mut b, &mut one, &mut reconnect(&to_a));
    sync(&mut a, &mut c, &mut two, &mut State::new());
    sync(&mut a, &mut b, &mut one, &mut reconnect(&to_a));
    assert!(a.heads() == b.heads() && c.heads() == a.heads());
}

#[test]
fn several_filters_in_have_count_together() {
    let mut c = Doc::new(3);
    let ids: Vec<NodeId> = (0..6).map(|number| c.put_on(&[], &format!("{number}"))).collect();
    let have = |ids: &[NodeId]| Have { last_sync: Vec::new(), bloom: BloomFilter::from_hashes(ids.iter()) };
    let mut state = State::new();
    let message = Message {
        heads: vec![[7; 32]],
        have: vec![have(&ids[..2]), have(&ids[2..4])],
        ..empty_message(MessageVersion::V1)
    };
    c.hear(&mut state, message);
    let sent: Vec<NodeId> = c.say(&mut state).unwrap().changes.iter().map(id_of).collect();
    // A filter may be mistaken about the two others, but says for sure what it has.
    assert!(sent.iter().all(|id| ids[4..].contains(id)), "{sent:?}");
}

#[test]
fn any_change_may_be_asked_for_by_need() {
    let (mut a, _, mut to_b, _) = met(8);
    let old: Vec<NodeId> = a.graph.iter().skip(2).take(2).map(|(node, _)| node.id).collect();
    let message = Message { heads: a.heads(), need: old.clone(), ..empty_message(MessageVersion::V1) };
    a.hear(&mut to_b, message);
    let sent: Vec<NodeId> = a.say(&mut to_b).unwrap().changes.iter().map(id_of).collect();
    assert_eq!(sent, old);
}

#[test]
fn a_need_for_what_nobody_has_is_ignored() {
    let (mut a, _, mut to_b, _) = met(3);
    let message = Message { heads: a.heads(), need: vec![[9; 32]], ..empty_message(MessageVersion::V1) };
    a.hear(&mut to_b, message);
    assert!(a.say(&mut to_b).is_none_or(|message| message.changes.is_empty()));
}

#[test]
fn a_part_of_the_changes_may_be_sent_and_the_rest_later() {
    let mut a = Doc::new(1);
    a.puts(50, "");
    let mut b = Doc::new(2);
    let (mut to_b, mut to_a) = (State::new().with_budget(500), State::new());
    let messages = alternate(&mut b, &mut a, &mut to_a, &mut to_b);
    assert_eq!((a.heads(), changes(&messages)), (b.heads(), 50));
    let largest = messages.iter().map(|message| message.changes.iter().map(<[u8]>::len).sum::<usize>()).max();
    assert!(largest <= Some(500));
}

#[test]
fn has_our_changes_turns_true_at_both_ends_with_convergence() {
    let (mut a, mut b, mut to_b, mut to_a) = met(4);
    a.put("x");
    b.put("y");
    assert_eq!(to_b.has_our_changes(&a.graph), Ok(false));
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert_eq!(to_b.has_our_changes(&a.graph), Ok(true));
    assert_eq!(to_a.has_our_changes(&b.graph), Ok(true));
}

#[test]
fn resync_after_crash_with_data_loss() {
    let (mut a, mut b, mut to_b, mut to_a) = met(3);
    let (older, older_state) = (b.clone(), to_a.clone());
    a.puts(6, "later");
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    let (mut b, mut to_a) = (older, reconnect(&older_state));
    b.put("and something new");
    to_b = reconnect(&to_b);
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn data_loss_without_disconnecting() {
    for all in [true, false] {
        let (mut a, mut b, mut to_b, mut to_a) = met(3);
        let older = if all { Doc::new(2) } else { b.clone() };
        a.puts(6, "later");
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        b = older;
        to_a = State::new();
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!(a.heads(), b.heads(), "all lost: {all}");
    }
}

#[test]
fn a_peer_that_lost_its_newest_change_costs_one_change() {
    for flags in [false, true] {
        for loser_begins in [false, true] {
            let (mut a, _) = two_with(2000);
            let older = a.clone();
            a.put("the newest");
            let mut b = a.fork(2);
            let (mut to_b, mut to_a) = (State::new(), State::new());
            sync(&mut a, &mut b, &mut to_b, &mut to_a);
            let (mut to_b, mut to_a) = (reconnect(&to_b), reconnect(&to_a));
            if flags {
                (to_b, to_a) = (to_b.with_flags(), to_a.with_flags());
            }
            let mut a = older;
            let messages = if loser_begins {
                alternate(&mut a, &mut b, &mut to_b, &mut to_a)
            } else {
                alternate(&mut b, &mut a, &mut to_a, &mut to_b)
            };
            assert_eq!((a.heads(), changes(&messages)), (b.heads(), 1), "{loser_begins}");
            assert!(bytes(&messages) < 1000, "{} bytes", bytes(&messages));
        }
    }
}

#[test]
fn one_that_lost_its_tail_and_went_on_is_not_sent_the_whole_document() {
    let (mut a, _) = two_with(1000);
    let mut older = a.fork(5);
    a.puts(20, "tail");
    let mut b = a.fork(2);
    let (mut to_b, mut to_a) = (State::new(), State::new());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    older.put("went on");
    let messages = alternate(&mut older, &mut b, &mut reconnect(&to_b), &mut reconnect(&to_a));
    assert_eq!(older.heads(), b.heads());
    assert!(changes(&messages) <= 40, "{} changes", changes(&messages));
}

#[test]
fn shared_heads_stay_few_when_the_peers_heads_are_never_known() {
    let (mut a, mut b) = two_with(3);
    b.put("never taken");
    let (mut to_b, mut to_a) = (State::new_read_only(), State::new());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    for number in 0..1000 {
        a.put(&format!("push {number}"));
        let messages = alternate(&mut a, &mut b, &mut to_b, &mut to_a);
        // Two, unless a filter is mistaken.
        assert!(bytes(&messages) < 1000 && messages.len() <= 6, "{number}: {} bytes", bytes(&messages));
    }
    assert!(to_b.shared_heads().len() <= 2 && to_a.shared_heads().len() <= 2);
    assert!(to_b.encode().len() <= 66);
}

#[test]
fn a_bad_change_does_not_keep_out_its_siblings() {
    let (mut a, _, mut to_b, _) = met(2);
    let heads = a.heads();
    let (good, bad) = (change(&heads, 7, 1, "good"), change(&heads, 7, 1, "bad"));
    let (on_bad, on_good) = (change(&[id_of(&bad)], 7, 2, "x"), change(&[id_of(&good)], 7, 2, "y"));
    let message = Message {
        heads: vec![id_of(&on_good), id_of(&on_bad)],
        changes: ChunkList::from(vec![bad, on_bad, on_good.clone(), b"noise".to_vec(), good.clone()]),
        ..empty_message(MessageVersion::V1)
    };
    let Ok(received) = a.graph.receive_sync_message_reporting(&mut to_b, message);
    assert_eq!(received.applied, [id_of(&good), id_of(&on_good)]);
    assert_eq!(received.refused.iter().map(|refusal| refusal.chunk).collect::<Vec<_>>(), [Some(0), Some(3)]);
    assert_eq!((received.waiting, to_b.orphans()), (1, 1));
}

#[test]
fn queued_orphan_need_does_not_block_unrelated_sync_response() {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    let (mut from_c, mut to_b) = (State::new(), State::new());
    let lonely = change(&[[5; 32]], 3, 2, "lonely");
    let orphan = Message {
        heads: vec![id_of(&lonely)],
        changes: ChunkList::from(lonely),
        ..empty_message(MessageVersion::V1)
    };
    a.hear(&mut from_c, orphan);
    b.put("unrelated");
    sync(&mut a, &mut b, &mut to_b, &mut State::new());
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn an_equivocating_author_keeps_nobody_from_syncing() {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    for (doc, text) in [(&mut a, "to one"), (&mut b, "to the other")] {
        let Ok(_) = doc.graph.insert(&change(&[], 66, 1, text));
        doc.puts(5, "honest");
    }
    let (mut to_b, mut to_a) = (State::new(), State::new());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert_eq!((a.heads(), a.len()), (b.heads(), 12));
    assert_eq!(a.graph.tips().unwrap().iter().filter(|tip| tip.author[0] == 66).count(), 2);
}

#[test]
fn two_who_refuse_each_others_changes_fall_silent() {
    let (mut a, mut b) = two_with(2);
    let heads = a.heads();
    // Each has a change that the other refuses, here by sending another one in its place.
    a.put_on(&heads, "mine");
    b.put_on(&heads, "yours");
    let (mut to_b, mut to_a) = (State::new(), State::new());
    let (mut messages, mut rounds) = (0, 0);
    let spoil = |message: Message| {
        let changes = ChunkList::from(message.changes.iter().map(|_| b"noise".to_vec()).collect::<Vec<_>>());
        Message { changes, ..message }
    };
    loop {
        let (from_a, from_b) = (a.say(&mut to_b), b.say(&mut to_a));
        if from_a.is_none() && from_b.is_none() {
            break;
        }
        rounds += 1;
        assert!(rounds < 30, "they go on for ever");
        messages += usize::from(from_a.is_some()) + usize::from(from_b.is_some());
        from_a.into_iter().for_each(|message| b.hear(&mut to_a, spoil(message)));
        from_b.into_iter().for_each(|message| a.hear(&mut to_b, spoil(message)));
    }
    assert!(messages < 30);
}
