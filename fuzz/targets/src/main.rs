//! Chores around the corpora: `seeds FOLDER` writes valid inputs to begin with, `try TARGET FILE..` runs single inputs,
//! `hostile` shows what each attack costs (with a folder, also of a database there), `targets` lists the names and longest inputs for `fuzz/run`. It fuzzes nothing itself.

use std::io::{Error, Write};
use std::path::Path;
use std::{env, fs};

use driftless_fuzz_targets::{Attack, TARGETS, attacks, attacks_on_database, check, find};

/// Commits in the database that is made in a folder to be attacked.
const COMMITS: usize = 100_000;

fn main() -> Result<(), Error> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    match words.as_slice() {
        ["targets"] => {
            for target in &TARGETS {
                writeln!(out, "{} {}", target.name, target.longest)?;
            }
            Ok(())
        }
        ["seeds", folder] => {
            for target in &TARGETS {
                let folder = Path::new(folder).join(target.name);
                fs::create_dir_all(&folder)?;
                for (at, seed) in (target.seeds)().into_iter().enumerate() {
                    fs::write(folder.join(format!("seed-{at:02}")), seed)?;
                }
            }
            Ok(())
        }
        ["try", name, files @ ..] => {
            let target = find(name).ok_or_else(|| Error::other(format!("there is no target {name}")))?;
            for file in files {
                check(target, &fs::read(file)?);
                writeln!(out, "{file}: nothing found")?;
            }
            Ok(())
        }
        ["hostile", folder @ ..] => {
            writeln!(out, "{:56} {:>7} {:>12} {:>10}", "input", "calls", "longest, us", "heap, KiB")?;
            let mut found = attacks();
            if let Some(folder) = folder.first() {
                found.extend(attacks_on_database(Path::new(folder), COMMITS).map_err(Error::other)?);
            }
            for Attack { name, meter } in found {
                let (time, heap) = (meter.longest.as_micros(), meter.heap.div_ceil(1024));
                writeln!(out, "{name:56} {:>7} {time:>12} {heap:>10}", meter.calls)?;
            }
            Ok(())
        }
        _ => Err(Error::other("say `targets`, `seeds FOLDER`, `try TARGET FILE..`, or `hostile [FOLDER]`")),
    }
}
