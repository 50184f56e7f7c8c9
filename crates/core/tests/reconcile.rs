//! Two graphs tell each other what they have: each then sends what the other lacks, and only that.

mod graphs;

use driftless_core::hash_graph::{HashGraph, NodeId};
use driftless_core::reconcile::{Reconciler, Salt};
use proptest::prelude::*;

use graphs::Graph;

#[derive(Default, Debug)]
struct Outcome {
    messages: usize,
    sent: [usize; 2],
    known: usize,
    rounds: u32,
}

// Summaries until both plans are ready, then nodes; then, while heads are missing, again.
fn meet(graphs: &mut [Graph; 2], reconcilers: &mut [Reconciler; 2]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut first = true;
    let mut speaker = 0;
    let mut message = Some(reconcilers[0].offer(&graphs[0], graphs[0].digest()).unwrap());
    let mut ready = [false; 2];
    while let Some(summary) = message.take() {
        outcome.messages += 1;
        assert!(outcome.messages <= 6, "summaries without end");
        let listener = 1 - speaker;
        let heard = reconcilers[listener]
            .hear(&graphs[listener], graphs[listener].digest(), &summary, first)
            .unwrap();
        ready[listener] = heard.ready;
        message = heard.answer;
        first = false;
        speaker = listener;
    }
    assert_eq!(ready, [true; 2]);
    transfer(graphs, reconcilers, &mut outcome);
    for round in 1..4 {
        if graphs[0].digest() == graphs[1].digest() {
            break;
        }
        outcome.rounds = round;
        for asking in [0, 1] {
            let other = 1 - asking;
            let missing = |head: &&NodeId| !graphs[asking].at.contains_key(*head);
            let wanted: Vec<NodeId> = graphs[other].heads.iter().filter(missing).copied().collect();
            if wanted.is_empty() {
                continue;
            }
            let again = reconcilers[asking].again(&graphs[asking], graphs[asking].digest(), round).unwrap();
            reconcilers[other].hear_again(&graphs[other], graphs[other].digest(), &again, wanted).unwrap();
            transfer(graphs, reconcilers, &mut outcome);
        }
    }
    assert_eq!(graphs[0].digest(), graphs[1].digest(), "{outcome:?}");
    for (side, reconciler) in reconcilers.iter_mut().enumerate() {
        reconciler.agree(graphs[side].digest(), graphs[side].len());
    }
    outcome
}

fn transfer(graphs: &mut [Graph; 2], reconcilers: &mut [Reconciler; 2], outcome: &mut Outcome) {
    for from in [0, 1] {
        let to = 1 - from;
        while let Some(at) = reconcilers[from].plan().peek(graphs[from].len()) {
            reconcilers[from].plan().sent();
            let made = graphs[from].made(at);
            outcome.sent[from] += 1;
            if !graphs[to].take(&made) {
                outcome.known += 1;
            }
            if let Some(here) = graphs[to].at.get(&made.id) {
                reconcilers[to].plan().has(*here);
            }
        }
    }
}

fn fresh(agreed: Option<&[Reconciler; 2]>, session: u8) -> [Reconciler; 2] {
    let salt = Salt::new(&[&[session]]);
    [0, 1].map(|side| Reconciler::new(salt, agreed.map_or(Vec::new(), |old| old[side].agreed().to_vec())))
}

fn grow(graph: &mut Graph, count: usize, authors: u32, first: u32, merge: usize) {
    for number in 0..count {
        let author = first + number as u32 % authors;
        let heads: Vec<NodeId> = if number % merge == 0 {
            graph.heads.iter().copied().collect()
        } else {
            graph.nodes.last().map(|node| node.id).into_iter().collect()
        };
        graph.make(author, &heads);
    }
}

