//! Devices that meet only in a mailbox: what they have afterwards, what a hostile operator can do, and what is said.

mod bounds;
mod contents;
mod crowds;
#[allow(dead_code, reason = "here it only counts what is read")]
#[path = "../database/failing.rs"]
mod failing;
mod gone;
mod hostile;
mod hub;
mod lies;
#[cfg(all(feature = "postgres", unix))]
#[path = "../../../net/tests/net/postgres_server.rs"]
mod postgres_server;
mod many;
mod refusals;
mod stalled;
mod strangers;
#[cfg(all(feature = "postgres", unix))]
mod table;
mod together;

use std::sync::Arc;
use std::time::Duration;

use driftless::{
    AlarmKind, Database, Error, Insert, Mailbox, MailboxEvent, MailboxOptions, MailboxSynced, Map,
    Permission, Space, SpaceId, Strength, Subject,
};
use driftless_net::mailbox::{MemoryMailbox, ObjectName};

const URL: &str = "memory:box";

/// A space on one device, in which others may write.
fn shared(db: &Database, others: &[&Database]) -> Space {
    let space = db.create_space("notes").unwrap();
    for other in others {
        space.grant(Subject::Key(other.author().unwrap()), Permission::Write(Strength(10))).unwrap();
    }
    space
}

fn fill(space: &Space, from: i64, count: i64) {
    let items = space.collection("items").unwrap();
    for n in from..from + count {
        let fields = Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap();
        items.insert_with(fields, Insert { id: Some(n.into()), parent: None }).unwrap();
    }
}

fn on(db: &Database, space: SpaceId, place: &MemoryMailbox) -> Mailbox {
    db.mailbox(&space, URL, Arc::new(place.clone()))
}

async fn sync(mailbox: &Mailbox) -> MailboxSynced {
    sync_with(mailbox, &MailboxOptions::default()).await
}

async fn sync_with(mailbox: &Mailbox, options: &MailboxOptions) -> MailboxSynced {
    mailbox.sync(options, &mut |_| ()).await.unwrap()
}

/// Ends objects often, so that there are many.
fn small() -> MailboxOptions {
    MailboxOptions { batch_commits: 5, ..MailboxOptions::default() }
}

fn space_of(db: &Database, id: SpaceId) -> Space {
    db.space(&id.to_string()).unwrap()
}

fn same(spaces: &[&Space]) {
    let digests: Vec<_> = spaces.iter().map(|space| space.digest().unwrap()).collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

fn kinds(synced: &MailboxSynced) -> Vec<(u64, AlarmKind)> {
    synced.alarms.iter().map(|alarm| (alarm.number, alarm.kind)).collect()
}

/// The objects of a database, by number.
fn objects_of(place: &MemoryMailbox, db: &Database) -> Vec<ObjectName> {
    let peer = db.peer().unwrap().to_string();
    place.names().into_iter().filter(|name| name.as_str().contains(&peer)).collect()
}
