//! What `--json` prints: one struct per kind of line. Programs depend on these names; fields are added, never renamed.
//!
//! Documents print themselves and failures live in `failure`. Times are Unix milliseconds.

mod mailbox;
mod peer;
mod roots;
pub(crate) mod rows;
mod schema;
mod share;

use driftless::{AuthorId, CommitId, Document, DocumentId, PeerId, RequestId, SpaceId, UserId};
use serde::Serialize;

pub(crate) use mailbox::{Alarm, Mailbox, MailboxSynced};
#[cfg(feature = "iroh")]
pub(crate) use peer::Neighbour;
pub(crate) use peer::{Exchanges, PastExchange, Peer};
pub(crate) use roots::{Accepted, Reset, UserInvite};
pub(crate) use schema::{Marked, Schema};
pub(crate) use share::Shared;

#[derive(Serialize)]
pub(crate) struct Init {
    pub(crate) dir: String,
    pub(crate) user: String,
    pub(crate) author: AuthorId,
    pub(crate) peer: PeerId,
}

#[derive(Serialize)]
pub(crate) struct Compacted {
    pub(crate) packed: u64,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

#[derive(Serialize)]
pub(crate) struct Space {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) heads: Vec<CommitId>,
}

impl From<driftless::SpaceSummary> for Space {
    fn from(summary: driftless::SpaceSummary) -> Self {
        Self {
            space: summary.id,
            name: summary.name,
            commits: summary.commits,
            documents: summary.documents,
            heads: summary.heads,
        }
    }
}

/// `commit` is null when nothing had to be written.
#[derive(Serialize)]
pub(crate) struct Written {
    pub(crate) id: DocumentId,
    pub(crate) commit: Option<CommitId>,
}

#[derive(Serialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) skipped: u64,
    pub(crate) rejected: u64,
}

#[derive(Serialize)]
pub(crate) struct Count {
    pub(crate) count: u64,
}

/// `index` is null where every document is looked at.
#[derive(Serialize)]
pub(crate) struct Plan {
    pub(crate) index: Option<String>,
    pub(crate) candidates: u64,
}

/// `fix` is about the first step that is not `ok`; null if all are, or nothing is to be done.
#[derive(Serialize)]
pub(crate) struct Explanation {
    pub(crate) ok: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) fix: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Step {
    pub(crate) step: &'static str,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// The last three are null when `kind` is `ready`.
#[derive(Serialize)]
pub(crate) struct Change<'d> {
    pub(crate) kind: &'static str,
    pub(crate) id: Option<&'d DocumentId>,
    pub(crate) document: Option<&'d Document>,
    pub(crate) origin: Option<&'static str>,
}

#[derive(Serialize)]
pub(crate) struct Preferences {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    /// Whether this user said anything.
    pub(crate) tracked: bool,
    pub(crate) enabled: bool,
    pub(crate) on_commit: bool,
    pub(crate) interval: Option<u64>,
    pub(crate) properties: std::collections::BTreeMap<String, String>,
    /// What all users of the database together want; null if it is not exchanged.
    pub(crate) wanted: Option<Wanted>,
}

#[derive(Serialize)]
pub(crate) struct Wanted {
    pub(crate) on_commit: bool,
    pub(crate) interval: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct Index {
    pub(crate) space: SpaceId,
    pub(crate) collection: String,
    pub(crate) field: String,
    /// Only after `index create`: false if it was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct Commit {
    pub(crate) commit: CommitId,
    pub(crate) author: AuthorId,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) parents: Vec<CommitId>,
    pub(crate) kind: &'static str,
    pub(crate) edits: Vec<serde_json::Value>,
    pub(crate) state: &'static str,
}

/// `view` is equal on two replicas exactly when their visible documents are equal.
#[derive(Serialize)]
pub(crate) struct Digest {
    pub(crate) space: SpaceId,
    pub(crate) heads: Vec<CommitId>,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) view: String,
}

