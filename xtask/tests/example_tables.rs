//! The tables in `examples/data` are what the demo and the README import: flat documents with a unique key.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use xtask::iso_codes::TABLES;

#[test]
fn every_line_is_a_flat_document_with_a_key_of_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data");
    for table in TABLES {
        let text = std::fs::read_to_string(folder.join(table.target)).expect(table.target);
        let mut keys = BTreeSet::new();
        for line in text.lines() {
            let document: Value = serde_json::from_str(line).expect(line);
            let fields = document.as_object().expect(line);
            assert!(fields.values().all(Value::is_string), "{line}");
            assert!(keys.insert(fields[table.key].to_string()), "{} repeats {line}", table.target);
        }
        assert!(keys.len() > 150, "{} holds only {} documents", table.target, keys.len());
    }
}
