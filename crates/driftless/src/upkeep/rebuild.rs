//! Starting over: folding a space again from its log, and forgetting a space. The log is the truth, all else follows.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use driftless_core::clock::Timestamp;
use driftless_core::commit::Kind;
use driftless_core::id::{AuthorId, SpaceId};
use driftless_store::{Key, Order, Storage, Table};

use crate::door::judge::Body;
use crate::door::write::forgotten_key;
use crate::error::Error;
use crate::peers::exchanges;
use crate::peers::prefs;
use crate::peers::progress;
use crate::space::{Digest, Space};
use crate::state::engine::Engine;
use crate::state::fork;
use crate::state::replica::{Counts, Facts};
use crate::tables::agreed;
use crate::tables::collections::Collections;
use crate::tables::cursor;
use crate::tables::digest::Sum;
use crate::tables::layout::{self, LogKey, LogSeq, key};
use crate::tables::log;
use crate::tables::marks;
use crate::tables::requests::{self, Requests};

// Rows removed between two looks at storage.
const BATCH: usize = 1000;

impl Space {
    /// Throws the view away and folds it again from the log.
    pub fn rebuild(&self) -> Result<Digest, Error> {
        self.database().write(|engine| rebuild(engine, &self.id()))?;
        self.digest()
    }

    /// Removes the local copy. Other replicas keep theirs; a bundle brings it back.
    pub fn forget(&self) -> Result<(), Error> {
        self.database().write(|engine| forget(engine, &self.id()))?;
        self.database().tell_settings();
        Ok(())
    }
}

/// Throws away what follows from the log of a space, and derives it again in the order in which commits arrived.
fn rebuild(engine: &mut Engine, space: &SpaceId) -> Result<(), Error> {
    // What had its effect keeps it, also if the clock was set back since.
    let held = engine.present(space)?.held.clone();
    fold_again(engine, space, &held)
}

/// Folds a space again without what is ahead of the clock, though it had its effect: the clock was wrong.
pub(crate) fn hold_early(engine: &mut Engine, space: &SpaceId) -> Result<(), Error> {
    engine.present(space)?;
    let now = engine.now();
    let (storage, replica) = engine.parts(space)?;
    let mut held = BTreeSet::new();
    for at in 1..replica.next {
        let row = log::row(storage, replica.key(at))?;
        if row.time.is_ahead_of(now) {
            held.insert((row.time, at));
        }
    }
    replica.time = Timestamp::default();
    fold_again(engine, space, &held)
}

fn fold_again(
    engine: &mut Engine,
    space: &SpaceId,
    held: &BTreeSet<(Timestamp, LogSeq)>,
) -> Result<(), Error> {
    engine.write_view()?;
    clear_view(engine, space)?;
    engine.journal.all_moved();
    let (_, replica) = engine.parts(space)?;
    replica.start_over();
    // The log seems to end where it was folded: what stands later has no state yet.
    let last = std::mem::replace(&mut replica.next, 1);
    for at in 1..last {
        let (storage, replica) = engine.parts(space)?;
        replica.next = at + 1;
        let key = replica.key(at);
        let row = log::row(storage, key)?;
        let facts = Facts::of(key, &row);
        let parents: Vec<u64> = row.previous.iter().chain(&row.parents).copied().collect();
        replica.join(facts, &parents, held.contains(&(row.time, at)));
        match row.kind {
            Kind::Documents => drop(engine.settle_new(space, facts, &row, Body::Unknown)?),
            Kind::Rules => engine.settle_rule(space, facts, &row)?,
        }
    }
    engine.staged();
    Ok(())
}