impl From<driftless::Digest> for Digest {
    fn from(digest: driftless::Digest) -> Self {
        Self {
            space: digest.space,
            heads: digest.heads,
            commits: digest.commits,
            documents: digest.documents,
            view: digest.view,
        }
    }
}

/// After `withdraw`: what the key still may do in `space`, or null.
#[derive(Serialize)]
pub(crate) struct Withdrawn {
    pub(crate) space: SpaceId,
    pub(crate) of: SpaceId,
    pub(crate) key: AuthorId,
    pub(crate) permission: Option<String>,
    pub(crate) commit: CommitId,
}

/// After `grant` and `revoke`; a permission is null where there is none. `commit` is null after `--dry-run`. `kept` is null
/// where nothing was taken away; `lost` counts commits that do not count any more. `exchanged` is null where this space was
/// never exchanged with anybody.
#[derive(Serialize)]
pub(crate) struct Granted {
    pub(crate) space: SpaceId,
    pub(crate) subject: String,
    pub(crate) present: Option<String>,
    pub(crate) permission: Option<String>,
    pub(crate) commit: Option<CommitId>,
    pub(crate) kept: Option<Vec<Kept>>,
    pub(crate) lost: Vec<Loss>,
    pub(crate) late: Option<Late>,
    pub(crate) exchanged: Option<u64>,
    pub(crate) warnings: Vec<String>,
}

/// A commit that stays, and how many of its author's stay with it.
#[derive(Serialize)]
pub(crate) struct Kept {
    pub(crate) author: AuthorId,
    pub(crate) commit: CommitId,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) commits: u64,
}

#[derive(Serialize)]
pub(crate) struct Loss {
    pub(crate) author: AuthorId,
    pub(crate) commits: u64,
}

/// Commits of the subject that came only after `since`, and say that they are from `written` on.
#[derive(Serialize)]
pub(crate) struct Late {
    pub(crate) commits: u64,
    pub(crate) written: u64,
    pub(crate) since: u64,
}

/// Somebody whom the rules name.
#[derive(Serialize)]
pub(crate) struct Member {
    pub(crate) subject: String,
    pub(crate) permission: String,
    pub(crate) you: bool,
}

/// What somebody may do now: `permission` is null where it is nothing, `as_anyone` where no statement that counts names the
/// key. Of several in `decided_by` the weakest holds.
#[derive(Serialize)]
pub(crate) struct Effective {
    pub(crate) subject: String,
    pub(crate) permission: Option<String>,
    pub(crate) as_anyone: bool,
    pub(crate) you: bool,
    pub(crate) decided_by: Vec<Ruling>,
    pub(crate) void: Vec<Ruling>,
}

/// A statement: `about` is the key, `*` or a space, `kind` is `genesis`, `grant`, `invite` or `enrolment`; `through` is the
/// space that lets an enrolled key in, or null; `void` says why it does not count, or is null.
#[derive(Serialize)]
pub(crate) struct Ruling {
    pub(crate) commit: CommitId,
    pub(crate) author: AuthorId,
    pub(crate) time: u64,
    pub(crate) permission: Option<String>,
    pub(crate) about: String,
    pub(crate) kind: &'static str,
    pub(crate) through: Option<SpaceId>,
    pub(crate) void: Option<String>,
}

impl From<driftless::Ruling> for Ruling {
    fn from(ruling: driftless::Ruling) -> Self {
        let driftless::Ruling { commit, author, time, permission, about, kind, through, void } = ruling;
        let permission = permission.map(|permission| permission.to_string());
        Self { commit, author, time: time.ms(), permission, about: about.to_string(), kind, through, void }
    }
}

/// One case of `policy test`, numbered from 1. `found` and `expected` are `allowed`, `refused` or `void`.
#[derive(Serialize)]
pub(crate) struct Case {
    pub(crate) case: usize,
    pub(crate) who: String,
    pub(crate) does: String,
    pub(crate) expected: &'static str,
    pub(crate) found: &'static str,
    pub(crate) ok: bool,
    pub(crate) because: String,
}

