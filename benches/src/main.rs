//! The benches: every goal that a number stands for, beside what the machine can do in the same run.
//!
//! Modules are listed low to high; a module uses only those above it.

#![allow(clippy::print_stdout)]

mod stopwatch;
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
mod rows;
mod topology;
mod matrix;

use std::path::PathBuf;

use clap::Parser;

use fixture::Place;
use stopwatch::Failure;
use table::Results;

/// Measures driftless on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these: machine, sequential, durable, bulk, reading, disk, find, exchange, network, shapes, sync, spaces, rows. If left unset, all.
    names: Vec<String>,
    /// Smaller databases and fewer runs: a minute instead of ten.
    #[arg(long)]
    quick: bool,
    /// Where the databases lie: on the disk to be measured, not in memory.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Builds the large databases again that earlier runs left in that folder.
    #[arg(long)]
    fresh: bool,
}

type Bench = fn(&Place, &mut Results) -> Result<(), Failure>;

const BENCHES: [(&str, Bench); 13] = [
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
];

fn main() -> Result<(), Failure> {
    // The other side of the network bench is this program in a process of its own.
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(network::SERVE) {
        return network::serve(&PathBuf::from(arguments.next().unwrap_or_default()));
    }
    let Arguments { names, quick, dir, fresh } = Arguments::parse();
    if let Some(unknown) = names.iter().find(|name| BENCHES.iter().all(|(known, _)| known != name)) {
        let known = BENCHES.map(|(name, _)| name).join(", ");
        return Err(format!("there is no bench `{unknown}`; there are: {known}").into());
    }
    std::fs::create_dir_all(&dir)?;
    let place = Place { folder: dir, quick, fresh };
    let mut results = Results::default();
    for (name, bench) in BENCHES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            eprintln!("{name}");
            bench(&place, &mut results)?;
        }
    }
    println!("{}", results.table());
    Ok(())
}
