//! Users of one database: who acts, with which key, under which password.

mod acting;
mod identities;
mod keys;
mod passwords;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Builder, Database, Error, Map, Password, PasswordCost, Permission, Space, Strength};

/// So cheap that tests do not wait for it.
const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
const START: u64 = 1_800_000_000_000;

/// A clock that the test moves.
#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

fn builder() -> Builder {
    Database::builder().password_cost(CHEAP).user_name("ann")
}

fn at(hand: &Hand) -> Builder {
    let hand = hand.clone();
    builder().clock(move || hand.0.load(Ordering::Relaxed))
}

fn memory() -> Database {
    builder().memory().unwrap()
}

fn open(folder: &Path) -> Database {
    builder().open(folder).unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text)
}

fn insert(space: &Space, n: i64) -> Result<driftless::DocumentId, Error> {
    let fields = Map::from_json(&format!(r#"{{"n": {n}}}"#)).unwrap();
    Ok(space.collection("notes")?.insert(fields)?.id)
}

fn write(strength: u32) -> Permission {
    Permission::Write(Strength(strength))
}

/// The same space through another handle.
fn same(space: &Space, db: &Database) -> Space {
    db.space(&space.id().to_string()).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.unwrap_err().code()
}
