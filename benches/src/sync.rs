//! What an exchange says beyond the commits it sends: between databases in this process that have met before or never,
//! beside Automerge's sync of as many changes, and negentropy over as many ids.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use driftless::{Address, Database, Network, Permission, Space, SpaceId, Strength, Subject};
use driftless_net::MemoryNetwork;

use crate::exchange::{AUTHORS, written_by_many};
use crate::fixture::{Place, batched, insert_each};
use crate::peers::{Documents, Said, negentropy};
use crate::stopwatch::{Failure, Spent, median, micros, spent_by};
use crate::table::{Goal, Results, number};
use crate::wire::{Bytes, Counted};

// Both, and a third that each may have met.
const SIDES: [&str; 3] = ["ours", "theirs", "third"];

// One exchange and what is wanted of it, for the largest number of commits.
struct Case {
    name: &'static str,
    // New commits here and there.
    new: (usize, usize),
    before: Before,
    bytes: Goal,
    // Milliseconds, both sides together.
    cpu: Goal,
}

// What both databases did before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    // They exchanged this space with each other.
    Met,
    // Each exchanged it with a third database, as one that serves has: what it reads for a session is in memory.
    Used,
    // They were opened, on copies of files: every page is read from the system anew.
    Opened,
}

const fn case(name: &'static str, new: (usize, usize), before: Before, bytes: f64, cpu: Option<f64>) -> Case {
    let cpu = match cpu {
        Some(ms) => Goal::AtMost(ms),
        None => Goal::Shown,
    };
    Case { name, new, before, bytes: Goal::AtMost(bytes), cpu }
}

const CASES: [Case; 8] = [
    case("P6 nothing to do, known", (0, 0), Before::Met, 200.0, Some(0.2)),
    case("P6 nothing to do, never met", (0, 0), Before::Used, 700.0, None),
    case("P6 the same, just opened", (0, 0), Before::Opened, 700.0, None),
    case("P7 one new, known", (1, 0), Before::Met, 200.0, Some(0.2)),
    case("P7 one new, never met", (1, 0), Before::Used, 700.0, Some(2.0)),
    case("P7 the same, just opened", (1, 0), Before::Opened, 700.0, Some(2.0)),
    case("P8 100 new on each side, never met", (100, 100), Before::Used, 700.0, None),
    case("P8 1,000 new on each side, never met", (1000, 1000), Before::Used, 2100.0, None),
];

/// For a number of commits and ten times as many.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    // In one thread: two that wake each other take more than what they then do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let large = place.size(100_000, 10_000);
    for commits in [large / 10, large] {
        let folder = place.folder()?;
        let base = Base::new(folder.path(), commits)?;
        let documents = Documents::new(commits)?;
        let name = number(commits as f64);
        let wanted = commits == large;
        for case in &CASES {
            let ours = runtime.block_on(base.measure(case, place.size(7, 3)))?;
            let met = case.before == Before::Met;
            let automerge = best(place, || documents.exchange(case.new.0, case.new.1, met))?;
            // It remembers nothing of a peer.
            let ids = if met { None } else { Some(negentropy(commits, case.new.0, case.new.1)?) };
            let goals = if wanted { (case.bytes, case.cpu) } else { (Goal::Shown, Goal::Shown) };
            add(results, &format!("{}, at {name}", case.name), goals, &ours, &automerge, ids.as_ref());
        }
        let ours = runtime.block_on(base.lost())?;
        let goals = if wanted { (Goal::AtMost(1024.0), Goal::Shown) } else { (Goal::Shown, Goal::Shown) };
        let automerge = best(place, || documents.lost())?;
        add(results, &format!("P9 a peer lost its newest commit, at {name}"), goals, &ours, &automerge, None);
    }
    Ok(())
}

fn best(place: &Place, measure: impl Fn() -> Result<Said, Failure>) -> Result<Said, Failure> {
    let mut runs = (0..place.runs()).map(|_| measure()).collect::<Result<Vec<_>, _>>()?;
    runs.sort_by_key(|said| said.spent.cpu);
    runs.first().copied().ok_or_else(|| "nothing was measured".into())
}

