//! Rules broken on purpose, so that a test can show that the simulation notices. Whole only with the feature `broken`,
//! which no program has: without it `is` is a constant.
//!
//! It knows nothing of what the rules are about; the one line that each of them guards asks here.

/// A rule that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Edits of one time go in the order in which they arrived, not by commit id.
    TieByArrival,
    /// A frame is acknowledged before it is durable.
    AcknowledgedBeforeDurable,
    /// A cursor goes on past a page that was not taken whole.
    CursorPastFailure,
    /// What a key wrote that was thrown out keeps its effect.
    RevokedKeyApplied,
    /// What a peer sent is sent back to it.
    EchoOnceTooOften,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::TieByArrival,
        Self::AcknowledgedBeforeDurable,
        Self::CursorPastFailure,
        Self::RevokedKeyApplied,
        Self::EchoOnceTooOften,
    ];
}

#[cfg(feature = "broken")]
std::thread_local! {
    static BROKEN: std::cell::Cell<Option<Broken>> = const { std::cell::Cell::new(None) };
}

/// Breaks a rule for everything that this thread does from now on, or mends it.
#[cfg(feature = "broken")]
pub fn set(rule: Option<Broken>) {
    BROKEN.set(rule);
}

/// Whether a rule is broken here and now.
#[cfg(feature = "broken")]
pub fn is(rule: Broken) -> bool {
    BROKEN.get() == Some(rule)
}

/// Whether a rule is broken here and now: never.
#[cfg(not(feature = "broken"))]
#[inline(always)]
pub const fn is(_: Broken) -> bool {
    false
}
