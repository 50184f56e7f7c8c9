//! One person, several devices: what came where in which order is each device's own affair.

use driftless::{Permission, Strength, Subject};

use crate::world::{World, all_same, insert, map, seen};

pub(super) async fn two_devices_of_one_person_have_different_logs(world: &World) {
    let (hub, laptop, phone) = (world.device(1).await, world.device(2).await, world.device(3).await);
    let ticket = laptop.db.invite_device(vec![laptop.address.to_string()], None).unwrap();
    phone.network.join_identity(&ticket).await.unwrap();
    let person = laptop.db.identity().unwrap().unwrap();
    assert_eq!(phone.db.identity().unwrap(), Some(person));
    let space = hub.db.create_space("team").unwrap().id();
    hub.space(space).grant(Subject::Space(person), Permission::Write(Strength(10))).unwrap();
    hub.space(space).grant(Subject::Anyone, Permission::Read).unwrap();
    for device in [&laptop, &phone] {
        device.network.join_through(&hub.address, &space, &person).await.unwrap();
    }
    // Each writes for itself and hears of the other by another way, so that their logs are in different orders.
    for n in 0..100 {
        insert(&laptop.notes(space), &format!("laptop{n}"), r#"{"n": 1}"#).unwrap();
        insert(&phone.notes(space), &format!("phone{n}"), r#"{"n": 2}"#).unwrap();
    }
    let reader = world.device(4).await;
    let first = reader.pull(&laptop, space).await;
    assert_eq!(first.moved.applied, first.moved.received);
    assert_eq!(seen(&reader.notes(space)).len(), 100);
    // How far it came with the laptop says nothing about the phone.
    let second = reader.pull(&phone, space).await;
    assert!(second.moved.applied >= 100, "{second:?}");
    assert_eq!(seen(&reader.notes(space)).len(), 200);
    assert_ne!(first.cursor.unwrap().store, second.cursor.unwrap().store);

    // What the laptop hears of later stands at the end of its log, however old it is.
    laptop.meet(&phone, space).await;
    hub.meet(&laptop, space).await;
    insert(&phone.notes(space), "last", r#"{"n": 3}"#).unwrap();
    laptop.meet(&phone, space).await;
    let third = reader.pull(&laptop, space).await;
    assert!(!third.reconciled && third.moved.applied >= 1, "{third:?}");
    assert_eq!(seen(&reader.notes(space)).len(), 201);
    for from in [&laptop, &phone] {
        reader.pull(from, space).await;
        let again = reader.pull(from, space).await;
        assert_eq!((again.moved.received, again.reconciled), (0, false));
    }
    for device in [&laptop, &phone] {
        hub.meet(device, space).await;
    }
    phone.meet(&hub, space).await;
    laptop.meet(&hub, space).await;
    reader.pull(&hub, space).await;
    let of_phone = phone.db.author().unwrap();
    assert_ne!(laptop.db.author().unwrap(), of_phone);
    hub.notes(space).insert(map("{}")).unwrap();
    for device in [&laptop, &phone, &reader] {
        device.pull(&hub, space).await;
    }
    all_same(&[&hub, &laptop, &phone, &reader], space);
}
