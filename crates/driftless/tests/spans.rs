//! The steps of the walk as a subscriber sees them. It is there for the whole process, so this test is alone in it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftless::{Database, Filter, Invite, Map, Network, Permission, Strength};
use driftless_net::MemoryNetwork;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// A span: its name, its level, the names of those around it, and its fields.
#[derive(Debug, Clone)]
struct Seen {
    id: u64,
    name: &'static str,
    level: Level,
    around: Vec<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// Writes down every span in the order in which they begin.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Seen>>>);

impl Collector {
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> tracing_subscriber::Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if !metadata.target().starts_with("driftless") {
            return;
        }
        let around = context.span_scope(id).into_iter().flatten().skip(1).map(|span| span.name()).collect();
        let (name, level) = (metadata.name(), *metadata.level());
        let mut seen = Seen { id: id.into_u64(), name, level, around, fields: BTreeMap::new() };
        attributes.record(&mut seen);
        self.0.lock().unwrap().push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        // Ids come again; the last one is meant.
        let mut all = self.0.lock().unwrap();
        if let Some(seen) = all.iter_mut().rev().find(|seen| seen.id == id.into_u64()) {
            values.record(seen);
        }
    }
}

// Where the first span of each name is that fits; all of them have to be there.
fn places(seen: &[Seen], names: &[&str], fits: impl Fn(&Seen) -> bool) -> Vec<usize> {
    let place = |name: &&str| {
        let found = seen.iter().position(|span| span.name == *name && fits(span));
        found.unwrap_or_else(|| panic!("no {name} in {seen:#?}"))
    };
    names.iter().map(place).collect()
}

const SECRET: &str = "nobody may read this in a log";

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_of_a_commit_can_be_followed_on_both_sides() {
    let collector = Collector::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(collector.clone())).unwrap();
    let net = MemoryNetwork::new();
    let on = |db: &Database| Network::over(db, Arc::new(net.transport(db.peer().unwrap()))).unwrap();
    let (ann, bob) = (Database::memory().unwrap(), Database::memory().unwrap());
    let (at_ann, at_bob) = (on(&ann), on(&bob));
    let here = ann.create_space("team").unwrap();
    let address = at_ann.serve(&"memory:ann".parse().unwrap()).await.unwrap();
    let permission = Permission::Write(Strength(10));
    let invite = Invite { permission, uses: None, expires: None, addresses: vec![address.to_string()] };
    let ticket = here.invite(invite).unwrap();
    let (there, _) = at_bob.join(&ticket).await.unwrap();
    let _engine = at_bob.start().unwrap();
    let mut watch = there.collection("items").unwrap().watch(Filter::all()).unwrap();
    // The connection of the engine stands, and both know that they have the same.
    _engine.flush(Duration::from_secs(20)).await.unwrap();

    collector.take();
    let items = here.collection("items").unwrap();
    items.insert(Map::from_json(&format!(r#"{{"text": "{SECRET}"}}"#)).unwrap()).unwrap();
    let arrived = tokio::task::spawn_blocking(move || {
        while let Some(event) = watch.wait_for(Duration::from_secs(20)).unwrap() {
            if event.source.is_some() {
                return true;
            }
        }
        false
    });
    assert!(arrived.await.unwrap(), "the commit reached the other side");
    let seen = collector.take();

    // Where it was written: steps 1 to 9, each beginning after the one before.
    let is_received = |span: &Seen| span.around.contains(&"walk.receive");
    let steps = [
        "walk.stage",
        "walk.build",
        "walk.enter",
        "walk.admit",
        "walk.append",
        "walk.judge",
        "walk.fold",
        "walk.durable",
        "walk.publish",
        "walk.wake",
    ];
    let written = places(&seen, &steps, |span| !is_received(span));
    assert!(written.is_sorted(), "{written:?} in {seen:#?}");
    // Then it is decided that Bob lacks it, and it travels.
    let bob_is = bob.peer().unwrap().to_string();
    let to_bob = |span: &Seen| span.fields.get("peer") == Some(&bob_is);
    let one = Some("1".to_owned());
    let reads = |span: &Seen| {
        to_bob(span)
            && span.fields.get("ask").is_some_and(|ask| ask.contains("read"))
            && span.fields.get("commits") == one.as_ref()
    };
    let sent = places(&seen, &["walk.decide"], reads)[0];
    // A connection that was awake anyway may look before it is woken, never before the commit is durable.
    assert!(written[7] < sent);
    let gone = places(&seen[sent..], &["walk.send"], to_bob)[0] + sent;
    // On the other side: step 12, and 3 to 8 again inside of it.
    let ann_is = ann.peer().unwrap().to_string();
    let from_ann = |span: &Seen| span.fields.get("peer") == Some(&ann_is);
    let arrived = places(&seen[gone..], &["walk.receive"], from_ann)[0] + gone;
    let inside = ["walk.enter", "walk.admit", "walk.append", "walk.judge", "walk.fold"];
    let received = places(&seen[arrived..], &inside, is_received);
    assert!(received.is_sorted(), "{received:?} in {:#?}", &seen[arrived..]);
    // Whoever comes behind may make it durable.
    let folded = arrived + received[4];
    let told = places(&seen[folded..], &["walk.durable", "walk.publish"], |_| true);
    assert!(told.is_sorted(), "{told:?} in {:#?}", &seen[folded..]);
    let of_walk = |span: &&Seen| span.name.starts_with("walk.");
    for span in seen.iter().filter(of_walk) {
        if let Some(space) = span.fields.get("space") {
            assert_eq!(*space, here.id().to_string(), "{span:?}");
        }
        assert!(span.level <= Level::TRACE && span.fields.values().all(|text| !text.contains(SECRET)));
    }
}
