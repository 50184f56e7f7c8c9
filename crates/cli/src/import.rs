//! Reads JSON, JSON Lines and CSV as rows, one at a time, and writes them in transactions of a thousand.
//!
//! A row that cannot be a document is rejected and the rest goes on. JSON Lines and CSV are never held whole in memory;
//! JSON is, because its end decides whether it is JSON.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use driftless::{Collection, Database, DocumentId, Insert, Map, Schema, Transaction, Value};
use serde_json::value::RawValue;

use crate::args::Format;
use crate::contract::Import;
use crate::failure::{Failure, Fault};
use crate::terminal::Input;

/// Rows in one transaction: a crash loses at most so many, and the flush at its end is paid by so many.
pub(crate) const ROWS_PER_TRANSACTION: u64 = 1_000;
// Bytes of rows in one transaction, all of which are in memory at once.
const BYTES_PER_TRANSACTION: u64 = 32 * 1024 * 1024;
// Bytes of one row. The limit of a document is lower; text with many escapes is longer than what it stands for.
const MAX_ROW: u64 = 8 * 1024 * 1024;

/// One row of a file: its line (from 1) and, if it can be a document, its fields.
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) fields: Result<Map, String>,
    bytes: u64,
}

/// The rows of a file in one of the formats.
pub(crate) enum Rows {
    Json(Elements),
    Jsonl(Lines),
    Csv(Box<Records>),
}

/// The elements of a JSON array whose text is in memory.
pub(crate) struct Elements {
    text: String,
    elements: std::vec::IntoIter<Range<usize>>,
    line: u64,
    counted_to: usize,
}

/// The lines of a file, one in memory at a time.
pub(crate) struct Lines {
    source: BufReader<Box<dyn Read>>,
    line: u64,
    buffer: Vec<u8>,
    name: String,
}

/// The records of a CSV file, one in memory at a time.
pub(crate) struct Records {
    reader: csv::Reader<Box<dyn Read>>,
    header: csv::StringRecord,
    record: csv::StringRecord,
    name: String,
}

/// The format that a file's name tells; standard input is JSON Lines.
pub(crate) fn format_of(file: &Path) -> Result<Format, Failure> {
    if file == Path::new("-") {
        return Ok(Format::Jsonl);
    }
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("json") => Ok(Format::Json),
        Some("jsonl" | "ndjson") => Ok(Format::Jsonl),
        Some("csv") => Ok(Format::Csv),
        _ => {
            let message = format!("the name {} does not tell its format", file.display());
            Err(Failure::usage(message, "add `--format json`, `--format jsonl` or `--format csv`"))
        }
    }
}

/// A file or, for `-`, standard input; and its size, if it is known.
pub(crate) fn open(input: &mut Input, file: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if file == Path::new("-") {
        return Ok((input.stdin(), None));
    }
    let failure = |error: io::Error| Failure::file(file, &error);
    let opened = input.open(file)?;
    let metadata = opened.metadata().map_err(failure)?;
    if metadata.is_dir() {
        return Err(Failure::file(file, &io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(opened), size))
}

impl Rows {
    /// Starts to read; `name` is for messages.
    pub(crate) fn new(source: Box<dyn Read>, format: Format, name: &Path) -> Result<Self, Failure> {
        let name = match name == Path::new("-") {
            true => "standard input".to_owned(),
            false => name.display().to_string(),
        };
        Ok(match format {
            Format::Json => Self::Json(Elements::new(source, &name)?),
            Format::Jsonl => {
                Self::Jsonl(Lines { source: BufReader::new(source), line: 0, buffer: Vec::new(), name })
            }
            Format::Csv => Self::Csv(Box::new(Records::new(source, name)?)),
        })
    }

    /// The next row; `None` at the end. An error ends it: the file cannot be read on.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, Failure> {
        match self {
            Self::Json(elements) => Ok(elements.next()),
            Self::Jsonl(lines) => lines.next(),
            Self::Csv(records) => records.next(),
        }
    }
}

impl Elements {
    fn new(mut source: Box<dyn Read>, name: &str) -> Result<Self, Failure> {
        let mut text = String::new();
        source.read_to_string(&mut text).map_err(|error| unreadable(name, &error))?;
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let elements = elements(&text, name)?.into_iter();
        Ok(Self { text, elements, line: 1, counted_to: 0 })
    }

