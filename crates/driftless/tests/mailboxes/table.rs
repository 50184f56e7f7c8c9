//! Devices that meet in a table of a real PostgreSQL server, whose owner does with it what owners can.

use driftless_net::mailbox::PostgresMailbox;

use crate::postgres_server::{PASSWORD, Server};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_end_with_the_same_whatever_is_done_to_the_table() {
    let Some(server) = Server::start(&[]) else { return };
    let place = |url: &str| Arc::new(PostgresMailbox::with_password(url, PASSWORD).unwrap());
    let (tcp, socket) = (server.url("ann", ""), server.socket_url("ann"));
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let here = shared(&ann, &[&bob]);
    let (at_ann, at_bob) =
        (ann.mailbox(&here.id(), URL, place(&tcp)), bob.mailbox(&here.id(), URL, place(&socket)));
    fill(&here, 0, 100);
    let sent = sync_with(&at_ann, &small()).await;
    assert_eq!((sent.sent, sent.objects_out), (102, 21));
    assert_eq!(sync(&at_bob).await.received, 102);
    let there = space_of(&bob, here.id());
    fill(&there, 200, 10);
    sync(&at_bob).await;
    assert_eq!(sync(&at_ann).await.received, 10);
    same(&[&here, &there]);
    for (damage, kind) in [
        ("DELETE FROM driftless_mailbox WHERE name LIKE '%/00000000000000%'", AlarmKind::Gone),
        (
            "UPDATE driftless_mailbox SET content = substring(content FOR 100) WHERE name LIKE '%/0000000000000017-%'",
            AlarmKind::Damaged,
        ),
    ] {
        fill(&here, if kind == AlarmKind::Gone { 300 } else { 400 }, 1);
        sync(&at_ann).await;
        server.sql(&damage.replace("driftless_mailbox", "public.driftless_mailbox"));
        let told = sync(&at_bob).await;
        assert!(told.alarms.iter().any(|alarm| alarm.kind == kind), "{kind:?}: {told:?}");
        assert!(sync(&at_ann).await.repaired > 0);
        sync(&at_bob).await;
        sync(&at_ann).await;
        assert_eq!(sync(&at_bob).await.alarms, []);
        same(&[&here, &there]);
    }
}
