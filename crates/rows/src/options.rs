//! What can be chosen when a file is attached. It is kept in the file.

use serde::{Deserialize, Serialize};

use crate::reconcile::PerColumn;

/// Which tables of a file are under sync.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tables {
    /// All that can be, and those that are made later.
    #[default]
    All,
    /// Only these.
    Named(Vec<String>),
}

/// What becomes of a row that is created here while the space has one under the same key, which this file has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubleCreate {
    /// They are one row: of each cell the later value.
    #[default]
    Merge,
    /// The row here is not sent, and listed.
    Refuse,
}

/// Who notes which rows the application changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// Triggers in the file: whatever program writes. A `Captured` connection adds what triggers cannot see.
    #[default]
    Triggers,
    /// Only connections of `Captured` (feature `preupdate`), for a file that nobody else writes to. Triggers are there, but
    /// note nothing besides deletions; what another program writes is found by `Rows::audit`.
    InProcess,
}

/// Choices; `Options::default()` is what each says it is if left unset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Options {
    /// Which tables. If left unset, all.
    pub tables: Tables,
    /// How columns merge. If left unset, the last write wins in each.
    pub columns: PerColumn,
    /// Two rows under one key. If left unset, they merge.
    pub double_create: DoubleCreate,
    /// Whether foreign keys hold for what is applied. If left unset, they do.
    pub foreign_keys: bool,
    /// Whether the application's own triggers run for rows that are applied, so that what they maintain outside the tables
    /// under sync stays right. If left unset, they do; what they do to rows under sync is taken back either way.
    pub triggers: bool,
    /// This device's part of the integer keys: new rows of tables whose key is the rowid, and that SQLite numbers, are
    /// numbered within it. If left unset, SQLite's numbers stay, and two devices may give the same one.
    pub part: Option<u32>,
    /// Who notes changes. If left unset, triggers.
    pub capture: Capture,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tables: Tables::default(),
            columns: PerColumn::default(),
            double_create: DoubleCreate::default(),
            foreign_keys: true,
            triggers: true,
            part: None,
            capture: Capture::default(),
        }
    }
}