    fn next(&mut self) -> Option<Row> {
        let range = self.elements.next()?;
        let skipped = self.text.get(self.counted_to..range.start).unwrap_or_default();
        self.line += skipped.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.counted_to = range.start;
        let text = self.text.get(range).unwrap_or_default();
        Some(Row { line: self.line, fields: fields_from_json(text), bytes: text.len() as u64 })
    }
}

/// Where the elements of the one array stand in a text.
fn elements(text: &str, name: &str) -> Result<Vec<Range<usize>>, Failure> {
    let hint = "a JSON file is an array of objects, or an object in which exactly one field is an array";
    let not_json = |error: serde_json::Error| {
        Failure::invalid("invalid_json", format!("{name} is not JSON: {error}"), hint)
    };
    let array = if text.trim_start().starts_with('{') {
        let object: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(not_json)?;
        let mut arrays = object.into_values().map(RawValue::get).filter(|value| value.starts_with('['));
        match (arrays.next(), arrays.next()) {
            (Some(array), None) => array,
            (found, _) => {
                let count = if found.is_some() { "several arrays" } else { "no array" };
                let message = format!("{name} holds {count}");
                return Err(Failure::invalid("invalid_json", message, hint));
            }
        }
    } else {
        text
    };
    let list: Vec<&RawValue> = serde_json::from_str(array).map_err(not_json)?;
    // Each element is a part of `text`, so its distance from the start is its place.
    let place = |element: &RawValue| {
        let start = element.get().as_ptr() as usize - text.as_ptr() as usize;
        start..start + element.get().len()
    };
    Ok(list.into_iter().map(place).collect())
}

impl Lines {
    fn next(&mut self) -> Result<Option<Row>, Failure> {
        loop {
            self.buffer.clear();
            let read = (&mut self.source).take(MAX_ROW).read_until(b'\n', &mut self.buffer);
            let bytes = read.map_err(|error| unreadable(&self.name, &error))? as u64;
            if bytes == 0 {
                return Ok(None);
            }
            self.line += 1;
            if bytes == MAX_ROW && !self.buffer.ends_with(b"\n") {
                self.skip_line()?;
                let fields = Err(format!("longer than {MAX_ROW} bytes"));
                return Ok(Some(Row { line: self.line, fields, bytes: 0 }));
            }
            let fields = match std::str::from_utf8(&self.buffer) {
                Ok(text) => {
                    let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
                    if text.trim().is_empty() {
                        continue;
                    }
                    fields_from_json(text)
                }
                Err(_) => Err("not UTF-8".to_owned()),
            };
            return Ok(Some(Row { line: self.line, fields, bytes }));
        }
    }

    fn skip_line(&mut self) -> Result<(), Failure> {
        self.source.skip_until(b'\n').map(drop).map_err(|error| unreadable(&self.name, &error))
    }
}

impl Records {
    fn new(source: Box<dyn Read>, name: String) -> Result<Self, Failure> {
        let mut reader = csv::ReaderBuilder::new().from_reader(source);
        let header = reader.headers().map_err(|error| not_csv(&name, &error))?.clone();
        let mut names: Vec<&str> = header.iter().collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            let message = format!("{name} has two columns `{}`", pair.first().unwrap_or(&""));
            return Err(Failure::invalid("invalid_csv", message, "rename one of them"));
        }
        Ok(Self { reader, header, record: csv::StringRecord::new(), name })
    }

    fn next(&mut self) -> Result<Option<Row>, Failure> {
        let line = self.reader.position().line();
        let fields = match self.reader.read_record(&mut self.record) {
            Ok(false) => return Ok(None),
            Ok(true) => self.fields(),
            Err(error) => match error.kind() {
                csv::ErrorKind::Utf8 { .. } => Err("not UTF-8".to_owned()),
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    Err(format!("{len} values, and the header has {expected_len}"))
                }
                _ => return Err(not_csv(&self.name, &error)),
            },
        };
        let line = self.record.position().map_or(line, csv::Position::line);
        Ok(Some(Row { line, fields, bytes: self.record.as_slice().len() as u64 }))
    }

    fn fields(&self) -> Result<Map, String> {
        let pairs = self.header.iter().zip(&self.record);
        let map: Map = pairs.map(|(key, value)| (key, Value::from(value))).collect();
        map.check().map_err(|error| error.to_string())?;
        Ok(map)
    }
}

