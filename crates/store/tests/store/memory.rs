//! The memory adapter keeps the contract.

use driftless_store::conformance::{self, SCHEMA};
use driftless_store::{MemoryStorage, Storage};
use proptest::prelude::*;

use crate::model::operations;

fn make() -> Box<dyn Storage> {
    Box::new(MemoryStorage::new(&SCHEMA).unwrap())
}

#[test]
fn memory_conforms() {
    conformance::all(&make);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn memory_follows_the_model(operations in operations()) {
        conformance::model::run(&mut *make(), &operations);
    }
}
