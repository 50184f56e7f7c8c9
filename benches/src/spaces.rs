//! Many spaces between two databases in this process: what the first exchange of all of them takes, then one in which
//! nothing changed, and one in which a few did.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driftless::{Address, Database, Network, Permission, SpaceId, Strength, Subject};
use driftless_net::MemoryNetwork;

use crate::fixture::{BATCH, Place, batched, insert_each};
use crate::stopwatch::{Failure, Spent, spent, spent_by};
use crate::table::{Goal, Results, number};
use crate::wire::{Bytes, Counted};

/// With 10,000 spaces.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = place.size(10_000, 2_000);
    let folder = place.folder()?;
    eprintln!("  creating {} spaces", number(count as f64));
    let (spaces, took) = spent(|| create(folder.path(), count))?;
    let name = |what: &str| format!("{} spaces: {what}", number(count as f64));
    let each = took.cpu_each(count);
    results.add(
        name("created with a member and a document, and brought over"),
        each,
        "us",
        Goal::Shown,
        "CPU each",
    );
    runtime.block_on(async {
        let pair = Pair::open(folder.path()).await?;
        let (said, moved, took) = pair.exchange(&spaces).await?;
        expect(moved, 0)?;
        results.add(name("never met: CPU each"), took.cpu_each(count), "us", Goal::Shown, seconds(&took));
        let each = said.overhead as f64 / count as f64;
        results.add(name("never met: overhead each"), each, "B", Goal::Shown, "");
        pair.close().await;

        // Nothing is in memory yet that is not needed.
        let pair = Pair::open(folder.path()).await?;
        let before = resident()?;
        let (said, moved, took) = pair.exchange(&spaces).await?;
        expect(moved, 0)?;
        let (ms, bytes) = (took.cpu.as_secs_f64() * 1e3, (said.overhead + said.proofs) as f64);
        let note = format!("{} greeting, {} after it", said.proofs, said.overhead);
        results.add(name("none changed: all bytes"), bytes, "B", Goal::AtMost(300.0), note);
        results.add(name("none changed: CPU"), ms, "ms", Goal::Shown, "both sides");
        let grown = resident()?.saturating_sub(before) as f64 / 1024.0;
        let note = format!("both sides; the process had {:.0} MiB", before as f64 / 1024.0);
        results.add(name("none changed: memory"), grown, "MiB", Goal::Shown, note);

        for (what, both) in [("20 changed, 10 of them on both sides", true), ("10 changed here", false)] {
            for at in 0..if both { 20 } else { 10 } {
                let space = spaces.get(at * 37).ok_or("too few spaces")?.to_string();
                insert_each(&pair.ours.space(&space)?.collection("notes")?, 1)?;
                if both && at >= 10 {
                    insert_each(&pair.theirs.space(&space)?.collection("notes")?, 1)?;
                }
            }
            let (said, moved, took) = pair.exchange(&spaces).await?;
            expect(moved, if both { 30 } else { 10 })?;
            let first = said.first.unwrap_or_default() as f64;
            let note = format!("{} overhead in all, greeting {}", said.overhead, said.proofs);
            results.add(name(&format!("{what}: before data")), first, "B", Goal::AtMost(1024.0), note);
            let ms = took.cpu.as_secs_f64() * 1e3;
            results.add(name(&format!("{what}: CPU")), ms, "ms", Goal::Shown, "both sides");
        }
        pair.close().await;
        Ok(())
    })
}

fn seconds(took: &Spent) -> String {
    format!("{:.1} s of CPU, {:.1} s in all", took.cpu.as_secs_f64(), took.wall.as_secs_f64())
}

fn expect(moved: u64, wanted: u64) -> Result<(), Failure> {
    if moved == wanted { Ok(()) } else { Err(format!("{moved} commits moved instead of {wanted}").into()) }
}

fn create(folder: &Path, count: usize) -> Result<Vec<SpaceId>, Failure> {
    let (ours, theirs) = (batched(&folder.join("ours"))?, batched(&folder.join("theirs"))?);
    let them = Subject::Key(theirs.author()?);
    let mut spaces = Vec::with_capacity(count);
    for number in 0..count {
        let space = ours.create_space(&format!("space {number}"))?;
        space.grant(them, Permission::Write(Strength(10)))?;
        let notes = space.collection("notes")?;
        notes.insert(crate::fixture::small(number))?;
        // Who does not have a space opens it to nobody: the other side gets it as a file.
        let mut bundle = Vec::new();
        space.export(&mut bundle, &mut |_| {})?;
        theirs.import(&mut bundle.as_slice(), &mut |_| {})?;
        spaces.push(space.id());
        if number % BATCH == 0 {
            ours.flush()?;
            theirs.flush()?;
        }
    }
    ours.flush()?;
    theirs.flush()?;
    Ok(spaces)
}

// KiB of memory that this process has.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.split_whitespace().next()).map_or(Ok(0), str::parse)?)
}

struct Pair {
    ours: Database,
    theirs: Database,
    at_ours: Network,
    at_theirs: Network,
    counted: Counted,
    address: Address,
}

impl Pair {
    async fn open(folder: &Path) -> Result<Self, Failure> {
        let open = |side: &str| {
            // What served connections lets go of it in a moment.
            for _ in 0..1000 {
                if let Ok(database) = batched(&folder.join(side)) {
                    return Ok(database);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            batched(&folder.join(side))
        };
        let (ours, theirs) = (open("ours")?, open("theirs")?);
        let network = MemoryNetwork::new();
        let counted = Counted::new(&network, ours.peer()?);
        let at_ours = Network::over(&ours, Arc::new(counted.clone()))?;
        let at_theirs = Network::over(&theirs, Arc::new(network.transport(theirs.peer()?)))?;
        let address = at_theirs.serve(&"memory:theirs".parse()?).await?;
        Ok(Self { ours, theirs, at_ours, at_theirs, counted, address })
    }

    async fn close(self) {
        self.at_ours.close();
        self.at_theirs.close();
        // What is closed is gone when its tasks have run once more.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn exchange(&self, spaces: &[SpaceId]) -> Result<(Bytes, u64, Spent), Failure> {
        let (outcomes, took) = spent_by(self.at_ours.sync_all_with_peer(&self.address, spaces)).await?;
        let mut moved = 0;
        for (_, synced) in outcomes {
            let synced = synced?;
            moved += synced.moved.sent + synced.moved.received;
        }
        // The other side notes where both met when it sees that the connection ended.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let bytes = self.counted.take().ok_or("something was sent that is no message")?;
        Ok((bytes, moved, took))
    }
}
