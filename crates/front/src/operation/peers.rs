//! Peers: who they are, what came of exchanges with them, and exchanging now.

use std::collections::BTreeMap;

use driftless::{Address, Error, Exchanges, Peer, SpaceId, Synced};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Answer, at_most, missing};
use crate::arguments::Arguments;
use crate::backend::{Backend, Standing};
use crate::refusal::Refusal;

pub(super) fn peers(backend: &Backend, _: &Arguments) -> Answer {
    let standing = backend.standing();
    Ok(backend.database.peers_now()?.iter().map(|peer| described(peer, &standing, Vec::new())).collect())
}

pub(super) fn peer(backend: &Backend, arguments: &Arguments) -> Answer {
    let id = backend.peer(&arguments.text("peer")?)?;
    let peer = backend.database.peers_now()?.into_iter().find(|peer| peer.id == id);
    let peer = peer.ok_or_else(|| missing("peer", id))?;
    let spaces = backend.database.spaces()?.into_iter();
    let commits: BTreeMap<SpaceId, u64> = spaces.map(|space| (space.id, space.commits)).collect();
    let cursors: BTreeMap<SpaceId, u64> =
        peer.agreed.iter().map(|agreed| (agreed.space, agreed.position)).collect();
    let mut exchanges = backend.database.exchanges(&peer.id)?;
    // Of a peer that only ever connected to us nothing is written down; where it stands is known while we are open.
    let met = cursors.keys().filter(|space| !exchanges.iter().any(|past| past.space == **space));
    let met: Vec<Exchanges> = met.map(|space| unwritten(*space)).collect();
    exchanges.extend(met);
    let exchanges = exchanges.into_iter().map(|past| {
        let cursor = cursors.get(&past.space).copied();
        let lag = commits.get(&past.space).zip(cursor).map(|(all, cursor)| all.saturating_sub(cursor));
        let history = past.history.iter().map(|one| {
            json!({"time": one.at_ms, "commits": one.commits, "bytes": one.bytes, "error": said(&one.error)})
        });
        json!({
            "space": past.space,
            "cursor": cursor,
            "lag": lag,
            "last_sync": Some(past.last_sync_ms).filter(|time| *time > 0),
            "successes": past.successes,
            "failures": past.failures,
            "last_error": said(&past.last_error),
            "history": history.collect::<Value>(),
        })
    });
    let exchanges = exchanges.collect();
    Ok(described(&peer, &backend.standing(), exchanges))
}

fn unwritten(space: SpaceId) -> Exchanges {
    let (last_error, history) = (String::new(), Vec::new());
    Exchanges { space, last_sync_ms: 0, successes: 0, failures: 0, last_error, history }
}

// What is empty where nothing was said.
fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn described(peer: &Peer, standing: &Standing, exchanges: Vec<Value>) -> Value {
    let all = peer.successes.saturating_add(peer.failures);
    json!({
        "peer": peer.id,
        "name": said(&peer.name),
        "addresses": peer.addresses,
        "advertised": peer.advertised,
        "spaces": peer.spaces,
        "connected": standing.connected(peer),
        "last_sync": Some(peer.last_sync_ms).filter(|time| *time > 0),
        "successes": peer.successes,
        "failures": peer.failures,
        "rate": (all > 0).then(|| peer.successes as f64 / all as f64),
        "last_error": said(&peer.last_error),
        "waiting": standing.waiting(peer),
        "exchanges": exchanges,
    })
}

pub(super) fn exchanges(backend: &Backend, arguments: &Arguments) -> Answer {
    let database = &backend.database;
    let space =
        arguments.maybe_text("space")?.map(|name| backend.space(&name)).transpose()?.map(|space| space.id());
    let peers = match arguments.maybe_text("peer")? {
        Some(word) => vec![backend.peer(&word)?],
        None => database.peers()?.into_iter().map(|peer| peer.id).collect(),
    };
    let mut lines = Vec::new();
    for peer in peers {
        for past in database
            .exchanges(&peer)?
            .into_iter()
            .filter(|past| space.is_none_or(|space| past.space == space))
        {
            lines.extend(past.history.into_iter().map(|one| (one.at_ms, peer, past.space, one)));
        }
    }
    lines.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
    lines.truncate(at_most(arguments)?);
    let lines = lines.into_iter().map(|(time, peer, space, one)| {
        json!({
            "peer": peer,
            "space": space,
            "time": time,
            "commits": one.commits,
            "bytes": one.bytes,
            "error": said(&one.error),
        })
    });
    Ok(lines.collect())
}

pub(super) fn sync(backend: &Backend, arguments: &Arguments) -> Answer {
    let network = backend.network()?;
    let only =
        arguments.maybe_text("space")?.map(|name| backend.space(&name)).transpose()?.map(|space| space.id());
    let named = arguments.maybe_text("peer")?;
    let peers = match &named {
        Some(word) => vec![backend.database.find_peer(word)?],
        None => backend.database.peers()?,
    };
    let mut lines = Vec::new();
    for peer in peers {
        let spaces = match only {
            Some(space) if named.is_some() || peer.spaces.contains(&space) => vec![space],
            Some(_) => Vec::new(),
            None => peer.spaces.clone(),
        };
        let addresses = peer.addresses.iter().filter_map(|address| address.parse::<Address>().ok());
        let addresses: Vec<Address> = addresses.map(|address| address.with_peer(peer.id)).collect();
        let Some(first) = spaces.first().filter(|_| !addresses.is_empty()) else { continue };
        let mut unreachable = None;
        // The addresses of one peer: the first that works will do.
        for address in addresses {
            match Handle::current().block_on(network.sync_all_with_peer(&address, &spaces)) {
                Ok(outcomes) => {
                    unreachable = None;
                    lines.extend(outcomes.into_iter().map(|(space, outcome)| match outcome {
                        Ok(synced) => exchanged(synced),
                        Err(error) => failed(&peer, space, error),
                    }));
                    break;
                }
                Err(error) => unreachable = Some(error),
            }
        }
        lines.extend(unreachable.map(|error| failed(&peer, *first, error)));
    }
    if lines.is_empty() {
        let hint = "`driftless join TICKET` gets to know a peer, `driftless peer add` notes where one is";
        return Err(Refusal::new(404, "no_peers", "there is nobody to exchange with", hint));
    }
    Ok(Value::Array(lines))
}

fn failed(peer: &Peer, space: SpaceId, error: Error) -> Value {
    json!({"peer": peer.id, "space": space, "error": Refusal::from(error).to_json()})
}

fn exchanged(synced: Synced) -> Value {
    let Synced { space, peer, moved, traffic, settled } = synced;
    json!({
        "space": space,
        "peer": peer,
        "sent": moved.sent,
        "received": moved.received,
        "rounds": moved.rounds,
        "bytes_out": traffic.sent,
        "bytes_in": traffic.received,
        "applied": moved.applied,
        "held": moved.held,
        "void": moved.void,
        "wanted": moved.wanted,
        "refused": moved.refused,
        "declined": moved.declined,
        "signatures": moved.signatures,
        "settled": settled,
    })
}
