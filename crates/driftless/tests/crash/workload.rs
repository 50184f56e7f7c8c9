//! The scripted workload: small steps, in sessions that open and close the database, and what the others send meanwhile.
//! Each step is one acknowledgement: when it returns, what it did must survive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftless::{
    Builder, Collection, Database, DocumentId, Durability, Error, FieldPath, Filter, Insert, Map, Operator,
    Permission, Space, Strength, Subject, operators_from_json,
};

/// 2026-01-01T00:00:00Z
const START: u64 = 1_767_225_600_000;

/// A step of the script.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    run: fn(&Database, &Received) -> Result<(), Error>,
}

/// Steps between an opening and a closing of the database.
pub(crate) struct Session {
    pub(crate) durability: Durability,
    pub(crate) steps: Vec<Step>,
}

/// Bundles that others sent, by the name of the step that takes them.
pub(crate) type Received = BTreeMap<&'static str, Vec<u8>>;

fn step(name: &'static str, run: fn(&Database, &Received) -> Result<(), Error>) -> Step {
    Step { name, run }
}

impl Step {
    /// Runs it at its time.
    pub(crate) fn run(&self, db: &Database, received: &Received) -> Result<(), Error> {
        (self.run)(db, received)
    }
}

/// The whole script, `rounds` times the middle of it.
pub(crate) fn script(rounds: usize) -> Vec<Session> {
    let each = |steps| Session { durability: Durability::Each, steps };
    let mut sessions = vec![each(vec![
        step("found a space", |db, _| db.create_space("home").map(drop)),
        step("insert", |db, _| insert(&notes(db)?, 1, r#"{"n": 1, "tags": ["a"]}"#)),
        step("insert a long text", |db, _| {
            insert(&notes(db)?, 2, &format!(r#"{{"n": 2, "text": "{}"}}"#, "long ".repeat(2000)))
        }),
        step("index", |db, _| notes(db)?.create_index(&path("n")).map(drop)),
        step("grant", |db, _| {
            let team = Subject::Key(others(1).author()?);
            db.space("home")?.grant(team, Permission::Write(Strength(10))).map(drop)
        }),
        step("found another space", |db, _| db.create_space("side").map(drop)),
    ])];
    for round in 0..rounds {
        let steps = vec![
            step("edit", |db, _| {
                notes(db)?
                    .edit(&1.into(), operators(r#"{"$inc": {"n": 1}, "$push": {"tags": "b"}}"#))
                    .map(drop)
            }),
            step("insert many", |db, _| {
                let (notes, mut transaction) = (notes(db)?, db.transaction());
                for n in 0..40 {
                    transaction.insert(&notes, fields(&format!(r#"{{"n": {n}, "text": "one of many"}}"#)))?;
                }
                transaction.commit().map(drop)
            }),
            step("both spaces", |db, _| {
                let mut transaction = db.transaction();
                for space in ["home", "side"] {
                    let pairs = db.space(space)?.collection("pairs")?;
                    transaction.insert(&pairs, fields(r#"{"half": true}"#))?;
                }
                transaction.commit().map(drop)
            }),
            step("import late edits", |db, received| take(db, &received["import late edits"])),
            step("delete", |db, _| notes(db)?.delete(&2.into()).map(drop)),
            step("restore", |db, _| notes(db)?.restore(&2.into()).map(drop)),
            step("join", |db, received| take(db, &received["join"])),
            step("rename", |db, _| db.space("side")?.rename("side")),
            step("rebuild", |db, _| db.space("home")?.rebuild().map(drop)),
        ];
        sessions.push(each(steps));
        if round == 0 {
            sessions.push(each(vec![
                step("more than one commit holds", |db, _| {
                    let big = db.space("side")?.collection("big")?;
                    let mut transaction = db.transaction();
                    for _ in 0..3 {
                        transaction
                            .insert(&big, fields(&format!(r#"{{"text": "{}"}}"#, "x".repeat(400_000))))?;
                    }
                    transaction.commit().map(drop)
                }),
                step("forget", |db, _| db.space("side")?.forget()),
                step("found it again", |db, _| db.create_space("side").map(drop)),
            ]));
        }
        sessions.push(Session {
            durability: Durability::Batched(Duration::from_secs(3600)),
            steps: vec![step("batch", |db, _| {
                for n in 0..5 {
                    notes(db)?.insert(fields(&format!(r#"{{"n": {n}, "batched": true}}"#)))?;
                }
                db.flush()
            })],
        });
    }
    sessions
}

/// Prepares what a step takes from others, from what the database has told them.
pub(crate) fn send(step: &Step, db: &Database, round: &mut u8, received: &mut Received) {
    match step.name {
        // Edits of what was edited here since, made before, at earlier times than what is here.
        "import late edits" => {
            *round += 1;
            let other = others(1);
            take(&other, &bundle(&db.space("home").unwrap())).unwrap();
            let notes = notes(&other).unwrap();
            for n in 0..5 {
                insert(&notes, 1000 + i64::from(*round) * 10 + n, r#"{"n": 7}"#).unwrap();
            }
            notes.edit(&1.into(), operators(r#"{"$set": {"late": true}, "$inc": {"n": 100}}"#)).unwrap();
            received.insert(step.name, bundle(&other.space("home").unwrap()));
        }
        "join" => {
            let other = others(10 + *round);
            let theirs = other.create_space(&format!("theirs {round}")).unwrap();
            let notes = theirs.collection("notes").unwrap();
            for n in 0..20 {
                insert(&notes, n, r#"{"theirs": true}"#).unwrap();
            }
            received.insert(step.name, bundle(&theirs));
        }
        _ => {}
    }
}

/// Time for those who open the database: later with each step, the same in every run.
#[derive(Debug, Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    pub(crate) fn set(&self, step: usize) {
        self.0.store(START + 1000 * step as u64, Ordering::SeqCst);
    }

    /// A database that goes by this hand, the `opened`th time that it is opened.
    pub(crate) fn builder(&self, opened: usize) -> Builder {
        let now = self.0.clone();
        let mut seed = [42; 32];
        seed[..8].copy_from_slice(&(opened as u64).to_le_bytes());
        Database::builder().seed(seed).clock(move || now.load(Ordering::SeqCst))
    }
}

// Somebody else, whose clock stands at the beginning.
pub(crate) fn others(seed: u8) -> Database {
    Database::builder().seed([seed; 32]).clock(|| START).memory().unwrap()
}

pub(crate) fn notes(db: &Database) -> Result<Collection, Error> {
    db.space("home")?.collection("notes")
}

pub(crate) fn insert(into: &Collection, id: i64, json: &str) -> Result<(), Error> {
    into.insert_with(fields(json), Insert { id: Some(DocumentId::from(id)), parent: None }).map(drop)
}

pub(crate) fn fields(json: &str) -> Map {
    Map::from_json(json).unwrap()
}

fn operators(json: &str) -> Vec<Operator> {
    operators_from_json(json).unwrap()
}

pub(crate) fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

pub(crate) fn filter(json: &str) -> Filter {
    Filter::parse(json).unwrap()
}

pub(crate) fn bundle(space: &Space) -> Vec<u8> {
    let mut bytes = Vec::new();
    space.export(&mut bytes, &mut |_| {}).unwrap();
    bytes
}

/// Takes a bundle whose every commit must be welcome.
pub(crate) fn take(db: &Database, bytes: &[u8]) -> Result<(), Error> {
    let done = db.import(&mut &*bytes, &mut |_| {})?;
    assert_eq!((done.refused, done.declined, done.wanted), (0, 0, 0));
    Ok(())
}
