//! Which checkpoints of a document to keep, as a pure function of how many edits it has.
//!
//! Every 64th state can be a checkpoint. The eight most recent are kept; further back, of each span that is twice as
//! old only every second, every fourth, and so on. A late edit then costs a refold of about as many edits as there are
//! after it, and n edits keep O(log n) checkpoints. What was dropped is never asked for again.

/// Edits from one possible checkpoint to the next.
pub const CHECKPOINT_EVERY: u64 = 64;

// So many of the most recent are all kept.
const RECENT: u64 = 8;

/// Whether the state after `ordinal` edits is kept when the document has `newest` edits.
pub fn is_kept(ordinal: u64, newest: u64) -> bool {
    if ordinal == 0 || ordinal > newest || !ordinal.is_multiple_of(CHECKPOINT_EVERY) {
        return false;
    }
    let number = ordinal / CHECKPOINT_EVERY;
    number.is_multiple_of(spacing(newest / CHECKPOINT_EVERY - number))
}

/// The ordinals that are kept when the document has `newest` edits, the most recent first.
pub fn kept(newest: u64) -> Vec<u64> {
    let last = newest / CHECKPOINT_EVERY;
    let (mut ordinals, mut age) = (Vec::new(), 0);
    while age < last {
        // The next multiple of the spacing at or below; it may lie in an older span, where spacings are wider.
        let number = last - age;
        let excess = number % spacing(age);
        if excess == 0 {
            ordinals.push(number * CHECKPOINT_EVERY);
        }
        age += if excess == 0 { 1 } else { excess };
    }
    ordinals
}

// 1 for ages below 8, 2 below 16, 4 below 32, ..
fn spacing(age: u64) -> u64 {
    if age < RECENT { 1 } else { 2 << (age / RECENT).ilog2() }
}