#[test]
fn whatever_the_number_of_authors_only_what_is_missing_is_sent() {
    for (named, authors, limit) in [(true, 4, 4), (true, 100, 4), (true, 900, 4), (false, 4, 5)] {
        for new in [0, 1, 10, 300] {
            let mut base = Graph::new(named);
            grow(&mut base, 3000, authors, 0, 1);
            let mut graphs = [base.clone(), base];
            grow(&mut graphs[0], new, authors / 2, 0, 1);
            grow(&mut graphs[1], new, authors / 2, authors / 2, 1);
            let mut reconcilers = fresh(None, 1);
            let outcome = meet(&mut graphs, &mut reconcilers);
            assert_eq!(outcome.known, 0, "{authors} authors, {new} new: {outcome:?}");
            assert_eq!(outcome.sent.iter().sum::<usize>(), 2 * new);
            assert!(outcome.messages <= limit, "{outcome:?}");
            // They know each other now: whatever is new is told in one message each way.
            grow(&mut graphs[0], 5, 2, 0, 1);
            let mut again = fresh(Some(&reconcilers), 2);
            let outcome = meet(&mut graphs, &mut again);
            assert_eq!((outcome.sent, outcome.known, outcome.rounds), ([5, 0], 0, 0));
            assert_eq!(outcome.messages, 2, "{outcome:?}");
        }
    }
}

#[test]
fn who_know_each_other_tell_what_many_authors_wrote_in_one_message_each() {
    for (named, authors, session) in [(true, 60, 3), (true, 400, 4), (false, 4, 5), (false, 4, 6)] {
        let mut base = Graph::new(named);
        grow(&mut base, 1000, authors, 0, 1);
        let mut graphs = [base.clone(), base];
        let mut met = fresh(None, 1);
        meet(&mut graphs, &mut met);
        grow(&mut graphs[0], 200, authors / 2, 0, 1);
        grow(&mut graphs[1], 100, authors / 2, authors / 2, 1);
        let outcome = meet(&mut graphs, &mut fresh(Some(&met), session));
        assert_eq!((outcome.sent, outcome.known, outcome.messages), ([200, 100], 0, 2), "{outcome:?}");
    }
}

#[test]
fn who_lost_what_they_agreed_on_gets_it_back_without_the_rest() {
    let mut base = Graph::new(true);
    grow(&mut base, 500, 3, 0, 1);
    let old = base.clone();
    grow(&mut base, 1, 1, 0, 1);
    let mut graphs = [base.clone(), base];
    let mut reconcilers = fresh(None, 1);
    meet(&mut graphs, &mut reconcilers);
    let mut again = fresh(Some(&reconcilers), 2);
    graphs[1] = old;
    let outcome = meet(&mut graphs, &mut again);
    assert_eq!((outcome.sent, outcome.known), ([1, 0], 0));
}

#[test]
fn who_forgot_where_they_met_does_not_send_everything() {
    for authors in [3, 50, 200] {
        for forgetful in [0, 1] {
            let mut base = Graph::new(true);
            grow(&mut base, 500, authors, 0, 1);
            let mut graphs = [base.clone(), base];
            let mut reconcilers = fresh(None, 1);
            meet(&mut graphs, &mut reconcilers);
            let mut again = fresh(Some(&reconcilers), 2);
            again[forgetful] = Reconciler::new(Salt::new(&[&[2]]), Vec::new());
            grow(&mut graphs[1], 5, 2, 0, 1);
            let outcome = meet(&mut graphs, &mut again);
            assert_eq!((outcome.sent, outcome.known), ([0, 5], 0), "{authors} authors, {forgetful} forgot");
        }
    }
}

