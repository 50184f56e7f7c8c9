//! Random operations for the model of `conformance`. Few different keys, so that they meet.

use std::ops::Bound;

use driftless_store::Order;
use driftless_store::conformance::model::{Content, Operation};
use proptest::prelude::*;

pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operation(), 1..120)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (number(), value()).prop_map(|(key, value)| Operation::PutNumber(key, value)),
        2 => number().prop_map(Operation::RemoveNumber),
        2 => (bound(number()), bound(number()), order())
            .prop_map(|(from, to, order)| Operation::RangeNumbers(from, to, order)),
        4 => (word(), value()).prop_map(|(key, value)| Operation::PutWord(key, value)),
        2 => word().prop_map(Operation::RemoveWord),
        2 => (bound(word()), bound(word()), order())
            .prop_map(|(from, to, order)| Operation::RangeWords(from, to, order)),
        6 => (0..8u64, content()).prop_map(|(number, content)| Operation::Upsert(number, content)),
        2 => (0..8u64).prop_map(Operation::RemoveDocument),
        2 => (0..4u64, prop::option::of(0..8u64)).prop_map(|(collection, after)| Operation::Scan(collection, after)),
        1 => Just(Operation::Commit),
        1 => Just(Operation::Rollback),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..8u64, 1 => i64::MAX as u64 - 2..=i64::MAX as u64]
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), Just(255u8)], 0..3)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..20)
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Ascending), Just(Order::Descending)]
}

fn bound<K: std::fmt::Debug + Clone + 'static>(
    key: impl Strategy<Value = K> + 'static,
) -> impl Strategy<Value = Bound<K>> {
    (key, 0..3u8).prop_map(|(key, kind)| match kind {
        0 => Bound::Included(key),
        1 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    })
}

fn content() -> impl Strategy<Value = Content> {
    (0..4u64, "[ab]{0,2}", any::<bool>(), "[a-z]{0,5}", value())
        .prop_map(|(collection, id, deleted, json, state)| Content { collection, id, deleted, json, state })
}
