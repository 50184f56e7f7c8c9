//! Several databases that exchange commits by bundles: convergence, rules, states, damage.

use driftless::{DocumentId, Error, Insert, Permission, Strength, Subject, Value, operators_from_json};

use crate::simulated::{Hand, bundle, database, field, filter, import, map, send};

fn write(strength: u32) -> Permission {
    Permission::Write(Strength(strength))
}

#[test]
fn two_databases_edited_apart_meet_and_are_equal_and_so_is_a_third() {
    let hand = Hand::new();
    let (ann, bob, cem) = (database(1, &hand), database(2, &hand), database(3, &hand));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), write(10)).unwrap();
    let items = here.collection("items").unwrap();
    let ids: Vec<DocumentId> = (0..20).map(DocumentId::from).collect();
    for id in &ids {
        items
            .insert_with(map(r#"{"n": 0, "title": "new"}"#), Insert { id: Some(id.clone()), parent: None })
            .unwrap();
    }
    let there = send(&here, &bob);
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());

    let others = there.collection("items").unwrap();
    for n in 0..100_usize {
        hand.advance(1);
        let id = &ids[n % ids.len()];
        let set = |who: &str| {
            let text = format!(
                r#"{{"$set": {{"title": "{who} {n}"}}, "$inc": {{"n": 1}}, "$push": {{"log": "{who}"}}}}"#
            );
            operators_from_json(&text).unwrap()
        };
        items.edit(id, set("ann")).unwrap();
        others.edit(id, set("bob")).unwrap();
    }
    let (from_ann, from_bob) = (bundle(&here), bundle(&there));
    let done = import(&bob, &from_ann);
    assert_eq!((done.applied, done.refused), (100, 0));
    import(&ann, &from_bob);
    let digest = here.digest().unwrap();
    assert_eq!(digest, there.digest().unwrap());
    // Every counter saw every increment, on both.
    assert_eq!(field(&here, "items", &ids[0], "n"), Some(Value::I64(10)));

    for bundles in [[&from_ann, &from_bob], [&from_bob, &from_ann]] {
        let other = database(4, &hand);
        for bytes in bundles {
            import(&other, bytes);
        }
        assert_eq!(other.space("team").unwrap().digest().unwrap(), digest);
    }
    // Taking a bundle twice changes nothing.
    assert_eq!(import(&ann, &from_bob).known, 100 + 22);
    assert_eq!(here.digest().unwrap(), digest);
    drop(cem);
}

#[test]
fn who_may_not_write_is_refused_here_and_there() {
    let hand = Hand::new();
    let (ann, eve) = (database(1, &hand), database(2, &hand));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(eve.author().unwrap()), Permission::Read).unwrap();
    let there = send(&here, &eve);
    let refused = there.collection("notes").unwrap().insert(map("{}"));
    assert!(matches!(refused, Err(Error::NotPermitted(_))), "{refused:?}");
    assert!(matches!(there.grant(Subject::Anyone, write(5)), Err(Error::NotPermitted(_))));
    assert_eq!(there.digest().unwrap().commits, 2);
}

#[test]
fn what_a_revoked_member_wrote_afterwards_is_void_and_what_was_seen_stays() {
    let hand = Hand::new();
    let (ann, mal, bob) = (database(1, &hand), database(2, &hand), database(3, &hand));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(mal.author().unwrap()), write(10)).unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), write(10)).unwrap();
    let at_mal = send(&here, &mal);
    let add = |space: &driftless::Space, id: i64| {
        hand.advance(1);
        let insert = Insert { id: Some(id.into()), parent: None };
        space.collection("notes").unwrap().insert_with(map(&format!(r#"{{"n": {id}}}"#)), insert).unwrap();
    };
    (0..5).for_each(|id| add(&at_mal, id));
    send(&at_mal, &ann);
    (5..15).for_each(|id| add(&at_mal, id));
    here.revoke(Subject::Key(mal.author().unwrap())).unwrap();

    // Bob meets Mal first, edits on top of what will be void, and then hears of the revocation.
    let at_bob = send(&at_mal, &bob);
    assert_eq!(at_bob.digest().unwrap().documents, 15);
    let notes = at_bob.collection("notes").unwrap();
    notes.edit(&7.into(), operators_from_json(r#"{"$set": {"bob": true}}"#).unwrap()).unwrap();
    send(&here, &bob);
    send(&at_bob, &ann);
    let digest = here.digest().unwrap();
    assert_eq!(digest, at_bob.digest().unwrap());
    // Five that were seen, and the one that Bob's edit makes; Mal's part of it is gone.
    assert_eq!(digest.documents, 6);
    assert_eq!(notes.get(&7.into()).unwrap().unwrap().fields, map(r#"{"bob": true}"#));
    assert_eq!(ann.status().unwrap().spaces[0].counts.void, 10);
    // In the other order, too.
    let late = database(4, &hand);
    send(&here, &late);
    assert_eq!(late.space("team").unwrap().digest().unwrap().view, digest.view);
    for space in [&here, &at_bob] {
        assert_eq!(space.rebuild().unwrap(), digest);
    }
}

#[test]
fn a_commit_from_the_future_waits_until_it_is_due() {
    let hand = Hand::new();
    let (ann, bob) = (database(1, &hand), Hand::new());
    let (fast, bob) = (bob.clone(), database(2, &bob));
    let here = ann.create_space("team").unwrap();
    here.grant(Subject::Key(bob.author().unwrap()), write(10)).unwrap();
    let there = send(&here, &bob);
    // Bob's clock is an hour ahead.
    fast.advance(3_600_000);
    there.collection("notes").unwrap().insert(map(r#"{"by": "bob"}"#)).unwrap();
    let done = import(&ann, &bundle(&there));
    assert_eq!((done.held, done.applied), (1, 0));
    assert_eq!(here.digest().unwrap().heads, there.digest().unwrap().heads);
    assert_eq!(here.digest().unwrap().documents, 0);
    // What Ann writes meanwhile does not build on it, and her clock does not follow it.
    here.collection("notes").unwrap().insert(map(r#"{"by": "ann"}"#)).unwrap();
    assert_eq!(ann.status().unwrap().spaces[0].held.len(), 1);
    hand.advance(3_600_000);
    assert_eq!(here.digest().unwrap().documents, 2);
    assert_eq!(here.collection("notes").unwrap().count(filter(r#"{"by": "bob"}"#)).unwrap(), 1);
    send(&here, &bob);
    assert_eq!(here.digest().unwrap(), there.digest().unwrap());
}
