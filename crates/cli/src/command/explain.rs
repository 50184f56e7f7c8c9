//! `explain`: why a document is, or is not, here or at a peer; why a key may do what it may.

use driftless::{Explanation, PeerId};

use super::Context;
use crate::args::OneDocument;
use crate::contract;
use crate::failure::Failure;
use crate::input;
use crate::output::{Table, escape};

pub(super) fn run(context: &mut Context, document: &OneDocument, peer: Option<&str>) -> Result<(), Failure> {
    let id = input::document_id(&document.id)?;
    let database = context.read()?;
    let space = database.space(&document.at.space)?;
    // A peer that only connected to us is known by its whole id.
    let peer = peer.map(|word| match (database.find_peer(word), word.parse::<PeerId>()) {
        (Ok(peer), _) => Ok(peer.id),
        (Err(_), Ok(id)) => Ok(id),
        (Err(error), Err(_)) => Err(error),
    });
    print(context, space.explain(&document.at.collection, &id, peer.transpose()?.as_ref())?)
}

/// Why a key may do what it may.
pub(super) fn key(context: &mut Context, space: &str, word: &str) -> Result<(), Failure> {
    let space = context.read()?.space(space)?;
    let key = input::key(&space, word)?;
    print(context, space.explain_key(&key)?)
}

fn print(context: &mut Context, told: Explanation) -> Result<(), Failure> {
    let ok = told.ok();
    let steps = told.steps.into_iter();
    let steps =
        steps.map(|step| contract::Step { step: step.step, ok: step.ok, detail: step.detail }).collect();
    let line = contract::Explanation { ok, steps, fix: told.fix };
    let output = &mut context.output;
    if output.json {
        return output.record(&line);
    }
    let mut table = Table::new(&["", "STEP", "WHAT"]);
    for step in &line.steps {
        let sign = if step.ok { "ok" } else { "!!" };
        table.row([sign.to_owned(), step.step.to_owned(), escape(&step.detail).into_owned()]);
    }
    output.table(&table)?;
    if let Some(fix) = &line.fix {
        output.text("")?;
        output.text(format!("to do: {}", escape(fix)))?;
    }
    Ok(())
}
