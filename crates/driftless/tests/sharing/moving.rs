//! What moving a document does: to it, to what is under it, to edits that did not know of it; the same everywhere.

use driftless::{
    Collection, DocumentId, Insert, Operator, SharePolicy, Sharing, SpaceId, operators_from_json,
};

use super::*;

fn id(text: &str) -> DocumentId {
    DocumentId::string(text).unwrap()
}

fn insert(to: &Collection, name: &str, parent: Option<&str>) {
    let fields = Map::from_json(&format!(r#"{{"name": "{name}", "n": 0}}"#)).unwrap();
    to.insert_with(fields, Insert { id: Some(id(name)), parent: parent.map(id) }).unwrap();
}

fn raise(of: &Collection, name: &str) {
    let operators: Vec<Operator> = operators_from_json(r#"{"$inc": {"n": 1}}"#).unwrap();
    of.edit(&id(name), operators).unwrap();
}

fn n(of: &Collection, name: &str) -> Option<String> {
    of.get(&id(name)).unwrap().map(|document| document.fields.get("n").unwrap().to_string())
}

fn steps(of: &Collection, name: &str) -> Vec<(&'static str, String)> {
    let explained = of.space().explain(of.name(), &id(name), None).unwrap();
    let told = |step: &driftless::Step| matches!(step.step, "moved" | "underneath" | "document");
    explained.steps.into_iter().filter(told).map(|step| (step.step, step.detail)).collect()
}

/// Ann and Ben have a space of which both may move documents, and so one more.
async fn pair(world: &mut World) -> (Database, Database, Collection, Collection) {
    let (ann, ben) = (world.database("ann"), world.database("ben"));
    let team = ann.create_space("team").unwrap();
    team.grant(Subject::Key(ben.author().unwrap()), Permission::Write(Strength(5))).unwrap();
    world.sync(&ben, &ann, &team).await.unwrap();
    let notes = |space: &Space| space.collection("notes").unwrap();
    let at_ben = notes(&same(&team, &ben));
    (ann, ben, notes(&team), at_ben)
}

#[test]
fn a_document_moves_and_comes_back_with_what_was_edited_meanwhile() {
    let ann = World::new().database("ann");
    let notes = ann.create_space("team").unwrap().collection("notes").unwrap();
    insert(&notes, "a", None);
    raise(&notes, "a");
    let team = notes.space().id();
    let shared = notes.share(&id("a"), &SharePolicy::Own).unwrap();
    let private = ann.private_space().unwrap();
    assert_eq!((shared.from, shared.to, shared.documents), (team, private.id(), 1));
    assert_eq!(shared.commits.iter().map(|(space, _)| *space).collect::<Vec<_>>(), [private.id(), team]);
    let there = private.collection("notes").unwrap();
    assert_eq!((n(&notes, "a"), n(&there, "a")), (None, Some("1".into())));
    assert_eq!(notes.residence(&id("a")).unwrap().id(), private.id());
    let [(step, detail), ..] = &steps(&notes, "a")[..] else { panic!() };
    assert!(*step == "moved" && detail.contains(&format!("ann-private ({})", private.id())), "{detail}");
    // To where it is, it does not move. It is found from where it was.
    let again = notes.share(&id("a"), &SharePolicy::Own).unwrap();
    assert_eq!((again.from, again.documents, again.commits.len()), (private.id(), 0, 0));
    raise(&there, "a");
    let public = notes.share(&id("a"), &SharePolicy::Public).unwrap();
    assert_eq!((public.from, public.documents), (private.id(), 1));
    let back = notes.share(&id("a"), &SharePolicy::Members).unwrap();
    assert_eq!((back.from, back.to), (public.to, team));
    assert_eq!((n(&notes, "a"), n(&there, "a")), (Some("2".into()), None));
    assert_eq!(notes.residence(&id("a")).unwrap().id(), team);
    assert_eq!(steps(&notes, "a").last().unwrap().0, "document");
    // Its history is where it was written.
    assert!(ann.fsck(None, &mut |_| {}).unwrap().problems.is_empty());
    assert_eq!(code(notes.share(&id("b"), &SharePolicy::Own)), "not_found");
}

#[test]
fn what_is_under_a_document_moves_along_unless_told_otherwise() {
    let ann = World::new().database("ann");
    let space = ann.create_space("team").unwrap();
    let (lists, items) = (space.collection("lists").unwrap(), space.collection("items").unwrap());
    insert(&lists, "shopping", None);
    insert(&items, "milk", Some("shopping"));
    insert(&items, "oat", Some("milk"));
    insert(&items, "bread", Some("other"));
    // Who is under whom may go in a circle.
    insert(&items, "one", Some("two"));
    insert(&items, "two", Some("one"));
    assert_eq!(lists.share(&id("shopping"), &SharePolicy::Own).unwrap().documents, 3);
    let private = ann.private_space().unwrap();
    let there = private.collection("items").unwrap();
    for (name, is_there) in [("milk", true), ("oat", true), ("bread", false)] {
        assert_eq!((n(&items, name).is_none(), n(&there, name).is_some()), (is_there, is_there), "{name}");
    }
    assert_eq!(there.get(&id("oat")).unwrap().unwrap().parent, Some(id("milk")));
    assert_eq!(items.share(&id("one"), &SharePolicy::Own).unwrap().documents, 2);
    let alone = Sharing { alone: true };
    assert_eq!(lists.share_with(&id("shopping"), &SharePolicy::Members, alone).unwrap().documents, 1);
    assert!(n(&lists, "shopping").is_some() && n(&there, "milk").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_did_not_know_of_the_move_lies_underneath_and_is_explained() {
    let mut world = World::new();
    let (ann, ben, notes, at_ben) = pair(&mut world).await;
    insert(&notes, "a", None);
    world.sync(&ben, &ann, notes.space()).await.unwrap();
    // One edit is older than the move by its time, one newer; neither was seen.
    raise(&at_ben, "a");
    world.tick();
    notes.share(&id("a"), &SharePolicy::Own).unwrap();
    world.tick();
    raise(&at_ben, "a");
    world.sync(&ben, &ann, notes.space()).await.unwrap();
    let private = ann.private_space().unwrap();
    assert_eq!(n(&private.collection("notes").unwrap(), "a").as_deref(), Some("0"));
    assert_eq!(notes.space().digest().unwrap(), at_ben.space().digest().unwrap());
    for notes in [&notes, &at_ben] {
        assert_eq!(n(notes, "a"), None);
        let steps = steps(notes, "a");
        assert_eq!(steps.iter().map(|(step, _)| *step).collect::<Vec<_>>(), ["moved", "underneath"]);
        assert!(steps[1].1.starts_with("2 commits"), "{steps:?}");
    }
    // Ben cannot look there, and is told where it is.
    assert!(steps(&at_ben, "a")[0].1.contains(&format!("{}, which is not here", private.id())));
    assert_eq!(code(at_ben.share(&id("a"), &SharePolicy::Members)), "not_found");
    // Nothing is lost: brought back, it is as it would be without the move.
    at_ben.restore(&id("a")).unwrap();
    assert_eq!(n(&at_ben, "a").as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_to_two_places_at_once_it_lives_in_both_and_everybody_sees_the_same() {
    let mut world = World::new();
    let (ann, ben, notes, at_ben) = pair(&mut world).await;
    insert(&notes, "a", None);
    world.sync(&ben, &ann, notes.space()).await.unwrap();
    raise(&at_ben, "a");
    let by_ann = notes.share(&id("a"), &SharePolicy::Users(vec![user(&ben)])).unwrap();
    world.tick();
    let by_ben = at_ben.share(&id("a"), &SharePolicy::Users(vec![user(&ann)])).unwrap();
    for space in [by_ann.to, by_ben.to, notes.space().id()] {
        let (here, there) = if space == by_ben.to { (&ann, &ben) } else { (&ben, &ann) };
        let address = world.address(there).await;
        world.on(here).sync_with_peer(&address, &space).await.unwrap();
    }
    let both = [&ann, &ben].map(|db| {
        let notes = |space: SpaceId| db.space(&space.to_string()).unwrap().collection("notes").unwrap();
        let team = notes(notes_of(&at_ben));
        let told: Vec<_> = steps(&team, "a").into_iter().map(|(step, _)| step).collect();
        // Each move took what it had seen; what neither had seen would be told.
        assert_eq!(told, ["moved"; 3]);
        let values = [by_ann.to, by_ben.to].map(|space| n(&notes(space), "a"));
        (team.space().digest().unwrap(), values, team.residence(&id("a")).unwrap().id())
    });
    assert_eq!(both[0], both[1]);
    assert_eq!(both[0].1, [Some("0".into()), Some("1".into())]);
    assert_eq!(both[0].2, by_ben.to, "the later one counts");
    // The next move takes that one; the other stays until somebody deletes it.
    let back = notes.share(&id("a"), &SharePolicy::Members).unwrap();
    assert_eq!((back.from, n(&notes, "a").as_deref()), (by_ben.to, Some("1")));
}

fn notes_of(collection: &Collection) -> SpaceId {
    collection.space().id()
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_back_while_another_edits_it_there_everybody_ends_with_the_same() {
    let mut world = World::new();
    let (ann, ben, notes, at_ben) = pair(&mut world).await;
    insert(&notes, "a", None);
    let there = notes.share(&id("a"), &SharePolicy::Users(vec![user(&ben)])).unwrap().to;
    let there = ann.space(&there.to_string()).unwrap();
    world.sync(&ben, &ann, &there).await.unwrap();
    let at_ben_there = same(&there, &ben).collection("notes").unwrap();
    raise(&at_ben_there, "a");
    world.tick();
    notes.share(&id("a"), &SharePolicy::Members).unwrap();
    for space in [&there, notes.space()] {
        world.sync(&ben, &ann, space).await.unwrap();
        assert_eq!(same(space, &ben).digest().unwrap(), space.digest().unwrap());
    }
    assert_eq!(n(&at_ben, "a").as_deref(), Some("0"));
    let told: Vec<_> = steps(&at_ben_there, "a").into_iter().map(|(step, _)| step).collect();
    assert_eq!(told, ["moved", "underneath"]);
}

#[test]
fn a_ref_names_the_space_of_the_other_document_wherever_that_went() {
    let ann = World::new().database("ann");
    let (team, other) = (ann.create_space("team").unwrap(), ann.create_space("other").unwrap());
    let (notes, lists) = (team.collection("notes").unwrap(), other.collection("lists").unwrap());
    insert(&notes, "a", None);
    insert(&notes, "under", Some("a"));
    insert(&notes, "below", Some("under"));
    insert(&lists, "l", None);
    let like = |space: &Space, collection: &str, document: &str| SharePolicy::Ref {
        space: space.id(),
        collection: collection.into(),
        document: id(document),
    };
    let at_list = like(&other, "lists", "l");
    lists.share(&id("l"), &SharePolicy::Own).unwrap();
    let private = ann.private_space().unwrap();
    assert_eq!(notes.share(&id("a"), &at_list).unwrap().to, private.id());
    // Now it is there with it; that one may be shared like it, which changes nothing.
    assert_eq!(lists.share(&id("l"), &like(&team, "notes", "a")).unwrap().documents, 0);
    // What would have to follow itself is refused, and nothing is written.
    let before = private.digest().unwrap();
    for policy in [like(&team, "notes", "a"), like(&team, "notes", "below"), like(&private, "notes", "under")]
    {
        let refused = notes.share(&id("a"), &policy).unwrap_err();
        assert!(refused.code() == "invalid" && refused.to_string().contains("circle"), "{refused}");
    }
    assert_eq!(private.digest().unwrap(), before);
    for missing in [like(&other, "lists", "x"), like(&other, "nothing", "l")] {
        assert_eq!(code(notes.share(&id("a"), &missing)), "not_found");
    }
    let nowhere = SharePolicy::Ref { space: SpaceId([9; 32]), collection: "notes".into(), document: id("a") };
    assert_eq!(code(notes.share(&id("a"), &nowhere)), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_pointers_lead_in_a_circle_it_is_said_and_restoring_helps() {
    let mut world = World::new();
    let (ann, ben, notes, at_ben) = pair(&mut world).await;
    insert(&notes, "a", None);
    let there = notes.share(&id("a"), &SharePolicy::Users(vec![user(&ben)])).unwrap().to;
    let there = ann.space(&there.to_string()).unwrap();
    for space in [&there, notes.space()] {
        world.sync(&ben, &ann, space).await.unwrap();
    }
    // Ben moves it back where, as it turns out, he may not write any more.
    notes.space().revoke(Subject::Key(ben.author().unwrap())).unwrap();
    at_ben.share(&id("a"), &SharePolicy::Members).unwrap();
    world.sync(&ben, &ann, &there).await.unwrap();
    let mut bundle = Vec::new();
    at_ben.space().export(&mut bundle, &mut |_| {}).unwrap();
    assert_eq!(ann.import(&mut &*bundle, &mut |_| {}).unwrap().void, 1);
    let refused = notes.share(&id("a"), &SharePolicy::Own).unwrap_err();
    assert!(refused.code() == "invalid" && refused.to_string().contains("circle"), "{refused}");
    let like = SharePolicy::Ref { space: there.id(), collection: "notes".into(), document: id("a") };
    insert(&notes, "b", None);
    assert_eq!(code(notes.share(&id("b"), &like)), "invalid");
    notes.restore(&id("a")).unwrap();
    assert_eq!(notes.share(&id("b"), &like).unwrap().to, notes.space().id());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_side_says_no_nothing_is_written_on_either() {
    let mut world = World::new();
    let (ann, ben, notes, at_ben) = pair(&mut world).await;
    insert(&notes, "a", None);
    let public = ann.public_space().unwrap();
    insert(&public.collection("notes").unwrap(), "p", None);
    insert(&public.collection("notes").unwrap(), "b", None);
    insert(&notes, "b", None);
    for space in [&public, notes.space()] {
        world.sync(&ben, &ann, space).await.unwrap();
    }
    let digests = |db: &Database| [&public, notes.space()].map(|space| same(space, db).digest().unwrap());
    let before = (digests(&ann), digests(&ben));
    // There is another one of that id there.
    assert_eq!(code(notes.share(&id("b"), &SharePolicy::Public)), "exists");
    // He may not write there, nor take away from there.
    let like = SharePolicy::Ref { space: public.id(), collection: "notes".into(), document: id("p") };
    assert_eq!(code(at_ben.share(&id("a"), &like)), "not_permitted");
    let theirs = same(&public, &ben).collection("notes").unwrap();
    assert_eq!(code(theirs.share(&id("p"), &SharePolicy::Own)), "not_permitted");
    assert_eq!((digests(&ann), digests(&ben)), before);
    // For a document that is not there, no space is made.
    let spaces = ben.spaces().unwrap().len();
    assert_eq!(code(at_ben.share(&id("x"), &SharePolicy::Public)), "not_found");
    assert_eq!(ben.spaces().unwrap().len(), spaces);
}

#[test]
fn a_document_larger_than_a_commit_moves_as_well() {
    let ann = World::new().database("ann");
    let notes = ann.create_space("team").unwrap().collection("notes").unwrap();
    insert(&notes, "a", None);
    for field in ["x", "y", "z"] {
        let text = "t".repeat(700 * 1024);
        let operators = operators_from_json(&format!(r#"{{"$set": {{"{field}": "{text}"}}}}"#)).unwrap();
        notes.edit(&id("a"), operators).unwrap();
    }
    let before = notes.get(&id("a")).unwrap().unwrap().fields;
    notes.share(&id("a"), &SharePolicy::Own).unwrap();
    let there = ann.private_space().unwrap().collection("notes").unwrap();
    assert_eq!(there.get(&id("a")).unwrap().unwrap().fields, before);
}
