//! `log` and `digest`: what happened in a space, and what it came to.

use driftless::{CommitId, DocumentId, Kind, LogLine, LogQuery};
use serde_json::Value;

use super::Context;
use crate::contract;
use crate::failure::Failure;
use crate::input;
use crate::output::{Table, escape, escape_json, id_text, thousands, time_text};

// Characters of the edits of a commit in the table.
const EDIT_WIDTH: usize = 72;

pub(super) fn log(
    context: &mut Context,
    space: &str,
    document: Option<(String, String)>,
    limit: Option<usize>,
) -> Result<(), Failure> {
    let document = match document {
        Some((collection, id)) => Some((collection, input::document_id(&id)?)),
        None => None,
    };
    let lines = context.read()?.space(space)?.log(LogQuery { document: document.clone(), limit })?;
    let output = &mut context.output;
    let mut table = Table::new(&["COMMIT", "TIME (UTC)", "AUTHOR", "#SEQ", "STATE", "WHAT"]);
    for line in lines {
        if output.json {
            output.record(&commit(line))?;
        } else {
            table.row([
                line.commit.short(),
                time_text(line.time.ms()),
                line.author.short(),
                thousands(line.seq),
                line.state.to_owned(),
                what(&line, document.as_ref()),
            ]);
        }
    }
    output.table(&table)
}

fn commit(line: LogLine) -> contract::Commit {
    contract::Commit {
        commit: line.commit,
        author: line.author,
        seq: line.seq,
        time: line.time.ms(),
        parents: line.parents,
        kind: match line.kind {
            Kind::Rules => "rules",
            Kind::Documents => "documents",
        },
        edits: line.edits,
        state: line.state,
    }
}

/// The first edit on one line (of the document that was asked for, if one was), and how many there are besides.
fn what(line: &LogLine, document: Option<&(String, DocumentId)>) -> String {
    let asked = |edit: &&Value| match document {
        Some((collection, id)) => edit["collection"] == **collection && edit["id"] == id.to_string(),
        None => true,
    };
    let mut edits = line.edits.iter().filter(asked);
    let Some(first) = edits.next() else { return String::new() };
    let text = edit_text(first);
    let mut shown: String = text.chars().take(EDIT_WIDTH).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    match edits.count() {
        0 => shown,
        more => format!("{shown} and {} more", thousands(more as u64)),
    }
}

/// `collection id operators`; what has another shape, a rule for one, as the JSON it is.
fn edit_text(edit: &Value) -> String {
    match (edit["collection"].as_str(), edit["id"].as_str(), edit.get("operators")) {
        (Some(collection), Some(id), Some(operators)) => {
            let id = DocumentId::parse_text(id).map_or_else(|_| escape(id).into_owned(), |id| id_text(&id));
            format!("{} {id} {}", escape(collection), escape_json(&operators.to_string()))
        }
        _ => escape_json(&edit.to_string()).into_owned(),
    }
}

pub(super) fn digest(context: &mut Context, space: &str) -> Result<(), Failure> {
    let space = context.read()?.space(space)?;
    let digest = contract::Digest::from(space.digest()?);
    let output = &mut context.output;
    if output.json {
        return output.record(&digest);
    }
    let heads: Vec<String> = digest.heads.iter().map(CommitId::to_string).collect();
    output.labels(&[
        ("name", escape(&space.name()?).into_owned()),
        ("space", digest.space.to_string()),
        ("documents", thousands(digest.documents)),
        ("commits", thousands(digest.commits)),
        ("heads", heads.join(" ")),
        ("view", digest.view),
    ])
}
