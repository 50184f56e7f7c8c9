//! Every input of the corpora, and changes of each: no panic, no more heap and time than the input allows.
//!
//! One test in one binary: the counting allocator counts what all threads of a program allocate.

use std::fs;
use std::path::Path;

use driftless_fuzz_targets::{TARGETS, check, damaged};

/// Changed inputs for each decoder, and for each target that runs databases: shared among the files of its corpus.
const DECODED: usize = 20_000;
const LIVE: usize = 150;

#[test]
fn the_corpora_and_their_neighbours_cost_what_they_may_and_break_nothing() {
    for target in &TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target.name);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        let files = files.iter().map(|file| fs::read(file).unwrap());
        let inputs: Vec<Vec<u8>> = (target.seeds)().into_iter().chain(files).collect();
        // What is made once, such as the keys of a world, counts for nobody.
        (target.run)(&inputs[0]);
        let again = if target.decodes { DECODED } else { LIVE }.div_ceil(inputs.len());
        for (at, input) in inputs.iter().enumerate() {
            check(target, input);
            let other = &inputs[(at + 1) % inputs.len()];
            for seed in 0..again {
                let mut input = damaged(input, other, (at * again + seed) as u64);
                input.truncate(target.longest);
                check(target, &input);
            }
        }
    }
}
