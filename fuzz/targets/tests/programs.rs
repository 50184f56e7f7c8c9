//! The list of targets and the programs of the fuzzer name the same.

use std::fs;
use std::path::Path;

use driftless_fuzz_targets::TARGETS;

#[test]
fn each_target_has_a_program_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets");
    let manifest = fs::read_to_string(folder.join("../Cargo.toml")).unwrap();
    for target in &TARGETS {
        let program = fs::read_to_string(folder.join(format!("{}.rs", target.name))).unwrap();
        assert!(program.contains(&format!("find(\"{}\")", target.name)));
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)));
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), TARGETS.len());
}