fn fields_from_json(text: &str) -> Result<Map, String> {
    // The line is told by the row; the column within it helps only where a row is one line.
    Map::from_json(text).map_err(|error| error.fault.to_string())
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            Failure::invalid("invalid_json", format!("{name}: not UTF-8"), "save it as UTF-8")
        }
        _ => Failure::file(Path::new(name), error),
    }
}

fn not_csv(name: &str, error: &csv::Error) -> Failure {
    match error.kind() {
        csv::ErrorKind::Io(error) => unreadable(name, error),
        _ => Failure::invalid("invalid_csv", format!("{name}: {error}"), "a CSV file has a header and rows"),
    }
}

/// Writes all rows. After each transaction, when its rows are durable, `report` hears the sums so far; `reject` hears
/// of each row that cannot be a document, with its line.
pub(crate) fn import(
    database: &Database,
    collection: &Collection,
    rows: &mut Rows,
    key: Option<&str>,
    report: &mut dyn FnMut(Import),
    reject: &mut dyn FnMut(u64, &str),
) -> Result<Import, Failure> {
    let mut done = Import::default();
    let schema = collection.schema()?;
    loop {
        let mut transaction = database.transaction();
        let (mut staged, mut count, mut bytes, mut end) = (done, 0, 0, false);
        while count < ROWS_PER_TRANSACTION && bytes < BYTES_PER_TRANSACTION {
            let Some(row) = rows.next()? else {
                end = true;
                break;
            };
            bytes += row.bytes;
            let tally = match row.fields {
                Ok(fields) => match schema.as_ref().and_then(|schema| unfit(schema, &fields)) {
                    Some(reason) => Outcome::Rejected(reason),
                    None => stage(&mut transaction, collection, fields, key)?,
                },
                Err(reason) => Outcome::Rejected(reason),
            };
            count += 1;
            match tally {
                Outcome::Inserted => staged.inserted += 1,
                Outcome::Updated => staged.updated += 1,
                Outcome::Skipped => staged.skipped += 1,
                Outcome::Rejected(reason) => {
                    // A file of nonsense must not end a transaction early: what counts is what was staged.
                    count -= 1;
                    staged.rejected += 1;
                    reject(row.line, &reason);
                }
            }
        }
        transaction.commit()?;
        done = staged;
        report(done);
        if end {
            return Ok(done);
        }
    }
}

/// Why a row does not fit: the first reason, and how many there are besides.
fn unfit(schema: &Schema, fields: &Map) -> Option<String> {
    if schema.fits(fields) {
        return None;
    }
    let errors = schema.check(fields);
    let first = errors.first().cloned().map_or_else(String::new, |error| Fault::from(error).text());
    Some(match errors.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more)", more - 1),
    })
}

enum Outcome {
    Inserted,
    Updated,
    Skipped,
    Rejected(String),
}

fn stage(
    transaction: &mut Transaction,
    collection: &Collection,
    fields: Map,
    key: Option<&str>,
) -> Result<Outcome, Failure> {
    let id = match key.map(|key| id_of(&fields, key)).transpose() {
        Ok(id) => id,
        Err(reason) => return Ok(Outcome::Rejected(reason)),
    };
    let written = match &id {
        Some(id) => match transaction.get(collection, id)? {
            Some(existing) if existing.fields == fields => return Ok(Outcome::Skipped),
            Some(_) => transaction.save(collection, id, fields).map(|changed| match changed {
                true => Outcome::Updated,
                false => Outcome::Skipped,
            }),
            None => insert(transaction, collection, fields, Some(id.clone())),
        },
        None => insert(transaction, collection, fields, None),
    };
    match written {
        Ok(outcome) => Ok(outcome),
        Err(driftless::Error::Invalid(reason)) => Ok(Outcome::Rejected(reason)),
        Err(error) => Err(error.into()),
    }
}

fn insert(
    transaction: &mut Transaction,
    collection: &Collection,
    fields: Map,
    id: Option<DocumentId>,
) -> Result<Outcome, driftless::Error> {
    transaction.insert_with(collection, fields, Insert { id, parent: None })?;
    Ok(Outcome::Inserted)
}

