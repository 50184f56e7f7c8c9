//! A collection with a schema: what is written here has to fit, what others wrote is kept and marked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless::{Database, DocumentId, Error, Filter, Schema, SchemaError, Space};
use serde::{Deserialize, Serialize};

use crate::world::{START, builder, edit, get, insert, map, name, shown};

const NOTE: &str = r#"{"type": "object", "required": ["title"], "properties": {
    "title": {"type": "string", "maxLength": 20}, "stars": {"type": "integer", "maximum": 5}}}"#;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema-derive",
    derive(driftless::schemars::JsonSchema),
    schemars(crate = "driftless::schemars")
)]
struct Note {
    title: String,
    #[serde(default)]
    stars: u8,
}

fn home() -> (Database, Space) {
    let db = Database::memory().unwrap();
    let space = db.create_space("home").unwrap();
    (db, space)
}

fn schema(text: &str) -> Schema {
    Schema::json(text).unwrap()
}

fn errors(result: Result<(), Error>) -> Vec<String> {
    match result {
        Err(Error::Schema { collection, errors, .. }) => {
            assert_eq!(collection, "notes");
            errors.into_iter().map(|error| error.path).collect()
        }
        other => panic!("{other:?}"),
    }
}

// Everything `from` has of a space goes to `to`.
fn send(from: &Space, to: &Database) -> Space {
    let mut bytes = Vec::new();
    from.export(&mut bytes, &mut |_| {}).unwrap();
    to.import(&mut bytes.as_slice(), &mut |_| {}).unwrap();
    to.space(&from.id().to_string()).unwrap()
}

fn marked(space: &Space) -> Vec<String> {
    let found = space.collection("notes").unwrap().marked(usize::MAX).unwrap();
    found.into_iter().map(|marked| plain(&marked.document.id)).collect()
}

// The text of an id without its quotes.
fn plain(id: &DocumentId) -> String {
    id.to_string().trim_matches('"').to_owned()
}

fn is_whole(db: &Database) {
    assert_eq!(db.fsck(None, &mut |_| {}).unwrap().problems, []);
}

