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

mod advice;
mod error;
mod schema;
mod walk;
mod tables;
mod keyring;
mod state;
mod since;
mod door;
mod database;
mod served;
mod builder;
mod space;
mod hooks;
mod peers;
mod people;
mod collection;
mod fitting;
mod transaction;
mod typed;
mod query;
mod follow;
mod watch;
mod status;
mod history;
mod bundle;
mod upkeep;
mod feed;
mod share;
mod explain;
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

pub use builder::{Access, Builder, OpenMode};
pub use bundle::{Damage, Exported, Imported};
pub use collection::Collection;
pub use database::{Database, Durability};
#[cfg(feature = "iroh")]
pub use driftless_net::Relay;
pub use driftless_net::mailbox::{HubLimits, HubNumbers, HubOptions, MailboxError, MailboxPlace};
pub use driftless_net::{Address, Traffic};
pub use error::{Error, SchemaError};
pub use explain::{Explanation, Step};
pub use feed::{Page, TakenPage};
pub use fitting::{Marked, WithSchema};
pub use follow::Since;
pub use history::contested::Loser;
pub use history::past::At;
pub use history::{LogLine, LogQuery};
pub use hooks::Hook;
pub use keyring::seal::{Password, PasswordCost};
pub use keyring::user::KeyState;
pub use mailbox::alarm::{Alarm, AlarmKind};
pub use mailbox::continuous::MailboxTask;
pub use mailbox::hub::MailboxHub;
pub use mailbox::news::MailboxNews;
pub use mailbox::settings::MailboxSummary;
pub use mailbox::{
    Mailbox, MailboxCommit, MailboxControl, MailboxEvent, MailboxFilter, MailboxOptions, MailboxSeal,
    MailboxSynced,
};
pub use peers::Peer;
pub use peers::exchanges::{Exchanges, PastExchange, Unsent};
pub use peers::prefs::{DEFAULT_INTERVAL, Preferences, Wanted};
pub use peers::progress::PullProgress;
pub use people::bootstrap::{Approved, Request};
pub use people::cases::{Decided, Deed, DraftGrant, DraftRule, Fate, PolicyCase};
pub use people::decided::{Effective, Ruling};
pub use people::grant::{GrantPlan, Keep, KeptBranch, Late, Loss};
pub use people::key_text::KeyText;
pub use people::login::{KeySummary, UserSummary};
pub use people::ticket::{Invite, Ticket};
pub use query::{Plan, Query};
pub use schema::Schema;
#[cfg(feature = "schema-derive")]
pub use schemars;
pub use share::across::{Across, AcrossCollection, AcrossQuery, Placed, Placing};
pub use share::invites::{Answered, UserInvite};
pub use share::{SharePolicy, SharePolicyError, Shared, Sharing};
pub use since::Place;
pub use space::{Digest, Member, Space, SpaceSummary};
pub use state::changes::{Change, Changes, DocumentChange, Event};
pub use state::fork::{Copied, Fork};
pub use state::guard::{Lost, Restored};
pub use state::met::Agreed;
pub use state::policy::Bootstrap;
pub use state::replica::Counts;
pub use state::serving::Reader;
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
pub use tables::digest::Sum;
pub use tables::layout::LogSeq;
#[doc(hidden)]
pub use tables::layout::SCHEMA;
pub use tables::refused::RefusedLine;
pub use tables::view::{ChangeKind, Source};
pub use transaction::{Insert, Transaction, Written};
pub use typed::TypedCollection;
pub use upkeep::backup::Original;
pub use upkeep::compact::Compacted;
pub use upkeep::doctor::{Check, Renewal, Renewed};
pub use upkeep::fsck::{Problem, Progress, Report};
pub use upkeep::repair::{Repaired, RepairedSpace};
pub use watch::{Watch, WatchEvent, WatchKind};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/sharing.md")]
struct WhoGetsWhat;