/// The id that a field gives a row.
pub(crate) fn id_of(fields: &Map, key: &str) -> Result<DocumentId, String> {
    match fields.get(key) {
        Some(value @ (Value::String(_) | Value::I64(_))) => {
            DocumentId::from_value(value).map_err(|error| error.to_string())
        }
        Some(_) => Err(format!("the field `{key}` is neither a string nor an integer")),
        None => Err(format!("there is no field `{key}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The line of a row, and its fields as JSON.
    type Found = (u64, Result<String, String>);

    fn rows(text: &[u8], format: Format) -> Result<Vec<Found>, Failure> {
        let mut rows = Rows::new(Box::new(io::Cursor::new(text.to_vec())), format, Path::new("file"))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push((row.line, row.fields.map(|fields| fields.to_json())));
        }
        Ok(all)
    }

    fn ok(line: u64, json: &str) -> Found {
        (line, Ok(json.to_owned()))
    }

    #[test]
    fn lines_are_counted_with_the_empty_ones_and_a_bad_one_stops_nothing() {
        let found = rows(b"\xef\xbb\xbf{\"a\":1}\r\n\n{\"a\":\n{\"a\":\"\xff\"}\n{\"b\":2.0}", Format::Jsonl)
            .unwrap();
        assert_eq!((&found[0], &found[3]), (&ok(1, r#"{"a":1}"#), &ok(5, r#"{"b":2.0}"#)));
        assert!(found[1].1.is_err() && found[2] == (4, Err("not UTF-8".into())));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_line_without_end_is_rejected_and_the_next_one_is_read() {
        let mut text = vec![b'x'; MAX_ROW as usize + 10];
        text.extend_from_slice(b"\n{\"a\":1}\n");
        let found = rows(&text, Format::Jsonl).unwrap();
        assert!(found[0].1.as_ref().unwrap_err().contains("longer"));
        assert_eq!(found[1], ok(2, r#"{"a":1}"#));
    }

    #[test]
    fn json_is_an_array_or_an_object_with_one_array() {
        let array = "[\n {\"a\":1},\n {\"_a\":1}, {\"n\":99999999999999999999}\n]";
        let found = rows(array.as_bytes(), Format::Json).unwrap();
        assert_eq!(found[0], ok(2, r#"{"a":1}"#));
        assert_eq!(
            found.iter().map(|row| (row.0, row.1.is_ok())).collect::<Vec<_>>(),
            [(2, true), (3, false), (3, false)]
        );
        let object = "{\"version\": 2,\n \"3166-2\": [{\"a\":1}]}";
        assert_eq!(rows(object.as_bytes(), Format::Json).unwrap(), [ok(2, r#"{"a":1}"#)]);
        for wrong in ["", "{}", "{\"a\":[],\"b\":[]}", "[{\"a\":1}", "[] []", "7"] {
            assert_eq!(rows(wrong.as_bytes(), Format::Json).unwrap_err().code, "invalid_json", "{wrong}");
        }
    }

    #[test]
    fn csv_values_are_strings_and_rows_fit_the_header() {
        let csv = b"code,name\n007,\"two\nlines\"\n1\n2,b,c\n3,\xff\n4,d\n";
        let found = rows(csv, Format::Csv).unwrap();
        assert_eq!(found[0], ok(2, r#"{"code":"007","name":"two\nlines"}"#));
        assert_eq!(found[1], (4, Err("1 values, and the header has 2".into())));
        assert_eq!(found[3].1, Err("not UTF-8".into()));
        assert_eq!(found[4], ok(7, r#"{"code":"4","name":"d"}"#));
        assert_eq!(rows(b"a,a\n1,2\n", Format::Csv).unwrap_err().code, "invalid_csv");
        assert!(rows(b"_id,b\n1,2\n", Format::Csv).unwrap()[0].1.is_err());
    }

    #[test]
    fn names_tell_formats() {
        for (name, format) in [
            ("a.json", Format::Json),
            ("a.JSONL", Format::Jsonl),
            ("a.csv", Format::Csv),
            ("-", Format::Jsonl),
        ] {
            assert_eq!(format_of(Path::new(name)).unwrap(), format);
        }
        assert_eq!(format_of(Path::new("data.txt")).unwrap_err().code, "usage");
    }

    #[test]
    fn ids_come_from_strings_and_integers() {
        let fields = Map::from_json(r#"{"s":"x","i":7,"f":7.0,"n":null}"#).unwrap();
        assert_eq!(id_of(&fields, "s").unwrap(), DocumentId::string("x").unwrap());
        assert_eq!(id_of(&fields, "i").unwrap(), DocumentId::from(7));
        for key in ["f", "n", "missing"] {
            assert!(id_of(&fields, key).is_err());
        }
    }
}