#[test]
fn what_is_written_here_has_to_fit_or_nothing_of_it_is_written() {
    let (db, space) = home();
    let notes = space.collection("notes").unwrap();
    assert_eq!(notes.set_schema(&schema(NOTE)).unwrap(), 0);
    let before = space.digest().unwrap();
    let mut refused = errors(insert(&notes, "a", r#"{"stars": 9}"#));
    refused.sort();
    assert_eq!(refused, ["", "stars"]);
    assert_eq!(space.digest().unwrap(), before);

    insert(&notes, "a", r#"{"title": "milk", "stars": 4}"#).unwrap();
    // The document is judged as it would be after the edit, and only then.
    assert_eq!(errors(edit(&notes, "a", r#"{"$inc": {"stars": 2}}"#)), ["stars"]);
    edit(&notes, "a", r#"{"$inc": {"stars": 1}}"#).unwrap();
    assert_eq!(errors(edit(&notes, "a", r#"{"$inc": {"stars": 1}}"#)), ["stars"]);
    assert_eq!(errors(edit(&notes, "a", r#"{"$unset": {"title": ""}}"#)), [""]);
    assert_eq!(errors(notes.save(&name("a"), map(r#"{"title": 7}"#)).map(drop)), ["title"]);
    assert_eq!(shown(&notes, "a"), r#"{"stars":5,"title":"milk"}"#);

    // In a transaction the end counts; one that does not fit takes the others with it, in all spaces.
    let mut transaction = db.transaction();
    let edits = driftless::operators_from_json(r#"{"$inc": {"stars": 3}}"#).unwrap();
    transaction.edit(&notes, &name("a"), edits).unwrap();
    transaction
        .edit(&notes, &name("a"), driftless::operators_from_json(r#"{"$set": {"stars": 1}}"#).unwrap())
        .unwrap();
    transaction.commit().unwrap();
    let other = db.create_space("other").unwrap();
    let mut transaction = db.transaction();
    transaction.insert(&other.collection("notes").unwrap(), map("{}")).unwrap();
    transaction.insert(&notes, map(r#"{"title": "good"}"#)).unwrap();
    transaction.insert(&notes, map("{}")).unwrap();
    assert_eq!(errors(transaction.commit().map(drop)), [""]);
    assert_eq!((other.digest().unwrap().documents, space.digest().unwrap().documents), (0, 1));

    // Who is deleted need not fit; who comes back does.
    notes.delete(&name("a")).unwrap();
    assert_eq!(notes.set_schema(&schema(r#"{"required": ["never"]}"#)).unwrap(), 0);
    assert_eq!(errors(notes.restore(&name("a")).map(drop)), [""]);
    assert!(notes.remove_schema().unwrap() && !notes.remove_schema().unwrap());
    notes.restore(&name("a")).unwrap();
    assert_eq!((notes.schema().unwrap(), marked(&space).len()), (None, 0));
    is_whole(&db);
}

#[test]
fn what_others_wrote_is_kept_and_marked_until_it_fits() {
    let (_ann, here) = home();
    let notes = here.collection("notes").unwrap();
    for (id, fields) in [("a", r#"{"title": "milk"}"#), ("b", r#"{"stars": 9}"#), ("c", r#"{"title": 7}"#)] {
        insert(&notes, id, fields).unwrap();
    }
    let bob = Database::memory().unwrap();
    let there = send(&here, &bob);
    let mirrored = there.collection("notes").unwrap();
    assert_eq!(mirrored.set_schema(&schema(NOTE)).unwrap(), 2);
    assert_eq!(marked(&there), ["b", "c"]);
    assert_eq!(there.digest().unwrap(), here.digest().unwrap());

    // The typed API and whoever asks leave them out; everybody else sees them.
    let typed = mirrored.typed::<Note>();
    let found = typed.find(Filter::all()).unwrap();
    assert_eq!(found.iter().map(|(id, _)| plain(id)).collect::<Vec<_>>(), ["a"]);
    assert_eq!(mirrored.find(Filter::all()).fitting_only().count().unwrap(), 1);
    assert_eq!(mirrored.count(Filter::all()).unwrap(), 3);
    assert!(typed.get(&name("b")).unwrap().is_none() && get(&mirrored, "b").is_some());

    // Status counts them, and explain says why.
    let status = bob.status().unwrap();
    let line = &status.spaces[0].schemas[0];
    assert_eq!((line.collection.as_str(), line.marked), ("notes", 2));
    let told = there.explain("notes", &name("c"), None).unwrap();
    let step = told.steps.iter().find(|step| step.step == "schema").unwrap();
    assert!(
        !step.ok && step.detail.contains("at title") && told.fix.unwrap().contains("schema set"),
        "{step:?}"
    );
    assert!(there.explain("notes", &name("a"), None).unwrap().ok());

    // Their author corrects one, breaks another and deletes the third.
    edit(&notes, "a", r#"{"$set": {"stars": 6}}"#).unwrap();
    edit(&notes, "b", r#"{"$set": {"title": "b", "stars": 1}}"#).unwrap();
    notes.delete(&name("c")).unwrap();
    send(&here, &bob);
    assert_eq!(marked(&there), ["a"]);
    is_whole(&bob);
    assert_eq!(there.rebuild().unwrap(), here.digest().unwrap());
    assert_eq!(marked(&there), ["a"]);

    // Another schema, another judgement; and none, no marks.
    assert_eq!(mirrored.set_schema(&schema(r#"{"properties": {"stars": {"minimum": 2}}}"#)).unwrap(), 1);
    assert_eq!(marked(&there), ["b"]);
    is_whole(&bob);
    there.forget().unwrap();
    let there = send(&here, &bob);
    assert_eq!((there.schemas().unwrap().len(), marked(&there).len()), (0, 0));
    is_whole(&bob);
}

#[test]
fn marks_follow_commits_that_come_late_and_those_that_lose_their_effect() {
    let clock = Arc::new(AtomicU64::new(START));
    let (ann, bob) = (builder(1, &clock).memory().unwrap(), builder(2, &clock).memory().unwrap());
    let here = ann.create_space("home").unwrap();
    let grant = |permission| here.grant(driftless::Subject::Key(bob.author().unwrap()), permission).unwrap();
    grant(driftless::Permission::Write(driftless::Strength(9)));
    here.collection("notes").unwrap().set_schema(&schema(NOTE)).unwrap();
    let notes = here.collection("notes").unwrap();
    insert(&notes, "a", r#"{"title": "milk"}"#).unwrap();
    let there = send(&here, &bob);
    edit(&there.collection("notes").unwrap(), "a", r#"{"$set": {"title": 1}}"#).unwrap();
    // Written later, here earlier.
    clock.fetch_add(1, Ordering::SeqCst);
    edit(&notes, "a", r#"{"$set": {"title": "late"}}"#).unwrap();
    insert(&there.collection("notes").unwrap(), "b", "{}").unwrap();
    send(&there, &ann);
    assert_eq!(marked(&here), ["b"]);
    edit(&there.collection("notes").unwrap(), "a", r#"{"$set": {"stars": "x"}}"#).unwrap();
    send(&there, &ann);
    assert_eq!(marked(&here), ["a", "b"]);
    // The one who wrote it is removed, with what ann had not seen when she was asked to keep it: all of it.
    here.revoke(driftless::Subject::Key(bob.author().unwrap())).unwrap();
    assert_eq!(marked(&here), ["a", "b"]);
    edit(&notes, "a", r#"{"$unset": {"stars": ""}}"#).unwrap();
    notes.delete(&name("b")).unwrap();
    assert_eq!(marked(&here), Vec::<String>::new());
    is_whole(&ann);
}

#[test]
fn a_schema_stays_over_a_restart_in_a_backup_and_for_readers() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path().join("db")).unwrap();
    let space = db.create_space("home").unwrap();
    let notes = space.collection("notes").unwrap();
    let mut transaction = db.transaction();
    for n in 0..2500 {
        let title = if n % 3 == 0 { "1" } else { "\"x\"" };
        transaction.insert(&notes, map(&format!(r#"{{"title": {title}}}"#))).unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(notes.set_schema(&schema(NOTE)).unwrap(), 834);
    drop((notes, space, db));
    let reader = Database::builder().access(driftless::Access::Read).open(dir.path().join("db")).unwrap();
    let space = reader.space("home").unwrap();
    assert_eq!(space.schemas().unwrap()[0].marked, 834);
    assert_eq!(space.collection("notes").unwrap().marked(2).unwrap().len(), 2);
    let fitting = space.collection("notes").unwrap().find(Filter::all()).fitting_only().count().unwrap();
    assert_eq!(fitting, 2500 - 834);
    drop((space, reader));
    let db = Database::open(dir.path().join("db")).unwrap();
    let notes = db.space("home").unwrap().collection("notes").unwrap();
    assert_eq!(errors(insert(&notes, "new", "{}")), [""]);
    assert_eq!(notes.schema().unwrap().unwrap().as_json(), NOTE);
    is_whole(&db);
}

#[test]
fn a_schema_judges_whole_documents_and_tells_each_fault_once() {
    let (_db, space) = home();
    let notes = space.collection("notes").unwrap();
    notes.set_schema(&schema(r#"{"properties": {"list": {"items": {"type": "string"}}}}"#)).unwrap();
    let list = vec!["1"; 100].join(",");
    match notes.insert(map(&format!(r#"{{"list": [{list}]}}"#))).unwrap_err() {
        Error::Schema { errors, .. } => {
            assert_eq!(errors.len(), 32);
            let first = SchemaError { path: "list.0".into(), message: "1 is not of type \"string\"".into() };
            assert_eq!(errors[0], first);
        }
        other => panic!("{other:?}"),
    }
    // What has no schema is written as ever.
    space.collection("other").unwrap().insert(map(r#"{"list": [1]}"#)).unwrap();
}

#[cfg(feature = "schema-derive")]
#[test]
fn a_rust_type_can_be_the_schema() {
    let (_db, space) = home();
    let notes = space.collection("notes").unwrap();
    notes.set_schema(&Schema::of::<Note>().unwrap()).unwrap();
    let typed = notes.typed::<Note>();
    let note = Note { title: "milk".into(), stars: 3 };
    let written = typed.insert(&note).unwrap();
    assert_eq!(typed.get(&written.id).unwrap(), Some(note));
    assert_eq!(errors(insert(&notes, "a", r#"{"title": "x", "stars": 256}"#)), ["stars"]);
}
