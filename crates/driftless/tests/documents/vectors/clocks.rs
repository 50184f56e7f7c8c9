//! Clocks that are wrong: they delay what their owner writes, and nothing of anybody else.

use crate::world::{World, all_same, edit, insert, seen, shared, shown};

const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;

pub(super) async fn clocks_are_an_hour_ahead_an_hour_behind_and_ten_years_ahead(world: &World) {
    let (ann, bob) = (world.device(1).await, world.device(2).await);
    let (fast, slow, far) = (world.device(3).await, world.device(4).await, world.device(5).await);
    let space = shared(&[&ann, &bob, &fast, &slow, &far]).await;
    let held = |of: &crate::world::Device| of.db.status().unwrap().spaces[0].counts.held;

    // Behind: what it has seen is before what it writes, whatever its clock says.
    insert(&ann.notes(space), "n", r#"{"title": "first"}"#).unwrap();
    slow.meet(&ann, space).await;
    slow.set_clock(-HOUR);
    edit(&slow.notes(space), "n", r#"{"$set": {"title": "of slow"}}"#).unwrap();
    ann.meet(&slow, space).await;
    assert_eq!(shown(&ann.notes(space), "n"), r#"{"title":"of slow"}"#);
    assert_eq!((held(&ann), held(&slow)), (0, 0));

    // An hour ahead: held by all others until it is due, and passed on.
    fast.set_clock(HOUR);
    fast.meet(&ann, space).await;
    insert(&fast.notes(space), "fast", r#"{"title": "early"}"#).unwrap();
    let synced = ann.meet(&fast, space).await;
    assert_eq!((synced.moved.held, synced.moved.refused), (1, 0));
    let synced = bob.meet(&ann, space).await;
    assert_eq!((synced.moved.held, held(&bob)), (1, 1));
    assert_eq!(seen(&bob.notes(space)).len(), 1);
    // Nothing of it keeps the others from writing.
    ann.set_clock(MINUTE);
    insert(&ann.notes(space), "ann", "{}").unwrap();
    bob.meet(&ann, space).await;
    assert_eq!(seen(&bob.notes(space)).len(), 2);
    for device in [&ann, &bob, &slow] {
        device.set_clock(51 * MINUTE);
        device.db.release_due().unwrap();
    }
    assert_eq!(shown(&bob.notes(space), "fast"), r#"{"title":"early"}"#);
    assert_eq!((held(&ann), held(&bob)), (0, 0));
    fast.set_clock(51 * MINUTE);
    for other in [&bob, &fast, &slow] {
        other.meet(&ann, space).await;
    }
    all_same(&[&ann, &bob, &fast, &slow], space);

    // Ten years ahead: told by `status`, in nobody's way; once its clock is right it says the same again.
    far.meet(&ann, space).await;
    far.set_clock(10 * YEAR);
    for n in 0..5 {
        insert(&far.notes(space), &format!("far{n}"), r#"{"title": "2036"}"#).unwrap();
    }
    edit(&far.notes(space), "n", r#"{"$set": {"title": "for ever"}}"#).unwrap();
    let synced = ann.meet(&far, space).await;
    assert_eq!((synced.moved.held, held(&ann)), (6, 6));
    assert_eq!(ann.db.status().unwrap().spaces[0].held.len(), 6);
    edit(&ann.notes(space), "n", r#"{"$set": {"title": "of ann"}}"#).unwrap();
    bob.meet(&ann, space).await;
    assert_eq!(
        (shown(&bob.notes(space), "n"), seen(&bob.notes(space)).len()),
        (r#"{"title":"of ann"}"#.into(), 3)
    );
    far.set_clock(52 * MINUTE);
    assert_eq!(far.db.rewrite_early().unwrap(), 6);
    for (one, other) in [(&far, &ann), (&bob, &ann), (&slow, &ann), (&fast, &ann)] {
        one.set_clock(52 * MINUTE);
        other.set_clock(52 * MINUTE);
        one.meet(other, space).await;
    }
    assert_eq!(seen(&bob.notes(space)).len(), 8);
    for device in [&ann, &bob, &far] {
        // What it took back waits for ten years, and will have no effect then either.
        let status = device.db.status().unwrap().spaces.remove(0);
        assert_eq!((status.counts.held, status.counts.void, status.documents), (6, 0, 8), "{status:?}");
    }
    assert_eq!(bob.meet(&ann, space).await.moved.received, 0);
    all_same(&[&ann, &bob, &fast, &slow, &far], space);
}
