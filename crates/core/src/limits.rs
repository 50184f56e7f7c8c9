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
/// Bytes of the commits of another space that one operator, or one opening of a space, shows: a rule
/// body holds them, and what stands around them.
pub const MAX_PROOF: usize = MAX_RULE_BODY - 128;
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
/// Lists and maps inside each other in a whole document, its fields being one level: what one value may be,
/// so that every document can be read back and saved whole.
pub const MAX_DOCUMENT_DEPTH: usize = MAX_VALUE_DEPTH;
/// Weight of the fields of one document (16 per value and key, and the bytes of texts; above the encoded size).
/// A stream of `$push` must not grow what every replica holds in memory to fold it.
pub const MAX_DOCUMENT_WEIGHT: u64 = 16 * 1024 * 1024;
/// Commits in one transaction of one space: what is looked at again whenever one of them changes its state.
pub const MAX_RUN: u32 = 1024;

// The limits below are local: they bound what queries and schemas may cost and never change what is stored.

/// Bytes of a key in a secondary index; longer ones are cut, and the index then narrows less.
pub const MAX_INDEX_KEY: usize = 256;
/// Operators in one filter, nested ones included: each is tried on every candidate.
pub const MAX_FILTER_OPERATORS: usize = 1024;
/// Regular expressions in one filter: each may take `MAX_REGEX_COMPILED`.
pub const MAX_FILTER_REGEXES: usize = 16;
/// Bytes of a regular expression in a filter.
pub const MAX_REGEX: usize = 4 * 1024;
/// Bytes of a compiled regular expression: small patterns can compile into large programs.
pub const MAX_REGEX_COMPILED: usize = 1024 * 1024;

/// Bytes of the schema of a collection: it is read whenever its collection is met again.
pub const MAX_SCHEMA: usize = 64 * 1024;
/// How deep a schema goes, references followed: each step of it is a call, and threads have small stacks.
pub const MAX_SCHEMA_DEPTH: usize = 128;
/// The same for what looks at one and the same value: documents are 64 levels deep, and each may take as many calls.
pub const MAX_SCHEMA_STEPS: usize = 16;
/// Subschemas that may look at one and the same value: references to references multiply.
pub const MAX_SCHEMA_LOOKS: u64 = 4096;
/// Looks at values of one document that a schema may take which refers to itself, besides those of the next line.
pub const MAX_SCHEMA_EFFORT: u64 = 100_000;
/// The same for each value of the document: honest schemas need a few, and some make each level cost twice the one above.
pub const MAX_SCHEMA_EFFORT_EACH: u64 = 64;
/// Patterns in one schema: each may take `MAX_REGEX_COMPILED`.
pub const MAX_SCHEMA_PATTERNS: usize = 64;
/// Faults of one document that are told: the first ones say enough.
pub const MAX_SCHEMA_ERRORS: usize = 32;
/// Bytes of what is told of one: values in it may be as large as documents.
pub const MAX_SCHEMA_ERROR: usize = 256;

// The limits below are those of the protocol: what a peer may send, and how much of it at once.

