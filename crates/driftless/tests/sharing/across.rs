//! Several spaces looked at together: as if all documents were in one, each with the word where it is.

use driftless::{Collection, DocumentId, Filter, Insert, Placing, SharePolicy, Sort};
use proptest::prelude::*;

use super::*;

fn insert(to: &Collection, n: i64, group: i64) {
    let fields = Map::from_json(&format!(r#"{{"n": {n}, "group": {group}}}"#)).unwrap();
    to.insert_with(fields, Insert { id: Some(n.into()), parent: None }).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_search_across_spaces_finds_what_one_in_one_space_would(
        documents in proptest::collection::vec((0..4_usize, 0..3_i64), 0..40),
        skip in 0..10_usize,
        limit in 0..20_usize,
        sort in proptest::sample::select(vec!["", "group", "-group", "-n,group"]),
    ) {
        let db = World::new().database("ann");
        let apart: Vec<Space> = (0..4).map(|n| db.create_space(&format!("s{n}")).unwrap()).collect();
        let whole = db.create_space("whole").unwrap().collection("items").unwrap();
        for (n, (space, group)) in documents.iter().enumerate() {
            insert(&apart[*space].collection("items").unwrap(), n as i64, *group);
            insert(&whole, n as i64, *group);
        }
        let spaces: Vec<_> = apart.iter().map(Space::id).collect();
        let items = db.across(&spaces).collection("items").unwrap();
        for filter in ["{}", r#"{"group": {"$gt": 0}}"#] {
            let (filter, sort) = (Filter::parse(filter).unwrap(), Sort::parse(sort).unwrap());
            let found = items.find(filter.clone()).sort(sort.clone()).skip(skip).limit(limit).run().unwrap();
            let expected = whole.find(filter.clone()).sort(sort).skip(skip).limit(limit).run().unwrap();
            let fields = |document: &driftless::Document| document.fields.clone();
            prop_assert_eq!(
                found.iter().map(|found| fields(&found.document)).collect::<Vec<_>>(),
                expected.iter().map(fields).collect::<Vec<_>>()
            );
            for placed in &found {
                let there = db.space(&placed.space.to_string()).unwrap().collection("items").unwrap();
                let one = there.get(&placed.document.id).unwrap();
                prop_assert_eq!(one.as_ref(), Some(&placed.document));
            }
            prop_assert_eq!(items.count(filter.clone()).unwrap(), whole.count(filter.clone()).unwrap());
            let unsorted = items.find(filter).skip(skip).limit(limit).run().unwrap();
            prop_assert_eq!(unsorted.len(), found.len());
        }
    }
}

#[test]
fn a_document_that_moves_is_found_where_it_is_and_its_children_are_put_there() {
    let ann = World::new().database("ann");
    let team = ann.create_space("team").unwrap();
    let (notes, all) = (team.collection("notes").unwrap(), ann.across_all().collection("notes").unwrap());
    insert(&notes, 1, 0);
    let id = DocumentId::from(1);
    assert_eq!(all.get(&id).unwrap().unwrap().space, team.id());
    let child = || Placing { parent: Some(id.clone()), ..Placing::default() };
    assert_eq!(all.insert(Map::new(), child()).unwrap().0, team.id());
    let private = notes.share(&id, &SharePolicy::Own).unwrap().to;
    let placed = all.get(&id).unwrap().unwrap();
    assert_eq!(placed.space, private);
    assert!(
        placed.to_json().starts_with(&format!(r#"{{"_space":"{private}","_id":1,"#)),
        "{}",
        placed.to_json()
    );
    assert_eq!(all.count(Filter::all()).unwrap(), 2);
    assert_eq!(all.insert(Map::new(), child()).unwrap().0, private);
    let elsewhere = Placing { space: Some(team.id()), ..child() };
    assert_eq!(all.insert(Map::new(), elsewhere).unwrap().0, team.id());
    // Where it belongs has to be clear.
    assert_eq!(code(all.insert(Map::new(), Placing::default())), "invalid");
    let orphan = Placing { parent: Some(9.into()), ..Placing::default() };
    assert_eq!(code(all.insert(Map::new(), orphan)), "not_found");
    insert(&notes, 1, 0);
    assert_eq!(code(all.insert(Map::new(), child())), "ambiguous");
    assert_eq!(all.get(&id).unwrap().unwrap().space, team.id(), "the one that was changed last");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_those_that_the_user_may_read() {
    let mut world = World::new();
    let (ann, ben) = (world.database("ann"), world.database("ben"));
    let other = ann.create_user("carl", None).map(|_| ann.as_user("carl").unwrap()).unwrap();
    let team = ann.create_space("team").unwrap();
    let theirs = other.create_space("theirs").unwrap();
    for space in [&team, &theirs] {
        insert(&space.collection("notes").unwrap(), 1, 0);
    }
    let count = |db: &Database| db.across_all().collection("notes").unwrap().count(Filter::all()).unwrap();
    assert_eq!((count(&ann), count(&other)), (1, 1));
    assert_eq!(ann.across(&[theirs.id(), team.id(), team.id()]).spaces().unwrap(), [theirs.id(), team.id()]);
    theirs.grant(Subject::Anyone, Permission::Read).unwrap();
    assert_eq!(count(&ann), 2);
    team.grant(Subject::Space(driftless::SpaceId(user(&ben).0)), Permission::Read).unwrap();
    world.sync(&ben, &ann, &team).await.unwrap();
    assert_eq!(count(&ben), 1);
    assert_eq!(
        code(ben.across(&[theirs.id()]).collection("notes").unwrap().count(Filter::all())),
        "not_found"
    );
    assert_eq!(code(ben.across_all().collection("_no")), "invalid");
}
