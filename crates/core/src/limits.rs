//! Every limit of the format, each with its reason. They hold at write and at receive; none is configurable,
//! because replicas that disagree about a limit disagree about the documents.

/// Bytes of an encoded header. 64 parents take 2.3 KiB; a hostile header is stored and relayed by everyone.
pub const MAX_HEADER: usize = 4 * 1024;
/// Parents besides `previous`. More heads than this are joined by merge commits first.
pub const MAX_PARENTS: usize = 64;
/// Bytes of an encoded document body: what a peer must buffer before it can check one hash.
pub const MAX_BODY: usize = 1024 * 1024;
/// Bytes of an encoded rule body: rule bodies always travel and are held in memory while a space is open.
pub const MAX_RULE_BODY: usize = 64 * 1024;
/// Edits in one commit; a larger transaction is a run of commits.
pub const MAX_EDITS: usize = 4096;
/// Operators in one rule commit, and commits named by one `keep`: each costs a look-up in the log.
pub const MAX_RULE_OPERATORS: usize = 256;
/// Commits named by one `keep` or one `retract`.
pub const MAX_KEEP: usize = 1024;
/// Lists and maps inside each other in one value. Decoders recurse once per level.
pub const MAX_VALUE_DEPTH: usize = 64;
/// Keys in one path.
pub const MAX_PATH_DEPTH: usize = 32;
/// Bytes of an encoded document id.
pub const MAX_DOCUMENT_ID: usize = 1024;
/// Bytes of a collection name.
pub const MAX_COLLECTION_NAME: usize = 256;
/// Bytes of a space name.
pub const MAX_SPACE_NAME: usize = 256;
/// Milliseconds a commit may be ahead of our clock before it is held.
pub const MAX_AHEAD_MS: u64 = 10 * 60 * 1000;
