//! A hub in a process of its own: what a thousand connected peers cost it, at rest and while they write.
//!
//! The hub has its database on the disk, each write durable, and nothing is set otherwise than by default.

use std::path::Path;
use std::time::{Duration, Instant};

use driftless::{Database, Invite, Permission, Strength};

use crate::crowd::{self, PEERS};
use crate::fixture::Place;
use crate::process::{Process, Used, allow_files};
use crate::stopwatch::Failure;
use crate::table::{Goal, Results, number};

/// The first argument of the process that is the hub.
pub(crate) const HUB: &str = "hub-for-a-bench";
/// Writes of all peers in a second.
const RATE: usize = 600;
const MIB: f64 = 1024.0 * 1024.0;

/// A thousand peers in a hundred spaces, ten each; with `--quick` a hundred in ten.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let (peers, seconds) = (place.size(1000, 100), place.size(60, 10));
    let spaces = peers / PEERS;
    let folder = place.folder()?;
    let served = folder.path().join("hub").display().to_string();
    let mut hub = Process::start(&[HUB, &served, &spaces.to_string()])?;
    let tickets = (0..spaces).map(|_| hub.hear()).collect::<Result<Vec<_>, _>>()?;
    let alone = hub.used()?;

    eprintln!("  connecting {} peers in {} spaces", number(peers as f64), number(spaces as f64));
    let (many, rate, writes) = (peers.to_string(), RATE.to_string(), (RATE * seconds).to_string());
    let mut crowd = Process::start(&[crowd::CROWD, &many, &rate, &writes])?;
    for ticket in &tickets {
        crowd.tell(ticket)?;
    }
    let started = Instant::now();
    crowd.hear()?;
    let joined = started.elapsed();
    let (idle, at_rest) = rest(&hub)?;
    let grown = idle.resident.saturating_sub(alone.resident) as f64;
    let name = |what: &str| format!("P11 hub, {} peers: {what}", number(peers as f64));
    results.add(name("memory of an idle connection"), grown / peers as f64 / 1024.0, "KiB", Goal::Shown, "");
    let note = format!("{:.0} MiB before any came; {} threads", alone.resident as f64 / MIB, idle.threads);
    results.add(name("memory, all idle"), idle.resident as f64 / MIB, "MiB", Goal::AtMost(512.0), note);
    let note = format!("joined and connected in {:.1} s", joined.as_secs_f64());
    results.add(name("CPU, all idle"), at_rest * 100.0, "%", Goal::Shown, note);

    eprintln!("  {RATE} writes/s for {seconds} s");
    let (before, beside, started) = (hub.used()?, crowd.used()?, Instant::now());
    crowd.tell("write")?;
    let outcome = crowd.hear()?;
    let (after, others, took) = (hub.used()?, crowd.used()?, started.elapsed().as_secs_f64());
    let mut told = outcome.split(' ').map(str::parse::<f64>);
    let mut next = || told.next().ok_or("the peers said too little");
    let (deliveries, p50, p99, most, wrote) = (next()??, next()??, next()??, next()??, next()??);
    let note = format!("{} deliveries; writes took {wrote:.1} s", number(deliveries));
    results.add(name("half of the deliveries within"), p50, "ms", Goal::Shown, note);
    results.add(
        name("99 of 100 deliveries within"),
        p99,
        "ms",
        Goal::AtMost(2000.0),
        format!("the last {most:.0} ms; from the call that commits to the other peers' changes"),
    );
    let note = format!("at most; {} threads at the end", after.threads);
    results.add(name("memory"), after.peak as f64 / MIB, "MiB", Goal::AtMost(512.0), note);
    let share = |before: &Used, after: &Used| (after.cpu - before.cpu).as_secs_f64() / took;
    let note = format!("of one core; the peers' process took {:.0} %", share(&beside, &others) * 100.0);
    results.add(name("CPU"), share(&before, &after) * 100.0, "%", Goal::Shown, note);
    let each = (after.cpu - before.cpu).as_secs_f64() * 1e6 / deliveries;
    results.add(name("CPU for each delivery"), each, "us", Goal::Shown, "its share of the write included");
    Ok(())
}

// Waits until nothing that the joins brought is left to be done; what is used then, and CPU per second.
fn rest(hub: &Process) -> Result<(Used, f64), Failure> {
    const LOOK: Duration = Duration::from_secs(2);
    let mut before = hub.used()?;
    loop {
        std::thread::sleep(LOOK);
        let now = hub.used()?;
        let spent = now.cpu - before.cpu;
        if spent < LOOK / 20 {
            return Ok((now, spent.as_secs_f64() / LOOK.as_secs_f64()));
        }
        before = now;
    }
}

/// The process that is the hub: prints a ticket for each space, and ends when its input does.
pub(crate) fn serve(folder: &Path, spaces: usize) -> Result<(), Failure> {
    allow_files(4096)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let database = Database::open(folder)?;
        let network = database.network()?;
        let address = network.serve(&"http://127.0.0.1:0".parse()?).await?;
        network.keep_connected()?;
        for space in 0..spaces {
            let space = database.create_space(&format!("space {space}"))?;
            let invite = Invite {
                permission: Permission::Write(Strength(10)),
                uses: None,
                expires: None,
                addresses: vec![address.to_string()],
            };
            println!("{}", space.invite(invite)?);
        }
        tokio::task::block_in_place(|| std::io::stdin().lines().for_each(drop));
        Ok(())
    })
}