#[test]
fn chains_that_parted_are_told_by_marks_and_not_sent_whole() {
    let mut base = Graph::new(true);
    grow(&mut base, 1000, 2, 0, 1);
    let mut graphs = [base.clone(), base];
    // The same author goes on in both places.
    grow(&mut graphs[0], 7, 1, 0, 1);
    grow(&mut graphs[1], 3, 1, 1, 1);
    grow(&mut graphs[1], 5, 1, 0, 1);
    let outcome = meet(&mut graphs, &mut fresh(None, 1));
    assert_eq!((outcome.sent, outcome.known), ([7, 8], 0), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_two_graphs_meet(
        named in any::<bool>(),
        authors in 1_u32..200,
        shared in 0_usize..400,
        new in (0_usize..200, 0_usize..200),
        merge in 1_usize..6,
        forked in any::<bool>(),
        session in any::<u8>(),
    ) {
        let mut base = Graph::new(named);
        grow(&mut base, shared, authors, 0, merge);
        let mut graphs = [base.clone(), base];
        grow(&mut graphs[0], new.0, authors, 0, merge);
        grow(&mut graphs[1], new.1, authors, if forked { 0 } else { authors }, merge);
        let mut reconcilers = fresh(None, session);
        let outcome = meet(&mut graphs, &mut reconcilers);
        prop_assert!(outcome.rounds <= 3);
        // Once they met, the same frontier is enough.
        let outcome = meet(&mut graphs, &mut fresh(Some(&reconcilers), session.wrapping_add(1)));
        prop_assert_eq!((outcome.messages, outcome.sent, outcome.rounds), (2, [0, 0], 0));
    }
}

#[test]
fn what_is_too_much_for_a_filter_is_sent_and_what_lies_below_is_not() {
    const COMMON: u64 = 70_000;
    const NEW: u64 = 60_000;
    let id = |at: u64, side: u8| {
        let mut id = [side; 32];
        id[..8].copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        id
    };
    let mut common = Graph::new(false);
    (0..COMMON).for_each(|at| common.write(id(at, 0), 0));
    let mut graphs = [common.clone(), common];
    for (graph, side) in graphs.iter_mut().zip(1..) {
        (COMMON..COMMON + NEW).for_each(|at| graph.write(id(at, side), 0));
    }
    let mut sides = [0, 1].map(|_| Reconciler::new(Salt::new(&[b"much"]), Vec::new()));
    let mut said = Some(sides[0].offer(&graphs[0], graphs[0].digest()).unwrap());
    let mut messages = 0;
    while let Some(summary) = said.take() {
        let at = 1 - messages % 2;
        said = sides[at].hear(&graphs[at], graphs[at].digest(), &summary, messages == 0).unwrap().answer;
        messages += 1;
    }
    for (side, graph) in sides.iter_mut().zip(&graphs) {
        let first = side.plan().peek(graph.len()).unwrap();
        // The mark farthest back that both have stands 65,535 nodes below the head.
        assert_eq!(first, COMMON + NEW - 65_535 + 1);
    }
}

#[test]
fn a_filter_from_before_what_was_asked_for_again_sends_nothing_twice() {
    let mut base = Graph::new(false);
    (0..100).for_each(|author| drop(base.make(author, &[])));
    let mut graphs = [base.clone(), base];
    (0..20).for_each(|author| drop(graphs[0].make(author, &[])));
    (0..20).for_each(|author| drop(graphs[1].make(200 + author, &[])));
    let salt = Salt::new(&[b"twice"]);
    let [mut ours, mut theirs] = [0, 1].map(|_| Reconciler::new(salt, Vec::new()));
    let digests = [graphs[0].digest(), graphs[1].digest()];
    let marks = theirs.offer(&graphs[1], digests[1]).unwrap();
    let found = ours.hear(&graphs[0], digests[0], &marks, true).unwrap().answer.unwrap();
    let filter = theirs.hear(&graphs[1], digests[1], &found, false).unwrap().answer.unwrap();
    // Before that filter comes, all heads were wanted, and went over.
    let wanted: Vec<NodeId> = graphs[0].heads.iter().copied().collect();
    let again = theirs.again(&graphs[1], digests[1], 1).unwrap();
    ours.hear_again(&graphs[0], digests[0], &again, wanted).unwrap();
    let len = graphs[0].len();
    let mut sent = 0;
    while ours.plan().peek(len).is_some() {
        ours.plan().sent();
        sent += 1;
    }
    assert!(sent >= 20);
    let heard = ours.hear(&graphs[0], digests[0], &filter, false).unwrap();
    assert_eq!((heard.answer, heard.ready, ours.plan().peek(len)), (None, true, None));
}
