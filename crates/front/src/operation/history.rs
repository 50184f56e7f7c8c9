//! What happened: the log, differences between two moments, and why a document is or is not there.

use driftless::{Kind, LogQuery, operators_to_value};
use serde_json::{Value, json};

use super::{Answer, Weight, at_most, line};
use crate::arguments::Arguments;
use crate::backend::Backend;
use crate::refusal::Refusal;

pub(super) fn log(backend: &Backend, arguments: &Arguments) -> Answer {
    let document = match (arguments.maybe_text("collection")?, arguments.maybe_id("id")?) {
        (Some(collection), Some(id)) => Some((collection, id)),
        (None, None) => None,
        _ => return Err(Refusal::arguments("`collection` and `id` belong together", "give both, or none")),
    };
    let limit = Some(at_most(arguments)?);
    let found = backend.space(&arguments.text("space")?)?.log(LogQuery { document, limit })?;
    let mut weight = Weight::default();
    let lines = found.into_iter().map(|commit| {
        weight.line(&json!({
            "commit": commit.commit,
            "author": commit.author,
            "seq": commit.seq,
            "time": commit.time.ms(),
            "parents": commit.parents,
            "kind": match commit.kind {
                Kind::Rules => "rules",
                Kind::Documents => "documents",
            },
            "edits": commit.edits,
            "state": commit.state,
        }))
    });
    Ok(Value::Array(lines.collect::<Result<_, _>>()?))
}

pub(super) fn diff(backend: &Backend, arguments: &Arguments) -> Answer {
    let collection = backend.collection(&arguments.text("space")?, &arguments.text("collection")?)?;
    let from = arguments.moment("from", collection.space())?;
    let to = arguments.moment("to", collection.space())?;
    let operators = collection.diff(&arguments.id("id")?, from, to)?;
    if operators.is_empty() { Ok(json!({})) } else { line(&operators_to_value(&operators)) }
}

pub(super) fn explain(backend: &Backend, arguments: &Arguments) -> Answer {
    let space = backend.space(&arguments.text("space")?)?;
    let peer = arguments.maybe_text("peer")?.map(|word| backend.peer(&word)).transpose()?;
    let told = space.explain(&arguments.text("collection")?, &arguments.id("id")?, peer.as_ref())?;
    let (ok, fix) = (told.ok(), told.fix);
    let steps =
        told.steps.into_iter().map(|step| json!({"step": step.step, "ok": step.ok, "detail": step.detail}));
    Ok(json!({"ok": ok, "steps": steps.collect::<Vec<_>>(), "fix": fix}))
}