fn add(
    results: &mut Results,
    name: &str,
    goals: (Goal, Goal),
    ours: &Measured,
    automerge: &Said,
    ids: Option<&Said>,
) {
    let ms = |spent: Spent| spent.cpu.as_secs_f64() * 1e3;
    let said = &ours.said;
    let ratio = automerge.overhead as f64 / said.overhead as f64;
    let ids_bytes = ids.map_or(String::new(), |ids| format!("; negentropy {}", whole(ids.overhead)));
    let note = format!(
        "{} messages; Automerge {} ({ratio:.1}x){ids_bytes}; commits {}, theirs {}; proofs {}",
        said.messages,
        whole(automerge.overhead),
        whole(said.commits),
        whole(automerge.changes),
        whole(said.proofs),
    );
    results.add(format!("{name}: overhead"), said.overhead as f64, "B", goals.0, note);
    let ids_cpu = ids.map_or(String::new(), |ids| format!("; negentropy {:.2}", ms(ids.spent)));
    let note = format!(
        "both sides, beyond connecting and proofs ({:.2}); Automerge {:.2}{ids_cpu}",
        ours.connecting,
        ms(automerge.spent),
    );
    results.add(format!("{name}: CPU"), ours.ms, "ms", goals.1, note);
}

fn whole(bytes: u64) -> String {
    if bytes < 100 { bytes.to_string() } else { number(bytes as f64) }
}

struct Measured {
    said: Bytes,
    // Milliseconds of CPU, both sides: the exchange without connecting, and connecting alone.
    ms: f64,
    connecting: f64,
}

impl Measured {
    // Medians of exchanges, and of connections in which nothing is exchanged.
    fn of(said: Bytes, exchanges: Vec<f64>, connections: Vec<f64>) -> Self {
        let connecting = median(connections);
        Self { said, ms: (median(exchanges) - connecting).max(0.0), connecting }
    }
}

// Folders with databases that have the same space and never met, to be copied for each measurement.
struct Base {
    folder: PathBuf,
    space: SpaceId,
}

impl Base {
    fn new(folder: &Path, commits: usize) -> Result<Self, Failure> {
        eprintln!("  writing {} commits by {AUTHORS} authors", number(commits as f64));
        let ours = batched(&folder.join(SIDES[0]))?;
        let others = [batched(&folder.join(SIDES[1]))?, batched(&folder.join(SIDES[2]))?];
        let space = written_by_many(ours.clone(), commits)?;
        for other in &others {
            space.grant(Subject::Key(other.author()?), Permission::Write(Strength(10)))?;
        }
        ours.flush()?;
        let mut bytes = Vec::new();
        space.export(&mut bytes, &mut |_| {})?;
        for other in &others {
            other.import(&mut bytes.as_slice(), &mut |_| {})?;
            other.flush()?;
        }
        Ok(Self { folder: folder.to_owned(), space: space.id() })
    }

    async fn open(&self) -> Result<Pair, Failure> {
        let folder = tempfile::tempdir_in(&self.folder)?;
        for side in SIDES {
            copy(&self.folder.join(side), &folder.path().join(side))?;
        }
        Pair::open(folder, self.space).await
    }

    async fn measure(&self, case: &Case, runs_never_met: usize) -> Result<Measured, Failure> {
        let met = case.before == Before::Met;
        let mut pair = self.open().await?;
        if met {
            pair.exchange(pair.space).await?;
        }
        // What needs no new databases can be repeated often.
        let times = if met { 41 } else { runs_never_met };
        let (mut runs, mut connections, mut said) = (Vec::new(), Vec::new(), Bytes::default());
        for at in 0..times {
            if at > 0 && !met {
                // Closing is no part of the next exchange.
                pair.close().await?;
                pair = self.open().await?;
            }
            if case.before == Before::Used {
                pair.meet_a_third().await?;
            }
            insert_each(&notes_of(&pair.ours, &pair.space)?, case.new.0)?;
            insert_each(&notes_of(&pair.theirs, &pair.space)?, case.new.1)?;
            let (bytes, moved, took) = pair.exchange(pair.space).await?;
            if moved != (case.new.0 as u64, case.new.1 as u64) {
                return Err(format!("{moved:?} commits moved instead of {:?}", case.new).into());
            }
            said = bytes;
            runs.push(took);
            // In turns, so that both see the same machine.
            for _ in 0..if met { 1 } else { 7 } {
                connections.push(pair.connecting().await?);
            }
        }
        // Closing is no part of what is measured next, and neither is freeing what the system holds of the files.
        pair.close().await?;
        Ok(Measured::of(said, runs, connections))
    }

