//! What other stores pull over HTTP: which spaces there are, what came into one since a cursor, what somebody made; and
//! that they have something new themselves.

use data_encoding::BASE64;
use driftless::{Address, Cursor, Discovered, Filter};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Answer, Weight, at_most};
use crate::arguments::Arguments;
use crate::backend::Backend;
use crate::refusal::Refusal;

/// Bytes of a page where nobody says how many.
const USUAL_PAGE: u64 = 256 * 1024;

pub(super) fn discover(backend: &Backend, arguments: &Arguments) -> Answer {
    let here = backend.database.spaces()?;
    let Some(word) = arguments.maybe_text("peer")? else {
        let mut lines = Vec::new();
        for summary in here {
            let space = backend.space(&summary.id.to_string())?;
            let Ok(author) = space.author() else { continue };
            if space.effective(Some(author))?.iter().any(|one| one.permission.is_some()) {
                lines.push(json!({"space": summary.id, "name": summary.name, "here": true}));
            }
        }
        return Ok(Value::Array(lines));
    };
    let network = backend.network()?;
    let peer = backend.database.find_peer(&word)?;
    let addresses = peer.addresses.iter().filter_map(|address| address.parse::<Address>().ok());
    let mut failed =
        Refusal::new(404, "no_peers", "the peer has no address", "`driftless peer address` adds one");
    for address in addresses {
        match Handle::current().block_on(network.discover(&address.with_peer(peer.id))) {
            Ok(found) => {
                let line = |Discovered { space, name }| {
                    let is_here = here.iter().any(|summary| summary.id == space);
                    json!({"space": space, "name": name, "here": is_here})
                };
                return Ok(found.into_iter().map(line).collect());
            }
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

pub(super) fn pull(backend: &Backend, arguments: &Arguments) -> Answer {
    let cursor = arguments.maybe_text("cursor")?.map(|text| text.parse::<Cursor>()).transpose();
    let cursor = cursor.map_err(|error| {
        Refusal::arguments(
            format!("the cursor does not read: {error}"),
            "give back what the page before gave, as it is",
        )
    })?;
    let budget = arguments.number("bytes")?.unwrap_or(USUAL_PAGE);
    let space = backend.space(&arguments.text("space")?)?;
    let page = space.feed(cursor.as_ref(), usize::try_from(budget).unwrap_or(usize::MAX))?;
    let frames = page.frames.iter().map(|frame| json!({"$bytes": BASE64.encode(frame)}));
    Ok(json!({
        "space": space.id(),
        "frames": frames.collect::<Value>(),
        "commits": page.commits,
        "cursor": page.cursor.to_string(),
        "more": page.more,
    }))
}

pub(super) fn find(backend: &Backend, arguments: &Arguments) -> Answer {
    let (name, author) = (arguments.text("collection")?, arguments.maybe_text("author")?);
    let limit = at_most(arguments)?;
    let (mut weight, mut lines) = (Weight::default(), Vec::new());
    for summary in backend.database.spaces()? {
        let space = backend.space(&summary.id.to_string())?;
        let filter = match &author {
            None => Filter::parse("{}"),
            // A word that one space knows as a key, another may not know.
            Some(word) => match space.find_key(word) {
                Ok(key) => Filter::parse(&json!({"_author": key}).to_string()),
                Err(_) => continue,
            },
        };
        let filter = filter.map_err(driftless::Error::from)?;
        for document in space.collection(&name)?.find(filter).limit(limit - lines.len()).run()? {
            lines.push(weight.line(&json!({"space": summary.id, "document": document}))?);
        }
        if lines.len() >= limit {
            break;
        }
    }
    Ok(Value::Array(lines))
}

pub(super) fn changed(backend: &Backend, arguments: &Arguments) -> Answer {
    backend.network()?;
    let space =
        arguments.maybe_text("space")?.map(|name| backend.space(&name)).transpose()?.map(|space| space.id());
    let peer = arguments.maybe_text("peer")?.map(|word| backend.peer(&word)).transpose()?;
    let engine = backend.engine.as_ref().ok_or_else(|| {
        let hint = "`driftless serve` has one; a program gives the front its engine";
        Refusal::new(400, "not_online", "this front has no sync engine", hint)
    })?;
    engine.sync_now(peer.as_ref(), space.as_ref());
    Ok(json!({"heard": true}))
}
