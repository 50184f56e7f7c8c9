//! A document store that syncs by pulling, line by line: a store, a collection, a sync with roots, progress and a callback,
//! an invite, and two users on three devices. `cargo run -p driftless --example document_store`

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftless::{Answered, Database, DocumentSync, Error, Filter, Map, Network, Permission, Roots, Strength};

/// One device: its store, where it can be reached, and what keeps it in sync.
struct Device {
    store: Database,
    network: Network,
    sync: DocumentSync,
    address: String,
    /// What the callback has heard: batches, by the space that they were of.
    batches: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Device {
    /// Puts a store on the network, and keeps the roots of its user in sync.
    async fn start(store: Database) -> Result<Self, Box<dyn std::error::Error>> {
        let network = Network::builder(&store).http().open()?;
        let batches = Arc::new(Mutex::new(BTreeMap::new()));
        let heard = batches.clone();
        let sync = DocumentSync::builder(&network)
            // The application says what to sync: here what the `roots` document of the user says, which all devices of
            // the user share. A callback `|user: &Database| -> Result<Vec<SpaceId>, Error>` or a query does as well.
            .roots(Roots::document())
            // Called after documents arrived from a peer, once for each batch that became durable.
            .on_sync(move |batch| {
                if let Ok(mut batches) = heard.lock() {
                    *batches.entry(batch.root.to_string()).or_default() += batch.applied;
                }
            })
            .start()?;
        let address = network.serve(&"http://127.0.0.1:0".parse()?).await?.to_string();
        Ok(Self { store, network, sync, address, batches })
    }

    /// Waits until something holds here; it comes by itself.
    async fn until(&self, what: &str, holds: impl Fn(&Database) -> Result<bool, Error>) -> Result<(), Error> {
        let mut changes = self.store.changes();
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !holds(&self.store)? {
                // Whatever changes is a reason to look again; so is some time.
                let _ = tokio::time::timeout(Duration::from_millis(100), changes.next()).await;
            }
            Ok(())
        });
        waited.await.map_err(|_| Error::Unreachable(format!("{what} did not come")))?
    }
}

/// A store in memory; `Database::open("folder")` keeps it. What was pulled is remembered in the same store.
fn store(user: &str) -> Result<Database, Error> {
    Database::builder().user_name(user).memory()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Ann has a laptop.
    let ann = Device::start(store("ann")?).await?;
    let discussion = ann.store.create_space("discussion")?;
    let notes = discussion.collection("note")?;
    notes.insert(Map::from_json(r#"{"title": "Hello"}"#)?)?;

    // Bob has a laptop and a phone, which are the same user by an identity that both have.
    let laptop = Device::start(store("bob")?).await?;
    let bob = laptop.store.make_identity()?.id();
    let bob = driftless::UserId(bob.0);
    let phone = store("bob")?;
    let ticket = laptop.store.invite_device(vec![laptop.address.clone()], None)?;
    Network::builder(&phone).http().open()?.join_identity(&ticket).await?;
    let phone = Device::start(phone).await?;
    phone.sync.connect(&laptop.address.parse()?).await?;

    // Ann invites Bob: the invite is a document that only the two of them share. He finds it as soon as he is connected.
    let permission = Permission::Write(Strength(30));
    ann.store.invite_user(&discussion, &bob, permission, vec![ann.address.clone()])?;
    laptop.sync.connect(&ann.address.parse()?).await?;
    laptop.until("the invite", |store| Ok(!store.invites()?.is_empty())).await?;
    let invite = laptop.store.invites()?.remove(0);
    assert_eq!((invite.name.as_str(), invite.answer), ("discussion", Answered::Open));

    // Accepting it makes the discussion a root on all of Bob's devices; each of them pulls it by itself.
    laptop.sync.accept(&invite)?;
    let has = |title: &'static str| {
        let filter = Filter::parse(&format!(r#"{{"title": "{title}"}}"#));
        move |store: &Database| match store.space("discussion") {
            Ok(space) => Ok(space.collection("note")?.count(filter.clone()?)? == 1),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    };
    laptop.until("the note on the laptop", has("Hello")).await?;
    phone.until("the note on the phone", has("Hello")).await?;
    assert_eq!(phone.store.roots()?, [discussion.id()]);

    // What anybody writes is told to the peers, who pull what is new since last time.
    let here = laptop.store.space("discussion")?;
    let me = driftless::Subject::Key(laptop.store.author()?);
    laptop
        .until("to be a member", |store| {
            Ok(store.space("discussion")?.members()?.iter().any(|member| member.subject == me))
        })
        .await?;
    here.collection("note")?.insert(Map::from_json(r#"{"title": "Hi Ann"}"#)?)?;
    ann.until("the answer", has("Hi Ann")).await?;
    phone.until("the answer", has("Hi Ann")).await?;

    // Progress is kept per peer, root and store; it says what came, and `reset_for_root` pulls all of it again.
    let progress = phone.sync.progress()?;
    let of_root: u64 = progress.iter().filter(|row| row.root == discussion.id()).map(|row| row.applied).sum();
    assert!(of_root >= 2, "{progress:?}");
    phone.sync.reset_for_root(&discussion.id())?;
    phone.sync.pull_now().await;

    // Each callback heard of what came to its device.
    for device in [&laptop, &phone] {
        let batches = device.batches.lock().map(|batches| batches.clone()).unwrap_or_default();
        assert!(
            batches.get(&discussion.id().to_string()).is_some_and(|applied| *applied >= 2),
            "{batches:?}"
        );
    }
    let digest = |store: &Database| Ok::<_, Error>(store.space("discussion")?.digest()?.view);
    phone.until("the same everywhere", |store| Ok(digest(store)? == digest(&ann.store)?)).await?;
    for device in [&ann, &laptop, &phone] {
        device.sync.close().await?;
        device.network.close_and_tell().await;
    }
    assert_eq!(notes.count(Filter::all())?, 2);
    Ok(())
}
