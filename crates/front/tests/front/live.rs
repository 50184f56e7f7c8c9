//! What goes on: live queries, signals and what sync does, on the WebSocket.

use std::time::Duration;

use driftless::{Database, EngineOptions, Invite, Map, Permission, Preferences, Strength};
use driftless_front::Front;
use serde_json::json;

use crate::client::{Client, PATIENCE, Served};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_query_tells_the_first_result_and_then_differences() {
    let served = Served::new().await;
    let notes = served.space.collection("notes").unwrap();
    let first = notes.insert(Map::from_json(r#"{"done": false, "n": 1}"#).unwrap()).unwrap();
    let mut client = served.socket().await;
    let watch =
        client.say("watch", json!({"space": "home", "collection": "notes", "filter": {"done": false}})).await;
    let event = client.event(watch).await;
    assert_eq!(
        (&event["kind"], &event["id"], &event["origin"]),
        (&json!("insert"), &json!(first.id), &json!(null))
    );
    assert_eq!(
        client.event(watch).await,
        json!({"kind": "ready", "id": null, "document": null, "origin": null})
    );

    // Written by itself, by another client, and by the program around it.
    let written = client
        .done("insert", json!({"space": "home", "collection": "notes", "document": {"done": false, "n": 2}}))
        .await;
    let event = client.event(watch).await;
    assert_eq!(
        (&event["kind"], &event["id"], &event["origin"]),
        (&json!("insert"), &written["id"], &json!("local"))
    );
    served
        .done(
            "edit",
            json!({"space": "home", "collection": "notes", "id": first.id, "operators": {"$set": {"n": 5}}}),
        )
        .await;
    let event = client.event(watch).await;
    assert_eq!((&event["kind"], &event["document"]["n"]), (&json!("update"), &json!(5)));
    notes.edit(&first.id, driftless::operators_from_json(r#"{"$set": {"done": true}}"#).unwrap()).unwrap();
    let event = client.event(watch).await;
    assert_eq!(
        (&event["kind"], &event["id"], &event["document"]),
        (&json!("delete"), &json!(first.id), &json!(null))
    );

    assert_eq!(client.done("cancel", json!({"id": watch})).await, json!({"cancelled": true}));
    assert_eq!(client.of(watch).await, json!({"id": watch, "end": true}));
    assert_eq!(client.done("cancel", json!({"id": watch})).await, json!({"cancelled": false}));
}

#[tokio::test]
async fn every_client_is_signalled_what_changed() {
    let served = Served::new().await;
    let (mut one, mut other) = (served.socket().await, served.socket().await);
    one.done("hello", json!({})).await;
    other.done("hello", json!({})).await;
    one.done("insert", json!({"space": "home", "collection": "notes", "document": {}})).await;
    for client in [&mut one, &mut other] {
        let signal = client.hear(|message| !message["signal"].is_null()).await;
        let expected = json!({"signal": "document.changed", "space": served.space.id(), "collections": ["notes"], "origin": "local"});
        assert_eq!(signal, expected);
    }
}

#[tokio::test]
async fn operations_of_one_connection_run_side_by_side_and_streams_are_counted() {
    let served = Served::new().await;
    let mut client = served.socket().await;
    let ids: Vec<u64> = {
        let mut ids = Vec::new();
        for n in 0..100 {
            let document = json!({"n": n});
            ids.push(
                client
                    .say("insert", json!({"space": "home", "collection": "notes", "document": document}))
                    .await,
            );
        }
        ids
    };
    for id in ids {
        assert!(client.of(id).await["ok"]["commit"].is_string());
    }
    assert_eq!(
        client.done("count", json!({"space": "home", "collection": "notes"})).await,
        json!({"count": 100})
    );
    let mut streams = Vec::new();
    for _ in 0..65 {
        streams.push(client.say("watch", json!({"space": "home", "collection": "other"})).await);
    }
    let refused = client.hear(|message| !message["error"].is_null()).await;
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!(streams[64]), &json!("too_many_streams"))
    );
    client.done("cancel", json!({"id": streams[0]})).await;
    client.hear(|message| message["end"] == true).await;
    let again = client.say("watch", json!({"space": "home", "collection": "other"})).await;
    assert_eq!(client.event(again).await["kind"], "ready");
}

#[tokio::test]
async fn a_front_that_is_closed_ends_its_clients() {
    let served = Served::new().await;
    let mut client = served.socket().await;
    client.done("hello", json!({})).await;
    let at = served.at();
    tokio::time::timeout(Duration::from_secs(2), served.front.close()).await.expect("it closes at once");
    let code = loop {
        use futures_util::StreamExt as _;
        use tokio_tungstenite::tungstenite::Message;
        match tokio::time::timeout(PATIENCE, client.socket.next()).await.expect("an end") {
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, Some(1001));
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sync_does_is_told_as_it_happens() {
    let (ann, bea) = (Database::memory().unwrap(), Database::memory().unwrap());
    let space = ann.create_space("home").unwrap();
    let notes = space.collection("notes").unwrap();
    notes.insert(Map::from_json(r#"{"n": 1}"#).unwrap()).unwrap();
    let network = ann.network().unwrap();
    let address = network.serve(&"http://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let engine = network.start_with(EngineOptions::default()).unwrap();
    let builder = Front::builder(&ann).network(&network).engine(&engine);
    let front = builder.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut client = Client::connect(front.address(), front.token().as_str()).await;
    let events = client.say("events", json!({})).await;
    let watch = client.say("watch", json!({"space": "home", "collection": "notes"})).await;
    client.event(watch).await;
    client.event(watch).await;
    client.done("hello", json!({})).await;

    let permission = Permission::Write(Strength(100));
    let invite = Invite { permission, uses: None, expires: None, addresses: vec![address.to_string()] };
    let ticket = space.invite(invite).unwrap();
    let away = bea.network().unwrap();
    let (theirs, _) = away.join(&ticket).await.unwrap();
    theirs.set_preferences(&Preferences::default()).unwrap();
    let theirs_engine = away.start_with(EngineOptions::default()).unwrap();
    let peer = bea.peer().unwrap();
    let connected = client.event(events).await;
    assert_eq!(
        (&connected["kind"], &connected["peer"], &connected["dialed"]),
        (&json!("connected"), &json!(peer), &json!(false))
    );
    let written = theirs.collection("notes").unwrap().insert(Map::from_json(r#"{"n": 2}"#).unwrap()).unwrap();
    let event = client.event(watch).await;
    assert_eq!((&event["id"], &event["origin"]), (&json!(written.id), &json!("peer")));
    let signal = client.hear(|message| message["origin"] == "peer").await;
    assert_eq!(signal["collections"], json!(["notes"]));
    let exchange = loop {
        let event = client.event(events).await;
        if event["kind"] == "exchange" && event["applied"].as_u64() > Some(0) {
            break event;
        }
    };
    assert_eq!(
        (&exchange["peer"], &exchange["space"], &exchange["error"]),
        (&json!(peer), &json!(space.id()), &json!(null))
    );
    assert!(exchange["bytes"].as_u64() > Some(0), "{exchange}");

    theirs_engine.close(PATIENCE).await;
    away.close_and_tell().await;
    let gone = loop {
        let event = client.event(events).await;
        if event["kind"] == "disconnected" {
            break event;
        }
    };
    assert_eq!(gone["peer"], json!(peer));
    let peers = client.done("status", json!({})).await;
    assert_eq!(peers["ok"], true);
    front.close().await;
}
