//! `explain`: the step that stands in the way is named, with what to do.

use driftless::{DocumentId, Explanation, Insert, PeerId, Permission, Space, Step, Strength, Subject};

use crate::pen::{Pen, body, bundle_of_received, without_body};
use crate::simulated::{Hand, bundle, database, import, map, send};

fn insert(space: &Space, id: i64) {
    let insert = Insert { id: Some(DocumentId::from(id)), parent: None };
    space.collection("notes").unwrap().insert_with(map("{}"), insert).unwrap();
}

fn explain(space: &Space, id: i64) -> Explanation {
    space.explain("notes", &DocumentId::from(id), None).unwrap()
}

fn failing(told: &Explanation) -> Vec<&Step> {
    told.steps.iter().filter(|step| !step.ok).collect()
}

#[test]
fn what_is_here_is_well_and_what_is_not_says_where_it_ends() {
    let hand = Hand::new();
    let db = database(1, &hand);
    let home = db.create_space("home").unwrap();
    insert(&home, 1);
    let told = explain(&home, 1);
    assert!(told.ok() && told.fix.is_none(), "{told:?}");
    assert_eq!(told.steps.last().unwrap().step, "document");
    let told = explain(&home, 2);
    assert_eq!(failing(&told).iter().map(|step| step.step).collect::<Vec<_>>(), ["commits", "document"]);
    assert!(told.fix.unwrap().contains("driftless sync"));
    let told = home.explain("other", &DocumentId::from(1), None).unwrap();
    assert!(failing(&told).iter().any(|step| step.detail.contains("no collection other")));

    let deleted = home.collection("notes").unwrap().delete(&1.into()).unwrap().commit.unwrap();
    let told = explain(&home, 1);
    let [step] = failing(&told)[..] else { panic!("{told:?}") };
    assert!(
        step.detail.contains(&deleted.to_string()) && step.detail.contains(&db.author().unwrap().to_string())
    );
    assert!(told.fix.unwrap().contains("restore"));
}

#[test]
fn held_void_and_wanted_commits_say_why_and_what_voids_them() {
    let (hand, late) = (Hand::new(), Hand::new());
    let (ann, ben) = (database(1, &hand), database(2, &hand));
    let home = ann.create_space("home").unwrap();
    let subject = Subject::Key(ben.author().unwrap());
    home.grant(subject, Permission::Write(Strength(5))).unwrap();
    let there = send(&home, &ben);
    insert(&there, 1);
    let cut = home.revoke(subject).unwrap();
    send(&there, &ann);
    let told = explain(&home, 1);
    let void = failing(&told)[0];
    assert_eq!(void.step, "commit");
    assert!(void.detail.contains(&cut.to_string()), "{void:?}");
    assert!(told.fix.as_ref().unwrap().contains("grant"));

    hand.advance(3_600_000);
    insert(&home, 2);
    let behind = database(3, &late);
    let told = explain(&send(&home, &behind), 2);
    assert!(failing(&told)[0].detail.contains("held"), "{told:?}");
    assert!(told.fix.as_ref().unwrap().contains("clock"));

    // A commit without its content.
    let author = Pen::author(40);
    let grant = home.grant(Subject::Key(author), Permission::Write(Strength(7))).unwrap();
    import(&ben, &bundle(&home));
    let mut pen = Pen::new(40, home.id());
    pen.advance(3_700_000);
    let commit = pen.write(None, &[grant], false, body(9, &[]));
    hand.advance(200_000);
    import(&ann, &bundle_of_received([without_body(&commit)]));
    let told = explain(&home, 9);
    assert!(failing(&told).iter().any(|step| step.detail.contains(&commit.id().to_string())), "{told:?}");
}

#[test]
fn a_peer_that_was_never_met_is_where_the_chain_ends() {
    let hand = Hand::new();
    let home = database(1, &hand).create_space("home").unwrap();
    insert(&home, 1);
    let told = home.explain("notes", &DocumentId::from(1), Some(&PeerId([7; 32]))).unwrap();
    let [step] = failing(&told)[..] else { panic!("{told:?}") };
    assert_eq!(step.step, "peer");
    assert!(told.fix.unwrap().contains("--peer"));
}
