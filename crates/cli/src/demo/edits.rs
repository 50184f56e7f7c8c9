//! What Ann and Ben do while they are apart: a hundred commits each, made to collide.

use std::ops::Range;

use driftless::{DocumentId, Insert, Map, Operator, Value};

use super::person::Person;
use super::table::{KEY, id_of};
use crate::failure::Failure;

/// Commits of each of the two.
pub(super) const EDITS: usize = 100;
/// The field that both set, each to something else.
pub(super) const FIELD: &str = "note";
/// The field that both raise by one.
pub(super) const COUNTER: &str = "visits";

// By the number of a change: both edit the same fields of the same document; both insert a document, at first under
// the same id; one deletes what the other edits.
const EDITED: Range<usize> = 0..60;
const INSERTED_TWICE: Range<usize> = 60..65;
const INSERTED: Range<usize> = 60..80;

/// What was written apart to one document, and a document that Ann deleted while Ben edited it.
pub(super) struct Apart {
    pub(super) id: DocumentId,
    pub(super) ann: Wrote,
    pub(super) ben: Wrote,
    pub(super) deleted: DocumentId,
}

/// A value of `FIELD`, and when it was written.
pub(super) struct Wrote {
    pub(super) value: Option<Value>,
    pub(super) at_ms: u64,
}

/// Makes all changes; neither sees those of the other. `rows` has at least `EDITS` rows.
pub(super) fn make(ann: &Person, ben: &Person, rows: &[Map]) -> Result<Apart, Failure> {
    for (number, row) in rows.iter().enumerate().take(EDITS) {
        // They take turns at being first, so that neither wins always.
        let (first, second) = if number % 4 < 2 { (ann, ben) } else { (ben, ann) };
        for person in [first, second] {
            change(person, number, row)?;
        }
    }
    let id_at = |number: usize| rows.get(number).map_or_else(|| Ok(DocumentId::from(0)), id_of);
    // Even numbers beyond the inserted ones are deleted by Ann.
    let (id, deleted) = (id_at(EDITED.start)?, id_at(INSERTED.end)?);
    Ok(Apart { ann: wrote(ann, &id)?, ben: wrote(ben, &id)?, id, deleted })
}

fn change(person: &Person, number: usize, row: &Map) -> Result<(), Failure> {
    let collection = person.collection()?;
    let id = id_of(row)?;
    let name = row.get("name").and_then(Value::as_str).unwrap_or("this place");
    let note = format!("{name}, as {} saw it", person.name);
    if EDITED.contains(&number) {
        collection.edit(&id, operators(&note)?)?;
    } else if INSERTED.contains(&number) {
        let code = match INSERTED_TWICE.contains(&number) {
            true => format!("new-{number}"),
            false => format!("new-{number}-{}", person.name),
        };
        let fields = [(KEY, Value::from(code.as_str())), (FIELD, Value::from(note.as_str()))];
        let fields: Map = fields.into_iter().collect();
        let insert = Insert { id: Some(id_of(&fields)?), parent: None };
        collection.insert_with(fields, insert)?;
    } else if (person.name == "Ann") == number.is_multiple_of(2) {
        collection.delete(&id)?;
    } else {
        collection.edit(&id, operators(&note)?)?;
    }
    Ok(())
}

/// Sets `FIELD`, and raises `COUNTER`.
fn operators(note: &str) -> Result<Vec<Operator>, Failure> {
    let note = Value::from(note).to_json();
    let json = format!(r#"{{"$set": {{"{FIELD}": {note}}}, "$inc": {{"{COUNTER}": 1}}}}"#);
    Ok(driftless::operators_from_json(&json).map_err(driftless::Error::from)?)
}

/// An edit that shows that two are connected.
pub(super) fn greeting(from: &Person) -> Result<Vec<Operator>, Failure> {
    let json = format!(r#"{{"$push": {{"greetings": "{} is here"}}}}"#, from.name);
    Ok(driftless::operators_from_json(&json).map_err(driftless::Error::from)?)
}

fn wrote(person: &Person, id: &DocumentId) -> Result<Wrote, Failure> {
    let document = person.document(id)?;
    Ok(Wrote {
        value: document.as_ref().and_then(|document| document.fields.get(FIELD).cloned()),
        at_ms: document.map_or(0, |document| document.updated.ms()),
    })
}