/// Removes a space and everything of it, but remembers how far own keys had written in it.
fn forget(engine: &mut Engine, space: &SpaceId) -> Result<(), Error> {
    engine.present(space)?;
    engine.write_view()?;
    clear_view(engine, space)?;
    engine.journal.all_moved();
    engine.agreed.forget(space);
    let own: Vec<AuthorId> =
        engine.users.all().flat_map(|user| user.keys.iter().map(|own| own.author)).collect();
    let number = engine.parts(space)?.1.number;
    for name in Collections::names(engine.storage.as_ref(), number)? {
        if let Some(facts) = engine.collections.get(engine.storage.as_ref(), number, &name)? {
            let (lower, upper) = (key([facts.number]), key([facts.number + 1]));
            remove_bytes(engine.storage.as_mut(), &layout::INDEX, &lower, &upper)?;
            engine.storage.remove(&layout::COLLECTION_SCHEMA, lower.as_slice().into())?;
        }
    }
    let (storage, replica) = engine.parts(space)?;
    for own in own {
        if let Some(tip) = log::known_author(storage, &own)?.and_then(|author| replica.last_of(author)) {
            let row = tip.seq.to_be_bytes();
            storage.put(&layout::META, forgotten_key(space, &own).as_slice().into(), &row)?;
        }
    }
    agreed::forget(storage, space)?;
    cursor::forget(storage, space)?;
    prefs::forget(storage, space)?;
    exchanges::forget_space(storage, space)?;
    progress::forget(storage, Some(space))?;
    requests::forget(storage, space)?;
    // What mailboxes hold is known by positions in the log.
    let (lower, upper) = (space.0.to_vec(), [&space.0[..], &[0xff; 64]].concat());
    for table in [&layout::MAILBOX, &layout::MAILBOX_OWN, &layout::MAILBOX_SENT, &layout::MAILBOX_READ] {
        remove_bytes(storage, table, &lower, &upper)?;
    }
    for at in 1..replica.next {
        let at = LogKey::new(number, at);
        let row = log::row(storage, at)?;
        log::forget_id(storage, at, &row.id)?;
    }
    let (lower, upper) = (LogKey::new(number, 0).0, LogKey::new(number, u64::MAX).0);
    for table in [
        &layout::LOG,
        &layout::BODY,
        &layout::PACK,
        &layout::HEAD,
        &layout::RULE,
        &layout::PROOF,
        &layout::LOG_DIGEST,
    ] {
        remove_numbers(storage, table, lower, upper)?;
    }
    remove_bytes(storage, &layout::RUN, &key([lower]), &key([upper + 1]))?;
    let (lower, upper) = (u64::from(number) << 32, (u64::from(number) << 32) | u64::from(u32::MAX));
    remove_numbers(storage, &layout::FRONTIER, lower, upper)?;
    let (lower, upper) = (number.to_be_bytes(), (number + 1).to_be_bytes());
    remove_bytes(storage, &layout::TIP, &lower, &upper)?;
    remove_bytes(storage, &layout::COLLECTION, &lower, &upper)?;
    let (lower, upper) = (fork::space_key(number), fork::space_key(number + 1));
    remove_bytes(storage, &layout::META, &lower, &upper)?;
    storage.remove(&layout::SPACE, u64::from(number).into())?;
    storage.remove(&layout::SPACE_ID, space.0.as_slice().into())?;
    engine.replicas.remove(space);
    engine.requests = Requests::default();
    engine.readers.changed(space);
    engine.collections.clear();
    engine.staged();
    Ok(())
}