/// `ok` is true when nothing is held, void, wanted, refused or forked, and no mailbox has an alarm. `copied` is null unless another copy of this
/// database was met that signs with the same key; then nothing is written before `doctor` was asked.
#[derive(Serialize)]
pub(crate) struct Status {
    pub(crate) ok: bool,
    pub(crate) user: String,
    pub(crate) author: AuthorId,
    pub(crate) bytes: u64,
    pub(crate) spaces: Vec<SpaceStatus>,
    pub(crate) refused: Vec<Refused>,
    pub(crate) copied: Option<Copied>,
    /// Null unless the database was made from a backup.
    pub(crate) restored: Option<Restored>,
    pub(crate) lost: Vec<Lost>,
    /// Requests for access that wait for an admin.
    pub(crate) requests: u64,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// SQLite files under sync.
    pub(crate) rows: Vec<rows::Standing>,
}

/// `guarded`: spaces that take no writes before an exchange of them settled. `time` is when it was made.
#[derive(Serialize)]
pub(crate) struct Restored {
    pub(crate) time: u64,
    pub(crate) guarded: Vec<SpaceId>,
}

impl From<driftless::Restored> for Restored {
    fn from(restored: driftless::Restored) -> Self {
        Self { time: restored.at_ms, guarded: restored.guarded }
    }
}

/// An own key of which commits were lost here. `commits`: how many it has written; null if nobody knows.
#[derive(Serialize)]
pub(crate) struct Lost {
    pub(crate) space: SpaceId,
    pub(crate) author: AuthorId,
    pub(crate) commits: Option<u64>,
}

impl From<driftless::Lost> for Lost {
    fn from(lost: driftless::Lost) -> Self {
        Self { space: lost.space, author: lost.author, commits: lost.commits }
    }
}

/// `ok`: nothing is wrong (any more). `problems` are at most a thousand, `more` counts the others. `repaired` is there
/// only after `--repair`.
#[derive(Serialize)]
pub(crate) struct Fsck {
    pub(crate) ok: bool,
    pub(crate) problems: Vec<Problem>,
    pub(crate) more: u64,
    pub(crate) spaces: u64,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) signatures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repaired: Option<Repaired>,
}

impl Fsck {
    pub(crate) fn new(report: driftless::Report, repaired: Option<Repaired>) -> Self {
        let ok = report.is_ok();
        let driftless::Report { problems, more, spaces, commits, documents, signatures } = report;
        let problems = problems.into_iter().map(Problem::from).collect();
        Self { ok, problems, more, spaces, commits, documents, signatures, repaired }
    }
}

/// `space` is null for what belongs to none; `repair` says what a repair does about it.
#[derive(Serialize)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) space: Option<SpaceId>,
    pub(crate) what: String,
    pub(crate) repair: &'static str,
}

impl From<driftless::Problem> for Problem {
    fn from(problem: driftless::Problem) -> Self {
        let driftless::Problem { code, space, what, repair } = problem;
        Self { code, space, what, repair }
    }
}

/// `kept`: where the damaged file is; null if nothing had to be done.
#[derive(Serialize)]
pub(crate) struct Repaired {
    pub(crate) kept: Option<String>,
    pub(crate) spaces: Vec<RepairedSpace>,
    pub(crate) synced: Vec<Synced>,
}

/// After the repair and before the sync: `dropped` commits are not here, `rescued_commits` of them are in the bundle
/// `rescued`; `guarded` own keys write again when their commits are back.
#[derive(Serialize)]
pub(crate) struct RepairedSpace {
    pub(crate) space: SpaceId,
    pub(crate) commits: u64,
    pub(crate) dropped: u64,
    pub(crate) wanted: u64,
    pub(crate) rescued: Option<String>,
    pub(crate) rescued_commits: u64,
    pub(crate) guarded: Vec<AuthorId>,
}

