//! Two processes over loopback HTTP: a join into an empty database, an exchange with nothing to do and with one commit,
//! and how long a commit takes from one side to the other's watch.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driftless::{Database, Filter, Invite, Permission, Strength, Ticket};

use crate::exchange::{AUTHORS, written_by_many};
use crate::fixture::{Place, batched, insert_each, notes};
use crate::stopwatch::{Failure, spent_by};
use crate::table::{Goal, Results, number};

/// The first argument of the process that serves.
pub(crate) const SERVE: &str = "serve-for-a-bench";

/// Joining, exchanging and live changes, as a client process sees them.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let commits = place.size(100_000, 10_000);
    eprintln!("  writing {} commits by {AUTHORS} authors", number(commits as f64));
    let folder = place.folder()?;
    let served = folder.path().join("served");
    // The process that serves makes a ticket: the space must be its own.
    drop(written_by_many(batched(&served)?, commits)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(place, commits, folder.path(), results))
}

async fn measure(place: &Place, commits: usize, folder: &Path, results: &mut Results) -> Result<(), Failure> {
    let server = Server::start(&folder.join("served"))?;
    let database = Database::open(folder.join("joined"))?;
    let network = database.network()?;
    let name = number(commits as f64);
    let start = Instant::now();
    let ((space, joined), took) = spent_by(network.join(&server.ticket)).await?;
    let (moved, traffic) = (joined.moved, joined.traffic);
    let wall =
        format!("client CPU, durable; {:.0}/s of wall time", commits as f64 / start.elapsed().as_secs_f64());
    results.add(
        format!("P5 join of {name} commits by {AUTHORS} authors"),
        took.cpu_rate(commits),
        "/s",
        Goal::AtLeast(50_000.0),
        wall,
    );
    let per_signature = moved.received as f64 / moved.signatures as f64;
    results.add(
        "P5 commits per verified signature",
        per_signature,
        "",
        Goal::AtLeast(32.0),
        format!("{} signatures", moved.signatures),
    );
    let per_commit = traffic.received as f64 / moved.received as f64;
    results.add(
        "P5 bytes on the wire per commit",
        per_commit,
        "B",
        Goal::AtMost(60.0),
        "random values included",
    );

    let address = server.ticket.addresses.first().ok_or("no address")?.parse()?;
    let (mut bytes, mut cpu) = (0, Duration::MAX);
    for _ in 0..place.size(20, 5) {
        let (synced, took) = spent_by(network.sync_with_peer(&address, &space.id())).await?;
        bytes = synced.traffic.sent + synced.traffic.received;
        cpu = cpu.min(took.cpu);
    }
    results.add(
        "P6 nothing to do, connection and proofs included",
        bytes as f64,
        "B",
        Goal::AtMost(1024.0),
        format!("client CPU {:.2} ms, connecting included", cpu.as_secs_f64() * 1e3),
    );
    insert_each(&space.collection("notes")?, 1)?;
    let one = network.sync_with_peer(&address, &space.id()).await?;
    if one.moved.sent != 1 || one.moved.received != 0 {
        return Err(format!("one commit was to be sent: {:?}", one.moved).into());
    }
    let one = one.traffic.sent + one.traffic.received;
    results.add(
        "P7 one new commit: bytes beyond P6",
        (one - bytes) as f64,
        "B",
        Goal::Shown,
        "commit, acknowledgement and author clock",
    );
    network.close();
    live(place, results).await
}

// A commit here, and the moment in which a watch on the other side tells it. The other side is in this process: one clock.
async fn live(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let here =
        Database::builder().durability(driftless::Durability::Batched(Duration::from_millis(1))).memory()?;
    let there = Database::memory()?;
    let (at_here, at_there) = (here.network()?, there.network()?);
    let from = notes(&here)?;
    let address = at_here.serve(&"http://127.0.0.1:0".parse()?).await?;
    let (to, _) = at_there.join(&from.space().invite(invite(address.to_string()))?).await?;
    at_there.keep_connected()?;
    let mut watch = to.collection("notes")?.watch(Filter::all())?;
    let count = place.size(500, 100);
    let mut waits = Vec::with_capacity(count);
    for _ in 0..count + 20 {
        let start = Instant::now();
        insert_each(&from, 1)?;
        loop {
            let event = tokio::task::block_in_place(|| watch.wait_for(Duration::from_secs(30)))?;
            if event.ok_or("a live change did not come")?.source.is_some() {
                break;
            }
        }
        waits.push(start.elapsed().as_secs_f64() * 1e3);
    }
    // The first ones wait for the connection.
    let mut waits = waits.split_off(20);
    waits.sort_by(f64::total_cmp);
    let at = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or_default();
    results.add(
        "P10 live change, half of them within",
        at(50),
        "ms",
        Goal::AtMost(5.0),
        "one process, HTTP, without fsync",
    );
    results.add("P10 live change, 99 of 100 within", at(99), "ms", Goal::AtMost(25.0), "");
    at_here.close();
    at_there.close();
    Ok(())
}

/// The process that serves: prints a ticket, and ends when its input does.
pub(crate) fn serve(folder: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let database = Database::open(folder)?;
        let network = database.network()?;
        let address = network.serve(&"http://127.0.0.1:0".parse()?).await?;
        let summary = database.spaces()?.into_iter().next().ok_or("no space")?;
        let space = database.space(&summary.id.to_string())?;
        println!("{}", space.invite(invite(address.to_string()))?);
        tokio::task::block_in_place(|| std::io::stdin().lines().for_each(drop));
        Ok(())
    })
}

fn invite(address: String) -> Invite {
    Invite {
        permission: Permission::Write(Strength(10)),
        uses: None,
        expires: None,
        addresses: vec![address],
    }
}

struct Server {
    process: Child,
    ticket: Ticket,
}

impl Server {
    fn start(folder: &Path) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { ticket: line.trim().parse()?, process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
