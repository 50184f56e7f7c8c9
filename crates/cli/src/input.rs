//! Reads what users type: JSON arguments (or `-`, or `@file`), ids, subjects, permissions.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use driftless::{AuthorId, DocumentId, Filter, Map, Operator, Permission, Strength, Subject, Value};

use crate::failure::Failure;

// Bytes of one argument from a file or from standard input. A document is smaller; the rest is spacing.
const MAX_ARGUMENT: u64 = 64 * 1024 * 1024;

// Strengths of keys that are granted without one. Admins act only on weaker keys, so they are above the writers, and
// there is room on all sides.
const USUAL_ADMIN: Strength = Strength(10);
const USUAL_WRITER: Strength = Strength(100);

const JSON_HINT: &str = "documents look like '{\"title\": \"Milk\"}'; in a shell, put them in single quotes";

/// The text of an argument that may be `-` for standard input or `@file`.
pub(crate) fn argument(word: &str) -> Result<String, Failure> {
    match word.strip_prefix('@') {
        Some(path) => {
            let path = Path::new(path);
            let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
            read_text(file, path)
        }
        None if word == "-" => read_text(io::stdin().lock(), Path::new("standard input")),
        None => Ok(word.to_owned()),
    }
}

fn read_text(source: impl Read, path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    source.take(MAX_ARGUMENT + 1).read_to_end(&mut bytes).map_err(|error| Failure::file(path, &error))?;
    if bytes.len() as u64 > MAX_ARGUMENT {
        let message = format!("{}: more than {MAX_ARGUMENT} bytes", path.display());
        return Err(Failure::invalid("too_large", message, "many documents are read by `driftless import`"));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::invalid("invalid_json", format!("{}: not UTF-8", path.display()), "save it as UTF-8")
    })
}

/// The fields of a new document.
pub(crate) fn document(word: &str) -> Result<Map, Failure> {
    fields(&argument(word)?)
}

fn fields(json: &str) -> Result<Map, Failure> {
    Map::from_json(json).map_err(|error| Failure::invalid("invalid_json", error, JSON_HINT))
}

/// The fields of a document that is there: what `get` printed may come back, the system fields are left out.
pub(crate) fn whole_document(word: &str, id: &DocumentId) -> Result<Map, Failure> {
    const SYSTEM: [&str; 7] =
        ["_id", "_collection", "_created", "_updated", "_author", "_deleted", "_parent"];
    let json = argument(word)?;
    let Ok(Value::Map(mut map)) = Value::from_json_with_operators(&json) else { return fields(&json) };
    if map.get("_id").is_some_and(|other| *other != id.to_value()) {
        let message = "the document has another `_id` than the command";
        return Err(Failure::invalid("invalid_json", message, "leave `_id` out, or name that document"));
    }
    for key in SYSTEM {
        map.remove(key);
    }
    fields(&map.to_json())
}

pub(crate) fn operators(word: &str) -> Result<Vec<Operator>, Failure> {
    Ok(driftless::operators_from_json(&argument(word)?).map_err(driftless::Error::from)?)
}

/// No filter is all documents.
pub(crate) fn filter(word: Option<&str>) -> Result<Filter, Failure> {
    let json = word.map_or(Ok("{}".to_owned()), argument)?;
    Ok(Filter::parse(&json).map_err(driftless::Error::from)?)
}

pub(crate) fn document_id(word: &str) -> Result<DocumentId, Failure> {
    DocumentId::parse_text(word).map_err(|error| {
        Failure::invalid("invalid_id", error, "ids are printed by `driftless insert` and `driftless find`")
    })
}

/// An author id, or `*` for anyone.
pub(crate) fn subject(word: &str) -> Result<Subject, Failure> {
    if word == "*" {
        return Ok(Subject::Anyone);
    }
    word.parse::<AuthorId>().map(Subject::Key).map_err(|error| {
        let hint = "a subject is an author id, which `driftless status` shows its owner, or '*' for anyone";
        Failure::invalid("invalid_subject", error, hint)
    })
}

/// `read`, `write` or `admin`; the last two may carry a strength, `write:5`.
pub(crate) fn permission(word: &str) -> Result<Permission, Failure> {
    let (level, strength) = match word.split_once(':') {
        Some((level, strength)) => (level, strength.parse().ok().map(Strength)),
        None => (word, None),
    };
    match (level, strength) {
        ("read", _) if word == "read" => Ok(Permission::Read),
        ("write", _) if word == "write" => Ok(Permission::Write(USUAL_WRITER)),
        ("admin", _) if word == "admin" => Ok(Permission::Admin(USUAL_ADMIN)),
        ("write", Some(strength)) => Ok(Permission::Write(strength)),
        ("admin", Some(strength)) => Ok(Permission::Admin(strength)),
        _ => {
            let hint = "read, write or admin; with a strength like `write:5`, where smaller is stronger";
            Err(Failure::invalid("invalid_permission", format!("`{word}` is not a permission"), hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_words_with_an_optional_strength() {
        assert_eq!(permission("read"), Ok(Permission::Read));
        assert_eq!(permission("write"), Ok(Permission::Write(USUAL_WRITER)));
        assert_eq!(permission("admin:0"), Ok(Permission::Admin(Strength(0))));
        for wrong in ["", "own", "read:1", "write:", "write:-1", "admin:x"] {
            assert!(permission(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_get_printed_can_be_saved_again() {
        let id = DocumentId::string("FI-18").unwrap();
        let json = r#"{"_id":"FI-18","_collection":"c","_created":1,"a":{"$bytes":"AQ=="},"b":1.0}"#;
        assert_eq!(whole_document(json, &id).unwrap().to_json(), r#"{"a":{"$bytes":"AQ=="},"b":1.0}"#);
        assert!(whole_document(json, &DocumentId::from(1)).is_err());
        assert!(whole_document(r#"{"_other":1}"#, &id).is_err());
        assert!(whole_document("[]", &id).is_err());
    }
}
