//! What clients may ask for: one table, from which arguments are checked, work is done and pages are written.
//!
//! Work is done on a thread that may block. Results have the fields that the command line prints.

mod documents;
mod history;
mod people;
mod peers;
mod pulling;
mod state;

use driftless::Error;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::{Argument, Arguments, Kind};
use crate::backend::Backend;
use crate::limits::{MAX_ANSWER, MAX_LINES, USUAL_LINES};
use crate::refusal::Refusal;

/// What an operation came to.
pub(crate) type Answer = Result<Value, Refusal>;

/// How an operation is done.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// At once.
    Once(fn(&Backend, &Arguments) -> Answer),
    /// It waits for peers.
    WithPeers(fn(&Backend, &Arguments) -> Answer),
    /// Documents that match, then differences.
    Watch,
    /// What sync does.
    Events,
}

/// One thing that a client may ask for.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) arguments: &'static [Argument],
    /// The result: `{field: type, ..}`, `[..]` of it, or words.
    pub(crate) answer: &'static str,
    pub(crate) work: Work,
}

const fn needs(name: &'static str, kind: Kind, about: &'static str) -> Argument {
    Argument { name, kind, required: true, about }
}

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Argument {
    Argument { name, kind, required: false, about }
}

const SPACE: Argument =
    needs("space", Kind::Text, "A space: its id, 8 or more characters of it, or its name here.");
const ONE_SPACE: Argument = may("space", Kind::Text, "Only this space.");
const COLLECTION: Argument = needs("collection", Kind::Text, "The name of a collection.");
const ID: Argument = needs("id", Kind::Id, "The id of a document, as `_id` shows it.");
const FILTER: Argument =
    may("filter", Kind::Object, "A filter in MongoDB's language; all documents if left out.");
const DELETED: Argument = may("deleted", Kind::Flag, "Deleted documents, too.");
const LIMIT: Argument = may("limit", Kind::Number, "At most so many.");
const DOCUMENT: Argument = needs("document", Kind::Object, "The fields of a document.");

const WRITTEN: &str = "{id: id, commit: text?}";
const PEER: &str = "{peer: text, name: text?, addresses: [text], advertised: [text], spaces: [text], connected: flag?, \
                    last_sync: number?, successes: number, failures: number, rate: number?, last_error: text?, \
                    waiting: [text], exchanges: [object]}";

