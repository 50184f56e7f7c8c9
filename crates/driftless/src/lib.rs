//! A local-first document database: documents that never drift apart.
//!
//! Every device holds its own copy and works offline. Every change is a signed commit; replicas that have the same
//! commits, in whatever order they came, have the same documents and agree on who may change them.
//!
//! ```
//! use driftless::{Database, Filter, Map};
//!
//! # fn main() -> Result<(), driftless::Error> {
//! let db = Database::memory()?;
//! let notes = db.create_space("home")?.collection("notes")?;
//! let written = notes.insert(Map::from_json(r#"{"title": "milk", "done": false}"#)?)?;
//! notes.edit(&written.id, driftless::operators_from_json(r#"{"$set": {"done": true}}"#)?)?;
//! assert_eq!(notes.count(Filter::parse(r#"{"done": true}"#)?)?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Modules are listed low to high; a module uses only those above it.

mod error;
mod schema;
mod walk;
mod layout;
mod digest;
mod pack;
mod log;
mod agreed;
mod cursor;
mod moved;
mod stored;
mod collections;
mod marks;
mod view;
mod refused;
mod policy;
mod requests;
mod readers;
mod serving;
mod seal;
mod user;
mod acting;
mod failures;
mod guard;
mod replica;
mod fork;
mod met;
mod inbox;
mod changes;
mod engine;
mod since;
mod judge;
mod author;
mod commit;
mod ingest;
mod write;
mod database;
mod served;
mod builder;
mod hooks;
mod space;
mod prefs;
mod exchanges;
mod progress;
mod peers;
mod decided;
mod draft;
mod collection;
mod fitting;
mod transaction;
mod typed;
mod query;
mod follow;
mod watch;
mod status;
mod history;
mod past;
mod contested;
mod rebuild;
mod backup;
mod compact;
mod bundle;
mod feed;
mod login;
mod key_text;
mod ticket;
mod delegation;
mod grant;
mod cases;
mod bootstrap;
mod identity;
mod share;
mod across;
mod invites;
mod keys;
mod doctor;
mod explain;
mod fsck;
mod repair;
mod sync;
mod mailbox;

pub use driftless_core::clock::{Timestamp, from_utc, utc};
pub use driftless_core::commit::Kind;
pub use driftless_core::document::{Document, Subject as DocumentSubject};
pub use driftless_core::document_id::{DocumentId, DocumentIdError};
pub use driftless_core::filter::{FieldPath, FieldPathError, Filter, FilterError};
pub use driftless_core::id::{AuthorId, CommitId, PeerId, RequestId, SpaceId, UserId};
pub use driftless_core::operator::{Operator, OperatorError, operators_from_json, operators_to_value};
pub use driftless_core::query::{Sort, SortError};
pub use driftless_core::rules::{Permission, Strength, Subject};
pub use driftless_core::session::{Creator, Cursor, CursorError, Discovered};
pub use driftless_core::value::{Float, JsonError, Map, Number, Path, Value};

pub use across::{Across, AcrossCollection, AcrossQuery, Placed, Placing};
pub use backup::Original;
pub use bootstrap::{Approved, Request};
pub use builder::{Access, Builder, OpenMode};
pub use bundle::{Damage, Exported, Imported};
pub use cases::{Decided, Deed, DraftGrant, DraftRule, Fate, PolicyCase};
pub use changes::{Change, Changes, DocumentChange, Event};
pub use collection::Collection;
pub use compact::Compacted;
pub use contested::Loser;
pub use database::{Database, Durability};
pub use decided::{Effective, Ruling};
pub use digest::Sum;
pub use doctor::{Check, Renewal, Renewed};
#[cfg(feature = "iroh")]
pub use driftless_net::Relay;
pub use driftless_net::mailbox::{HubLimits, HubNumbers, HubOptions, MailboxPlace};
pub use driftless_net::{Address, Traffic};
pub use error::{Error, SchemaError};
pub use exchanges::{Exchanges, PastExchange, Unsent};
pub use explain::{Explanation, Step};
pub use feed::{Page, TakenPage};
pub use fitting::{Marked, WithSchema};
pub use follow::Since;
pub use fork::{Copied, Fork};
pub use fsck::{Problem, Progress, Report};
pub use grant::{GrantPlan, Keep, KeptBranch, Late, Loss};
pub use guard::{Lost, Restored};
pub use history::{LogLine, LogQuery};
pub use hooks::Hook;
pub use invites::{Answered, UserInvite};
pub use key_text::KeyText;
pub use layout::LogSeq;
#[doc(hidden)]
pub use layout::SCHEMA;
pub use login::{KeySummary, UserSummary};
pub use mailbox::alarm::{Alarm, AlarmKind};
pub use mailbox::continuous::MailboxTask;
pub use mailbox::hub::MailboxHub;
pub use mailbox::news::MailboxNews;
pub use mailbox::settings::MailboxSummary;
pub use mailbox::{
    Mailbox, MailboxCommit, MailboxControl, MailboxEvent, MailboxFilter, MailboxOptions, MailboxSeal,
    MailboxSynced,
};
pub use met::Agreed;
pub use past::At;
pub use peers::Peer;
pub use policy::Bootstrap;
pub use prefs::{DEFAULT_INTERVAL, Preferences, Wanted};
pub use progress::PullProgress;
pub use query::{Plan, Query};
pub use refused::RefusedLine;
pub use repair::{Repaired, RepairedSpace};
pub use replica::Counts;
pub use schema::Schema;
#[cfg(feature = "schema-derive")]
pub use schemars;
pub use seal::{Password, PasswordCost};
pub use serving::Reader;
pub use share::{SharePolicy, SharePolicyError, Shared, Sharing};
pub use since::Place;
pub use space::{Digest, Member, Space, SpaceSummary};
pub use status::{Pending, SpaceStatus, Status};
pub use sync::asking::Requested;
pub use sync::document_sync::{DocumentSync, DocumentSyncBuilder};
#[doc(hidden)]
pub use sync::driven::{DrivenSession, SessionTurn};
pub use sync::engine::{EngineOptions, SyncEngine};
pub use sync::events::{SyncEvent, SyncEvents};
pub use sync::flow::Flowed;
pub use sync::follow::SyncBatch;
pub use sync::link::{EngineStatus, Flushed};
pub use sync::lookup::FoundBy;
pub use sync::network::{Network, Synced};
pub use sync::online::NetworkBuilder;
#[doc(hidden)]
pub use sync::plan;
pub use sync::plan::Standing;
pub use sync::puller::Pulled;
pub use sync::roots::Roots;
pub use sync::stream::Moved;
pub use ticket::{Invite, Ticket};
pub use transaction::{Insert, Transaction, Written};
pub use typed::TypedCollection;
pub use user::KeyState;
pub use view::{ChangeKind, Source};
pub use watch::{Watch, WatchEvent, WatchKind};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/sharing.md")]
struct WhoGetsWhat;
