//! Automerge's tests of read-only states, between two of ours that send each other flags, and some without.

use driftless_core::sync_doc::{MessageFlags, State};

use crate::plain::{Doc, sync};

fn rw() -> State {
    State::new().with_flags()
}

fn ro() -> State {
    State::new_read_only().with_flags()
}

fn two() -> (Doc, Doc) {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    a.put("from a");
    b.put("from b");
    (a, b)
}

fn silent(a: &Doc, b: &Doc, to_b: &mut State, to_a: &mut State) {
    for _ in 0..100 {
        assert!(a.say(to_b).is_none() && b.say(to_a).is_none());
    }
}

#[test]
fn read_only_sync_does_not_apply_incoming_changes() {
    for flags in [true, false] {
        let (mut a, mut b) = two();
        let before = a.heads();
        let (mut to_b, mut to_a) = if flags { (ro(), rw()) } else { (State::new_read_only(), State::new()) };
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert!(b.has_text("from a") && b.has_text("from b"));
        assert_eq!(a.heads(), before);
    }
}

#[test]
fn read_only_empty_peer_syncs_with_data_peer() {
    for flags in [true, false] {
        let (mut a, mut b) = (Doc::new(1), Doc::new(2));
        b.put("value");
        let (mut to_b, mut to_a) = if flags { (ro(), rw()) } else { (State::new_read_only(), State::new()) };
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert!(a.heads().is_empty() && b.has_text("value"));
    }
}

#[test]
fn both_peers_read_only_converges_to_none() {
    for flags in [true, false] {
        let (mut a, mut b) = two();
        let new = || if flags { ro() } else { State::new_read_only() };
        let (mut to_b, mut to_a) = (new(), new());
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!((a.texts(), b.texts()), (vec!["from a".into()], vec!["from b".into()]));
        assert_eq!((to_b.is_peer_read_only(), to_a.is_peer_read_only()), (flags, flags));
        if flags {
            silent(&a, &b, &mut to_b, &mut to_a);
        }
    }
}

#[test]
fn both_read_only_one_makes_local_changes() {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    let (mut to_b, mut to_a) = (ro(), ro());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    for text in ["one", "two"] {
        a.put(text);
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!(to_a.their_heads(), Some(a.heads().as_slice()));
        assert!(b.heads().is_empty());
        silent(&a, &b, &mut to_b, &mut to_a);
    }
}

#[test]
fn both_read_only_both_make_local_changes() {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    let (mut to_b, mut to_a) = (ro(), ro());
    for round in 0..20 {
        a.put(&format!("a {round}"));
        b.put(&format!("b {round}"));
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!(to_b.their_heads(), Some(b.heads().as_slice()));
        assert_eq!(to_a.their_heads(), Some(a.heads().as_slice()));
        assert_eq!((a.len(), b.len()), (round + 1, round + 1));
        silent(&a, &b, &mut to_b, &mut to_a);
    }
}

#[test]
fn read_only_peer_new_changes_between_sync_rounds() {
    let (mut a, mut b) = two();
    let (mut to_b, mut to_a) = (ro(), rw());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    a.put("new from a");
    b.put("new from b");
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert!(b.has_text("new from a"));
    assert_eq!(a.texts(), ["from a", "new from a"]);
}

#[test]
fn read_only_peer_concurrent_changes_during_sync() {
    for round in 0..300 {
        let (mut a, mut b) = (Doc::new(1), Doc::new(2));
        let (mut to_b, mut to_a) = (ro(), rw());
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        b.put(&format!("x {round}"));
        a.hear(&mut to_b, b.say(&mut to_a).unwrap());
        a.put(&format!("y {round}"));
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert!(b.has_text(&format!("y {round}")));
        assert_eq!(a.len(), 1);
    }
}

#[test]
fn read_only_publisher_to_multiple_consumers() {
    let (mut r, mut a, mut b) = (Doc::new(9), Doc::new(1), Doc::new(2));
    r.put("from r");
    let (mut r_to_a, mut a_to_r) = (ro(), rw());
    sync(&mut r, &mut a, &mut r_to_a, &mut a_to_r);
    a.put("from a");
    sync(&mut r, &mut a, &mut r_to_a, &mut a_to_r);
    sync(&mut r, &mut b, &mut ro(), &mut rw());
    assert_eq!((r.texts(), b.texts()), (vec!["from r".into()], vec!["from r".into()]));
}

#[test]
fn read_only_fully_connected_triangle() {
    let (mut r, mut a, mut b) = (Doc::new(9), Doc::new(1), Doc::new(2));
    r.puts(10, "r");
    a.put("from a");
    b.put("from b");
    sync(&mut r, &mut a, &mut ro(), &mut rw());
    // Changes arrive by two ways; the second brings none.
    sync(&mut a, &mut b, &mut rw(), &mut rw());
    assert_eq!(b.len(), 12);
    let (mut r_to_b, mut b_to_r) = (ro(), rw());
    let hello = b.say(&mut b_to_r).unwrap();
    r.hear(&mut r_to_b, hello);
    let answer = r.say(&mut r_to_b).unwrap();
    assert!(answer.changes.is_empty(), "the filter says that all of it is there");
    b.hear(&mut b_to_r, answer);
    sync(&mut r, &mut b, &mut r_to_b, &mut b_to_r);
    assert_eq!((a.heads(), r.len()), (b.heads(), 10));
}