/// Everything that there is.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "hello",
        about: "Who answers: the version of driftless and of these operations, the user, the author key and the peer.",
        arguments: &[],
        answer: "{version: text, api: number, user: text, author: text, peer: text}",
        work: Work::Once(state::hello),
    },
    Operation {
        name: "spaces",
        about: "The spaces that are here.",
        arguments: &[],
        answer: "[{space: text, name: text, commits: number, documents: number, heads: [text]}]",
        work: Work::Once(state::spaces),
    },
    Operation {
        name: "space",
        about: "One space.",
        arguments: &[SPACE],
        answer: "{space: text, name: text, commits: number, documents: number, heads: [text]}",
        work: Work::Once(state::space),
    },
    Operation {
        name: "collections",
        about: "The collections of a space, and the fields that are indexed.",
        arguments: &[SPACE],
        answer: "[{collection: text, indexes: [text]}]",
        work: Work::Once(state::collections),
    },
    Operation {
        name: "get",
        about: "A document, now or as it was.",
        arguments: &[SPACE, COLLECTION, ID, may("at", Kind::Moment, "As it was then.")],
        answer: "the document",
        work: Work::Once(documents::get),
    },
    Operation {
        name: "find",
        about: "The documents that match.",
        arguments: &[
            SPACE,
            COLLECTION,
            FILTER,
            may("sort", Kind::Text, "Fields with commas between them, `-` for descending: `country,-name`."),
            LIMIT,
            may("skip", Kind::Number, "Leaves out so many at the beginning."),
            DELETED,
        ],
        answer: "the documents",
        work: Work::Once(documents::find),
    },
    Operation {
        name: "count",
        about: "How many documents match.",
        arguments: &[SPACE, COLLECTION, FILTER, DELETED],
        answer: "{count: number}",
        work: Work::Once(documents::count),
    },
    Operation {
        name: "insert",
        about: "Makes a document.",
        arguments: &[
            SPACE,
            COLLECTION,
            DOCUMENT,
            may("id", Kind::Id, "Its id; a new random one if left out."),
            may("parent", Kind::Id, "The document that it belongs to."),
        ],
        answer: WRITTEN,
        work: Work::Once(documents::insert),
    },
    Operation {
        name: "save",
        about: "Makes a document be this, by the smallest edit; its system fields are left out.",
        arguments: &[SPACE, COLLECTION, ID, DOCUMENT],
        answer: WRITTEN,
        work: Work::Once(documents::save),
    },
    Operation {
        name: "edit",
        about: "Edits a document.",
        arguments: &[
            SPACE,
            COLLECTION,
            ID,
            needs("operators", Kind::Object, "MongoDB's operators: `{\"$set\": {\"done\": true}}`."),
        ],
        answer: WRITTEN,
        work: Work::Once(documents::edit),
    },
    Operation {
        name: "delete",
        about: "Deletes a document.",
        arguments: &[SPACE, COLLECTION, ID],
        answer: WRITTEN,
        work: Work::Once(documents::delete),
    },
    Operation {
        name: "restore",
        about: "Takes back the deletion of a document.",
        arguments: &[SPACE, COLLECTION, ID],
        answer: WRITTEN,
        work: Work::Once(documents::restore),
    },
    Operation {
        name: "watch",
        about: "A live query: what matches now, then every difference.",
        arguments: &[SPACE, COLLECTION, FILTER],
        answer: "{kind: text, id: id?, document: object?, origin: text?}",
        work: Work::Watch,
    },
    Operation {
        name: "log",
        about: "The commits of a space, or those that edit a document; the newest arrival first.",
        arguments: &[
            SPACE,
            may("collection", Kind::Text, "With `id`: only commits that edit this document."),
            may("id", Kind::Id, "With `collection`: only commits that edit this document."),
            may("limit", Kind::Number, "At most so many; 100 if left out."),
        ],
        answer: "[{commit: text, author: text, seq: number, time: number, parents: [text], kind: text, edits: [object], \
                 state: text}]",
        work: Work::Once(history::log),
    },
    Operation {
        name: "diff",
        about: "The operators that make a document of one moment into that of another.",
        arguments: &[
            SPACE,
            COLLECTION,
            ID,
            needs("from", Kind::Moment, "The one moment."),
            may("to", Kind::Moment, "The other; now, if left out."),
        ],
        answer: "operators",
        work: Work::Once(history::diff),
    },
    Operation {
        name: "explain",
        about: "Why a document is, or is not, here or at a peer.",
        arguments: &[SPACE, COLLECTION, ID, may("peer", Kind::Text, "At this peer: its name, or its id.")],
        answer: "{ok: flag, steps: [object], fix: text?}",
        work: Work::Once(history::explain),
    },
    Operation {
        name: "members",
        about: "Whom the rules of a space name.",
        arguments: &[SPACE],
        answer: "[{subject: text, permission: text, you: flag}]",
        work: Work::Once(people::members),
    },
    Operation {
        name: "effective",
        about: "What everybody may do in a space, and which statements decided it.",
        arguments: &[
            SPACE,
            may("key", Kind::Text, "Only this key: an author id, 8 or more characters of it, or a user."),
        ],
        answer: "[{subject: text, permission: text?, as_anyone: flag, you: flag, decided_by: [object], void: [object]}]",
        work: Work::Once(people::effective),
    },
    Operation {
        name: "status",
        about: "What is held, void, wanted and refused, and why; how far peers are behind.",
        arguments: &[ONE_SPACE],
        answer: "{ok: flag, user: text, author: text, bytes: number, spaces: [object], refused: [object], copied: object?, \
                 restored: object?, lost: [object], requests: number, mailboxes: [object]}",
        work: Work::Once(state::status),
    },
    Operation {
        name: "digest",
        about: "What is equal on two databases exactly when their visible documents are.",
        arguments: &[SPACE],
        answer: "{space: text, heads: [text], commits: number, documents: number, view: text}",
        work: Work::Once(state::digest),
    },
    Operation {
        name: "peers",
        about: "The peers that are known.",
        arguments: &[],
        answer: PEER_LIST,
        work: Work::Once(peers::peers),
    },
    Operation {
        name: "peer",
        about: "One peer, and what came of each space.",
        arguments: &[needs("peer", Kind::Text, "Its name, or its id.")],
        answer: PEER,
        work: Work::Once(peers::peer),
    },
    Operation {
        name: "exchanges",
        about: "Exchanges that are over, the newest first: 16 are kept of each peer and space.",
        arguments: &[
            may("peer", Kind::Text, "Only with this peer."),
            ONE_SPACE,
            may("limit", Kind::Number, "At most so many; 100 if left out."),
        ],
        answer: "[{peer: text, space: text, time: number, commits: number, bytes: number, error: text?}]",
        work: Work::Once(peers::exchanges),
    },
    Operation {
        name: "sync",
        about: "Exchanges now with the known peers, and waits for it.",
        arguments: &[ONE_SPACE, may("peer", Kind::Text, "Only with this peer.")],
        answer: "[{space: text, peer: text, sent: number?, received: number?, rounds: number?, bytes_out: number?, bytes_in: \
                 number?, applied: number?, held: number?, void: number?, wanted: number?, refused: number?, declined: \
                 number?, signatures: number?, settled: flag?, error: object?}]",
        work: Work::WithPeers(peers::sync),
    },
    Operation {
        name: "events",
        about: "What sync does, as it happens.",
        arguments: &[],
        answer: "{kind: text, time: number, peer: text?, space: text?, error: text?}",
        work: Work::Events,
    },
    Operation {
        name: "document.discover",
        about: "The spaces that the user may read here, or at a peer.",
        arguments: &[may("peer", Kind::Text, "At this peer.")],
        answer: "[{space: text, name: text, here: flag}]",
        work: Work::WithPeers(pulling::discover),
    },
    Operation {
        name: "document.pull",
        about: "What came into a space after a cursor: frames of signed commits, as docs/format.md says, each of which can be taken alone, in this order.",
        arguments: &[
            SPACE,
            may("cursor", Kind::Text, "What the page before gave; from the beginning, if left out."),
            may("bytes", Kind::Number, "About so many, at most 512 KiB; 256 KiB if left out."),
        ],
        answer: "{space: text, frames: [object], commits: number, cursor: text, more: flag}",
        work: Work::Once(pulling::pull),
    },
    Operation {
        name: "document.find",
        about: "The documents of a collection in all spaces, or those that somebody made.",
        arguments: &[
            needs("collection", Kind::Text, "The name of a collection."),
            may(
                "author",
                Kind::Text,
                "Only what this key made: an author id, 8 or more characters of it, or a user here.",
            ),
            may("limit", Kind::Number, "At most so many; 100 if left out."),
        ],
        answer: "[{space: text, document: object}]",
        work: Work::Once(pulling::find),
    },
    Operation {
        name: "document.changed",
        about: "Says that peers have something new: exchanges with them are due now. Does not wait for them.",
        arguments: &[may("peer", Kind::Text, "This peer."), may("space", Kind::Text, "In this space.")],
        answer: "{heard: flag}",
        work: Work::Once(pulling::changed),
    },
];

