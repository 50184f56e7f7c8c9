//! The chores that are run by hand. The checks are tests: `cargo test -p xtask`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- iso-codes [SOURCE]
  writes examples/data/*.jsonl from the JSON tables in SOURCE (default /usr/share/iso-codes/json)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, source) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [verb] => (verb, "/usr/share/iso-codes/json"),
        [verb, source] => (verb, source),
        _ => ("", ""),
    };
    if verb != "iso-codes" {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/data");
    match xtask::iso_codes::convert_all(Path::new(source), &target) {
        Ok(written) => {
            written.iter().for_each(|(name, documents)| eprintln!("{name}: {documents} documents"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}; install the package iso-codes, or name the folder of its JSON files");
            ExitCode::FAILURE
        }
    }
}