impl From<driftless::RepairedSpace> for RepairedSpace {
    fn from(space: driftless::RepairedSpace) -> Self {
        Self {
            space: space.space,
            commits: space.commits,
            dropped: space.dropped,
            wanted: space.wanted,
            rescued: space.rescued.map(|path| path.display().to_string()),
            rescued_commits: space.rescued_commits,
            guarded: space.guarded,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Backup {
    pub(crate) file: String,
    pub(crate) bytes: u64,
}

#[derive(Serialize)]
pub(crate) struct SpaceStatus {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) applied: u64,
    /// What users want of it together; null if it is off for all: then nothing is sent or fetched.
    pub(crate) sync: Option<Wanted>,
    /// Commits that the known peer lacks who is furthest behind; null if there is none.
    pub(crate) lag: Option<u64>,
    pub(crate) held: Waiting,
    pub(crate) void: Waiting,
    pub(crate) wanted: Waiting,
    /// Collections that have a schema, and how many of their documents do not fit it.
    pub(crate) schemas: Vec<Schema>,
    /// Where an author has signed two commits of one seq.
    pub(crate) forked: Vec<Fork>,
}

/// `proof` has for each of the two commits the first one at or after it that carries a signature.
#[derive(Serialize)]
pub(crate) struct Fork {
    pub(crate) author: AuthorId,
    pub(crate) seq: u64,
    pub(crate) commits: [CommitId; 2],
    pub(crate) proof: Vec<CommitId>,
    pub(crate) since: u64,
}

impl From<driftless::Fork> for Fork {
    fn from(fork: driftless::Fork) -> Self {
        let driftless::Fork { author, seq, commits, proof, since_ms } = fork;
        Self { author, seq, commits, proof, since: since_ms }
    }
}

/// What another copy of this database has written under a key of a user.
#[derive(Serialize)]
pub(crate) struct Copied {
    pub(crate) author: AuthorId,
    pub(crate) space: SpaceId,
    pub(crate) seq: u64,
    pub(crate) commit: CommitId,
    pub(crate) since: u64,
}

/// A user of this database. `id` and `identity` are null before there is an identity; the default key is the first.
#[derive(Serialize)]
pub(crate) struct User {
    pub(crate) user: String,
    pub(crate) password: bool,
    pub(crate) default: bool,
    pub(crate) id: Option<UserId>,
    pub(crate) identity: Option<SpaceId>,
    pub(crate) keys: Vec<Key>,
}

impl From<driftless::UserSummary> for User {
    fn from(user: driftless::UserSummary) -> Self {
        Self {
            id: user.id(),
            user: user.name,
            password: user.has_password,
            default: user.is_default,
            identity: user.identity,
            keys: user.keys.into_iter().map(Key::from).collect(),
        }
    }
}

/// A key of a user; `state` is `active`, `former` or `revoked`.
#[derive(Serialize)]
pub(crate) struct Key {
    pub(crate) key: AuthorId,
    pub(crate) state: &'static str,
    pub(crate) default: bool,
}

impl From<driftless::KeySummary> for Key {
    fn from(key: driftless::KeySummary) -> Self {
        let state = match key.state {
            driftless::KeyState::Active => "active",
            driftless::KeyState::Former => "former",
            driftless::KeyState::Revoked => "revoked",
        };
        Self { key: key.author, state, default: key.is_default }
    }
}

/// `password`: whether the text opens only with one.
#[derive(Serialize)]
pub(crate) struct KeyText {
    pub(crate) key: AuthorId,
    pub(crate) password: bool,
    pub(crate) text: String,
}

/// `expires` is null when the ticket does not; it can be used once.
#[derive(Serialize)]
pub(crate) struct DeviceTicket {
    pub(crate) ticket: String,
    pub(crate) space: SpaceId,
    pub(crate) expires: Option<u64>,
    pub(crate) addresses: Vec<String>,
}

/// One thing that `doctor` looked at; `fix` is null where nothing is to be done, `fixed` says that it was done now.
#[derive(Serialize)]
pub(crate) struct Check {
    pub(crate) check: &'static str,
    pub(crate) ok: bool,
    pub(crate) detail: String,
    pub(crate) fix: Option<String>,
    pub(crate) fixed: bool,
}

/// How many, and the first hundred of them.
#[derive(Serialize)]
pub(crate) struct Waiting {
    pub(crate) count: u64,
    pub(crate) commits: Vec<Pending>,
}

#[derive(Serialize)]
pub(crate) struct Pending {
    pub(crate) commit: CommitId,
    pub(crate) author: AuthorId,
    pub(crate) time: u64,
    pub(crate) reason: String,
}

/// `hash` is over the bytes that came; `time` is when they came last.
#[derive(Serialize)]
pub(crate) struct Refused {
    pub(crate) hash: String,
    pub(crate) space: Option<SpaceId>,
    pub(crate) author: Option<AuthorId>,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) bytes: u64,
    pub(crate) time: u64,
    pub(crate) times: u64,
}

#[derive(Serialize)]
pub(crate) struct Exported {
    pub(crate) space: SpaceId,
    pub(crate) commits: u64,
    pub(crate) bytes: u64,
}

/// `commits` counts all in the bundle, `known` those that were here already.
#[derive(Serialize)]
pub(crate) struct Imported {
    pub(crate) spaces: Vec<SpaceId>,
    pub(crate) commits: u64,
    pub(crate) known: u64,
    pub(crate) applied: u64,
    pub(crate) held: u64,
    pub(crate) void: u64,
    pub(crate) wanted: u64,
    pub(crate) refused: u64,
    pub(crate) declined: u64,
    pub(crate) signatures: u64,
    /// Damaged places; the first thousand of them are in `damage`.
    pub(crate) damaged: u64,
    pub(crate) damage: Vec<Damage>,
}

/// A damaged place of a bundle: `frame` from 0, `offset` and `bytes` of the file.
#[derive(Serialize)]
pub(crate) struct Damage {
    pub(crate) frame: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) code: &'static str,
    pub(crate) reason: &'static str,
}

