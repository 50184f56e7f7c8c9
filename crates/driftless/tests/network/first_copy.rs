//! The first copy of a space, directly from another device, over a line that is cut again and again: each try goes on
//! where the one before stopped, and sends nothing again that is here.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_that_is_cut_goes_on_with_the_rest() {
    let net = MemoryNetwork::new();
    let (ann, bob, cid) = (memory(), memory(), memory());
    let (at_ann, at_bob, at_cid) = (on(&net, &ann), on(&net, &bob), on(&net, &cid));
    let here = ann.create_space("team").unwrap();
    // More frames than become durable together.
    let items = here.collection("items").unwrap();
    for number in 0..1000 {
        let text = format!("{number} ").repeat(400);
        items.insert(Map::from_json(&format!(r#"{{"text": "{text}"}}"#)).unwrap()).unwrap();
    }
    for other in [&bob, &cid] {
        here.grant(Subject::Key(other.author().unwrap()), Permission::Read).unwrap();
    }
    let total = here.summary().unwrap().commits;
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let whole = at_cid.sync_with_peer(&address, &here.id()).await.unwrap();
    assert_eq!(whole.moved.received, total);

    let commits = || bob.space("team").map_or(0, |space| space.summary().unwrap().commits);
    let (mut cuts, mut frames) = (0, 6);
    let (had, rest) = loop {
        net.cut_after((cuts < 2).then_some(frames));
        let had = commits();
        match at_bob.sync_with_peer(&address, &here.id()).await {
            Ok(rest) => break (had, rest),
            Err(Error::Unreachable(_)) if commits() > had => cuts += 1,
            Err(Error::Unreachable(_)) => frames += 1,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(cuts >= 1);
    assert!(had > 0 && had < total, "{had} of {total}");
    // What arrived before the cut and was not counted yet may be here as well.
    assert!(rest.moved.received <= total - had, "{rest:?}");
    let share = whole.traffic.received * (total - had) / total;
    assert!(rest.traffic.received <= share + share / 5 + 4096, "{} for {share}", rest.traffic.received);
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
    // And then nothing.
    let idle = at_bob.sync_with_peer(&address, &here.id()).await.unwrap();
    assert_eq!((idle.moved.sent, idle.moved.received), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_over_http_that_is_cancelled_goes_on_with_the_rest() {
    let (ann, bob) = (memory(), memory());
    let (at_ann, at_bob) = (ann.network().unwrap(), bob.network().unwrap());
    let here = ann.create_space("team").unwrap();
    fill(&here, 0, 6000);
    here.grant(Subject::Key(bob.author().unwrap()), Permission::Read).unwrap();
    let total = here.summary().unwrap().commits;
    let address = at_ann.serve(&"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let commits = || bob.space("team").map_or(0, |space| space.summary().unwrap().commits);

    // Whoever drops what he waits for has cancelled it.
    let (mut changes, id) = (bob.changes(), here.id());
    tokio::select! {
        done = at_bob.sync_with_peer(&address, &id) => panic!("nothing came before the end: {done:?}"),
        _ = changes.next() => {}
    }
    let had = commits();
    assert!(had > 0 && had < total, "{had} of {total}");

    let rest = at_bob.sync_with_peer(&address, &here.id()).await.unwrap();
    // What arrived before the end and was not counted yet may be here as well.
    assert!(rest.moved.received <= total - had, "{rest:?}");
    assert_eq!(bob.space("team").unwrap().digest().unwrap(), here.digest().unwrap());
}
