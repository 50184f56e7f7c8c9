//! `insert`, `import`, `get`, `edit`, `save`, `delete` and `restore`.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::Path;

use driftless::{At, Collection, DocumentId, Insert, operators_to_value};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Context, collection};
use crate::args::{Format, InCollection, OneDocument};
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::import::{self, Rows};
use crate::input;
use crate::output::{Output, counted, escape, escape_json, id_text, thousands};

// Rejected rows that are named one by one.
const NAMED_REJECTS: u64 = 10;

pub(super) fn insert(
    context: &mut Context,
    at: &InCollection,
    json: &str,
    id: Option<&str>,
    parent: Option<&str>,
) -> Result<(), Failure> {
    let insert = Insert {
        id: id.map(input::document_id).transpose()?,
        parent: parent.map(input::document_id).transpose()?,
    };
    let fields = input::document(&mut context.input, json)?;
    let written = context.write_collection(at)?.insert_with(fields, insert)?;
    print_written(&mut context.output, written, "")
}

pub(super) fn get(context: &mut Context, document: &OneDocument, at: Option<&str>) -> Result<(), Failure> {
    let id = input::document_id(&document.id)?;
    let collection = context.read_collection(&document.at)?;
    let found = match at {
        None => collection.get(&id)?.ok_or_else(|| missing(&id))?,
        Some(word) => {
            let found = collection.get_at(&id, input::moment(collection.space(), word)?)?;
            found.ok_or_else(|| {
                let message = format!("document {} was not there at {}", id_text(&id), escape(word));
                Failure::new(Exit::NotFound, "not_found", message, "`driftless log` prints its history")
            })?
        }
    };
    let output = &mut context.output;
    if output.json {
        return output.document(&found);
    }
    // Line breaks are ours here; the strings are escaped like any others.
    let pretty = serde_json::to_string_pretty(&found).map_err(io::Error::from)?;
    for line in pretty.lines() {
        output.text(escape_json(line))?;
    }
    Ok(())
}

pub(super) fn diff(
    context: &mut Context,
    document: &OneDocument,
    from: &str,
    to: Option<&str>,
) -> Result<(), Failure> {
    let id = input::document_id(&document.id)?;
    let collection = context.read_collection(&document.at)?;
    let from = input::moment(collection.space(), from)?;
    let to = to.map_or(Ok(At::Now), |word| input::moment(collection.space(), word))?;
    let operators = collection.diff(&id, from, to)?;
    let text = match operators.is_empty() {
        true => "{}".to_owned(),
        false => operators_to_value(&operators).to_json(),
    };
    context.output.text(escape_json(&text))
}

fn missing(id: &DocumentId) -> Failure {
    let hint = "`driftless find SPACE COLLECTION` lists the documents, with --deleted also deleted ones";
    Failure::new(Exit::NotFound, "not_found", format!("document {} is not here", id_text(id)), hint)
}

pub(super) fn edit(context: &mut Context, document: &OneDocument, operators: &str) -> Result<(), Failure> {
    let operators = input::operators(&mut context.input, operators)?;
    write(context, document, "edited", |collection, id| collection.edit(id, operators))
}

pub(super) fn save(context: &mut Context, document: &OneDocument, json: &str) -> Result<(), Failure> {
    let fields = input::whole_document(&mut context.input, json, &input::document_id(&document.id)?)?;
    write(context, document, "saved", |collection, id| collection.save(id, fields))
}

pub(super) fn delete(context: &mut Context, document: &OneDocument) -> Result<(), Failure> {
    write(context, document, "deleted", |collection, id| collection.delete(id))
}

pub(super) fn restore(context: &mut Context, document: &OneDocument) -> Result<(), Failure> {
    write(context, document, "restored", |collection, id| collection.restore(id))
}

fn write(
    context: &mut Context,
    document: &OneDocument,
    done: &str,
    write: impl FnOnce(&Collection, &DocumentId) -> Result<driftless::Written, driftless::Error>,
) -> Result<(), Failure> {
    let id = input::document_id(&document.id)?;
    let written = write(&context.write_collection(&document.at)?, &id)?;
    print_written(&mut context.output, written, done)
}

// `insert` prints the id alone, so that a script can take it as it is.
fn print_written(output: &mut Output, written: driftless::Written, done: &str) -> Result<(), Failure> {
    let line = contract::Written { id: written.id, commit: written.commit };
    if output.json {
        return output.record(&line);
    }
    let id = id_text(&line.id);
    match (done, &line.commit) {
        ("", _) => output.text(id),
        (_, Some(_)) => output.text(format!("{done} {id}")),
        (_, None) => output.text(format!("{id} is so already; nothing was written")),
    }
}

pub(super) fn import(
    context: &mut Context,
    at: &InCollection,
    file: &Path,
    key: Option<&str>,
    format: Option<Format>,
) -> Result<(), Failure> {
    let format = format.map_or_else(|| import::format_of(file), Ok)?;
    // The writer's lock comes first: standard input may keep us waiting, and nobody should write meanwhile.
    let database = context.write()?;
    let collection = collection(&database, at)?;
    let (source, size) = import::open(&mut context.input, file)?;
    let output = &mut context.output;
    let bar = match context.served {
        // The bar would be drawn on the terminal of `serve`.
        Some(_) => ProgressBar::hidden(),
        None => progress_bar(output, size),
    };
    let source: Box<dyn Read> = Box::new(bar.wrap_read(source));
    let mut rows = Rows::new(source, format, file)?;

    let mut rejected = 0;
    let mut stored = contract::Import::default();
    // Both closures print.
    let output = RefCell::new(output);
    let mut reject = |line: u64, reason: &str| {
        rejected += 1;
        if rejected <= NAMED_REJECTS {
            let sentence = format!("line {line} is rejected: {}", escape(reason));
            bar.suspend(|| output.borrow_mut().note(sentence));
        }
    };
    let mut report = |done: contract::Import| {
        stored = done;
        let rows = done.inserted + done.updated + done.skipped;
        bar.set_message(counted(rows, "document"));
        bar.suspend(|| output.borrow_mut().detail(format!("{rows} rows are durable")));
    };
    let outcome = import::import(&database, &collection, &mut rows, key, &mut report, &mut reject);
    bar.finish_and_clear();
    let output = output.into_inner();
    if rejected > NAMED_REJECTS {
        output.note(format!("and {} more are rejected", thousands(rejected - NAMED_REJECTS)));
    }
    match outcome {
        Ok(done) if output.json => output.record(&done),
        Ok(done) => output.text(sentence(&done)),
        Err(failure) => {
            output.note(format!("before that: {}", sentence(&stored)));
            Err(failure)
        }
    }
}

fn sentence(done: &contract::Import) -> String {
    let contract::Import { inserted, updated, skipped, rejected } = *done;
    let [inserted, updated, skipped, rejected] = [inserted, updated, skipped, rejected].map(thousands);
    format!("{inserted} inserted, {updated} updated, {skipped} skipped, {rejected} rejected")
}

/// Hidden unless a person looks at standard error.
fn progress_bar(output: &Output, size: Option<u64>) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {percent:>3}%  {msg}  {binary_bytes_per_sec}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {binary_bytes}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
