//! Every package in the lock file comes from crates.io under a licence that `deny.toml` allows.

use std::path::Path;
use std::process::Command;

#[test]
fn every_package_has_an_allowed_licence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let deny = std::fs::read_to_string(root.join("deny.toml")).expect("deny.toml");
    let allowed = xtask::licences::allowed(&deny);
    assert!(
        allowed.iter().any(|licence| licence == "MIT"),
        "the list in deny.toml was not understood: {allowed:?}"
    );

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--locked", "--all-features"];
    let output = Command::new(cargo).args(arguments).current_dir(&root).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");

    let refused = xtask::licences::check(&metadata, &allowed);
    assert!(refused.is_empty(), "\n{}\n", refused.join("\n"));
}
