//! Edits that know nothing of each other: titles, ties, counters, lists, deletions.

use driftless::{LogQuery, Timestamp};

use crate::world::{START, World, all_same, edit, insert, seen, shared, shown};

/// At 100 ms one sets the title, at 101 ms the other: the later one stands, whoever hears of which first.
pub(super) async fn two_titles_end_the_same_in_both_orders(world: &World) {
    let (ann, bob) = (world.device(1).await, world.device(2).await);
    let (cem, dan) = (world.device(3).await, world.device(4).await);
    let space = shared(&[&ann, &bob, &cem, &dan]).await;
    insert(&ann.notes(space), "n", r#"{"title": "first"}"#).unwrap();
    for other in [&bob, &cem, &dan] {
        other.meet(&ann, space).await;
    }
    ann.set_clock(100);
    bob.set_clock(101);
    edit(&ann.notes(space), "n", r#"{"$set": {"title": "of ann", "a": 1}}"#).unwrap();
    edit(&bob.notes(space), "n", r#"{"$set": {"title": "of bob", "b": 1}}"#).unwrap();
    for (device, order) in [(&cem, [&ann, &bob]), (&dan, [&bob, &ann])] {
        for from in order {
            device.meet(from, space).await;
        }
        assert_eq!(shown(&device.notes(space), "n"), r#"{"a":1,"b":1,"title":"of bob"}"#);
    }
    ann.meet(&bob, space).await;
    all_same(&[&ann, &bob, &cem, &dan], space);
}

/// The same time to the last bit: the commit with the larger id is the later one, everywhere.
pub(super) async fn a_tie_is_decided_by_the_commits_ids(world: &World) {
    let (ann, bob) = (world.device(1).await, world.device(2).await);
    let (cem, dan) = (world.device(3).await, world.device(4).await);
    let space = shared(&[&ann, &bob, &cem, &dan]).await;
    insert(&ann.notes(space), "n", "{}").unwrap();
    for other in [&bob, &cem, &dan] {
        other.meet(&ann, space).await;
    }
    let mut last = Vec::new();
    for (device, title) in [(&ann, "of ann"), (&bob, "of bob")] {
        device.set_clock(100);
        edit(&device.notes(space), "n", &format!(r#"{{"$set": {{"title": "{title}"}}}}"#)).unwrap();
        let line = device.space(space).log(LogQuery::default()).unwrap().remove(0);
        assert_eq!(line.time, Timestamp::from_ms(START + 100));
        last.push((line.commit, title));
    }
    let (_, winner) = last.into_iter().max().unwrap();
    for (device, order) in [(&cem, [&ann, &bob]), (&dan, [&bob, &ann])] {
        for from in order {
            device.meet(from, space).await;
        }
        assert_eq!(shown(&device.notes(space), "n"), format!(r#"{{"title":"{winner}"}}"#));
    }
    ann.meet(&bob, space).await;
    all_same(&[&ann, &bob, &cem, &dan], space);
}

/// Three count on their own: nothing is lost and nothing counted twice, however often they meet.
pub(super) async fn three_count_at_once(world: &World) {
    let devices = [world.device(1).await, world.device(2).await, world.device(3).await];
    let [ann, bob, cem] = &devices;
    let space = shared(&[ann, bob, cem]).await;
    insert(&ann.notes(space), "n", r#"{"count": 10}"#).unwrap();
    bob.meet(ann, space).await;
    cem.meet(bob, space).await;
    for round in 0..3 {
        for (at, device) in devices.iter().enumerate() {
            device.set_clock(1000 * round + 10 * at as i64);
            for by in 1..=at + 1 {
                edit(&device.notes(space), "n", &format!(r#"{{"$inc": {{"count": {by}}}}}"#)).unwrap();
            }
        }
        for (one, other) in [(ann, bob), (bob, cem), (cem, ann), (cem, bob)] {
            one.meet(other, space).await;
        }
        let expected = 10 + (round + 1) * (1 + 3 + 6);
        for device in &devices {
            assert_eq!(shown(&device.notes(space), "n"), format!(r#"{{"count":{expected}}}"#));
        }
    }
    all_same(&[ann, bob, cem], space);
}

/// A pull takes what was there by its time; what another pushes later stays, also an equal value.
pub(super) async fn one_pulls_what_another_pushes(world: &World) {
    let (ann, bob) = (world.device(1).await, world.device(2).await);
    let space = shared(&[&ann, &bob]).await;
    let one = r#"{"hash": "x", "size": 1}"#;
    let two = r#"{"hash": "y", "size": 2}"#;
    insert(&ann.notes(space), "n", &format!(r#"{{"album": {{"photos": [{one}, {two}, {one}]}}}}"#)).unwrap();
    bob.meet(&ann, space).await;
    // Earlier, and so within the reach of the pull.
    bob.set_clock(50);
    edit(&bob.notes(space), "n", &format!(r#"{{"$push": {{"album.photos": {one}}}}}"#)).unwrap();
    ann.set_clock(100);
    edit(&ann.notes(space), "n", &format!(r#"{{"$pull": {{"album.photos": {one}}}}}"#)).unwrap();
    bob.set_clock(150);
    let three = r#"{"hash": "z", "size": 3}"#;
    let push = format!(r#"{{"$push": {{"album.photos": {{"$each": [{three}, {one}]}}}}}}"#);
    edit(&bob.notes(space), "n", &push).unwrap();
    ann.meet(&bob, space).await;
    let compact = |text: &str| text.replace(' ', "");
    let expected =
        format!(r#"{{"album":{{"photos":[{},{},{}]}}}}"#, compact(two), compact(three), compact(one));
    for device in [&ann, &bob] {
        assert_eq!(shown(&device.notes(space), "n"), expected);
    }
    all_same(&[&ann, &bob], space);
}

/// One deletes, another who does not know of it goes on: it stays deleted, until somebody restores it, with all of it.
pub(super) async fn a_deletion_wins_over_what_is_set_later(world: &World) {
    let (ann, bob) = (world.device(1).await, world.device(2).await);
    let space = shared(&[&ann, &bob]).await;
    insert(&ann.notes(space), "n", r#"{"title": "first"}"#).unwrap();
    bob.meet(&ann, space).await;
    ann.set_clock(100);
    ann.notes(space).delete(&crate::world::name("n")).unwrap();
    bob.set_clock(200);
    edit(&bob.notes(space), "n", r#"{"$set": {"title": "later"}}"#).unwrap();
    bob.meet(&ann, space).await;
    for device in [&ann, &bob] {
        assert!(seen(&device.notes(space)).is_empty());
    }
    all_same(&[&ann, &bob], space);
    ann.set_clock(300);
    ann.notes(space).restore(&crate::world::name("n")).unwrap();
    bob.meet(&ann, space).await;
    for device in [&ann, &bob] {
        assert_eq!(shown(&device.notes(space), "n"), r#"{"title":"later"}"#);
    }
    all_same(&[&ann, &bob], space);
}
