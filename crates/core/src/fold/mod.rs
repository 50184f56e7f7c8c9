//! The fold: a document is its edits applied in the order (time, commit id, index), and nothing else.
//!
//! Every operator is total. What does not fit what is there (a type, a limit) has no effect and counts a warning, the
//! same everywhere. Deletion is a flag beside the value: edits go on folding underneath. The fold knows nothing of
//! commits, of which edits count, and of storage.

mod change;
mod checkpoint;
mod encoding;

pub use checkpoint::{CHECKPOINT_EVERY, is_kept, kept};
pub use encoding::document_digest;

use std::borrow::Cow;

use change::{Fields, Outcome};

use crate::clock::Timestamp;
use crate::document_id::DocumentId;
use crate::id::{AuthorId, CommitId};
use crate::operator::Operator;
use crate::value::Map;

/// The place of an edit in the order of the fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The time of its commit.
    pub time: Timestamp,
    /// Its commit; decides between commits of one time.
    pub commit: CommitId,
    /// Its place in the commit.
    pub index: u32,
}

/// What folding one edit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// Whether at least one operator did something. Setting a value that is already there does something.
    pub changed: bool,
    /// Operators that did not fit what was there.
    pub warnings: u32,
}

/// A document after some edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentState {
    exists: bool,
    deleted: bool,
    // Whether an insert was folded since the last deletion: its parent then holds.
    inserted: bool,
    fields: Fields,
    created: Timestamp,
    created_by: AuthorId,
    updated: Timestamp,
    updated_by: AuthorId,
    parent: Option<DocumentId>,
    edits: u64,
    warnings: u32,
}

impl Default for DocumentState {
    fn default() -> Self {
        Self {
            exists: false,
            deleted: false,
            inserted: false,
            fields: Fields::default(),
            created: Timestamp::default(),
            created_by: AuthorId([0; 32]),
            updated: Timestamp::default(),
            updated_by: AuthorId([0; 32]),
            parent: None,
            edits: 0,
            warnings: 0,
        }
    }
}

/// Folds edits that come in order of their positions, from nothing.
pub fn fold<'e>(edits: impl IntoIterator<Item = (Position, AuthorId, &'e [Operator])>) -> DocumentState {
    let mut state = DocumentState::default();
    let mut last = None;
    for (position, author, operators) in edits {
        debug_assert!(last < Some(position), "edits come in order, each once");
        last = Some(position);
        state.apply(position.time, author, operators);
    }
    state
}

impl Effect {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Changed => self.changed = true,
            Outcome::Nothing => {}
            Outcome::Misfit => self.warnings += 1,
        }
    }
}

impl DocumentState {
    /// Folds the next edit, which must come after all that were folded before.
    ///
    /// An edit that changes something moves `updated`; one of which nothing had an effect does not.
    pub fn apply(&mut self, time: Timestamp, author: AuthorId, operators: &[Operator]) -> Effect {
        let mut effect = Effect::default();
        for operator in operators {
            effect.count(self.one(time, author, operator));
        }
        self.folded(time, author, effect)
    }

    /// The same of operators that nobody else needs: what an insert brings is moved, not copied.
    pub fn apply_owned(&mut self, time: Timestamp, author: AuthorId, operators: Vec<Operator>) -> Effect {
        let mut effect = Effect::default();
        for operator in operators {
            effect.count(match operator {
                Operator::Insert { fields, parent } => {
                    let outcome = self.insert(time, author, Cow::Owned(fields), parent.as_ref());
                    self.made(time, author, outcome)
                }
                other => self.one(time, author, &other),
            });
        }
        self.folded(time, author, effect)
    }

    fn folded(&mut self, time: Timestamp, author: AuthorId, effect: Effect) -> Effect {
        if effect.changed {
            (self.updated, self.updated_by) = (time, author);
        }
        self.edits = self.edits.saturating_add(1);
        self.warnings = self.warnings.saturating_add(effect.warnings);
        effect
    }

    fn one(&mut self, time: Timestamp, author: AuthorId, operator: &Operator) -> Outcome {
        let outcome = match operator {
            Operator::Insert { fields, parent } => {
                self.insert(time, author, Cow::Borrowed(fields), parent.as_ref())
            }
            Operator::Set { path, value } => self.fields.set(path, value),
            Operator::Unset { path } => self.fields.unset(path),
            Operator::Increment { path, by } => self.fields.increment(path, *by),
            Operator::Push { path, values } => self.fields.push(path, values),
            Operator::Pull { path, values } => self.fields.pull(path, values),
            Operator::AddToSet { path, values } => self.fields.add_to_set(path, values),
            // These do not make a document exist.
            Operator::Delete => return set_flag(&mut self.deleted, true),
            Operator::Restore => return set_flag(&mut self.deleted, false),
            Operator::Moved { .. } | Operator::Unknown(_) => return Outcome::Nothing,
        };
        self.made(time, author, outcome)
    }

    // What changes a document makes it exist.
    fn made(&mut self, time: Timestamp, author: AuthorId, outcome: Outcome) -> Outcome {
        if outcome == Outcome::Changed && !self.exists {
            self.exists = true;
            (self.created, self.created_by) = (time, author);
        }
        outcome
    }

    fn insert(
        &mut self,
        time: Timestamp,
        author: AuthorId,
        fields: Cow<'_, Map>,
        parent: Option<&DocumentId>,
    ) -> Outcome {
        if self.deleted {
            let Some(fields) = Fields::new(fields.into_owned()) else {
                return Outcome::Misfit;
            };
            self.fields = fields;
            self.parent = parent.cloned();
            (self.exists, self.deleted, self.inserted) = (true, false, true);
            (self.created, self.created_by) = (time, author);
            return Outcome::Changed;
        }
        let outcome = self.fields.merge(fields);
        if outcome == Outcome::Changed && !self.inserted {
            self.inserted = true;
            self.parent = parent.cloned();
        }
        outcome
    }

    /// Whether users see the document: something made it, and it is not deleted.
    pub fn visible(&self) -> bool {
        self.exists && !self.deleted
    }

    /// Whether anything has made the document; a lone deletion has not.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Whether the deletion flag is set.
    pub fn deleted(&self) -> bool {
        self.deleted
    }

    /// The fields, also underneath a deletion.
    pub fn fields(&self) -> &Map {
        self.fields.map()
    }

    /// The fields, for whoever needs nothing else of it any more.
    pub fn into_fields(self) -> Map {
        self.fields.into_map()
    }

    /// When the document was made.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Who made it.
    pub fn created_by(&self) -> &AuthorId {
        &self.created_by
    }

    /// When an edit last changed it.
    pub fn updated(&self) -> Timestamp {
        self.updated
    }

    /// Who last changed it.
    pub fn updated_by(&self) -> &AuthorId {
        &self.updated_by
    }

    /// The document it belongs to.
    pub fn parent(&self) -> Option<&DocumentId> {
        self.parent.as_ref()
    }

    /// How many edits were folded, those without effect included: the ordinal that checkpoints go by.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    /// How many operators did not fit, ever.
    pub fn warnings(&self) -> u32 {
        self.warnings
    }
}

fn set_flag(flag: &mut bool, value: bool) -> Outcome {
    if *flag == value {
        return Outcome::Nothing;
    }
    *flag = value;
    Outcome::Changed
}