impl From<driftless::Damage> for Damage {
    fn from(damage: driftless::Damage) -> Self {
        let reason = damage.reason();
        let driftless::Damage { frame, offset, bytes, code } = damage;
        Self { frame, offset, bytes, code, reason }
    }
}

impl From<driftless::Imported> for Imported {
    fn from(imported: driftless::Imported) -> Self {
        Self {
            spaces: imported.spaces,
            commits: imported.commits,
            known: imported.known,
            applied: imported.applied,
            held: imported.held,
            void: imported.void,
            wanted: imported.wanted,
            refused: imported.refused,
            declined: imported.declined,
            signatures: imported.signatures,
            damaged: imported.damaged,
            damage: imported.damage.into_iter().map(Damage::from).collect(),
        }
    }
}

/// The first line of `serve`.
#[derive(Serialize)]
pub(crate) struct Serving {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<String>,
    /// Where it tells how it goes; null unless `--metrics` was given.
    pub(crate) metrics: Option<String>,
    /// Where a browser opens the inspector, with the token; null unless `--ui` was given.
    pub(crate) ui: Option<String>,
    /// The same for the pages of `--ui-pages`.
    pub(crate) pages: Option<String>,
    /// Where the mailbox of `--mailbox` is reached on this machine; null unless it was given.
    pub(crate) mailbox: Option<String>,
}

/// `expires` is null when the ticket does not.
#[derive(Serialize)]
pub(crate) struct Ticket {
    pub(crate) ticket: String,
    pub(crate) space: SpaceId,
    pub(crate) permission: String,
    pub(crate) uses: Option<u32>,
    pub(crate) expires: Option<u64>,
    pub(crate) addresses: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Joined {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) commits: u64,
    pub(crate) documents: u64,
    pub(crate) exchange: Synced,
}

