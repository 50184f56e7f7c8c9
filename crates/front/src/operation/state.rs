//! How the database stands: who it is, its spaces, and what waits in them and why.

use std::collections::BTreeMap;

use driftless::{MailboxSummary, Pending, Space, SpaceId, SpaceStatus, SpaceSummary};
use serde_json::{Value, json};

use super::Answer;
use crate::arguments::Arguments;
use crate::backend::Backend;

/// The version of the operations.
const API: u64 = 1;

pub(super) fn hello(backend: &Backend, _: &Arguments) -> Answer {
    let database = &backend.database;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "api": API,
        "user": database.user()?,
        "author": database.author()?,
        "peer": database.peer()?,
    }))
}

pub(super) fn spaces(backend: &Backend, _: &Arguments) -> Answer {
    Ok(backend.database.spaces()?.into_iter().map(summary).collect())
}

pub(super) fn space(backend: &Backend, arguments: &Arguments) -> Answer {
    Ok(summary(backend.space(&arguments.text("space")?)?.summary()?))
}

fn summary(summary: SpaceSummary) -> Value {
    json!({
        "space": summary.id,
        "name": summary.name,
        "commits": summary.commits,
        "documents": summary.documents,
        "heads": summary.heads,
    })
}

pub(super) fn collections(backend: &Backend, arguments: &Arguments) -> Answer {
    let space: Space = backend.space(&arguments.text("space")?)?;
    let mut lines = Vec::new();
    for name in space.collections()? {
        let indexes = space.collection(&name)?.indexes()?;
        let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
        lines.push(json!({"collection": name, "indexes": indexes}));
    }
    Ok(Value::Array(lines))
}

pub(super) fn digest(backend: &Backend, arguments: &Arguments) -> Answer {
    let digest = backend.space(&arguments.text("space")?)?.digest()?;
    Ok(json!({
        "space": digest.space,
        "heads": digest.heads,
        "commits": digest.commits,
        "documents": digest.documents,
        "view": digest.view,
    }))
}

pub(super) fn status(backend: &Backend, arguments: &Arguments) -> Answer {
    let database = &backend.database;
    let only =
        arguments.maybe_text("space")?.map(|name| backend.space(&name)).transpose()?.map(|space| space.id());
    let asked = |space: &SpaceId| only.is_none_or(|only| *space == only);
    let status = database.status()?;
    let lag = lag(backend)?;
    let spaces: Vec<SpaceStatus> = status.spaces.into_iter().filter(|space| asked(&space.id)).collect();
    let mut refused = status.refused;
    refused.retain(|line| only.is_none() || line.space == only);
    let requests = database.requests()?.iter().filter(|request| asked(&request.space)).count();
    let is_fine = |space: &SpaceStatus| {
        space.counts.held + space.counts.void + space.counts.wanted == 0 && space.forked.is_empty()
    };
    let mut mailboxes = database.mailboxes()?;
    mailboxes.retain(|mailbox| asked(&mailbox.space));
    let guarded = status.restored.as_ref().is_some_and(|restored| !restored.guarded.is_empty());
    let ok = status.copied.is_none()
        && refused.is_empty()
        && spaces.iter().all(is_fine)
        && mailboxes.iter().all(|mailbox| mailbox.error.is_empty() && mailbox.alarms.is_empty())
        && !guarded
        && status.lost.is_empty();
    let refused = refused.into_iter().map(|line| {
        json!({
            "hash": line.hash,
            "space": line.space,
            "author": line.author,
            "code": line.code,
            "reason": line.reason,
            "bytes": line.bytes,
            "time": line.at_ms,
            "times": line.times,
        })
    });
    let copied = status.copied.map(|copied| {
        json!({
            "author": copied.author,
            "space": copied.space,
            "seq": copied.seq,
            "commit": copied.commit,
            "since": copied.since_ms,
        })
    });
    let lost = status.lost.into_iter();
    let lost = lost.map(|lost| json!({"space": lost.space, "author": lost.author, "commits": lost.commits}));
    Ok(json!({
        "ok": ok,
        "user": database.user()?,
        "author": database.author()?,
        "bytes": database.bytes_on_disk()?,
        "spaces": spaces.into_iter().map(|space| space_status(space, &lag)).collect::<Value>(),
        "refused": refused.collect::<Value>(),
        "copied": copied,
        "restored": status.restored.map(|restored| json!({"time": restored.at_ms, "guarded": restored.guarded})),
        "lost": lost.collect::<Value>(),
        "requests": requests,
        "mailboxes": mailboxes.into_iter().map(mailbox).collect::<Value>(),
    }))
}

fn mailbox(known: MailboxSummary) -> Value {
    let alarms = known.alarms.into_iter().map(|alarm| {
        json!({
            "peer": alarm.peer,
            "store": alarm.store,
            "number": alarm.number,
            "kind": alarm.kind.word(),
            "since": alarm.since_ms,
            "reason": alarm.kind.reason(),
        })
    });
    json!({
        "space": known.space,
        "url": known.url,
        "objects": known.objects,
        "unsent": known.unsent,
        "last": Some(known.last_ms).filter(|last| *last > 0),
        "error": Some(known.error).filter(|error| !error.is_empty()),
        "operator_can_read": known.operator_can_read,
        "alarms": alarms.collect::<Value>(),
    })
}

fn space_status(space: SpaceStatus, lag: &BTreeMap<SpaceId, u64>) -> Value {
    let waiting = |count: u64, commits: Vec<Pending>| {
        let commits = commits.into_iter().map(|pending| {
            json!({
                "commit": pending.commit,
                "author": pending.author,
                "time": pending.time.ms(),
                "reason": pending.reason,
            })
        });
        json!({"count": count, "commits": commits.collect::<Value>()})
    };
    let forked = space.forked.into_iter().map(|fork| {
        json!({
            "author": fork.author,
            "seq": fork.seq,
            "commits": fork.commits,
            "proof": fork.proof,
            "since": fork.since_ms,
        })
    });
    let id = space.id;
    let schemas = space.schemas.into_iter();
    let schemas =
        schemas.map(|with| json!({"space": id, "collection": with.collection, "marked": with.marked}));
    json!({
        "space": space.id,
        "name": space.name,
        "commits": space.counts.commits,
        "documents": space.documents,
        "applied": space.counts.applied(),
        "sync": space.sync.map(|wanted| json!({"on_commit": wanted.on_commit, "interval": wanted.interval})),
        "lag": lag.get(&space.id),
        "held": waiting(space.counts.held, space.held),
        "void": waiting(space.counts.void, space.void),
        "wanted": waiting(space.counts.wanted, space.wanted),
        "forked": forked.collect::<Value>(),
        "schemas": schemas.collect::<Value>(),
    })
}

/// How many commits the known peer lacks who is furthest behind, of each space that is shared with one.
fn lag(backend: &Backend) -> Result<BTreeMap<SpaceId, u64>, driftless::Error> {
    let spaces = backend.database.spaces()?.into_iter();
    let commits: BTreeMap<SpaceId, u64> = spaces.map(|space| (space.id, space.commits)).collect();
    let mut lag = BTreeMap::new();
    for agreed in backend.database.peers_now()?.iter().flat_map(|peer| &peer.agreed) {
        if let Some(commits) = commits.get(&agreed.space) {
            let worst = lag.entry(agreed.space).or_insert(0_u64);
            *worst = (*worst).max(commits.saturating_sub(agreed.position));
        }
    }
    Ok(lag)
}