/// Author keys that one side proves in a session: each costs the other a signature check before anything is served.
pub const MAX_PROOFS: usize = 16;
/// Heads named in one message: 32 KiB of them.
pub const MAX_SUMMARY_HEADS: usize = 1024;
/// Authors in one summary, about 10 bytes each; a summary that says what is otherwise may have those of both sides. For
/// more authors marks and filters are smaller.
pub const MAX_SUMMARY_AUTHORS: usize = 1024;
/// Commits asked for, or judged, in one message.
pub const MAX_WANTED: usize = 1024;
/// Spaces open in one session.
pub const MAX_SLOTS: usize = 1024;
/// Spaces that a peer may open in one session, those that were closed again included.
pub const MAX_OPENS: usize = 4 * MAX_SLOTS;
/// Rounds without anything new before an exchange ends.
pub const MAX_ROUNDS: u32 = 3;
/// Bytes sent in a space and not yet acknowledged: what is sent again after a lost connection.
pub const SEND_WINDOW: usize = 1024 * 1024;
/// The same for all spaces of a session together: a peer that is itself waiting to send holds as much of ours.
pub const SESSION_WINDOW: usize = 8 * 1024 * 1024;
/// Bytes at which a DATA frame is sent, before compression: enough for columns to compress, little enough to lose
/// when a connection breaks.
pub const FRAME_TARGET: usize = 64 * 1024;
/// Bytes of a DATA frame, and bytes of headers, signatures and bodies that it decodes into: one largest commit, with
/// room for what stands around it. A few bytes in a frame can stand for a header of kilobytes, so both are bounded.
pub const MAX_FRAME: usize = MAX_BODY + 100 * 1024;
/// Commits in one DATA frame: each costs memory beyond its bytes while the frame is judged.
pub const MAX_FRAME_COMMITS: usize = 4096;
/// Cells of a sketch of spaces: enough for a thousand differences; beyond that spaces are named one by one.
pub const MAX_CELLS: usize = 2048;
/// Cells that are sent first: enough for ten differences.
pub const FIRST_CELLS: usize = 16;
/// Spaces that one side opens of many: so both sides together stay within `MAX_SLOTS`.
pub const MAX_BULK: usize = MAX_SLOTS / 2;
/// Marks in one summary, 12 bytes each: frontiers of a history with a hundred heads fit.
pub const MAX_MARKS: usize = 1024;
/// Bytes of a filter in a summary.
pub const MAX_FILTER: usize = 64 * 1024;
/// Frontiers remembered per peer and space: either side may have crashed before it noted the last ones.
pub const MAX_AGREED: usize = 4;
/// Summaries that one side may send after its first, per space and session: an honest one needs three.
pub const MAX_SLOT_SUMMARIES: u32 = 8;
/// Nodes looked at for one peer before other work has its turn: some milliseconds where each is a row of a file.
pub const WALK_STEP: usize = 1024;
/// How often one peer may have the whole of a space looked through in one connection, in all that it says: an honest one
/// needs the difference twice. After that it is sent everything in order, which needs no look.
pub const MAX_WALKS: u64 = 8;
/// How often one side may open the same space in one connection; each costs the other a summary.
pub const MAX_REOPENS: u32 = 32;
/// Bytes of frames in one page of a pull: few round trips, and little to send again after a lost connection. One frame
/// may be larger.
pub const MAX_PAGE: usize = 512 * 1024;
/// Frames in one page.
pub const MAX_PAGE_FRAMES: usize = 64;
/// Pulls of one side at once: each may be answered by a largest frame, which waits at whoever is itself sending.
pub const MAX_PULLS: usize = 4;
/// Bytes of the note of a request for access: what a stranger may write into the queue of an admin.
pub const MAX_NOTE: usize = 4 * 1024;
/// Requests for access and questions for spaces in one session: each costs a look at the rules.
pub const MAX_ASKED: u64 = 1024;
/// Those of one side that wait for their answers.
pub const MAX_ASKED_AT_ONCE: usize = 4;
/// Spaces in one page of a discovery: 75 KiB of names.
pub const MAX_FOUND: usize = 256;
/// Spaces in one word that something changed: of more, it is said without naming any.
pub const MAX_CHANGED: usize = 256;
/// Documents in one answer to a look-up: it is for one, or a few.
pub const MAX_LOCATED: usize = 64;
/// Documents of one space that are looked at for a look-up; whoever wants more pulls the space.
pub const MAX_LOOKED: usize = 4096;
/// Spaces that are looked at for one page of a look-up.
pub const MAX_LOOKED_SPACES: usize = 64;

/// Spaces that the users of one database track together: all are read to know what is wanted of one.
pub const MAX_PREFERENCES: usize = 100_000;
/// Spaces that are looked through for where a document went, pointer by pointer.
pub const MAX_POINTERS: usize = 32;
/// Properties of a tracked space.
pub const MAX_PROPERTIES: usize = 64;
/// Bytes of the name, and of the value, of a property.
pub const MAX_PROPERTY: usize = 4 * 1024;

// The limits below are those of `sync_doc`, which speaks another protocol's bytes.

/// Bits that a Bloom filter may spend on one entry: beyond, an exact list would be shorter.
pub const MAX_BLOOM_BITS: u32 = 32;
/// Bits of a Bloom filter looked at for one hash: each costs its receiver time for every change it has.
pub const MAX_BLOOM_PROBES: u32 = 16;
/// Summaries in one message: each is asked about every change that might be sent.
pub const MAX_SUMMARIES: usize = 16;
/// Hashes that one message asks for; the rest is asked for in the next.
pub const MAX_NEED: usize = 1024;
/// Changes of one peer that wait for others before them.
pub const MAX_ORPHANS: usize = 4096;
/// Bytes of changes of one peer that wait for others before them.
pub const MAX_ORPHAN_BYTES: usize = 4 * 1024 * 1024;
/// Heads remembered as shared with one peer; of more, the newest. A lost one costs bits, never a change.
pub const MAX_SHARED_HEADS: usize = 1024;
/// Nodes looked at to find out which of some heads are the newest, or whether a peer has gone back.
pub const MAX_HEAD_WALK: usize = 16 * 1024;
