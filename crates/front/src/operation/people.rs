//! Who may do what in a space, and what decided it.

use driftless::Ruling;
use serde_json::{Value, json};

use super::Answer;
use crate::arguments::Arguments;
use crate::backend::Backend;

pub(super) fn members(backend: &Backend, arguments: &Arguments) -> Answer {
    let members = backend.space(&arguments.text("space")?)?.members()?.into_iter().map(|member| {
        json!({
            "subject": member.subject.to_string(),
            "permission": member.permission.to_string(),
            "you": member.you,
        })
    });
    Ok(members.collect())
}

pub(super) fn effective(backend: &Backend, arguments: &Arguments) -> Answer {
    let space = backend.space(&arguments.text("space")?)?;
    let key = arguments.maybe_text("key")?.map(|word| space.find_key(&word)).transpose()?;
    let rulings = |rulings: Vec<Ruling>| rulings.into_iter().map(ruling).collect::<Value>();
    let lines = space.effective(key)?.into_iter().map(|one| {
        json!({
            "subject": one.subject.to_string(),
            "permission": one.permission.map(|permission| permission.to_string()),
            "as_anyone": one.as_anyone,
            "you": one.you,
            "decided_by": rulings(one.decided_by),
            "void": rulings(one.void),
        })
    });
    Ok(lines.collect())
}

fn ruling(ruling: Ruling) -> Value {
    json!({
        "commit": ruling.commit,
        "author": ruling.author,
        "time": ruling.time.ms(),
        "permission": ruling.permission.map(|permission| permission.to_string()),
        "about": ruling.about.to_string(),
        "kind": ruling.kind,
        "through": ruling.through,
        "void": ruling.void,
    })
}