    // The other side is restored from a copy that it made before its newest commit.
    async fn lost(&self) -> Result<Measured, Failure> {
        let pair = self.open().await?;
        pair.exchange(pair.space).await?;
        let folder = pair.close().await?;
        copy(&folder.path().join("theirs"), &folder.path().join("copy"))?;
        let pair = Pair::open(folder, self.space).await?;
        insert_each(&notes_of(&pair.theirs, &pair.space)?, 1)?;
        pair.exchange(pair.space).await?;
        let folder = pair.close().await?;
        std::fs::remove_dir_all(folder.path().join("theirs"))?;
        std::fs::rename(folder.path().join("copy"), folder.path().join("theirs"))?;
        let pair = Pair::open(folder, self.space).await?;
        let (said, moved, spent) = pair.exchange(pair.space).await?;
        if moved != (1, 0) {
            return Err(format!("{moved:?} commits moved instead of one").into());
        }
        let mut connections = Vec::new();
        for _ in 0..7 {
            connections.push(pair.connecting().await?);
        }
        pair.close().await?;
        Ok(Measured::of(said, vec![spent], connections))
    }
}

// The two databases on a network.
struct Pair {
    ours: Database,
    theirs: Database,
    at_ours: Network,
    at_theirs: Network,
    network: MemoryNetwork,
    counted: Counted,
    address: Address,
    space: SpaceId,
    folder: tempfile::TempDir,
}

impl Pair {
    async fn open(folder: tempfile::TempDir, space: SpaceId) -> Result<Self, Failure> {
        let (ours, theirs) = (batched(&folder.path().join("ours"))?, batched(&folder.path().join("theirs"))?);
        let network = MemoryNetwork::new();
        let counted = Counted::new(&network, ours.peer()?);
        let at_ours = Network::over(&ours, Arc::new(counted.clone()))?;
        let at_theirs = Network::over(&theirs, Arc::new(network.transport(theirs.peer()?)))?;
        let address = at_theirs.serve(&"memory:theirs".parse()?).await?;
        Ok(Self { ours, theirs, at_ours, at_theirs, network, counted, address, space, folder })
    }

    // Each side exchanges the space with somebody else, and gets a commit from there.
    async fn meet_a_third(&self) -> Result<(), Failure> {
        let third = batched(&self.folder.path().join(SIDES[2]))?;
        let at_third = Network::over(&third, Arc::new(self.network.transport(third.peer()?)))?;
        let address = at_third.serve(&"memory:third".parse()?).await?;
        for new in [0, 1] {
            insert_each(&notes_of(&third, &self.space)?, new)?;
            for side in [&self.at_ours, &self.at_theirs] {
                side.sync_with_peer(&address, &self.space).await?;
            }
        }
        self.counted.take().ok_or("something was sent that is no message")?;
        at_third.close();
        drop((third, at_third));
        // What it leaves to do is done before anything is measured.
        self.connecting().await.map(drop)
    }

    // Gives the folder when nobody holds its databases any more.
    async fn close(self) -> Result<tempfile::TempDir, Failure> {
        let Self { folder, at_ours, at_theirs, .. } = self;
        at_ours.close();
        at_theirs.close();
        drop((self.ours, self.theirs, at_ours, at_theirs, self.counted));
        for side in &SIDES[..2] {
            // What served connections lets go of it in a moment.
            for _ in 0..1000 {
                match batched(&folder.path().join(side)) {
                    Ok(_) => break,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        }
        Ok(folder)
    }

    // Bytes, commits sent and received, milliseconds of CPU; we dial.
    async fn exchange(&self, space: SpaceId) -> Result<(Bytes, (u64, u64), f64), Failure> {
        let (synced, took) = spent_by(self.at_ours.sync_with_peer(&self.address, &space)).await?;
        let bytes = self.counted.take().ok_or("something was sent that is no message")?;
        Ok((bytes, (synced.moved.sent, synced.moved.received), micros(took.cpu) / 1e3))
    }

    // Connects, proves who is there, and asks for a space that is not.
    async fn connecting(&self) -> Result<f64, Failure> {
        let nothing = SpaceId([0; 32]);
        let work = async { Ok::<_, Failure>(self.at_ours.sync_with_peer(&self.address, &nothing).await) };
        let (answer, took) = spent_by(work).await?;
        self.counted.take().ok_or("something was sent that is no message")?;
        match answer {
            Ok(_) => Err("a space that nobody has was opened".into()),
            Err(_) => Ok(micros(took.cpu) / 1e3),
        }
    }
}

fn notes_of(database: &Database, space: &SpaceId) -> Result<driftless::Collection, Failure> {
    let space: Space = database.space(&space.to_string())?;
    Ok(space.collection("notes")?)
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
