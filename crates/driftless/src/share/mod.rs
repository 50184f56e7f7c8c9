//! Sharing: who may receive a document is decided by the space it lives in, and a share policy names that space.
//!
//! It must not know of peers: whoever may read a space gets all of it, and whoever may not gets nothing.

pub(crate) mod across;
pub(crate) mod invites;

pub(crate) mod audience;
mod moving;
mod pointer;
mod policy;

pub(crate) use moving::states_of;
pub use moving::{Shared, Sharing};
pub(crate) use pointer::{Pointers, pointers};
pub use policy::{SharePolicy, SharePolicyError};
