//! What was taken of a file and is not certainly committed: whether it was, and what becomes of it after a crash.
//!
//! It commits only what can have been put there by the flush of this file, whoever else can write to the file.

use driftless::{DocumentId, Operator, Place, Transaction, Value};

use crate::error::Error;
use crate::file::{File, is_name_there, now_ms};
use crate::ledger::{self, UPDATED};

/// The collection with one document for each file: which outbox of it was committed last.
pub(crate) const FILES: &str = ":files";
/// The field of it that says so.
pub(crate) const TOKEN: &str = "token";

/// What was taken and is not certainly committed.
pub(crate) struct Outbox {
    pub token: Vec<u8>,
    edits: Vec<u8>,
}

impl File {
    // What an earlier process put into the outbox, and perhaps committed.
    pub(crate) fn finish_outbox(&mut self) -> Result<(), Error> {
        for Outbox { token, edits } in self.outbox()? {
            if !self.was_committed(&token)? {
                let staged = self.space.database().transaction_from_bytes(&edits);
                let Some(transaction) = staged.ok().filter(|staged| self.is_own(staged)) else {
                    return self.compare_instead();
                };
                // A body that is refused for its size comes again row by row.
                if transaction.check().is_err() {
                    return self.give_up(&transaction);
                }
                match transaction.commit() {
                    Ok(_) => {}
                    // It was taken from us meanwhile. What rows say that the space does not is found again, and kept.
                    Err(driftless::Error::NotPermitted(_)) => return self.compare_instead(),
                    Err(error) => return Err(error.into()),
                }
            }
            self.write(|file| {
                file.is_ours()?;
                match file.connection.execute("DELETE FROM driftless_outbox", [])? {
                    0 => Ok(()),
                    _ => ledger::put_sent(&file.connection, &token, now_ms()),
                }
            })?;
        }
        Ok(())
    }

    // Whether a flush can have staged it: only documents of tables, and which outbox it is.
    fn is_own(&self, transaction: &Transaction) -> bool {
        let own = self.space.id();
        transaction.documents().all(|(space, collection, id)| {
            let is_file = collection == FILES && self.own_id().is_ok_and(|own| own == *id);
            space == own && (is_file || is_name_there(collection))
        })
    }

    // Without the outbox every row is compared with its document.
    fn compare_instead(&mut self) -> Result<(), Error> {
        self.write(|file| {
            file.connection.execute("DELETE FROM driftless_outbox", [])?;
            ledger::put(&file.connection, ledger::COMPARE, 2)
        })
    }

    // Of what can never be written each row is noted again: the next flush finds those that cannot be sent, and lists them.
    fn give_up(&mut self, transaction: &Transaction) -> Result<(), Error> {
        self.write_followed(|file| {
            for (_, collection, id) in transaction.documents() {
                let table = file.table_of(collection).and_then(|at| file.tables.get(at));
                let Some((table, key)) = table.and_then(|table| Some((table, table.key_of(id)?))) else {
                    continue;
                };
                match file.space.collection(collection)?.get(id)? {
                    Some(document) => {
                        let said = file.said(table, &document);
                        ledger::put_known(&file.connection, table.number, &id.to_cbor(), &said)?;
                    }
                    None => ledger::forget_known(&file.connection, table.number, &id.to_cbor())?,
                }
                file.note(table, &key, UPDATED, now_ms())?;
            }
            file.connection.execute("DELETE FROM driftless_outbox", [])?;
            Ok(())
        })
    }

    pub(crate) fn outbox(&self) -> Result<Vec<Outbox>, Error> {
        let mut statement =
            self.connection.prepare_cached("SELECT token, edits FROM driftless_outbox ORDER BY number")?;
        let rows = statement.query_map([], |row| Ok(Outbox { token: row.get(0)?, edits: row.get(1)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether this token is the last that was committed for this file.
    pub(crate) fn is_committed_last(&self, token: &[u8]) -> Result<bool, Error> {
        let last = self.space.collection(FILES)?.get(&self.own_id()?)?;
        let last = last.as_ref().and_then(|document| document.fields.get(TOKEN));
        Ok(matches!(last, Some(Value::Bytes(last)) if last == token))
    }

    /// Whether this token was ever committed for this file. Only in a copy of a file it was, and is not the last.
    pub(crate) fn was_committed(&self, token: &[u8]) -> Result<bool, Error> {
        let is_it = |operator: &Operator| matches!(operator, Operator::Set { value: Value::Bytes(said), .. } if said == token);
        let files = self.space.collection(FILES)?;
        Ok(self.is_committed_last(token)?
            || files.any_edit(&self.own_id()?, &mut |operators| operators.iter().any(is_it))?)
    }

    /// Where the space stood when something of this file was committed last; `None` if it has nothing of it.
    pub(crate) fn place_of_last(&self) -> Result<Option<Place>, Error> {
        Ok(self.space.collection(FILES)?.place_of(&self.own_id()?)?)
    }

    pub(crate) fn own_id(&self) -> Result<DocumentId, Error> {
        DocumentId::string(self.writer.as_str()).map_err(|error| Error::Invalid(error.to_string()))
    }
}