// Removes the documents of a space with their edits, checkpoints and index entries, and all states.
fn clear_view(engine: &mut Engine, space: &SpaceId) -> Result<(), Error> {
    let number = engine.parts(space)?.1.number;
    let storage = engine.storage.as_mut();
    for name in Collections::names(storage, number)? {
        let Some(facts) = engine.collections.get(storage, number, &name)? else { continue };
        for index in &facts.indexes {
            let (lower, upper) = (key([index.number]), key([index.number + 1]));
            remove_bytes(storage, &layout::INDEX_VALUE, &lower, &upper)?;
        }
        marks::clear(storage, facts.number)?;
        loop {
            let mut numbers = Vec::new();
            storage.scan(facts.number, None, &mut |stored| {
                numbers.push(stored.number);
                if numbers.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            for number in &numbers {
                storage.remove_document(*number)?;
                let (lower, upper) = (key([*number]), key([*number + 1]));
                remove_bytes(storage, &layout::EDIT, &lower, &upper)?;
                remove_bytes(storage, &layout::CHECKPOINT, &lower, &upper)?;
            }
            if numbers.len() < BATCH {
                break;
            }
        }
    }
    let (lower, upper) = (LogKey::new(number, 0), LogKey::new(number, u64::MAX));
    remove_numbers(storage, &layout::STATE, lower.0, upper.0)?;
    remove_bytes(storage, &layout::RETRACT, &key([u64::from(number)]), &key([u64::from(number) + 1]))?;
    engine.view.clear();
    let (_, replica) = engine.parts(space)?;
    replica.documents = 0;
    replica.view = Sum::default();
    replica.counts = Counts { commits: replica.counts.commits, ..Counts::default() };
    replica.changed = true;
    Ok(())
}

fn remove_numbers(storage: &mut dyn Storage, table: &Table, lower: u64, upper: u64) -> Result<(), Error> {
    loop {
        let mut keys = Vec::new();
        let bounds = (Bound::Included(Key::U64(lower)), Bound::Included(Key::U64(upper)));
        storage.range(table, bounds.0, bounds.1, Order::Ascending, &mut |key, _| {
            if let Key::U64(number) = key {
                keys.push(number);
            }
            if keys.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for key in &keys {
            storage.remove(table, (*key).into())?;
        }
        if keys.len() < BATCH {
            return Ok(());
        }
    }
}

// From `lower` up to, not including, `upper`.
fn remove_bytes(storage: &mut dyn Storage, table: &Table, lower: &[u8], upper: &[u8]) -> Result<(), Error> {
    loop {
        let mut keys = Vec::new();
        let bounds = (Bound::Included(Key::Bytes(lower)), Bound::Excluded(Key::Bytes(upper)));
        storage.range(table, bounds.0, bounds.1, Order::Ascending, &mut |key, _| {
            if let Key::Bytes(bytes) = key {
                keys.push(bytes.to_vec());
            }
            if keys.len() < BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        for key in &keys {
            storage.remove(table, key.as_slice().into())?;
        }
        if keys.len() < BATCH {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use driftless_core::filter::FieldPath;
    use driftless_core::rules::{Permission, Strength, Subject};
    use driftless_core::value::Map;
    use proptest::prelude::*;

    use super::*;
    use crate::database::Database;
    use crate::state::replica::Replica;
    use crate::transaction::Insert;
    use crate::upkeep::compact::{self, Cold};

    const START: u64 = 1_767_225_600_000;

    struct Peer {
        db: Database,
        clock: Arc<AtomicU64>,
    }

    fn peer(seed: u8) -> Peer {
        let clock = Arc::new(AtomicU64::new(START));
        let now = clock.clone();
        let builder = Database::builder().seed([seed; 32]).clock(move || now.load(Ordering::SeqCst));
        Peer { db: builder.memory().unwrap(), clock }
    }

    fn exchange(from: &Space, to: &Database) {
        let mut bytes = Vec::new();
        from.export(&mut bytes, &mut |_| {}).unwrap();
        to.import(&mut bytes.as_slice(), &mut |_| {}).unwrap();
    }

    // Everything of a space in memory that a restart must bring back, and the state of every commit.
    fn all_of(engine: &mut Engine, replica: &Replica, frontiers: u32) -> Vec<String> {
        let rules = &replica.rules;
        let frontiers: Vec<_> = (0..frontiers)
            .map(|id| rules.heads_of(driftless_core::verdict::FrontierId(id)).map(<[_]>::to_vec))
            .collect();
        let mut forks: Vec<_> =
            replica.chains.all_forks().map(|(author, forks)| (*author, forks.to_vec())).collect();
        forks.sort();
        let states =
            crate::state::replica::range(engine.storage.as_ref(), &layout::STATE, replica.number).unwrap();
        vec![
            format!("{:?} {:?} {:?}", replica.next, replica.log_digest, replica.counts),
            format!("{:?} {:?} {:?}", replica.documents, replica.view, replica.alias),
            format!("heads {:?}", replica.heads),
            format!("tips {:?} forks {forks:?}", replica.tips),
            format!("held {:?}", replica.held),
            format!("rules {:?} {:?} {frontiers:?}", replica.rule_at, rules.members()),
            format!("states {states:?}"),
        ]
    }

    // As the space is in memory, as a restart finds it, and as a rebuild makes it.
    fn check(db: &Database, id: &SpaceId) -> Result<(), TestCaseError> {
        let report = db.fsck(None, &mut |_| {}).unwrap();
        prop_assert_eq!(report.problems, Vec::new());
        db.write(|engine| engine.present(id).map(drop)).unwrap();
        let (now, loaded, frontiers) = db
            .read(|engine| {
                let replica = engine.replicas.remove(id).unwrap();
                let loaded = Replica::load(engine.storage.as_ref(), replica.number)?;
                // What a refused write looked up is not stored, and named by nobody.
                let frontiers = loaded.rules.frontier_count();
                let now = all_of(engine, &replica, frontiers);
                let loaded = all_of(engine, &loaded, frontiers);
                engine.replicas.insert(*id, replica);
                Ok((now, loaded, frontiers))
            })
            .unwrap();
        prop_assert_eq!(&now, &loaded);
        db.write(|engine| rebuild(engine, id)).unwrap();
        let rebuilt = db
            .read(|engine| {
                let replica = engine.replicas.remove(id).unwrap();
                let rebuilt = all_of(engine, &replica, frontiers);
                engine.replicas.insert(*id, replica);
                Ok(rebuilt)
            })
            .unwrap();
        prop_assert_eq!(&now, &rebuilt);
        let report = db.fsck(None, &mut |_| {}).unwrap();
        prop_assert_eq!(report.problems, Vec::new());
        Ok(())
    }

    fn act(peers: &[Peer], id: &SpaceId, [who, what, whom, how]: [u8; 4]) {
        let peer = &peers[usize::from(who) % peers.len()];
        let other = &peers[usize::from(whom) % peers.len()];
        let Ok(space) = peer.db.space(&id.to_string()) else { return };
        let notes = space.collection("notes").unwrap();
        let document = i64::from(how % 4).into();
        let subject = if how % 8 == 7 { Subject::Anyone } else { Subject::Key(other.db.author().unwrap()) };
        // Whatever the rules do not allow is an error and no more.
        match what % 11 {
            0 | 1 => {
                let insert = Insert { id: Some(document), parent: None };
                let fields = Map::from_json(&format!(r#"{{"n": {how}, "by": {who}}}"#)).unwrap();
                drop(notes.insert_with(fields, insert));
            }
            2 => drop(notes.save(&document, Map::from_json(&format!(r#"{{"n": {how}}}"#)).unwrap())),
            3 => drop(notes.delete(&document)),
            4 => drop(peer.clock.fetch_add(u64::from(how) * 10_000, Ordering::SeqCst)),
            5 => drop(space.grant(subject, Permission::Write(Strength(u32::from(how % 16))))),
            6 => drop(space.grant(subject, Permission::Admin(Strength(u32::from(how % 16))))),
            7 => drop(space.revoke(subject)),
            8 => {
                let cold = Cold { hot: u64::from(how % 8), least: 1 };
                peer.db.write(|engine| compact::pack_batch(engine, id, 1, cold)).unwrap();
            }
            _ => exchange(&space, &other.db),
        }
    }

    #[test]
    fn a_forgotten_space_leaves_no_index_behind() {
        let db = peer(1).db;
        let space = db.create_space("home").unwrap();
        let notes = space.collection("notes").unwrap();
        notes.insert(Map::from_json(r#"{"n": 1}"#).unwrap()).unwrap();
        notes.create_index(&FieldPath::parse("n").unwrap()).unwrap();
        space.forget().unwrap();
        let rows = |engine: &mut Engine| {
            let mut rows = 0;
            for table in [&layout::INDEX, &layout::INDEX_VALUE, &layout::COLLECTION] {
                let visit = &mut |_: Key<'_>, _: &[u8]| {
                    rows += 1;
                    ControlFlow::Continue(())
                };
                engine.storage.range(table, Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit)?;
            }
            Ok(rows)
        };
        assert_eq!(db.read(rows).unwrap(), 0);
    }

    #[test]
    fn a_space_too_many_is_refused_and_the_database_goes_on() {
        let (full, other) = (peer(1).db, peer(2).db);
        let space = full.create_space("home").unwrap();
        // The last number that there is, as if the others had been given away.
        full.write(|engine| {
            let row = engine.parts(&space.id())?.1.summary().encode();
            engine.storage.put(&layout::SPACE, u64::from(layout::MAX_SPACES).into(), &row)?;
            engine.staged();
            Ok(())
        })
        .unwrap();
        exchange(&other.create_space("theirs").unwrap(), &full);
        let codes = full.read(|engine| crate::tables::refused::list(engine.storage.as_ref())).unwrap();
        assert_eq!(codes.iter().map(|line| line.code.as_str()).collect::<Vec<_>>(), ["too_many_spaces"]);
        assert!(matches!(full.create_space("another"), Err(Error::Invalid(_))));
        space.collection("notes").unwrap().insert(Map::default()).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn memory_a_restart_and_a_rebuild_are_one_and_all_replicas_agree(
            actions in proptest::collection::vec(any::<[u8; 4]>(), 10..120),
        ) {
            // The last two are one device that was copied.
            let peers = [peer(1), peer(2), peer(3), peer(4), peer(4)];
            let space = peers[0].db.create_space("team").unwrap();
            let id = space.id();
            space.grant(Subject::Key(peers[1].db.author().unwrap()), Permission::Admin(Strength(2))).unwrap();
            for peer in &peers[2..] {
                let author = Subject::Key(peer.db.author().unwrap());
                space.grant(author, Permission::Write(Strength(9))).unwrap();
            }
            for peer in &peers[1..] {
                exchange(&space, &peer.db);
            }
            for action in actions {
                act(&peers, &id, action);
            }
            for peer in &peers {
                check(&peer.db, &id)?;
            }
            let end = peers.iter().map(|peer| peer.clock.load(Ordering::SeqCst)).max().unwrap_or_default();
            for peer in &peers {
                peer.clock.store(end, Ordering::SeqCst);
            }
            for from in peers.iter().chain(&peers) {
                for to in &peers {
                    exchange(&from.db.space(&id.to_string()).unwrap(), &to.db);
                }
            }
            let digest = space.digest().unwrap();
            for peer in &peers {
                prop_assert_eq!(&peer.db.space(&id.to_string()).unwrap().digest().unwrap(), &digest);
                check(&peer.db, &id)?;
            }
        }
    }
}
