//! `index create` and `index list`.

use driftless::FieldPath;

use super::{Context, chosen, collection};
use crate::args::IndexCommand;
use crate::contract;
use crate::failure::Failure;
use crate::output::{Table, escape};

pub(super) fn run(context: &mut Context, command: IndexCommand) -> Result<(), Failure> {
    match command {
        IndexCommand::Create { at, field } => {
            let path = FieldPath::parse(&field).map_err(|error| {
                Failure::invalid("invalid_path", error, "a field like `country`, or `address.city`")
            })?;
            let collection = collection(&context.maintain()?, &at)?;
            let created = collection.create_index(&path)?;
            let line = contract::Index {
                space: collection.space().id(),
                collection: collection.name().to_owned(),
                field: path.to_string(),
                created: Some(created),
            };
            let output = &mut context.output;
            if output.json {
                return output.record(&line);
            }
            let done = if created { "indexed" } else { "was indexed already" };
            output.text(format!("{}.{} {done}", escape(&line.collection), escape(&line.field)))
        }
        IndexCommand::List { space } => list(context, space.as_deref()),
    }
}

fn list(context: &mut Context, space: Option<&str>) -> Result<(), Failure> {
    let database = context.read()?;
    let output = &mut context.output;
    let mut table = Table::new(&["SPACE", "COLLECTION", "FIELD"]);
    for space in chosen(&database, space)? {
        let name = space.name()?;
        for collection in space.collections()? {
            for path in space.collection(&collection)?.indexes()? {
                let field = path.to_string();
                table.row([&name, &collection, &field].map(|cell| escape(cell).into_owned()));
                if output.json {
                    let collection = collection.clone();
                    output.record(&contract::Index {
                        space: space.id(),
                        collection,
                        field,
                        created: None,
                    })?;
                }
            }
        }
    }
    if output.json {
        return Ok(());
    }
    if table.is_empty() {
        output.note("there is no index: `driftless index create SPACE COLLECTION FIELD` makes one");
    }
    output.table(&table)
}
