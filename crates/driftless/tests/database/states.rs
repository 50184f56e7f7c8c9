//! Which commits have their effect, whatever their authors do: transactions in pieces, retractions, forks, clocks.

use driftless::{
    Database, Durability, Error, Filter, Insert, LogQuery, Permission, Space, Strength, Subject,
    operators_from_json,
};
use driftless_core::commit::{BodyEncoding, Vouched};

use crate::pen::{Pen, body, bundle_of, bundle_of_received, without_body};
use crate::simulated::{Hand, bundle, database, import, map, send};

const PEN: u8 = 77;

// A space of Ann's in which the pen may write, and the commit that says so.
fn team(ann: &Database) -> (Space, Pen, driftless::CommitId) {
    let space = ann.create_space("team").unwrap();
    let grant = space.grant(Subject::Key(Pen::author(PEN)), Permission::Write(Strength(10))).unwrap();
    let pen = Pen::new(PEN, space.id());
    (space, pen, grant)
}

fn documents(space: &Space) -> u64 {
    space.collection("notes").unwrap().count(Filter::parse("{}").unwrap()).unwrap()
}

// The same commits in each order, on databases of their own: all must agree, also after a rebuild.
fn agree(start: &Space, orders: &[Vec<&Vouched>]) -> (driftless::Digest, driftless::Counts) {
    let mut seen = None;
    for (seed, order) in (10..).zip(orders) {
        let db = database(seed, &Hand::new());
        let space = send(start, &db);
        for commit in order {
            import(&db, &bundle_of([*commit]));
        }
        let state = |space: &Space| (space.digest().unwrap(), db.status().unwrap().spaces[0].counts);
        let now = state(&space);
        assert_eq!(*seen.get_or_insert(now.clone()), now, "order {seed}");
        space.rebuild().unwrap();
        assert_eq!(state(&space), now, "rebuilt, order {seed}");
    }
    seen.unwrap()
}

fn may_write(space: &Space, db: &Database) {
    space.grant(Subject::Key(db.author().unwrap()), Permission::Write(Strength(10))).unwrap();
}

