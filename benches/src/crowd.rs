//! Many peers of one hub in one process, ten to a space. Each is a whole database in memory with a key, connections and an
//! engine of its own, which checks and applies all that it gets: the hub cannot tell it from one on another machine.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use driftless::{Collection, Database, DocumentId, Event, Insert, Network, Source, Ticket};
use tokio::sync::mpsc;

use crate::fixture::{in_memory_each, small};
use crate::process::allow_files;
use crate::stopwatch::Failure;

/// The first argument of this process.
pub(crate) const CROWD: &str = "crowd-for-a-bench";
/// Peers that share a space.
pub(crate) const PEERS: usize = 10;
// Joins at once: fewer than a hub lets in from one machine before they have proven anything.
const JOINS: usize = 8;
/// A delivery that takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Peer {
    database: Database,
    notes: Collection,
    // Keeps it connected.
    _network: Network,
}

/// Connects so many peers to the hub of the tickets that come in, one for each space; then writes so many documents at
/// a rate, and prints how many deliveries there were, and in milliseconds how long half of them, 99 of 100, and all took.
pub(crate) fn join(peers: usize, rate: usize, writes: usize) -> Result<(), Failure> {
    allow_files(4096)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lines = std::io::stdin().lines();
    let tickets: Vec<Ticket> =
        lines.take(peers / PEERS).map(|line| Ok(line?.parse()?)).collect::<Result<_, Failure>>()?;
    let crowd = runtime.block_on(connect(peers, tickets))?;
    println!("connected");
    std::io::stdin().lines().next().ok_or("nobody wants anything written")??;
    let crowd = Arc::new(crowd);
    println!("{}", runtime.block_on(measure(&crowd, rate, writes))?);
    // Ends with the input: until then all are connected, and what this process used can be read.
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

async fn connect(peers: usize, tickets: Vec<Ticket>) -> Result<Vec<Peer>, Failure> {
    let waiting: Vec<Ticket> = (0..peers).filter_map(|peer| tickets.get(peer / PEERS).cloned()).collect();
    let (waiting, joined) = (Arc::new(Mutex::new(waiting)), Arc::new(Mutex::new(Vec::with_capacity(peers))));
    let joining: Vec<_> = (0..JOINS)
        .map(|_| {
            let (waiting, joined) = (waiting.clone(), joined.clone());
            tokio::spawn(async move {
                loop {
                    let ticket = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(ticket) = ticket else { return Ok::<_, Failure>(()) };
                    let peer = connect_one(&ticket).await?;
                    joined.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
                }
            })
        })
        .collect();
    for joining in joining {
        joining.await??;
    }
    let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut joined))
}

async fn connect_one(ticket: &Ticket) -> Result<Peer, Failure> {
    let database = in_memory_each()?;
    let network = database.network()?;
    let (space, _) = network.join(ticket).await?;
    let notes = space.collection("notes")?;
    let engine = network.start()?;
    // The next one comes when this one has what is there over the connection that it keeps.
    let missing = engine.flush(PATIENCE).await?.missing;
    if !missing.is_empty() {
        return Err("a peer could not reach the hub".into());
    }
    Ok(Peer { database, notes, _network: network })
}

// When each write began, in microseconds since the first, by the documents they write.
struct Begun {
    ids: HashMap<DocumentId, usize>,
    at: Vec<AtomicU64>,
    since: Instant,
}

impl Begun {
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

async fn measure(crowd: &Arc<Vec<Peer>>, rate: usize, writes: usize) -> Result<String, Failure> {
    let id = |write: usize| DocumentId::from(write as i64);
    let begun = Arc::new(Begun {
        ids: (0..writes).map(|write| (id(write), write)).collect(),
        at: (0..writes).map(|_| AtomicU64::new(0)).collect(),
        since: Instant::now(),
    });
    let (tell, mut told) = mpsc::unbounded_channel();
    for peer in crowd.iter() {
        let (mut changes, begun, tell) = (peer.database.changes(), begun.clone(), tell.clone());
        tokio::spawn(async move {
            while let Some(event) = changes.next().await {
                let Event::Change(change) = event else { continue };
                let now = begun.now();
                for document in change.documents.iter().filter(|document| document.source == Source::Peer) {
                    let at = begun.ids.get(&document.id).and_then(|write| begun.at.get(*write));
                    if let Some(at) = at {
                        let _ = tell.send(now.saturating_sub(at.load(Ordering::SeqCst)));
                    }
                }
            }
        });
    }
    let (writing, peers) = (begun.clone(), crowd.len());
    let writers = crowd.clone();
    // A thread of its own: its pace does not depend on what the others have to do.
    let writer = std::thread::spawn(move || -> Result<Duration, Failure> {
        for write in 0..writes {
            let due = Duration::from_secs_f64(write as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(writing.since.elapsed()));
            // All write equally often, and no two of a space one after the other.
            let peer = writers.get((write * 37 + write / peers) % peers).ok_or("no such peer")?;
            if let Some(at) = writing.at.get(write) {
                at.store(writing.now(), Ordering::SeqCst);
            }
            peer.notes.insert_with(small(write), Insert { id: Some(id(write)), parent: None })?;
        }
        Ok(writing.since.elapsed())
    });
    let expected = writes * (PEERS - 1);
    let mut waits = Vec::with_capacity(expected);
    while waits.len() < expected {
        match tokio::time::timeout(PATIENCE, told.recv()).await {
            Ok(Some(wait)) => waits.push(wait),
            _ => return Err(format!("{} of {expected} deliveries came", waits.len()).into()),
        }
    }
    let wrote = writer.join().map_err(|_| "the writer stopped")??;
    waits.sort_unstable();
    let at = |share: usize| {
        let wait = waits.get((waits.len() * share / 100).min(waits.len() - 1));
        wait.copied().unwrap_or_default() as f64 / 1e3
    };
    Ok(format!("{expected} {} {} {} {}", at(50), at(99), at(100), wrote.as_secs_f64()))
}
