//! `schema set`, `show`, `remove`, `list` and `check`.

use driftless::{Collection, Schema};

use super::{Context, chosen, collection};
use crate::args::SchemaCommand;
use crate::contract;
use crate::failure::{Exit, Failure, Fault};
use crate::output::{Table, counted, escape, id_text, thousands};

pub(super) fn run(context: &mut Context, command: SchemaCommand) -> Result<(), Failure> {
    match command {
        SchemaCommand::Set { at, file } => {
            let text = context.input.argument(&if file == "-" { file } else { format!("@{file}") })?;
            let schema = Schema::json(&text).map_err(|error| {
                let hint = "a JSON Schema of draft 2020-12 looks like '{\"required\": [\"title\"]}'";
                Failure::invalid("invalid_schema", error, hint)
            })?;
            let collection = collection(&context.maintain()?, &at)?;
            let marked = collection.set_schema(&schema)?;
            let output = &mut context.output;
            if output.json {
                return output.record(&line(&collection, marked));
            }
            if marked > 0 {
                output.note("`driftless schema check SPACE COLLECTION` says what is wrong with them");
            }
            let documents = counted(marked, "document");
            output.text(format!("{} has a schema; {documents} here do not fit it", escape(collection.name())))
        }
        SchemaCommand::Show { at } => {
            let collection = collection(&context.read()?, &at)?;
            let Some(schema) = collection.schema()? else { return Err(none(&collection)) };
            let output = &mut context.output;
            if !output.json {
                return output.text(escape_lines(schema.as_json().trim_end()));
            }
            let lines = collection.space().schemas()?;
            let marked = lines.iter().find(|line| line.collection == collection.name());
            let mut line = line(&collection, marked.map_or(0, |line| line.marked));
            // One line, as all output of programs is.
            let json: serde_json::Value = serde_json::from_str(schema.as_json()).unwrap_or_default();
            line.schema = serde_json::value::to_raw_value(&json).ok();
            output.record(&line)
        }
        SchemaCommand::Remove { at } => {
            let collection = collection(&context.maintain()?, &at)?;
            let removed = collection.remove_schema()?;
            let output = &mut context.output;
            if output.json {
                return output.record(&contract::Schema { removed: Some(removed), ..line(&collection, 0) });
            }
            let done = if removed { "has no schema any more" } else { "had no schema" };
            output.text(format!("{} {done}", escape(collection.name())))
        }
        SchemaCommand::List { space } => list(context, space.as_deref()),
        SchemaCommand::Check { at, limit } => {
            let collection = collection(&context.read()?, &at)?;
            if collection.schema()?.is_none() {
                return Err(none(&collection));
            }
            check(context, &collection, limit.unwrap_or(usize::MAX))
        }
    }
}

fn list(context: &mut Context, space: Option<&str>) -> Result<(), Failure> {
    let database = context.read()?;
    let output = &mut context.output;
    let mut table = Table::new(&["SPACE", "COLLECTION", "DO NOT FIT"]);
    for space in chosen(&database, space)? {
        let name = space.name()?;
        for with in space.schemas()? {
            let line = contract::Schema::new(space.id(), with);
            if output.json {
                output.record(&line)?;
            }
            let cells = [&name, &line.collection, &thousands(line.marked)];
            table.row(cells.map(|cell| escape(cell).into_owned()));
        }
    }
    if output.json {
        return Ok(());
    }
    if table.is_empty() {
        output.note("no collection has a schema: `driftless schema set SPACE COLLECTION FILE` gives it one");
    }
    output.table(&table)
}

fn check(context: &mut Context, collection: &Collection, limit: usize) -> Result<(), Failure> {
    let output = &mut context.output;
    let marked = collection.marked(limit)?;
    if marked.is_empty() && !output.json {
        return output.text("all documents fit");
    }
    for found in marked {
        let errors: Vec<_> = found.errors.into_iter().map(Fault::from).collect();
        let id = found.document.id;
        if output.json {
            output.record(&contract::Marked { id, errors })?;
            continue;
        }
        for error in &errors {
            output.text(format!("{}  {}", escape(&id_text(&id)), escape(&error.text())))?;
        }
    }
    Ok(())
}

fn line(collection: &Collection, marked: u64) -> contract::Schema {
    let (space, collection) = (collection.space().id(), collection.name().to_owned());
    contract::Schema { space, collection, marked, schema: None, removed: None }
}

fn none(collection: &Collection) -> Failure {
    let message = format!("schema of {} is not here", collection.name());
    let hint = "`driftless schema set SPACE COLLECTION FILE` gives it one; `driftless schema list` shows all";
    Failure::new(Exit::NotFound, "not_found", message, hint)
}

fn escape_lines(text: &str) -> String {
    text.lines().map(|line| escape(line).into_owned()).collect::<Vec<_>>().join("\n")
}
