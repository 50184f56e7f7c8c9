//! The spaces that policies name are made once, are for exactly whom they say, and all devices of a user find the same.

use super::*;

fn names(db: &Database) -> Vec<String> {
    db.spaces().unwrap().into_iter().map(|space| space.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_made_once_and_another_device_finds_the_same() {
    let mut world = World::new();
    let (ann, ben) = (world.database("ann"), world.database("ben"));
    let phone = world.device(&ann).await;
    let (private, public) = (ann.private_space().unwrap(), ann.public_space().unwrap());
    let with_ben = ann.audience(&[user(&ben)]).unwrap();
    assert_eq!(ann.private_space().unwrap().id(), private.id());
    assert_eq!(ann.public_space().unwrap().id(), public.id());
    assert_eq!(ann.audience(&[user(&ben), user(&ann), user(&ben)]).unwrap().id(), with_ben.id());
    assert_eq!(ann.audience(&[]).unwrap().id(), private.id());
    assert_eq!(names(&ann)[1..3], ["ann-private", "ann-public"]);
    assert_eq!(ann.spaces().unwrap().len(), 4);

    // The phone knows of the private space as soon as it has the identity, and of the others by the private space.
    let identity = ann.make_identity().unwrap();
    world.sync(&phone, &ann, &identity).await.unwrap();
    assert_eq!(code(phone.private_space()), "not_found");
    world.sync(&phone, &ann, &private).await.unwrap();
    assert_eq!(phone.private_space().unwrap().id(), private.id());
    assert_eq!(code(phone.audience(&[user(&ben)])), "not_found");
    world.sync(&phone, &ann, &with_ben).await.unwrap();
    world.sync(&phone, &ann, &public).await.unwrap();
    assert_eq!(phone.audience(&[user(&ben)]).unwrap().id(), with_ben.id());
    assert_eq!(phone.public_space().unwrap().id(), public.id());
    assert_eq!(phone.spaces().unwrap().len(), 4);
    // There it writes like the first, and so does Ben, where it is for him.
    same(&with_ben, &phone).collection("notes").unwrap().insert(Map::new()).unwrap();
    world.sync(&ben, &ann, &with_ben).await.unwrap();
    same(&with_ben, &ben).collection("notes").unwrap().insert(Map::new()).unwrap();
    assert_eq!(code(world.sync(&ben, &ann, &private).await), "not_open");
    world.sync(&ben, &ann, &public).await.unwrap();
    let note = same(&public, &ben).collection("notes").unwrap().insert(Map::new());
    assert_eq!(code(note), "not_permitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_devices_made_at_once_stays_and_both_go_on_with_the_first() {
    let mut world = World::new();
    let (ann, ben) = (world.database("ann"), world.database("ben"));
    let phone = world.device(&ann).await;
    let first = phone.audience(&[user(&ben)]).unwrap();
    world.tick();
    let second = ann.audience(&[user(&ben)]).unwrap();
    assert_ne!(first.id(), second.id());
    let (of_phone, of_ann) = (phone.private_space().unwrap(), ann.private_space().unwrap());
    for space in [&ann.make_identity().unwrap(), &of_phone, &first] {
        world.sync(&ann, &phone, space).await.unwrap();
    }
    world.sync(&phone, &ann, &of_ann).await.unwrap();
    assert_eq!(ann.private_space().unwrap().id(), of_phone.id());
    assert_eq!(ann.audience(&[user(&ben)]).unwrap().id(), first.id());
    assert_eq!(phone.audience(&[user(&ben)]).unwrap().id(), first.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_that_lets_in_somebody_else_is_of_these_users_no_more() {
    let mut world = World::new();
    let (ann, ben, eve) = (world.database("ann"), world.database("ben"), world.database("eve"));
    let with_ben = ann.audience(&[user(&ben)]).unwrap();
    world.sync(&ben, &ann, &with_ben).await.unwrap();
    assert_eq!(ann.audience(&[user(&ben)]).unwrap().id(), with_ben.id(), "ben's device has come in");
    with_ben.grant(Subject::Key(eve.author().unwrap()), Permission::Read).unwrap();
    let exact = ann.audience(&[user(&ben)]).unwrap();
    assert_ne!(exact.id(), with_ben.id());
    assert_eq!(ann.audience(&[user(&ben)]).unwrap().id(), exact.id());
    // Nor one that somebody it is for was removed from.
    exact.revoke(Subject::Space(driftless::SpaceId(user(&ben).0))).unwrap();
    assert_ne!(ann.audience(&[user(&ben)]).unwrap().id(), exact.id());
}

#[test]
fn users_of_one_database_have_spaces_of_their_own() {
    let ann = World::new().database("ann");
    ann.create_user("ben", None).unwrap();
    let ben = ann.as_user("ben").unwrap();
    assert_ne!(ann.private_space().unwrap().id(), ben.private_space().unwrap().id());
    assert_ne!(ann.public_space().unwrap().id(), ben.public_space().unwrap().id());
    let (one, other) = (ann.audience(&[user(&ben)]).unwrap(), ben.audience(&[user(&ann)]).unwrap());
    assert_ne!(one.id(), other.id());
    assert_eq!((one.name().unwrap(), other.name().unwrap()), ("ann+ben".into(), "ben+ann".into()));
}
