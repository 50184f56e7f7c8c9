//! What is not where it should be, for people: documents that are no rows here and why, rows that are in no document and
//! why, values that lost.

use driftless::{DocumentId, Loser};

use crate::error::Error;
use crate::file::File;

/// A document that is not a row here, or not wholly. It is tried again with everything that is applied, and sent on to
/// others whatever becomes of it here.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingRow {
    /// The collection, which is the table unless it was renamed.
    pub collection: String,
    /// The key of the row.
    pub id: DocumentId,
    /// One word: `parent_missing`, `not_unique`, `not_null`, `check`, `type`, `key`, `column_missing`, `refused`.
    pub reason: String,
    /// What the constraint said, or which row is in the way.
    pub detail: String,
    /// Since when, in Unix milliseconds.
    pub since: i64,
}

/// A row that is not sent.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedRow {
    /// The collection.
    pub collection: String,
    /// The key, as JSON.
    pub key: String,
    /// Why.
    pub detail: String,
    /// Since when, in Unix milliseconds.
    pub since: i64,
}

/// A value of a cell that lost against another device's.
#[derive(Debug, Clone, PartialEq)]
pub struct LostValue {
    /// The collection.
    pub collection: String,
    /// The key of the row.
    pub id: DocumentId,
    /// What was lost, by whom, and when.
    pub loser: Loser,
}

/// The id that was stored with `DocumentId::to_cbor`.
pub(crate) fn id(bytes: &[u8]) -> Option<DocumentId> {
    DocumentId::from_cbor(bytes).ok()
}

impl File {
    pub(crate) fn waiting(&self) -> Result<Vec<WaitingRow>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT collection, id, reason, detail, since FROM driftless_waiting ORDER BY collection, id",
        )?;
        let mut rows = statement.query([])?;
        let mut waiting = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(id) = id(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?) else { continue };
            waiting.push(WaitingRow {
                collection: row.get(0)?,
                id,
                reason: row.get(2)?,
                detail: row.get(3)?,
                since: row.get(4)?,
            });
        }
        Ok(waiting)
    }

    pub(crate) fn refused(&self) -> Result<Vec<RefusedRow>, Error> {
        let mut statement = self.connection.prepare(
            "SELECT collection, key, detail, since FROM driftless_refused ORDER BY collection, key",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(RefusedRow {
                collection: row.get(0)?,
                key: row.get(1)?,
                detail: row.get(2)?,
                since: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Looks at the rows that both sides have changed; those in which nothing was lost are forgotten.
    pub(crate) fn losers(&mut self) -> Result<Vec<LostValue>, Error> {
        let contested = {
            let mut statement = self.connection.prepare("SELECT collection, id FROM driftless_contested")?;
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()?
        };
        let (mut losers, mut settled) = (Vec::new(), Vec::new());
        for (collection, bytes) in contested {
            let found = match id(&bytes) {
                Some(id) => {
                    let lost = self.space.collection(&collection)?.losers(&id)?;
                    lost.into_iter()
                        .map(|loser| LostValue { collection: collection.clone(), id: id.clone(), loser })
                        .collect()
                }
                None => Vec::new(),
            };
            if found.is_empty() {
                settled.push((collection, bytes));
            }
            losers.extend(found);
        }
        self.write(|file| {
            let mut statement = file
                .connection
                .prepare_cached("DELETE FROM driftless_contested WHERE collection = ?1 AND id = ?2")?;
            for (collection, id) in &settled {
                statement.execute(rusqlite::params![collection, id])?;
            }
            Ok(())
        })?;
        Ok(losers)
    }
}
