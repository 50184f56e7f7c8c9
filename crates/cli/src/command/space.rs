//! `space create`, `list`, `show`, `rename` and `forget`.

use std::io::{BufRead, BufReader};

use driftless::{CommitId, Space};

use super::Context;
use crate::args::SpaceCommand;
use crate::contract;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Table, counted, escape, thousands};

pub(super) fn run(context: &mut Context, command: SpaceCommand) -> Result<(), Failure> {
    match command {
        SpaceCommand::Create { name } => {
            let space = context.write()?.create_space(&name)?;
            printed(&mut context.output, &space, |line| line.space.to_string())
        }
        SpaceCommand::List => list(context),
        SpaceCommand::Show { space } => show(context, &space),
        SpaceCommand::Rename { space, name } => {
            let space = context.maintain()?.space(&space)?;
            space.rename(&name)?;
            printed(&mut context.output, &space, |line| format!("renamed to {}", escape(&line.name)))
        }
        SpaceCommand::Forget { space, yes } => forget(context, &space, yes),
    }
}

fn printed(
    output: &mut Output,
    space: &Space,
    sentence: impl Fn(&contract::Space) -> String,
) -> Result<(), Failure> {
    let line = contract::Space::from(space.summary()?);
    if output.json { output.record(&line) } else { output.text(sentence(&line)) }
}

fn list(context: &mut Context) -> Result<(), Failure> {
    let spaces = context.read()?.spaces()?;
    let output = &mut context.output;
    if spaces.is_empty() {
        output.note("there is no space yet: `driftless space create NAME` makes one");
    }
    let mut table = Table::new(&["NAME", "#DOCUMENTS", "#COMMITS", "SPACE"]);
    for summary in spaces {
        let line = contract::Space::from(summary);
        if output.json {
            output.record(&line)?;
        }
        table.row([
            escape(&line.name).into_owned(),
            thousands(line.documents),
            thousands(line.commits),
            line.space.to_string(),
        ]);
    }
    if output.json { Ok(()) } else { output.table(&table) }
}

fn show(context: &mut Context, space: &str) -> Result<(), Failure> {
    let space = context.read()?.space(space)?;
    let line = contract::Space::from(space.summary()?);
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let collections: Vec<String> =
        space.collections()?.iter().map(|name| escape(name).into_owned()).collect();
    let heads: Vec<String> = line.heads.iter().map(CommitId::to_string).collect();
    output.labels(&[
        ("name", escape(&line.name).into_owned()),
        ("space", line.space.to_string()),
        ("collections", collections.join(", ")),
        ("documents", thousands(line.documents)),
        ("commits", thousands(line.commits)),
        ("heads", heads.join(" ")),
    ])
}

fn forget(context: &mut Context, space: &str, yes: bool) -> Result<(), Failure> {
    let space = context.maintain()?.space(space)?;
    let line = contract::Space::from(space.summary()?);
    let name = escape(&line.name);
    let what = format!("{} and {}", counted(line.commits, "commit"), counted(line.documents, "document"));
    if !yes && context.output.can_ask() {
        context.output.note(format!("This removes {name} from this database: {what}."));
        context.output.note("What no other copy has is gone for good. Type `yes` to go on:");
        let mut answer = String::new();
        // An answer that cannot be read is not a yes.
        let _ = BufReader::new(context.input.stdin()).read_line(&mut answer);
        if answer.trim() != "yes" {
            let hint = "`driftless bundle export` makes a copy first; `--yes` does not ask";
            return Err(Failure::new(Exit::Failed, "not_confirmed", "nothing was removed", hint));
        }
    }
    space.forget()?;
    let output = &mut context.output;
    if output.json { output.record(&line) } else { output.text(format!("forgot {name}: {what}")) }
}
