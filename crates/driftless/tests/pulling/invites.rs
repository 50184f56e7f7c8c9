//! Two users on three devices: what one device accepts, all of them have.

use driftless::{Answered, Error, Roots};

use super::*;

/// One more device of a user, with the user's identity.
async fn second(net: &Net, first: &Device) -> Database {
    let device = db(&first.db.user().unwrap());
    let ticket = first.db.invite_device(vec![first.address.to_string()], None).unwrap();
    net.on(&device).join_identity(&ticket).await.unwrap();
    device
}

fn is_member(db: &Database, space: &SpaceId) -> bool {
    let me = Subject::Key(db.author().unwrap());
    db.space(&space.to_string()).unwrap().members().unwrap().iter().any(|member| member.subject == me)
}

fn by_document(sync: DocumentSyncBuilder) -> DocumentSyncBuilder {
    sync.roots(Roots::document())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_on_one_device_arrives_on_all_of_them() {
    for net in Net::both() {
        let ann = Device::with(&net, &db("ann"), by_document).await;
        let laptop = Device::with(&net, &db("bob"), by_document).await;
        let bob = user(&laptop.db);
        let phone = second(&net, &laptop).await;
        let phone = Device::with(&net, &phone, by_document).await;
        phone.sync.connect(&laptop.address).await.unwrap();

        let team = ann.db.create_space("team").unwrap();
        fill(&team, 0, 10);
        let addresses = vec![ann.address.to_string()];
        let invite = ann.db.invite_user(&team, &bob, write(), addresses).unwrap();
        assert_eq!((invite.to, invite.from, invite.answer), (bob, user(&ann.db), Answered::Open));

        // Bob knows nothing but where Ann is: what is shared with him by name is found, and nothing of the team yet.
        laptop.sync.connect(&ann.address).await.unwrap();
        until(&laptop.db, "the invite", || laptop.db.invites().unwrap().len() == 1).await;
        let found = laptop.db.invites().unwrap().remove(0);
        assert_eq!((found.id.clone(), &*found.name, &*found.permission), (invite.id, "team", "write"));
        assert_eq!(documents(&laptop.db, &team.id()), None);
        assert!(matches!(ann.sync.accept(&found), Err(Error::NotPermitted(_))));
        assert!(matches!(ann.db.decline(&found), Err(Error::NotPermitted(_))));

        laptop.sync.accept(&found).unwrap();
        until(&laptop.db, "the team", || documents(&laptop.db, &team.id()) == Some(10)).await;
        assert_eq!(laptop.db.roots().unwrap(), [team.id()]);
        until(&ann.db, "the answer", || ann.db.invites().unwrap()[0].answer == Answered::Accepted).await;
        // The phone has the root by the private space, and comes in by what it finds there; it gets all from the laptop.
        until(&phone.db, "the team on the phone", || documents(&phone.db, &team.id()) == Some(10)).await;
        assert_eq!(phone.db.roots().unwrap(), [team.id()]);
        // All of them write.
        for (n, device) in (100..).zip([&ann, &laptop, &phone]) {
            until(&device.db, "to be a member", || is_member(&device.db, &team.id())).await;
            fill(&device.db.space("team").unwrap(), n, 1);
        }
        for device in [&ann, &laptop, &phone] {
            until(&device.db, "what all wrote", || documents(&device.db, &team.id()) == Some(13)).await;
        }
        // What is no root any more is pulled by none of the devices.
        assert!(phone.db.remove_root(&team.id()).unwrap() && !phone.db.remove_root(&team.id()).unwrap());
        until(&laptop.db, "the root to go", || laptop.db.roots().unwrap().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declined_brings_nothing_and_the_inviter_learns_of_it() {
    let net = Net::memory();
    let (ann, bob) = (db("ann"), db("bob"));
    let ann = Device::with(&net, &ann, by_document).await;
    let bob = Device::with(&net, &bob, by_document).await;
    let team = ann.db.create_space("team").unwrap();
    let to = user(&bob.db);
    let itself = ann.db.invite_user(&team, &user(&ann.db), write(), Vec::new());
    assert!(matches!(itself, Err(Error::Invalid(_))));
    ann.db.invite_user(&team, &to, write(), vec![ann.address.to_string()]).unwrap();
    bob.sync.connect(&ann.address).await.unwrap();
    until(&bob.db, "the invite", || bob.db.invites().unwrap().len() == 1).await;
    let invite = bob.db.invites().unwrap().remove(0);
    assert_eq!(bob.db.find_invite(&invite.id.text()[..8]).unwrap(), invite);
    bob.db.decline(&invite).unwrap();
    until(&ann.db, "the answer", || ann.db.invites().unwrap()[0].answer == Answered::Declined).await;
    bob.pull().await;
    assert_eq!((documents(&bob.db, &team.id()), bob.db.roots().unwrap()), (None, Vec::new()));

    // Whoever writes an invite to itself has invited nobody, and an invite to one space opens no other.
    let audience = bob.db.space(&invite.audience.to_string()).unwrap();
    let mut forged = Map::new();
    for (key, text) in [("to", to.to_string()), ("space", team.id().to_string()), ("ticket", String::new())] {
        forged.insert(key, text.as_str().into());
    }
    audience.collection("invites").unwrap().insert(forged).unwrap();
    assert_eq!(bob.db.invites().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_hears_of_an_invite() {
    let net = Net::memory();
    let (ann, bob, eve) = (db("ann"), db("bob"), db("eve"));
    let ann = Device::with(&net, &ann, by_document).await;
    let eve = Device::with(&net, &eve, by_document).await;
    let team = ann.db.create_space("team").unwrap();
    let (to, _) = (user(&bob), user(&eve.db));
    ann.db.invite_user(&team, &to, write(), Vec::new()).unwrap();
    // A space that anybody may read is shared with nobody by name.
    ann.db.public_space().unwrap();
    eve.sync.connect(&ann.address).await.unwrap();
    let flowed = eve.sync.pull_now().await;
    assert!(flowed.iter().all(|flowed| flowed.pulled.is_empty() && flowed.failed.is_empty()), "{flowed:?}");
    assert_eq!(eve.db.spaces().unwrap().len(), 1, "only her own identity");
    let readers = eve.db.readers().unwrap();
    assert_eq!(ann.db.discover_for(&readers, None).unwrap(), (Vec::new(), false));
    let own = ann.db.discover_for(&ann.db.readers().unwrap(), None).unwrap();
    assert_eq!(own.0.len(), 1);
}
