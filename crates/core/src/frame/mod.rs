//! A DATA frame: commits of one space in causal order, in columns. docs/protocol.md has every byte.
//!
//! A header leaves the frame exactly as it was signed. Nothing here knows sessions or compression, and nothing is
//! judged: what decodes goes on to `commit::vouch`.

mod build;
mod decode;

pub use build::{FrameBuilder, FrameCommit, PushError};
pub use decode::{FrameError, decode};

/// The version of the layout that this code writes and knows: the first byte of a frame.
pub const FRAME_VERSION: u8 = 1;

// The flags of a commit.
const RULES: u8 = 1;
const CONTINUES: u8 = 2;
const SIGNED: u8 = 4;
const BODY: u8 = 8;
const SEALED: u8 = 16;
const EXTENDED: u8 = 32;
// The two bits left say what `previous` is.
const PREVIOUS: u8 = 0xc0;
/// There is none.
const FIRST: u8 = 0;
/// The author's last commit before it in this frame; `seq` is one more than there.
const IMPLIED: u8 = 0x40;
/// It has a column.
const EXPLICIT: u8 = 0x80;
/// There is none, and no space id either.
const GENESIS: u8 = 0xc0;

// The fewest bytes of a commit: flags, author, parents, milliseconds, counter, body length.
const LEAST_COMMIT: usize = 6;