#[test]
fn read_only_peer_receives_same_changes_from_two_peers() {
    let (mut a, mut b) = two();
    let mut r = Doc::new(9);
    r.put("from r");
    sync(&mut a, &mut b, &mut rw(), &mut rw());
    let (mut r_to_a, mut a_to_r, mut r_to_b, mut b_to_r) = (ro(), rw(), ro(), rw());
    sync(&mut r, &mut a, &mut r_to_a, &mut a_to_r);
    sync(&mut r, &mut b, &mut r_to_b, &mut b_to_r);
    r.put("more");
    sync(&mut r, &mut a, &mut r_to_a, &mut a_to_r);
    sync(&mut r, &mut b, &mut r_to_b, &mut b_to_r);
    assert!(a.has_text("more") && b.has_text("more"));
    assert_eq!(r.texts(), ["from r", "more"]);
}

#[test]
fn switch_read_only_to_read_write_mid_session() {
    for flags in [true, false] {
        let (mut a, mut b) = two();
        let (mut to_b, mut to_a) = if flags { (ro(), rw()) } else { (State::new_read_only(), State::new()) };
        for round in 0..3 {
            b.put(&format!("round {round}"));
            sync(&mut a, &mut b, &mut to_b, &mut to_a);
        }
        assert_eq!(a.len(), 1);
        to_b.set_read_only(false);
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!((a.heads(), a.len()), (b.heads(), 5), "flags: {flags}");
    }
}

#[test]
fn switch_read_write_to_read_only_mid_session() {
    let (mut a, mut b) = two();
    let (mut to_b, mut to_a) = (rw(), rw());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    to_b.set_read_only(true);
    b.put("secret");
    a.put("published");
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert!(b.has_text("published") && !a.has_text("secret"));
}

#[test]
fn toggle_read_only_multiple_times() {
    for flags in [true, false] {
        let (mut a, mut b) = (Doc::new(1), Doc::new(2));
        let (mut to_b, mut to_a) = if flags { (ro(), rw()) } else { (State::new_read_only(), State::new()) };
        for round in 0..6 {
            let read_only = round % 2 == 0;
            to_b.set_read_only(read_only);
            b.put(&format!("b {round}"));
            a.put(&format!("a {round}"));
            sync(&mut a, &mut b, &mut to_b, &mut to_a);
            assert!(b.has_text(&format!("a {round}")));
            assert_eq!(a.has_text(&format!("b {round}")), !read_only);
            assert!(read_only || a.heads() == b.heads());
        }
    }
}

#[test]
fn peer_discovers_remote_read_only_status() {
    let (mut a, mut b) = two();
    let (mut to_b, mut to_a) = (ro(), rw());
    assert!(!to_a.is_peer_read_only());
    b.hear(&mut to_a, a.say(&mut to_b).unwrap());
    assert!(to_a.is_peer_read_only());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert!(to_a.is_peer_read_only());
    to_b.set_read_only(false);
    b.hear(&mut to_a, a.say(&mut to_b).unwrap());
    assert!(!to_a.is_peer_read_only());
}

#[test]
fn changes_not_sent_to_read_only_peer() {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    b.put("from b");
    let (mut to_b, mut to_a) = (ro(), rw());
    b.hear(&mut to_a, a.say(&mut to_b).unwrap());
    let answer = b.say(&mut to_a).unwrap();
    assert!(answer.changes.is_empty());
    a.hear(&mut to_b, answer);
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert_eq!(a.len(), 0);
    to_b.set_read_only(false);
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert_eq!(a.heads(), b.heads());
}

#[test]
fn generate_message_after_set_read_only_even_with_in_flight() {
    let (mut a, mut b) = two();
    let (mut to_b, mut to_a) = (rw(), rw());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    b.put("new");
    a.hear(&mut to_b, b.say(&mut to_a).unwrap());
    assert!(a.say(&mut to_b).is_some());
    to_b.set_read_only(true);
    let message = a.say(&mut to_b).unwrap();
    assert!(message.flags.unwrap().contains(MessageFlags::READ_ONLY));
}

#[test]
fn generate_message_after_set_read_only_false_even_with_in_flight() {
    let (mut a, mut b) = (Doc::new(1), Doc::new(2));
    a.put("from a");
    let (mut to_b, mut to_a) = (ro(), rw());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    b.put("from b");
    a.say(&mut to_b);
    a.hear(&mut to_b, b.say(&mut to_a).unwrap());
    a.say(&mut to_b);
    to_b.set_read_only(false);
    let flags = a.say(&mut to_b).unwrap().flags.unwrap();
    assert!(flags.contains(MessageFlags::SYNC_RESET) && !flags.contains(MessageFlags::READ_ONLY));
}

#[test]
fn both_toggle_read_only_to_read_write_after_rounds_and_with_new_changes() {
    for (rounds, new) in [(0, false), (0, true), (5, false), (5, true)] {
        let (mut a, mut b) = two();
        let (mut to_b, mut to_a) = (ro(), ro());
        for round in 0..=rounds {
            a.put(&format!("a {round}"));
            b.put(&format!("b {round}"));
            sync(&mut a, &mut b, &mut to_b, &mut to_a);
        }
        to_b.set_read_only(false);
        to_a.set_read_only(false);
        if new {
            a.put("a after");
            b.put("b after");
        }
        sync(&mut a, &mut b, &mut to_b, &mut to_a);
        assert_eq!(a.heads(), b.heads());
    }
}

#[test]
fn switch_to_read_write_with_old_peer() {
    let (mut a, mut b) = two();
    let (mut to_b, mut to_a) = (State::new_read_only(), State::new());
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    to_b.set_read_only(false);
    let message = a.say(&mut to_b).unwrap();
    assert!(message.heads.is_empty() && message.flags.is_none());
    b.hear(&mut to_a, message);
    sync(&mut a, &mut b, &mut to_b, &mut to_a);
    assert_eq!(a.heads(), b.heads());
}