/// What becomes of requests for access: `reject`, `queue`, or `approve:` and a permission. `commit` is null unless it was
/// changed now.
#[derive(Serialize)]
pub(crate) struct Policy {
    pub(crate) space: SpaceId,
    pub(crate) bootstrap: String,
    pub(crate) commit: Option<CommitId>,
}

/// After `request` where an admin decides; `state` is `queued`.
#[derive(Serialize)]
pub(crate) struct Queued {
    pub(crate) state: &'static str,
    pub(crate) id: RequestId,
    pub(crate) space: SpaceId,
    pub(crate) permission: String,
}

/// After `request` where access is there; `state` is `joined`, `permission` what you have.
#[derive(Serialize)]
pub(crate) struct Admitted {
    pub(crate) state: &'static str,
    pub(crate) permission: String,
    #[serde(flatten)]
    pub(crate) joined: Joined,
}

/// One that waits. `name` is what the space is called here; `source` is null where the transport does not know it.
#[derive(Serialize)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) author: AuthorId,
    pub(crate) permission: String,
    pub(crate) note: String,
    pub(crate) time: u64,
    pub(crate) peer: PeerId,
    pub(crate) source: Option<String>,
}

/// After `approve`, with what was granted, and `reject`, with null for both of the last; after `approve` `commit` is null
/// if the key had as much already.
#[derive(Serialize)]
pub(crate) struct Answered {
    pub(crate) id: RequestId,
    pub(crate) space: SpaceId,
    pub(crate) author: AuthorId,
    pub(crate) permission: Option<String>,
    pub(crate) commit: Option<CommitId>,
}

/// A space that a peer lets us read; `here` if this database has it.
#[derive(Serialize)]
pub(crate) struct Discovered {
    pub(crate) space: SpaceId,
    pub(crate) name: String,
    pub(crate) here: bool,
}

/// One exchange of one space with one peer.
#[derive(Serialize)]
pub(crate) struct Synced {
    pub(crate) space: SpaceId,
    pub(crate) peer: PeerId,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) rounds: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) applied: u64,
    pub(crate) held: u64,
    pub(crate) void: u64,
    pub(crate) wanted: u64,
    pub(crate) refused: u64,
    pub(crate) declined: u64,
    pub(crate) signatures: u64,
    /// Both have the same now.
    pub(crate) settled: bool,
}

impl From<driftless::Synced> for Synced {
    fn from(synced: driftless::Synced) -> Self {
        let driftless::Synced { space, peer, moved, traffic, settled } = synced;
        Self {
            space,
            peer,
            sent: moved.sent,
            received: moved.received,
            rounds: moved.rounds,
            bytes_out: traffic.sent,
            bytes_in: traffic.received,
            applied: moved.applied,
            held: moved.held,
            void: moved.void,
            wanted: moved.wanted,
            refused: moved.refused,
            declined: moved.declined,
            signatures: moved.signatures,
            settled,
        }
    }
}

/// One pull of one space from one peer: as an exchange, and where the next one goes on.
#[derive(Serialize)]
pub(crate) struct Pulled {
    #[serde(flatten)]
    pub(crate) exchange: Synced,
    /// Both sides compared what they have, because there was no place in the peer's log to go on from.
    pub(crate) reconciled: bool,
    /// Null if the page could not be taken whole.
    pub(crate) cursor: Option<String>,
}

impl From<driftless::Pulled> for Pulled {
    fn from(pulled: driftless::Pulled) -> Self {
        let driftless::Pulled { space, peer, moved, traffic, reconciled, settled, cursor, wanted: _ } =
            pulled;
        let exchange = driftless::Synced { space, peer, moved, traffic, settled }.into();
        Self { exchange, reconciled, cursor: cursor.map(|cursor| cursor.to_string()) }
    }
}