fn insert(space: &Space, id: i64) {
    let insert = Insert { id: Some(id.into()), parent: None };
    space.collection("notes").unwrap().insert_with(map(&format!(r#"{{"n": {id}}}"#)), insert).unwrap();
}

#[test]
fn a_transaction_cannot_take_a_part_of_itself_back() {
    let ann = database(1, &Hand::new());
    let (space, mut pen, grant) = team(&ann);
    let one = pen.write(None, &[grant], true, body(1, &[]));
    let two = pen.write(Some(&one), &[], false, body(2, &[one.id()]));
    let (digest, _) = agree(&space, &[vec![&one, &two]]);
    assert_eq!(digest.documents, 2);
}

#[test]
fn two_transactions_that_take_each_other_back_mean_the_same_in_every_order() {
    let ann = database(1, &Hand::new());
    let (space, mut pen, grant) = team(&ann);
    let a = pen.write(None, &[grant], true, body(1, &[]));
    let b = pen.write(None, &[grant], true, body(2, &[]));
    let a_end = pen.write(Some(&a), &[], false, body(3, &[b.id()]));
    let b_end = pen.write(Some(&b), &[], false, body(4, &[a.id()]));
    agree(
        &space,
        &[vec![&a, &a_end, &b, &b_end], vec![&b, &b_end, &a, &a_end], vec![&a, &b, &b_end, &a_end]],
    );
}

#[test]
fn a_long_chain_of_retractions_does_not_exhaust_the_stack() {
    let (ann, bob) = (database(1, &Hand::new()), database(2, &Hand::new()));
    let (space, mut pen, grant) = team(&ann);
    let there = send(&space, &bob);
    let mut chain: Vec<Vouched> = Vec::new();
    for n in 0..1500 {
        let target: Vec<_> = chain.last().iter().map(|commit| commit.id()).collect();
        chain.push(pen.write(None, &[grant], false, body(n, &target)));
    }
    // The last written comes first, so that whatever is judged again leads to one that was not yet.
    import(&bob, &bundle_of(chain.iter().rev()));
    space.revoke(Subject::Key(Pen::author(PEN))).unwrap();
    let revoked = bundle(&space);
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    small.spawn(move || drop(import(&bob, &revoked))).unwrap().join().unwrap();
    assert_eq!(there.digest().unwrap().documents, 0);
}

#[test]
fn a_commit_that_is_void_and_counts_again_in_one_batch_keeps_its_edits() {
    let hand = Hand::new();
    let [ann, bea, mal, bob, cem] = [1, 2, 3, 4, 5].map(|seed| database(seed, &hand));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bea.author().unwrap()), Permission::Admin(Strength(5))).unwrap();
    may_write(&here, &mal);
    let (at_bea, at_mal) = (send(&here, &bea), send(&here, &mal));
    insert(&at_mal, 1);
    let at_bob = send(&at_mal, &bob);
    assert_eq!(documents(&at_bob), 1);
    // Bea has not seen it and cuts it off; Ann has not seen that and removes Bea.
    at_bea.revoke(Subject::Key(mal.author().unwrap())).unwrap();
    here.revoke(Subject::Key(bea.author().unwrap())).unwrap();
    send(&at_bea, &cem);
    let both = send(&here, &cem);
    send(&both, &bob);
    assert_eq!(documents(&at_bob), 1);
    assert_eq!(at_bob.rebuild().unwrap(), at_bob.digest().unwrap());
}

#[test]
fn several_edits_of_a_document_in_one_commit_stay_together_at_a_checkpoint() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    may_write(&here, &bob);
    insert(&here, 1);
    let notes = here.collection("notes").unwrap();
    let push = |n: usize| operators_from_json(&format!(r#"{{"$push": {{"log": {n}}}}}"#)).unwrap();
    for n in 2..64 {
        notes.edit(&1.into(), push(n)).unwrap();
    }
    let mut transaction = ann.transaction();
    transaction.edit(&notes, &1.into(), push(64)).unwrap();
    transaction.edit(&notes, &1.into(), push(65)).unwrap();
    transaction.commit().unwrap();
    let there = send(&here, &bob);
    hand.advance(1);
    there.collection("notes").unwrap().edit(&1.into(), push(66)).unwrap();
    hand.advance(1);
    notes.edit(&1.into(), push(67)).unwrap();
    send(&there, &ann);
    let log = |space: &Space| space.collection("notes").unwrap().get(&1.into()).unwrap().unwrap().fields;
    let folded = log(&here);
    here.rebuild().unwrap();
    assert_eq!(folded, log(&here));
    // Folded a second time, from checkpoints that folding wrote.
    send(&here, &bob);
    assert_eq!(log(&there), folded);
}

#[test]
fn a_deletion_is_remembered_when_what_it_deleted_turns_out_void() {
    let hand = Hand::new();
    let [ann, mal, bob, cem, dan, eve] = [1, 2, 3, 4, 5, 6].map(|seed| database(seed, &hand));
    let here = ann.create_space("team").unwrap();
    for db in [&mal, &bob, &cem] {
        may_write(&here, db);
    }
    let at_mal = send(&here, &mal);
    insert(&at_mal, 7);
    let (at_bob, at_cem) = (send(&at_mal, &bob), send(&at_mal, &cem));
    at_bob.collection("notes").unwrap().delete(&7.into()).unwrap();
    hand.advance(1);
    let set = operators_from_json(r#"{"$set": {"cem": true}}"#).unwrap();
    at_cem.collection("notes").unwrap().edit(&7.into(), set).unwrap();
    here.revoke(Subject::Key(mal.author().unwrap())).unwrap();
    // Only the deletion is left of the document before the edit comes, or all comes at once.
    let late = send(&at_bob, &dan);
    send(&here, &dan);
    assert_eq!(documents(&late), 0);
    send(&at_cem, &dan);
    let last = send(&at_bob, &eve);
    send(&at_cem, &eve);
    send(&here, &eve);
    assert_eq!(documents(&last), 0);
    assert_eq!(late.digest().unwrap().view, last.digest().unwrap().view);
    assert_eq!(late.rebuild().unwrap(), late.digest().unwrap());
    let all = late.collection("notes").unwrap().find(Filter::parse("{}").unwrap()).include_deleted();
    assert_eq!(all.run().unwrap().len(), 1);
}

#[test]
fn a_refused_write_does_not_stop_the_database() {
    let (fast, hand) = (Hand::new(), Hand::new());
    let (ann, bob) = (database(1, &fast), database(2, &hand));
    let theirs = ann.create_space("team").unwrap();
    theirs.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
    fast.advance(3_600_000);
    insert(&theirs, 1);
    let readable = send(&theirs, &bob);
    let (own, other) = (bob.create_space("own").unwrap(), bob.create_space("other").unwrap());
    // Something became due meanwhile, which the refused call notices first.
    hand.advance(3_600_000);
    let refused = readable.collection("notes").unwrap().insert(map("{}"));
    assert!(matches!(refused, Err(Error::NotPermitted(_))), "{refused:?}");
    insert(&own, 1);

    // Whichever space is written first, an edit that is too large for the other leaves both alone.
    for (small, large) in [(&own, &other), (&other, &own)] {
        let mut transaction = bob.transaction();
        transaction.insert(&small.collection("notes").unwrap(), map("{}")).unwrap();
        let text = format!(r#"{{"text": "{}"}}"#, "x".repeat(2 * 1024 * 1024));
        transaction.insert(&large.collection("notes").unwrap(), map(&text)).unwrap();
        let refused = transaction.commit();
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    assert_eq!((documents(&own), documents(&other)), (1, 0));
    insert(&other, 1);
}

#[test]
fn rules_from_the_future_are_built_on_when_due_also_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let (fast, hand) = (Hand::new(), Hand::new());
    let ann = database(1, &fast);
    let here = ann.create_space("team").unwrap();
    let open = || {
        let hand = hand.clone();
        Database::builder().seed([2; 32]).clock(move || hand.now()).open(home.path().join("db")).unwrap()
    };
    let bob = open();
    send(&here, &bob);
    fast.advance(3_600_000);
    may_write(&here, &bob);
    send(&here, &bob);
    assert_eq!(bob.status().unwrap().spaces[0].held.len(), 1);
    drop(bob);
    let bob = open();
    assert_eq!(bob.status().unwrap().spaces[0].held.len(), 1);
    let there = bob.space("team").unwrap();
    let notes = there.collection("notes").unwrap();
    assert!(matches!(notes.insert(map("{}")), Err(Error::NotPermitted(_))));
    hand.advance(3_600_000);
    notes.insert(map("{}")).unwrap();
    assert!(bob.status().unwrap().spaces[0].held.is_empty());
}

#[test]
fn a_commit_that_is_void_and_from_the_future_leaves_the_heads_in_order() {
    let home = tempfile::tempdir().unwrap();
    let (fast, hand) = (Hand::new(), Hand::new());
    let (ann, mal) = (database(1, &hand), database(3, &fast));
    let here = ann.create_space("team").unwrap();
    may_write(&here, &mal);
    let open = || {
        let hand = hand.clone();
        Database::builder().seed([2; 32]).clock(move || hand.now()).open(home.path().join("db")).unwrap()
    };
    let bob = open();
    may_write(&here, &bob);
    let at_mal = send(&here, &mal);
    here.revoke(Subject::Key(mal.author().unwrap())).unwrap();
    fast.advance(3_600_000);
    insert(&at_mal, 1);
    send(&here, &bob);
    send(&at_mal, &bob);
    drop(bob);
    let bob = open();
    hand.advance(3_600_000);
    let there = bob.space("team").unwrap();
    insert(&there, 2);
    insert(&there, 3);
    // The first has joined everything that is due; the second stands on the first alone.
    assert_eq!(there.digest().unwrap().heads.len(), 1);
    assert_eq!(there.log(LogQuery { limit: Some(1), ..LogQuery::default() }).unwrap()[0].parents.len(), 1);
}

#[test]
fn a_child_that_comes_when_its_held_parent_is_due_is_the_only_head() {
    let (fast, hand) = (Hand::new(), Hand::new());
    let (ann, bob) = (database(1, &fast), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    may_write(&here, &bob);
    fast.advance(3_600_000);
    insert(&here, 1);
    let there = send(&here, &bob);
    insert(&here, 2);
    let child = bundle(&here);
    hand.advance(3_600_000);
    import(&bob, &child);
    assert_eq!(documents(&there), 2);
    insert(&there, 3);
    assert_eq!(there.log(LogQuery { limit: Some(1), ..LogQuery::default() }).unwrap()[0].parents.len(), 1);
}

#[test]
fn a_clock_that_is_set_back_stops_nobody_and_forks_nothing() {
    let hand = Hand::new();
    let db = database(1, &hand);
    let space = db.create_space("home").unwrap();
    hand.advance(86_400_000);
    insert(&space, 1);
    hand.set_back(86_400_000);
    insert(&space, 2);
    insert(&space, 3);
    assert_eq!(documents(&space), 3);
    let status = db.status().unwrap();
    assert!(status.spaces[0].forked.is_empty() && status.spaces[0].held.is_empty());
    assert_eq!(space.rebuild().unwrap().documents, 3);
    let founded = db.create_space("another").unwrap();
    insert(&founded, 1);
    assert_eq!(documents(&founded), 1);
}

#[test]
fn a_copied_device_goes_on_from_what_it_wrote_last_and_forks_once() {
    let (fast, hand) = (Hand::new(), Hand::new());
    // One key on two machines.
    let (original, copy) = (database(1, &fast), database(1, &hand));
    let here = original.create_space("home").unwrap();
    let there = send(&here, &copy);
    fast.advance(3_600_000);
    for id in 0..3 {
        insert(&here, id);
    }
    send(&here, &copy);
    insert(&there, 10);
    insert(&there, 11);
    let log = there.log(LogQuery { limit: Some(2), ..LogQuery::default() }).unwrap();
    assert_eq!(log[0].seq, log[1].seq + 1);
}

#[test]
fn a_copied_device_does_not_finish_a_transaction_of_which_only_a_part_came() {
    let hand = Hand::new();
    let (original, copy) = (database(1, &hand), database(1, &hand));
    let here = original.create_space("home").unwrap();
    let there = send(&here, &copy);
    let notes = here.collection("notes").unwrap();
    let mut transaction = original.transaction();
    for id in 0..2 {
        let large = map(&format!(r#"{{"a": "{}"}}"#, "x".repeat(600_000)));
        transaction.insert_with(&notes, large, Insert { id: Some(id.into()), parent: None }).unwrap();
    }
    transaction.commit().unwrap();
    let mut part = bundle(&here);
    part.truncate(part.len() - 1000);
    import(&copy, &part);
    assert_eq!(copy.status().unwrap().spaces[0].counts.wanted, 1);

    there.grant(Subject::Anyone, Permission::Read).unwrap();
    insert(&there, 10);
    assert_eq!(documents(&there), 1);
    send(&here, &copy);
    send(&there, &original);
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
    assert_eq!(documents(&here), 3);
}

#[test]
fn a_rebuild_does_not_complete_a_transaction_whose_end_is_void() {
    let (ann, bob) = (database(1, &Hand::new()), database(2, &Hand::new()));
    let (space, mut pen, grant) = team(&ann);
    let one = pen.write(None, &[grant], true, body(1, &[]));
    let two = pen.write(Some(&one), &[], true, body(2, &[]));
    let three = pen.write(Some(&two), &[], false, body(3, &[]));
    import(&ann, &bundle_of([&one, &two]));
    space.revoke(Subject::Key(Pen::author(PEN))).unwrap();
    let there = send(&space, &bob);
    import(&bob, &bundle_of([&three]));
    let before = (there.digest().unwrap(), bob.status().unwrap().spaces[0].counts);
    assert_eq!(before.0.documents, 0);
    there.rebuild().unwrap();
    assert_eq!((there.digest().unwrap(), bob.status().unwrap().spaces[0].counts), before);
}

#[test]
fn a_retraction_may_come_before_what_it_takes_back() {
    let ann = database(1, &Hand::new());
    let (space, mut pen, grant) = team(&ann);
    let target = pen.write(None, &[grant], false, body(1, &[]));
    let by = pen.write(None, &[grant], false, body(2, &[target.id()]));
    let (digest, counts) = agree(&space, &[vec![&by, &target], vec![&target, &by]]);
    assert_eq!((digest.documents, counts.void), (1, 1));
}

#[test]
fn a_body_that_comes_late_decides_whether_its_commit_can_be_taken_back() {
    let (ann, bob, cem) = (database(1, &Hand::new()), database(2, &Hand::new()), database(3, &Hand::new()));
    let (space, mut pen, grant) = team(&ann);
    let first = pen.write(None, &[grant], false, body(1, &[]));
    // A commit that takes another back cannot be taken back itself.
    let second = pen.write(None, &[grant], false, body(2, &[first.id()]));
    let third = pen.write(None, &[grant], false, body(3, &[second.id()]));
    let (at_bob, at_cem) = (send(&space, &bob), send(&space, &cem));
    import(&bob, &bundle_of([&first, &second, &third]));
    import(&cem, &bundle_of([&first, &third]));
    import(&cem, &bundle_of_received([without_body(&second)]));
    import(&cem, &bundle_of([&second]));
    assert_eq!(at_bob.digest().unwrap().documents, 2);
    assert_eq!(at_cem.digest().unwrap().view, at_bob.digest().unwrap().view);
}

#[test]
fn a_sealed_body_has_no_effect() {
    let ann = database(1, &Hand::new());
    let (space, mut pen, grant) = team(&ann);
    pen.encoding = BodyEncoding::Sealed;
    let sealed = pen.write(None, &[grant], false, body(1, &[]));
    assert_eq!(agree(&space, &[vec![&sealed]]).0.documents, 0);
}

#[test]
fn a_space_that_is_named_like_the_id_of_another_does_not_hide_it() {
    let (ann, eve) = (database(1, &Hand::new()), database(2, &Hand::new()));
    let home = ann.create_space("home").unwrap();
    let decoy = eve.create_space(&home.id().to_string()).unwrap();
    import(&ann, &bundle(&decoy));
    assert_eq!(ann.space(&home.id().to_string()).unwrap().id(), home.id());
}

#[test]
fn who_caused_a_change_stays_known_until_it_is_told() {
    let hand = Hand::new();
    let there = database(1, &hand);
    let theirs = there.create_space("team").unwrap();
    insert(&theirs, 1);
    let now = hand.clone();
    let db = Database::builder()
        .seed([2; 32])
        .clock(move || now.now())
        .durability(Durability::Batched(std::time::Duration::from_secs(3600)))
        .memory()
        .unwrap();
    may_write(&theirs, &db);
    let here = send(&theirs, &db);
    hand.advance(1);
    let set = operators_from_json(r#"{"$set": {"theirs": true}}"#).unwrap();
    theirs.collection("notes").unwrap().edit(&1.into(), set).unwrap();
    let late = bundle(&theirs);
    hand.advance(1);
    let set = operators_from_json(r#"{"$set": {"ours": true}}"#).unwrap();
    here.collection("notes").unwrap().edit(&1.into(), set).unwrap();
    db.flush().unwrap();
    let changes = db.changes();
    import(&db, &late);
    insert(&here, 2);
    db.flush().unwrap();
    let Some(driftless::Event::Change(change)) = changes.wait_for(std::time::Duration::from_secs(10)) else {
        panic!("a change is told");
    };
    let source = |id: i64| change.documents.iter().find(|change| change.id == id.into()).unwrap().source;
    assert_eq!((source(1), source(2)), (driftless::Source::Bundle, driftless::Source::Local));
}

#[test]
fn a_commit_whose_voucher_was_refused_still_proves_itself_to_everybody() {
    let hand = Hand::new();
    let ann = database(1, &hand);
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(Pen::author(9)), Permission::Write(Strength(10))).unwrap();
    let head = here.digest().unwrap().heads[0];
    let mut mallory = Pen::new(9, here.id());
    hand.advance(5000);
    // The second commit vouches for the first, and cannot be admitted itself: its other parent exists nowhere.
    let first = mallory.write(None, &[head], false, body(1, &[]));
    let second = mallory.write(Some(&first), &[driftless::CommitId([1; 32])], false, body(2, &[]));
    let unsigned = driftless_core::commit::Received { signature: None, ..first.to_received() };
    import(&ann, &bundle_of_received([unsigned, second.to_received()]));
    assert_eq!(here.digest().unwrap().documents, 1);

    // Ann builds on it, and everybody she gives it to can give it on.
    here.collection("notes").unwrap().insert(map(r#"{"by": "ann"}"#)).unwrap();
    let (bob, cem) = (database(2, &hand), database(3, &hand));
    let at_bob = send(&here, &bob);
    let at_cem = send(&at_bob, &cem);
    for space in [&at_bob, &at_cem] {
        assert_eq!(space.digest().unwrap(), here.digest().unwrap());
        assert_eq!(space.digest().unwrap().documents, 2);
    }
}
