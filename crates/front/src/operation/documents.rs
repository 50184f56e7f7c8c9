//! Documents: reading, searching and writing them.

use driftless::{Collection, DocumentId, Error, Insert, Sort, Written};
use serde_json::{Value, json};

use super::{Answer, Weight, line, missing};
use crate::arguments::Arguments;
use crate::backend::Backend;
use crate::limits::MAX_LINES;
use crate::refusal::Refusal;

fn collection(backend: &Backend, arguments: &Arguments) -> Result<Collection, Refusal> {
    Ok(backend.collection(&arguments.text("space")?, &arguments.text("collection")?)?)
}

pub(super) fn get(backend: &Backend, arguments: &Arguments) -> Answer {
    let (collection, id) = (collection(backend, arguments)?, arguments.id("id")?);
    let found = match arguments.maybe_text("at") {
        Ok(None) => collection.get(&id)?,
        _ => collection.get_at(&id, arguments.moment("at", collection.space())?)?,
    };
    line(&found.ok_or_else(|| missing("document", &id))?)
}

pub(super) fn find(backend: &Backend, arguments: &Arguments) -> Answer {
    let mut query = collection(backend, arguments)?.find(arguments.filter()?);
    if let Some(sort) = arguments.maybe_text("sort")? {
        let hint = "fields with commas between them, `-` for descending: `country,-name`";
        query =
            query.sort(Sort::parse(&sort).map_err(|error| Refusal::new(400, "invalid_sort", error, hint))?);
    }
    if let Some(skip) = arguments.number("skip")? {
        query = query.skip(usize::try_from(skip).unwrap_or(usize::MAX));
    }
    if arguments.flag("deleted")? {
        query = query.include_deleted();
    }
    let limit = arguments.number("limit")?.and_then(|limit| usize::try_from(limit).ok());
    // One more tells that there are too many.
    let found = query.limit(limit.map_or(MAX_LINES + 1, |limit| limit.min(MAX_LINES + 1))).run()?;
    if found.len() > MAX_LINES {
        let message = format!("there are more than {MAX_LINES} documents");
        return Err(Refusal::too_large(message, "ask for a part with `limit` and `skip`"));
    }
    let mut weight = Weight::default();
    let lines = found.iter().map(|document| weight.line(document));
    Ok(Value::Array(lines.collect::<Result<_, _>>()?))
}

pub(super) fn count(backend: &Backend, arguments: &Arguments) -> Answer {
    let mut query = collection(backend, arguments)?.find(arguments.filter()?);
    if arguments.flag("deleted")? {
        query = query.include_deleted();
    }
    Ok(json!({"count": query.count()?}))
}

pub(super) fn insert(backend: &Backend, arguments: &Arguments) -> Answer {
    let (collection, fields) = (collection(backend, arguments)?, arguments.document()?);
    let insert = Insert { id: arguments.maybe_id("id")?, parent: arguments.maybe_id("parent")? };
    written(&collection.insert_with(fields, insert)?)
}

pub(super) fn save(backend: &Backend, arguments: &Arguments) -> Answer {
    let fields = arguments.whole_document(&arguments.id("id")?)?;
    write(backend, arguments, |collection, id| collection.save(id, fields))
}

pub(super) fn edit(backend: &Backend, arguments: &Arguments) -> Answer {
    let operators = arguments.operators()?;
    write(backend, arguments, |collection, id| collection.edit(id, operators))
}

pub(super) fn delete(backend: &Backend, arguments: &Arguments) -> Answer {
    write(backend, arguments, Collection::delete)
}

pub(super) fn restore(backend: &Backend, arguments: &Arguments) -> Answer {
    write(backend, arguments, Collection::restore)
}

fn write(
    backend: &Backend,
    arguments: &Arguments,
    write: impl FnOnce(&Collection, &DocumentId) -> Result<Written, Error>,
) -> Answer {
    written(&write(&collection(backend, arguments)?, &arguments.id("id")?)?)
}

fn written(written: &Written) -> Answer {
    Ok(json!({"id": line(&written.id)?, "commit": written.commit}))
}
