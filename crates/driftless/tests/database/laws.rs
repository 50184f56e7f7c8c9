//! Laws that hold for every history: the order, the batches and the repetitions of delivery change nothing, nor does the
//! storage; a view is the fold of its log. Histories are small, signed by several members, and drawn at random.

use std::collections::BTreeMap;

use driftless::{CommitId, Database, Document, Timestamp};
use driftless_core::commit::{DocumentBody, Header, Vouched};
use driftless_core::fold::{Position, fold};
use driftless_core::operator::Operator;
use proptest::prelude::*;

use crate::signed::{Member, body, deliver, operators, space};
use crate::simulated::{Hand, database, field, filter, folder};

/// What one commit of a history is to be.
#[derive(Debug, Clone)]
struct Step {
    author: usize,
    // How long after its parents, in ticks; so that authors who do not know each other write at one time.
    wait: u64,
    // Which other commit of the history its author has seen.
    seen: Option<prop::sample::Index>,
    edits: Vec<(i64, u8)>,
    continues: bool,
    takes_back: Option<prop::sample::Index>,
}

/// `odd` histories have runs and retractions too.
fn step(odd: bool) -> impl Strategy<Value = Step> {
    let rarely = |weight| prop::option::weighted(weight, any::<prop::sample::Index>());
    (
        0..3_usize,
        1..4_u64,
        rarely(0.5),
        prop::collection::vec((0..3_i64, any::<u8>()), 1..4),
        prop::bool::weighted(0.25),
        rarely(0.15),
    )
        .prop_map(move |(author, wait, seen, edits, continues, takes_back)| Step {
            author,
            wait,
            seen,
            edits,
            continues: odd && continues,
            takes_back: takes_back.filter(|_| odd),
        })
}

