//! The space that stands for a user: made at first need, joined by other devices, followed by keys that come and go.

use std::sync::Arc;

use driftless::{DocumentId, Network, Permission, Strength, Subject};
use driftless_net::MemoryNetwork;

use super::*;

fn members(space: &Space) -> Vec<(Subject, Permission)> {
    space.members().unwrap().into_iter().map(|member| (member.subject, member.permission)).collect()
}

#[test]
fn an_identity_has_all_keys_of_its_user_as_members() {
    let home = tempfile::tempdir().unwrap();
    let db = builder().password(password("open sesame")).open(home.path()).unwrap();
    let (first, second) = (db.author().unwrap(), db.new_key().unwrap());
    assert_eq!((db.identity().unwrap(), db.spaces().unwrap().len()), (None, 0));
    let space = db.make_identity().unwrap();
    assert_eq!(db.make_identity().unwrap().id(), space.id());
    let third = db.new_key().unwrap();
    let admin = |key, strength| (Subject::Key(key), Permission::Admin(Strength(strength)));
    let mut expected = [admin(first, 0), admin(second, 10), admin(third, 10)];
    expected.sort_by_key(|(subject, permission)| (permission.strength(), *subject));
    assert_eq!(members(&space), expected);
    let profile = space.collection("profile").unwrap().get(&DocumentId::string("user").unwrap()).unwrap();
    assert_eq!(profile.unwrap().fields.get("name").unwrap().to_string(), "\"ann\"");
    // A key that ends leaves it, if there is a stronger one.
    db.revoke_key(&third).unwrap();
    assert_eq!(members(&space), [admin(first, 0), admin(second, 10)]);
    db.revoke_key(&first).unwrap();
    assert_eq!(members(&space).len(), 2);
    let id = space.id();
    drop((db, space));
    let summary = open(home.path()).find_user("ann").unwrap();
    assert_eq!((summary.identity, summary.id().unwrap().0), (Some(id), id.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_device_joins_the_identity_and_is_the_same_user() {
    let net = MemoryNetwork::new();
    let (laptop, phone) = (memory(), memory());
    let on = |db: &Database| Network::over(db, Arc::new(net.transport(db.peer().unwrap()))).unwrap();
    let (at_laptop, at_phone) = (on(&laptop), on(&phone));
    let address = at_laptop.serve(&"memory:laptop".parse().unwrap()).await.unwrap();
    let ticket = laptop.invite_device(vec![address.to_string()], None).unwrap();
    let (there, _) = at_phone.join_identity(&ticket).await.unwrap();
    let here = laptop.make_identity().unwrap();
    assert_eq!((phone.identity().unwrap(), there.id()), (laptop.identity().unwrap(), here.id()));
    let device = (Subject::Key(phone.author().unwrap()), Permission::Admin(Strength(10)));
    assert!(members(&here).contains(&device));
    // One ticket, one device; and who is somebody does not become somebody else.
    let tablet = memory();
    let at_tablet = on(&tablet);
    assert_eq!(code(at_tablet.join_identity(&ticket).await), "not_permitted");
    let next = laptop.invite_device(vec![address.to_string()], None).unwrap();
    tablet.make_identity().unwrap();
    assert_eq!(code(at_tablet.join_identity(&next).await), "exists");
    // A device that was let in lets others in.
    let from_phone = at_phone.serve(&"memory:phone".parse().unwrap()).await.unwrap();
    let ticket = phone.invite_device(vec![from_phone.to_string()], None).unwrap();
    let watch = memory();
    on(&watch).join_identity(&ticket).await.unwrap();
    let device = (Subject::Key(watch.author().unwrap()), Permission::Admin(Strength(20)));
    assert!(members(&there).contains(&device));
    // What is no identity cannot be taken for one.
    let space = watch.create_space("home").unwrap().id();
    assert_eq!(code(watch.adopt_identity(&space)), "invalid");
}
