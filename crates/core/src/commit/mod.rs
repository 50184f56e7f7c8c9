//! A commit: an immutable, signed unit of history. Header, body, id, and how bytes become a commit of somebody.
//!
//! Admission, verdicts and effect are not decided here: they need ancestors.

mod body;
mod header;
mod vouch;

pub use body::{BodyError, DocumentBody, RuleBody};
pub use header::{BodyEncoding, HEADER_VERSION, Header, HeaderError, Kind, body_hash, commit_id};
pub use vouch::{Attached, Frame, Received, Unusable, VouchError, Vouched, vouch};
