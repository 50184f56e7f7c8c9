//! What arrives before what it belongs to, what nobody understands, and what nobody signed.

use driftless::{DocumentId, Insert, Map, Permission, Schema, Strength, Subject, operators_from_json};
use driftless_core::commit::Received;
use driftless_core::sign::Signature;

use crate::pen::{Pen, body, bundle_of};
use crate::world::{START, World, all_same, edit, get, insert, map, name, seen, shared, shown};

/// The edit of a document arrives before the commit that creates it, a child before its parent, and a commit before the
/// one it follows: nothing waits for ever, and nothing is another for it.
pub(super) async fn an_edit_comes_before_the_create_and_a_child_before_its_parent(world: &World) {
    let (ann, bob, hub) = (world.device(1).await, world.device(2).await, world.device(3).await);
    let space = shared(&[&ann, &bob, &hub]).await;
    let grant =
        ann.space(space).grant(Subject::Key(Pen::author(66)), Permission::Write(Strength(20))).unwrap();
    for other in [&bob, &hub] {
        other.meet(&ann, space).await;
    }
    insert(&ann.notes(space), "made", r#"{"title": "first", "n": 1}"#).unwrap();
    insert(&ann.notes(space), "parent", r#"{"title": "parent"}"#).unwrap();
    // Whoever writes this knows of neither.
    let mut pen = Pen::new(66, space, &[grant], START + 500);
    let set = operators_from_json(r#"{"$set": {"title": "edited"}}"#).unwrap();
    let later = [pen.write(body("made", set)), pen.write(body("other", vec![]))];
    bob.db
        .import(&mut bundle_of(later.iter().map(|commit| commit.to_received())).as_slice(), &mut |_| {})
        .unwrap();
    let child = Insert { id: Some(name("child")), parent: Some(name("parent")) };
    bob.notes(space).insert_with(map(r#"{"title": "child"}"#), child).unwrap();
    assert_eq!(shown(&bob.notes(space), "made"), r#"{"title":"edited"}"#);

    // The hub hears of the second commit of a chain alone: it is refused by name, and comes again in its turn.
    let alone = hub.db.import(&mut bundle_of([later[1].to_received()]).as_slice(), &mut |_| {}).unwrap();
    assert_eq!((alone.refused, alone.applied), (1, 0));
    assert_eq!(hub.db.status().unwrap().refused[0].code, "missing_parent");
    hub.meet(&bob, space).await;
    let orphan = get(&hub.notes(space), "child").unwrap();
    assert_eq!(orphan.parent, Some(name("parent")));
    hub.meet(&ann, space).await;
    assert_eq!(shown(&hub.notes(space), "made"), r#"{"n":1,"title":"edited"}"#);
    for other in [&ann, &bob] {
        other.meet(&hub, space).await;
    }
    assert_eq!(seen(&ann.notes(space)).len(), 3);
    all_same(&[&ann, &bob, &hub], space);
}

/// Among a thousand commits one cannot be decoded, one breaks the schema of a receiver, and two are forged: all thousand
/// are admitted, the first has no effect, the second is folded and marked, the forged ones are refused and hold nothing up.
pub(super) async fn a_thousand_commits_with_poison_in_the_middle(world: &World) {
    let (ann, bob) = (world.device(1).await, world.device(2).await);
    let space = shared(&[&ann, &bob]).await;
    let grant =
        ann.space(space).grant(Subject::Key(Pen::author(66)), Permission::Write(Strength(20))).unwrap();
    bob.meet(&ann, space).await;
    let schema = Schema::json(r#"{"properties": {"n": {"type": "integer"}}}"#).unwrap();
    assert_eq!(bob.notes(space).set_schema(&schema).unwrap(), 0);

    let mut pen = Pen::new(66, space, &[grant], START);
    let insert = |n: usize, fields: &str| {
        body(&format!("n{n}"), vec![driftless::Operator::Insert { fields: map(fields), parent: None }])
    };
    let commits: Vec<_> = (0..1000)
        .map(|n| {
            pen.write(match n {
                500 => b"this is no body at all".to_vec(),
                501 => insert(n, r#"{"n": "five hundred and one"}"#),
                _ => insert(n, &format!(r#"{{"n": {n}}}"#)),
            })
        })
        .collect();
    let mut sent: Vec<Received> = commits.iter().map(|commit| commit.to_received()).collect();
    // In the place of the 600th somebody puts another body, and then another commit under a signature that nobody made.
    let mut changed = sent[600].clone();
    changed.body = Some(insert(1000, r#"{"n": 0}"#));
    let mut forged = Pen::new(67, space, &[grant], START).write(insert(1001, r#"{"n": 0}"#)).to_received();
    forged.signature = Some(Signature([3; 64]));
    sent.splice(600..600, [forged.clone()]);
    let imported = ann.db.import(&mut bundle_of(sent).as_slice(), &mut |_| {}).unwrap();
    assert_eq!((imported.applied, imported.refused), (1000, 1));

    let synced = bob.meet(&ann, space).await;
    assert_eq!((synced.moved.received, synced.moved.applied, synced.moved.refused), (1000, 1000, 0));
    // What was forged comes to bob from somebody else, after the fact and on its own.
    let late = bob.db.import(&mut bundle_of([changed, forged]).as_slice(), &mut |_| {}).unwrap();
    assert_eq!((late.applied, late.wanted), (0, 0));
    for device in [&ann, &bob] {
        let digest = device.space(space).digest().unwrap();
        assert_eq!((digest.commits, digest.documents), (1000 + 3, 999));
        let status = device.db.status().unwrap();
        let named =
            status.refused.iter().any(|line| line.code == "bad_signature" || line.code == "not_permitted");
        assert!(named, "{:?}", status.refused);
        assert!(get(&device.notes(space), "n500").is_none());
        assert_eq!(shown(&device.notes(space), "n501"), r#"{"n":"five hundred and one"}"#);
        assert_eq!(shown(&device.notes(space), "n999"), r#"{"n":999}"#);
    }
    let marked = bob.notes(space).marked(10).unwrap();
    assert_eq!(marked.len(), 1);
    assert_eq!((marked[0].document.id.clone(), marked[0].errors[0].path.as_str()), (name("n501"), "n"));
    assert_eq!(bob.db.status().unwrap().spaces[0].schemas[0].marked, 1);
    all_same(&[&ann, &bob], space);
    // Nothing is stalled: both go on.
    edit(&ann.notes(space), "n999", r#"{"$set": {"n": 1}}"#).unwrap();
    assert_eq!(bob.meet(&ann, space).await.moved.received, 1);
    assert_eq!(bob.pull(&ann, space).await.moved.applied, 0);
}

/// A hub with schemas of its own has never heard of a collection, nor of an operator: both go through it unchanged.
pub(super) async fn a_hub_sends_on_what_it_has_never_heard_of(world: &World) {
    let (ann, hub, bob) = (world.device(1).await, world.device(2).await, world.device(3).await);
    let space = shared(&[&ann, &hub, &bob]).await;
    let nothing = Schema::json("false").unwrap();
    hub.notes(space).set_schema(&nothing).unwrap();
    let known = hub.space(space).collections().unwrap();
    assert_eq!(known, ["notes"]);
    let widgets = ann.space(space).collection("widgets").unwrap();
    let fields: Map = map(r#"{"shape": {"$bytes": "AAEC"}, "size": {"$f64": "inf"}, "parts": [{"n": 1}]}"#);
    let id = DocumentId::from(7);
    widgets.insert_with(fields.clone(), Insert { id: Some(id.clone()), parent: None }).unwrap();
    insert(&ann.notes(space), "n", r#"{"title": "also this"}"#).unwrap();
    let unknown = driftless::Operator::Unknown(vec![0x82, 0x18, 0x63, 0x01]);
    let grant =
        ann.space(space).grant(Subject::Key(Pen::author(66)), Permission::Write(Strength(20))).unwrap();
    let later = Pen::new(66, space, &[grant], START + 1000).write(body("n", vec![unknown]));
    ann.db.import(&mut bundle_of([later.to_received()]).as_slice(), &mut |_| {}).unwrap();

    hub.meet(&ann, space).await;
    bob.meet(&hub, space).await;
    let there = bob.space(space).collection("widgets").unwrap();
    assert_eq!(there.get(&id).unwrap().unwrap().fields, fields);
    assert_eq!(shown(&bob.notes(space), "n"), r#"{"title":"also this"}"#);
    assert_eq!(hub.notes(space).marked(10).unwrap().len(), 1);
    all_same(&[&ann, &hub, &bob], space);
}