fn operator(kind: u8) -> Vec<Operator> {
    let n = kind / 8;
    match kind % 8 {
        0 => vec![Operator::Delete],
        1 => vec![Operator::Restore],
        2 => operators(&format!(r#"{{"$inc": {{"n": {n}}}}}"#)),
        3 => operators(&format!(r#"{{"$push": {{"log": {n}}}}}"#)),
        4 => operators(&format!(r#"{{"$addToSet": {{"set": {}}}, "$unset": {{"b": true}}}}"#, n % 3)),
        5 => operators(&format!(r#"{{"$pull": {{"log": {n}, "set": {}}}}}"#, n % 3)),
        _ => operators(&format!(r#"{{"$set": {{"a": {n}, "b.c": {n}}}}}"#)),
    }
}

/// The commits of a history, the genesis first, each after its parents.
fn history(steps: &[Step]) -> Vec<Vouched> {
    let members = [Member::new(2), Member::new(3), Member::new(4)];
    let genesis = Member::new(1).found(&members.iter().collect::<Vec<_>>());
    let mut commits = vec![genesis];
    let mut last: [Option<usize>; 3] = [None; 3];
    for step in steps {
        let member = &members[step.author];
        let own = last[step.author].map(|at| commits[at].clone());
        let seen = step.seen.map(|index| index.get(&commits).clone());
        let mut header = match &own {
            Some(own) => member.after(own),
            None => member.begin(&commits[0], 0),
        };
        if let Some(seen) = seen.filter(|seen| Some(seen.id()) != header.previous) {
            header.parents = vec![seen.id()];
        }
        let above: Vec<CommitId> = header.all_parents().copied().collect();
        let after = commits.iter().filter(|commit| above.contains(&commit.id()));
        let after = after.map(|commit| commit.header().time).max().unwrap_or_default();
        header.time = Timestamp(after.0 + step.wait);
        header.continues = step.continues;
        let edits = step.edits.iter().map(|(id, kind)| (*id, operator(*kind)));
        let mut body = body(edits);
        body.retracts.extend(step.takes_back.map(|index| index.get(&commits).id()));
        last[step.author] = Some(commits.len());
        commits.push(member.sign(header, &body));
    }
    commits
}

fn all(commits: &[Vouched]) -> Vec<&Vouched> {
    commits.iter().collect()
}

type Shown = (String, Vec<CommitId>, driftless::Counts, Vec<String>);

/// Everything that two databases must agree on.
fn shown(db: &Database, genesis: &Vouched) -> Shown {
    let space = space(db, genesis);
    let digest = space.digest().unwrap();
    let mut found: Vec<String> = Vec::new();
    for search in ["{}", r#"{"n": {"$gt": 3}}"#, r#"{"b.c": {"$exists": true}}"#, r#"{"set": 1}"#] {
        let query = space.collection("notes").unwrap().find(filter(search)).include_deleted();
        let mut lines: Vec<String> = query.run().unwrap().iter().map(Document::to_json).collect();
        lines.sort();
        found.extend(lines);
    }
    (digest.view, digest.heads, db.status().unwrap().spaces[0].counts, found)
}

/// A database that was given the commits in their order.
fn in_order(commits: &[Vouched]) -> Database {
    let db = database(9, &Hand::new());
    deliver(&db, &all(commits));
    db
}

/// The documents as the fold gives them, for a history in which everything counts.
fn folded(commits: &[Vouched]) -> BTreeMap<String, Document> {
    let mut edits = BTreeMap::new();
    let bodies: Vec<DocumentBody> = commits
        .iter()
        .map(|commit| DocumentBody::decode(commit.body().unwrap()).unwrap_or_default())
        .collect();
    for (commit, body) in commits.iter().zip(&bodies) {
        for (index, edit) in (0..).zip(&body.edits) {
            let position = Position { time: commit.header().time, commit: commit.id(), index };
            let entry = edits.entry(edit.document.clone()).or_insert_with(Vec::new);
            entry.push((position, commit.header().author, edit.operators.as_slice()));
        }
    }
    let mut documents = BTreeMap::new();
    for (id, mut edits) in edits {
        edits.sort_by_key(|(position, ..)| *position);
        let state = fold(edits);
        if state.visible() {
            documents.insert(id.to_string(), Document::new("notes", &id, &state));
        }
    }
    documents
}

fn documents(db: &Database, genesis: &Vouched) -> BTreeMap<String, Document> {
    let notes = space(db, genesis).collection("notes").unwrap();
    let found = notes.find(filter("{}")).run().unwrap();
    found.into_iter().map(|document| (document.id.to_string(), document)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_repetition_and_batches_of_delivery_change_nothing(
        steps in prop::collection::vec(step(true), 1..14),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        batch in 1..8_usize,
    ) {
        let commits = history(&steps);
        let expected = shown(&in_order(&commits), &commits[0]);
        let db = database(9, &Hand::new());
        deliver(&db, &[&commits[0]]);
        // What comes before its parents is refused with its bundle, and taken when it comes again.
        for bundle in order.chunks(batch) {
            deliver(&db, &bundle.iter().map(|index| index.get(&commits)).collect::<Vec<_>>());
        }
        deliver(&db, &commits.iter().rev().chain(&commits).collect::<Vec<_>>());
        prop_assert_eq!(shown(&db, &commits[0]), expected);
    }

    #[test]
    fn folding_again_changes_nothing(
        steps in prop::collection::vec(step(true), 1..14),
        last in any::<prop::sample::Index>(),
    ) {
        let commits = history(&steps);
        let db = database(9, &Hand::new());
        // Also of a part, and also when the rest comes after it.
        let part = last.index(commits.len()) + 1;
        deliver(&db, &all(&commits[..part]));
        for commits in [&commits[..part], &commits[..]] {
            deliver(&db, &all(commits));
            let before = shown(&db, &commits[0]);
            space(&db, &commits[0]).rebuild().unwrap();
            prop_assert_eq!(shown(&db, &commits[0]), before);
        }
    }

    #[test]
    fn a_view_is_the_fold_of_its_log(steps in prop::collection::vec(step(false), 1..20)) {
        let mut commits = history(&steps);
        let db = in_order(&commits);
        prop_assert_eq!(documents(&db, &commits[0]), folded(&commits));
        // In order of time every edit is appended, in the reverse order every one is late.
        let genesis = commits[0].clone();
        commits.sort_by_key(|commit| (commit.header().time, commit.id()));
        for reverse in [false, true] {
            let db = database(9, &Hand::new());
            deliver(&db, &[&genesis]);
            for _ in 0..commits.len() {
                let order: Vec<_> = if reverse { commits.iter().rev().collect() } else { all(&commits) };
                order.into_iter().for_each(|commit| drop(deliver(&db, &[commit])));
            }
            prop_assert_eq!(documents(&db, &genesis), folded(&commits));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn databases_in_memory_and_on_disk_agree(
        steps in prop::collection::vec(step(true), 1..14),
        cut in any::<prop::sample::Index>(),
    ) {
        let commits = history(&steps);
        let expected = shown(&in_order(&commits), &commits[0]);
        let (hand, place) = (Hand::new(), tempfile::tempdir().unwrap());
        let part = cut.index(commits.len()) + 1;
        let db = folder(9, &hand, place.path());
        deliver(&db, &all(&commits[..part]));
        let half = shown(&db, &commits[0]);
        prop_assert_eq!(&half, &shown(&in_order(&commits[..part]), &commits[0]));
        drop(db);
        let db = folder(8, &hand, place.path());
        prop_assert_eq!(shown(&db, &commits[0]), half);
        deliver(&db, &all(&commits));
        prop_assert_eq!(shown(&db, &commits[0]), expected);
    }

    #[test]
    fn a_late_edit_of_a_document_with_many_edits_is_where_it_belongs(
        sizes in prop::collection::vec(1..4_u8, 160..200),
        late in prop::collection::vec((0..220_u64, any::<u8>()), 1..6),
    ) {
        let (bob, others) = (Member::new(2), [Member::new(3), Member::new(4)]);
        let genesis = Member::new(1).found(&[&bob, &others[0], &others[1]]);
        let mut commits = vec![genesis.clone()];
        for (at, size) in sizes.iter().enumerate() {
            let edits = (0..*size).map(|edit| (1, operator(8 * (at as u8 % 30) + 2 + edit % 2)));
            let previous = commits.last().filter(|_| at > 0);
            let header = previous.map_or_else(|| bob.begin(&genesis, 0), |previous| bob.after(previous));
            commits.push(bob.sign(header, &body(edits)));
        }
        let db = in_order(&commits);
        // Each on its own, at the very time of one of the many: the commit ids decide.
        for (at, (ms, kind)) in late.into_iter().enumerate() {
            let header = Header { space: Some(genesis.space()), ..others[at % 2].begin(&genesis, ms) };
            let commit = others[at % 2].sign(header, &body([(1, operator(kind)), (1, operator(kind / 2))]));
            deliver(&db, &[&commit]);
            commits.push(commit);
            prop_assert_eq!(documents(&db, &genesis), folded(&commits));
        }
        let digest = space(&db, &genesis).digest().unwrap();
        prop_assert_eq!(space(&db, &genesis).rebuild().unwrap(), digest);
    }
}

#[test]
fn two_transactions_that_arrive_interleaved_have_no_effect_before_they_are_whole() {
    let (ann, bob, cem) = (Member::new(1), Member::new(2), Member::new(3));
    let genesis = ann.found(&[&bob, &cem]);
    let run = |who: &Member, id: i64| {
        let push =
            || body([(id, operators(r#"{"$push": {"log": 1}}"#)), (0, operators(r#"{"$inc": {"n": 1}}"#))]);
        let first = who.sign(Header { continues: true, ..who.begin(&genesis, 0) }, &push());
        let second = who.sign(Header { continues: true, ..who.after(&first) }, &push());
        let last = who.sign(who.after(&second), &push());
        [first, second, last]
    };
    let (bobs, cems) = (run(&bob, 1), run(&cem, 2));
    let db = database(9, &Hand::new());
    deliver(&db, &[&genesis, &bobs[0], &cems[0], &bobs[1], &cems[1]]);
    let here = space(&db, &genesis);
    assert_eq!(here.digest().unwrap().documents, 0);
    deliver(&db, &[&cems[2]]);
    let n = || field(&here, "notes", &0.into(), "n").and_then(|n| n.as_i64());
    assert_eq!((here.digest().unwrap().documents, n()), (2, Some(3)));
    deliver(&db, &[&bobs[2]]);
    assert_eq!((here.digest().unwrap().documents, n()), (3, Some(6)));
    assert_eq!(db.status().unwrap().spaces[0].counts.applied(), 7);
}