const PEER_LIST: &str = "[{peer: text, name: text?, addresses: [text], advertised: [text], spaces: [text], connected: flag?, \
                         last_sync: number?, successes: number, failures: number, rate: number?, last_error: text?, \
                         waiting: [text], exchanges: [object]}]";

impl Operation {
    /// The operation of that name, once its arguments fit.
    pub(crate) fn find(name: &str, arguments: &Arguments) -> Result<&'static Self, Refusal> {
        let found = OPERATIONS.iter().find(|operation| operation.name == name);
        let operation = found.ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Refusal::new(
                404,
                "unknown_operation",
                format!("there is no operation `{shown}`"),
                "/docs lists them",
            )
        })?;
        arguments.check(operation.arguments)?;
        Ok(operation)
    }
}

/// Serialises one line of an answer.
fn line(line: &impl Serialize) -> Answer {
    serde_json::to_value(line).map_err(|error| Refusal::new(500, "io", error, "try again"))
}

/// How many lines an answer may have: what was asked for, or so many.
fn at_most(arguments: &Arguments) -> Result<usize, Refusal> {
    let limit = arguments.number("limit")?.unwrap_or(USUAL_LINES as u64);
    Ok(usize::try_from(limit).unwrap_or(MAX_LINES).min(MAX_LINES))
}

/// Counts the bytes of an answer while it is made.
#[derive(Default)]
struct Weight(usize);

impl Weight {
    /// Serialises a line that still fits.
    fn line(&mut self, one: &impl Serialize) -> Answer {
        let one = line(one)?;
        self.0 += one.to_string().len();
        if self.0 > MAX_ANSWER {
            return Err(Refusal::too_large(
                "the answer is longer than an answer may be",
                "ask with a smaller `limit`",
            ));
        }
        Ok(one)
    }
}

fn missing(what: &'static str, name: impl std::fmt::Display) -> Refusal {
    Error::NotFound { what, name: name.to_string() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_in_the_documentation_with_its_arguments() {
        let page = include_str!("../../../../docs/front.md");
        for operation in OPERATIONS {
            let named = format!("`{}`", operation.name);
            let row = page.lines().find(|row| {
                row.starts_with('|') && row.split('|').nth(1).is_some_and(|cell| cell.contains(&named))
            });
            let row = row.unwrap_or_else(|| panic!("{named} has no row in docs/front.md"));
            let cell = row.split('|').nth(2).unwrap_or_default();
            for argument in operation.arguments {
                let name =
                    if argument.required { argument.name.to_owned() } else { format!("{}?", argument.name) };
                assert!(cell.contains(&name), "{}: {name} is not in docs/front.md", operation.name);
            }
        }
    }
}
