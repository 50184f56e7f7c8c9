//! A query: which documents, in which order, how many of them.
//!
//! It says what is wanted; where candidates come from is the storage's business, as long as they are a superset.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::FromStr;

use crate::document::{Document, Subject};
use crate::filter::{FieldPath, FieldPathError, Filter};
use crate::limits::MAX_PATH_DEPTH;
use crate::value::Value;

/// Why a text is not a sort.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// A part that names no field.
    #[error(transparent)]
    Field(#[from] FieldPathError),
    /// More fields than a path has keys; nobody means that.
    #[error("a sort has at most {MAX_PATH_DEPTH} fields")]
    TooLong,
}

/// Fields to sort by; ties are in order of document ids, always upwards.
///
/// A missing field sorts as null. A list sorts as the list it is; a path goes through lists by position only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sort(Vec<(FieldPath, Direction)>);

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Smallest first.
    #[default]
    Up,
    /// Largest first.
    Down,
}

impl Sort {
    /// Reads `due,-priority`; an empty text is the order of ids.
    pub fn parse(text: &str) -> Result<Self, SortError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parts = text.split(',').map(str::trim).map(|part| match part.strip_prefix('-') {
            Some(field) => Ok((FieldPath::parse(field)?, Direction::Down)),
            None => Ok((FieldPath::parse(part)?, Direction::Up)),
        });
        let fields = parts.take(MAX_PATH_DEPTH + 1).collect::<Result<Vec<_>, SortError>>()?;
        if fields.len() > MAX_PATH_DEPTH { Err(SortError::TooLong) } else { Ok(Self(fields)) }
    }

    /// The fields, the most important first.
    pub fn fields(&self) -> &[(FieldPath, Direction)] {
        &self.0
    }

    /// The order of two documents; equal only for one document.
    pub fn compare(&self, a: &Subject<'_>, b: &Subject<'_>) -> Ordering {
        for (path, direction) in &self.0 {
            let order = value(path, a).compare(&value(path, b));
            if order.is_ne() {
                return if *direction == Direction::Down { order.reverse() } else { order };
            }
        }
        a.id.cmp(b.id)
    }
}

fn value<'d>(path: &FieldPath, subject: &Subject<'d>) -> Cow<'d, Value> {
    match path.system() {
        Some(field) => Cow::Owned(subject.system(field).unwrap_or_default()),
        None => path.value(subject.fields).map_or(Cow::Owned(Value::Null), Cow::Borrowed),
    }
}

impl FromStr for Sort {
    type Err = SortError;

    fn from_str(text: &str) -> Result<Self, SortError> {
        Self::parse(text)
    }
}

/// What `find` is asked. The default finds every document that is not deleted, in order of ids.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Which documents.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// So many of them are left out at the beginning.
    pub skip: usize,
    /// If left unset, all.
    pub limit: Option<usize>,
    /// If left unset, deleted documents are left out.
    pub deleted: Deleted,
}

/// Whether deleted documents are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deleted {
    /// They are not.
    #[default]
    Hidden,
    /// They are, beside the others, and show `_deleted`.
    Included,
}

impl Query {
    /// Whether a document is among what is asked for, whatever the order and the number.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        (self.deleted == Deleted::Included || !subject.deleted) && self.filter.matches(subject)
    }

    /// The answer from documents that match: sorted, then cut by skip and limit.
    pub fn arrange(&self, mut documents: Vec<Document>) -> Vec<Document> {
        documents.sort_by(|a, b| self.sort.compare(&a.subject(), &b.subject()));
        documents.into_iter().skip(self.skip).take(self.limit.unwrap_or(usize::MAX)).collect()
    }
}
