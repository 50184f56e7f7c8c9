//! What operations come to, over HTTP.

use std::collections::BTreeSet;

use driftless::{DocumentId, Map};
use serde_json::{Value, json};

use crate::client::Served;

#[tokio::test]
async fn a_document_is_written_read_changed_and_found_in_its_history() {
    let served = Served::new().await;
    let at = |more: Value| {
        let mut all = json!({"space": "home", "collection": "notes"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let hello = served.done("hello", json!({})).await;
    assert_eq!((&hello["api"], &hello["user"]), (&json!(1), &json!("me")));

    let written = served.done("insert", at(json!({"document": {"title": "Milk", "n": 1}}))).await;
    let id = &written["id"];
    served.done("edit", at(json!({"id": id, "operators": {"$inc": {"n": 2}}}))).await;
    let found = served.done("get", at(json!({"id": id}))).await;
    assert_eq!((&found["title"], &found["n"], &found["_id"]), (&json!("Milk"), &json!(3), id));
    let as_it_was = served.done("get", at(json!({"id": id, "at": written["commit"]}))).await;
    assert_eq!(as_it_was["n"], 1);

    // What was read may come back, changed.
    let mut whole = found.clone();
    whole["title"] = json!("Oat milk");
    let saved = served.done("save", at(json!({"id": id, "document": whole.clone()}))).await;
    assert!(saved["commit"].is_string());
    let again = served.done("save", at(json!({"id": id, "document": whole}))).await;
    assert_eq!(again, json!({"id": id, "commit": null}), "nothing had to be written");
    let diff = served.done("diff", at(json!({"id": id, "from": written["commit"]}))).await;
    assert_eq!(diff, json!({"$set": {"n": 3, "title": "Oat milk"}}));

    served.done("delete", at(json!({"id": id}))).await;
    assert_eq!(served.ask("get", at(json!({"id": id}))).await.status, 404);
    assert_eq!(served.done("find", at(json!({"deleted": true}))).await[0]["_deleted"], true);
    served.done("restore", at(json!({"id": id}))).await;
    let log = served.done("log", at(json!({"id": id}))).await;
    assert_eq!(log.as_array().unwrap().len(), 5);
    assert_eq!(served.done("explain", at(json!({"id": id}))).await["ok"], true);

    for n in 0..5 {
        let document = json!({"n": n, "kind": "number"});
        served.done("insert", at(json!({"document": document, "id": format!("n{n}"), "parent": id}))).await;
    }
    let some =
        at(json!({"filter": {"kind": "number", "n": {"$gte": 1}}, "sort": "-n", "limit": 2, "skip": 1}));
    let found = served.done("find", some).await;
    assert_eq!((&found[0]["_id"], &found[1]["_id"], &found[0]["_parent"]), (&json!("n3"), &json!("n2"), id));
    assert_eq!(served.done("count", at(json!({"filter": {"kind": "number"}}))).await, json!({"count": 5}));
    assert_eq!(
        served.done("collections", json!({"space": "home"})).await,
        json!([{"collection": "notes", "indexes": []}])
    );
    let digest = served.done("digest", json!({"space": "home"})).await;
    assert_eq!(digest["view"], served.space.digest().unwrap().view);
    assert_eq!(served.done("spaces", json!({})).await[0]["documents"], 6);
}

#[tokio::test]
async fn values_that_javascript_has_not_come_and_go_unchanged() {
    let served = Served::new().await;
    let document = r#"{"bytes":{"$bytes":"AAECAw=="},"float":0.5,"inf":{"$f64":"-inf"},"large":{"$i64":"-9223372036854775808"},"safe":9007199254740991,"text":"é\u0000"}"#;
    let body = format!(r#"{{"space": "home", "collection": "notes", "id": 7, "document": {document}}}"#);
    let written = served.ask_with("insert", "", body.as_bytes()).await;
    assert_eq!((written.status, &written.json()["id"]), (200, &json!(7)));
    let stored = served.space.collection("notes").unwrap().get(&DocumentId::from(7)).unwrap().unwrap();
    assert_eq!(stored.fields, Map::from_json(document).unwrap());
    let mut read = served.done("get", json!({"space": "home", "collection": "notes", "id": 7})).await;
    let read = read.as_object_mut().unwrap();
    read.retain(|key, _| !key.starts_with('_'));
    assert_eq!(Value::Object(read.clone()), serde_json::from_str::<Value>(document).unwrap());

    // The same as CBOR.
    let mut request = minicbor::Encoder::new(Vec::new());
    request.map(3).unwrap().str("space").unwrap().str("home").unwrap();
    request.str("collection").unwrap().str("notes").unwrap().str("id").unwrap().u8(7).unwrap();
    let headers = "content-type: application/cbor\r\naccept: application/cbor\r\n";
    let answer = served.ask_with("get", headers, &request.into_writer()).await;
    assert!(answer.head.contains("content-type: application/cbor"), "{}", answer.head);
    let mut decoder = minicbor::Decoder::new(&answer.body);
    let mut native = 0;
    for _ in 0..decoder.map().unwrap().unwrap() {
        match decoder.str().unwrap() {
            "bytes" => native += usize::from(decoder.bytes().unwrap() == [0, 1, 2, 3]),
            "inf" => native += usize::from(decoder.f64().unwrap() == f64::NEG_INFINITY),
            "large" => native += usize::from(decoder.i64().unwrap() == i64::MIN),
            _ => decoder.skip().unwrap(),
        }
    }
    assert_eq!(native, 3);
}

#[tokio::test]
async fn another_store_pulls_page_by_page_and_goes_on_from_its_cursor() {
    let served = Served::new().await;
    let notes = served.space.collection("notes").unwrap();
    for n in 0..1000 {
        notes.insert(Map::from_json(&format!("{{\"n\": {n}}}")).unwrap()).unwrap();
    }
    let other = driftless::Database::memory().unwrap();
    let id = served.space.id();
    let discovered = served.done("document.discover", json!({})).await;
    assert_eq!(discovered, json!([{"space": id, "name": "home", "here": true}]));
    let mut cursor = Value::Null;
    let mut pull = async || {
        let mut pages = 0;
        loop {
            let answer =
                served.done("document.pull", json!({"space": id, "cursor": cursor, "bytes": 8192})).await;
            let frames = answer["frames"].as_array().unwrap().iter();
            let frames = frames.map(|frame| {
                let Ok(driftless::Value::Bytes(frame)) = driftless::Value::from_json(&frame.to_string())
                else {
                    panic!("a frame is bytes");
                };
                frame
            });
            let page = driftless::Page {
                frames: frames.collect(),
                commits: answer["commits"].as_u64().unwrap(),
                cursor: answer["cursor"].as_str().unwrap().parse().unwrap(),
                more: answer["more"].as_bool().unwrap(),
            };
            assert!(other.take_page(&id, &page).unwrap().is_whole());
            cursor = answer["cursor"].clone();
            pages += 1;
            if !page.more {
                return pages;
            }
        }
    };
    assert!(pull().await > 1, "in several pages");
    let there = other.space(&id.to_string()).unwrap();
    assert_eq!(there.digest().unwrap().view, served.space.digest().unwrap().view);
    notes.insert(Map::from_json(r#"{"n": 201}"#).unwrap()).unwrap();
    assert_eq!(pull().await, 1);
    assert_eq!(there.digest().unwrap().view, served.space.digest().unwrap().view);

    let cut = format!("{}aa", &cursor.as_str().unwrap()[..20]);
    assert_eq!(
        served.ask("document.pull", json!({"space": id, "cursor": cut})).await.code(),
        "invalid_arguments"
    );
    let foreign = there.feed(None, 1).unwrap().cursor.to_string();
    assert_eq!(
        served.ask("document.pull", json!({"space": id, "cursor": foreign})).await.code(),
        "stale_cursor"
    );
    let author = served.space.author().unwrap();
    let found =
        served.done("document.find", json!({"collection": "notes", "author": author, "limit": 7})).await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["space"]), (7, &json!(id)));
    let stranger = "a_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_eq!(
        served.done("document.find", json!({"collection": "notes", "author": stranger})).await,
        json!([])
    );
    assert_eq!(served.ask("document.changed", json!({})).await.code(), "not_online");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_a_code_and_a_next_step() {
    let served = Served::new().await;
    let notes = |more: &str| format!(r#"{{"space": "home", "collection": "notes"{more}}}"#);
    for (operation, body, status, code) in [
        ("nothing", "{}".to_owned(), 404, "unknown_operation"),
        ("find", "{}".to_owned(), 400, "invalid_arguments"),
        ("find", notes(", \"more\": 1"), 400, "invalid_arguments"),
        ("find", notes(", \"limit\": -1"), 400, "invalid_arguments"),
        ("find", notes(", \"sort\": \"a,,b\""), 400, "invalid_sort"),
        ("find", notes(", \"filter\": {\"a\": {\"$no\": 1}}"), 400, "invalid_filter"),
        ("find", notes(", \"filter\": 1"), 400, "invalid_filter"),
        ("find", "not json".to_owned(), 400, "invalid_json"),
        ("insert", notes(", \"document\": {\"_a\": 1}"), 400, "invalid_json"),
        ("insert", notes(", \"document\": {\"a\": 18446744073709551616}"), 400, "invalid_json"),
        ("insert", notes(", \"document\": {}, \"id\": 1.5"), 400, "invalid_id"),
        ("edit", notes(", \"id\": \"a\", \"operators\": {\"$no\": 1}"), 400, "invalid_operators"),
        ("save", notes(", \"id\": \"a\", \"document\": {\"_id\": \"b\"}"), 400, "invalid_arguments"),
        ("get", notes(", \"id\": \"a\", \"at\": \"yesterday\""), 400, "invalid_time"),
        ("get", notes(", \"id\": \"a\""), 404, "not_found"),
        ("space", "{\"space\": \"elsewhere\"}".to_owned(), 404, "not_found"),
        ("log", "{\"space\": \"home\", \"id\": \"a\"}".to_owned(), 400, "invalid_arguments"),
        ("sync", "{}".to_owned(), 400, "not_online"),
        ("watch", notes(""), 400, "needs_websocket"),
    ] {
        let answer = served.ask_with(operation, "", body.as_bytes()).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status, error["code"].as_str()),
            (status, Some(code)),
            "{operation} {body}: {error}"
        );
        assert!(
            !error["message"].as_str().unwrap().is_empty() && !error["hint"].as_str().unwrap().is_empty()
        );
    }
    assert!(served.space.collections().unwrap().is_empty(), "nothing was written");
}

#[tokio::test]
async fn an_answer_has_a_largest_size() {
    let served = Served::new().await;
    let notes = served.space.collection("notes").unwrap();
    let mut transaction = served.space.database().transaction();
    for n in 0..10_001 {
        transaction.insert(&notes, Map::from_json(&format!("{{\"n\": {n}}}")).unwrap()).unwrap();
        if n % 4000 == 3999 {
            std::mem::replace(&mut transaction, served.space.database().transaction()).commit().unwrap();
        }
    }
    transaction.commit().unwrap();
    let all = json!({"space": "home", "collection": "notes"});
    assert_eq!(served.ask("find", all).await.code(), "too_large");
    let part = json!({"space": "home", "collection": "notes", "limit": 10_000});
    assert_eq!(served.done("find", part).await.as_array().unwrap().len(), 10_000);
}

#[tokio::test]
async fn pages_are_served_without_a_token_and_hold_no_data() {
    let served = Served::new().await;
    for path in ["/", "/docs", "/openapi.json"] {
        let answer = served.send(format!("{}\r\n", served.head("GET", path)).as_bytes()).await;
        assert_eq!(answer.status, 200, "{path}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "etag: \"",
        ] {
            assert!(answer.head.contains(header), "{path}: {header} is not in {}", answer.head);
        }
        let tag = answer.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let again = format!("{}if-none-match: {tag}\r\n\r\n", served.head("GET", path));
        let again = served.send(again.as_bytes()).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        let head = served.send(format!("{}\r\n", served.head("HEAD", path)).as_bytes()).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
    let document: Value =
        served.send(format!("{}\r\n", served.head("GET", "/openapi.json")).as_bytes()).await.json();
    let paths: BTreeSet<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert!(paths.contains(&"/api/1/find".to_owned()) && paths.contains(&"/api/1/ws".to_owned()));
    for (method, path, status) in [
        ("GET", "/etc/passwd", 404),
        ("GET", "/assets/../Cargo.toml", 404),
        ("POST", "/", 404),
        ("GET", "/api/1/hello", 401),
    ] {
        let answer = served.send(format!("{}\r\n", served.head(method, path)).as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
}
