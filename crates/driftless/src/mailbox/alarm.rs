//! What is wrong with the objects of a writer: an alarm names the device and the number, and stays until it is right.

use driftless_core::id::PeerId;

/// Something is not as its writer left it. Nothing here was lost by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The device whose objects they are.
    pub peer: PeerId,
    /// Which of its stores, as base32: a restored device has another one.
    pub store: String,
    /// The number of the object.
    pub number: u64,
    /// What is wrong.
    pub kind: AlarmKind,
    /// Since when that is known here, Unix milliseconds.
    pub since_ms: u64,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// Later objects are there, this one is not.
    Missing,
    /// Its bytes are not what was put there, or not all of them.
    Damaged,
    /// It was here and is not there any more: deleted, or the mailbox was rolled back.
    Gone,
    /// Two objects have one number, or one does not follow on the one before: the writer was restored or copied.
    Forked,
    /// Another device has read it, and this one is not shown it.
    Withheld,
    /// It is sealed, and cannot be opened here.
    Sealed,
    /// It needs a newer driftless.
    Newer,
    /// Its commits stand on others that are in no object here.
    Early,
}

impl AlarmKind {
    pub(super) const ALL: [Self; 8] = [
        Self::Missing,
        Self::Damaged,
        Self::Gone,
        Self::Forked,
        Self::Withheld,
        Self::Sealed,
        Self::Newer,
        Self::Early,
    ];

    /// A stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Gone => "gone",
            Self::Forked => "forked",
            Self::Withheld => "withheld",
            Self::Sealed => "sealed",
            Self::Newer => "newer",
            Self::Early => "early",
        }
    }

    /// One sentence.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "an object is missing in the middle",
            Self::Damaged => "an object is not what its writer put there",
            Self::Gone => "objects that were there are gone: deleted, or the mailbox was rolled back",
            Self::Forked => "two histories of one writer: it was restored from a copy, or copied",
            Self::Withheld => "another device was shown objects that this one is not",
            Self::Sealed => "an object is sealed, and nothing here opens it",
            Self::Newer => "an object was written by a newer driftless",
            Self::Early => "commits stand on others that are in no object",
        }
    }

    /// Whether it says that an object is not as it was put.
    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::Missing | Self::Damaged | Self::Gone | Self::Forked)
    }

    /// Whether its contents are to be looked for again, though later objects were read.
    pub(super) fn is_owed(self) -> bool {
        matches!(self, Self::Missing | Self::Damaged | Self::Sealed | Self::Newer | Self::Early)
    }
}
