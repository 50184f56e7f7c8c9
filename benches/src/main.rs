//! The benches: every goal that a number stands for, beside what the machine can do in the same run.
//!
//! Modules are listed low to high; a module uses only those above it.

#![allow(clippy::print_stdout)]

mod stopwatch;
mod process;
mod table;
mod fixture;
mod raw;
mod machine;
mod sequential;
mod durable;
mod bulk;
mod reading;
mod disk;
mod finding;
mod exchange;
mod network;
mod peers;
mod wire;
mod sync;
mod spaces;
mod session;
mod rows;
mod first_copy;
mod topology;
mod matrix;
mod crowd;
mod hub;

use std::path::PathBuf;

use clap::Parser;

use fixture::Place;
use stopwatch::Failure;
use table::Results;

/// Measures driftless on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these: machine, sequential, durable, bulk, reading, disk, find, exchange, network, shapes, sync, spaces, rows, rows-memory, hub. If left
    /// unset, all but the last two, which take minutes.
    names: Vec<String>,
    /// Smaller databases and fewer runs: a minute instead of ten.
    #[arg(long)]
    quick: bool,
    /// Where the databases lie: on the disk to be measured, not in memory.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Also prints what the table has as JSON, one line.
    #[arg(long)]
    json: bool,
    /// Builds the large databases again that earlier runs left in that folder.
    #[arg(long)]
    fresh: bool,
}

type Bench = fn(&Place, &mut Results) -> Result<(), Failure>;

const BENCHES: [(&str, Bench); 15] = [
    ("machine", machine::run),
    ("sequential", sequential::run),
    ("durable", durable::run),
    ("bulk", bulk::run),
    ("reading", reading::run),
    ("disk", disk::run),
    ("find", finding::run),
    ("exchange", exchange::run),
    ("network", network::run),
    ("shapes", matrix::run),
    ("sync", sync::run),
    ("spaces", spaces::run),
    ("rows", rows::run),
    ("rows-memory", first_copy::run),
    ("hub", hub::run),
];
const ONLY_BY_NAME: [&str; 2] = ["rows-memory", "hub"];

fn main() -> Result<(), Failure> {
    if let Some(other) = other_side() {
        return other;
    }
    let Arguments { names, quick, dir, fresh, json } = Arguments::parse();
    if let Some(unknown) = names.iter().find(|name| BENCHES.iter().all(|(known, _)| known != name)) {
        let known = BENCHES.map(|(name, _)| name).join(", ");
        return Err(format!("there is no bench `{unknown}`; there are: {known}").into());
    }
    std::fs::create_dir_all(&dir)?;
    let place = Place { folder: dir, quick, fresh };
    let mut results = Results::default();
    for (name, bench) in BENCHES {
        if names.is_empty() && !ONLY_BY_NAME.contains(&name) || names.iter().any(|wanted| wanted == name) {
            eprintln!("{name}");
            bench(&place, &mut results)?;
        }
    }
    println!("{}", results.table());
    if json {
        println!("{}", results.json());
    }
    Ok(())
}

// The other sides of some benches are this program in processes of their own.
fn other_side() -> Option<Result<(), Failure>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next()?;
    let mut text = || arguments.next().unwrap_or_default();
    Some(match name.as_str() {
        network::SERVE => network::serve(&PathBuf::from(text())),
        hub::HUB => {
            let folder = PathBuf::from(text());
            text().parse().map_err(Failure::from).and_then(|spaces| hub::serve(&folder, spaces))
        }
        first_copy::HERE => first_copy::here(&PathBuf::from(text())),
        first_copy::THERE => first_copy::there(&PathBuf::from(text())),
        crowd::CROWD => {
            let mut number = || text().parse::<usize>().map_err(Failure::from);
            number().and_then(|peers| crowd::join(peers, number()?, number()?))
        }
        _ => return None,
    })
}
