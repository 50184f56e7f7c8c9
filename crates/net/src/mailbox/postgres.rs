//! A mailbox in a table of a PostgreSQL server, one row for each object; the table is made if it is not there.
//!
//! The server is believed nothing: what it sends is bounded before it is held (`guard`), every answer is waited for only
//! so long, and a password goes only where the server has proven itself or is on this machine (`address`). A row is there
//! with the whole object or not at all; the order of names is that of their bytes, whatever the order of the database is.

mod address;
mod guard;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row};

use super::{
    Listed, Listing, MAX_LISTING, MAX_NAME, MAX_OBJECT, Mailbox, MailboxError, ObjectName, Put, check_size,
    length,
};
use crate::transport::BoxFuture;
use address::Address;
use guard::Guarded;

/// How long a connection may take until the first question can be asked.
const CONNECT: Duration = Duration::from_secs(30);
/// How long one answer may take; afterwards the connection is not used again.
const ANSWER: Duration = Duration::from_secs(120);
/// Bytes of everything that is received for one question: the largest object, or a page of names, and what is around it.
const MAX_ANSWER: u64 = MAX_OBJECT as u64 + 1024 * 1024;
/// Characters of what a server says of an error.
const MAX_SAID: usize = 300;

/// What its client says where a password is asked for that it does not have.
const NO_PASSWORD: &str = "password missing";

/// A table of a PostgreSQL server.
#[derive(Clone)]
pub struct PostgresMailbox {
    address: Arc<Address>,
    // Taken out while it is asked: whoever gives up drops it, and no answer is ever taken for that to another question.
    line: Arc<Mutex<Option<Line>>>,
}

struct Line {
    client: Client,
    // What may still be received.
    room: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for PostgresMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresMailbox").field("table", &self.address.table).finish_non_exhaustive()
    }
}

impl PostgresMailbox {
    /// The table behind `postgres://USER@HOST:PORT/DATABASE?table=NAME&schema=NAME&sslmode=MODE&sslrootcert=FILE`. The
    /// password comes from `PGPASSWORD`, or from the file that `PGPASSFILE` names, or from `~/.pgpass`. Nothing is asked
    /// of the server yet.
    pub fn open(url: &str) -> Result<Self, MailboxError> {
        let mut address = Address::read(url)?;
        address.find_password()?;
        Ok(Self { address: Arc::new(address), line: Arc::default() })
    }

    /// Whether a URL is one of a table. Nothing is read and nobody reached.
    pub fn check(url: &str) -> Result<(), MailboxError> {
        Address::read(url).map(drop)
    }

    /// The same for every URL of one table: whoever asks, and however it is reached.
    pub(super) fn identity(url: &str) -> Result<String, MailboxError> {
        Address::read(url).map(|address| address.identity())
    }

    /// The same as `open`, with a password from elsewhere.
    pub fn with_password(url: &str, password: &str) -> Result<Self, MailboxError> {
        let mut address = Address::read(url)?;
        address.config.password(password);
        Ok(Self { address: Arc::new(address), line: Arc::default() })
    }

    // The rows that a question gets. `sql` says `TABLE` where the table is meant.
    async fn ask(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, MailboxError> {
        let sql = sql.replace("TABLE", &self.address.table);
        let mut slot = self.line.lock().await;
        let line = match slot.take().filter(|line| !line.client.is_closed()) {
            Some(line) => line,
            None => within(CONNECT, self.connect()).await?,
        };
        line.room.store(MAX_ANSWER, Ordering::Relaxed);
        let answer = async { line.client.query_typed(&sql, values).await.map_err(failure) };
        let rows = within(ANSWER, answer).await;
        if !matches!(rows, Err(MailboxError::Unreachable(_))) {
            *slot = Some(line);
        }
        rows
    }

    async fn connect(&self) -> Result<Line, MailboxError> {
        let (stream, open) = self.address.reach().await?;
        let room = Arc::new(AtomicU64::new(MAX_ANSWER));
        let stream = Guarded::new(stream, room.clone(), open);
        let (client, connection) = self.address.config.connect_raw(stream, NoTls).await.map_err(failure)?;
        let task = tokio::spawn(async move {
            // Whoever asks hears of its end.
            let _ = connection.await;
        });
        let line = Line { client, room, task };
        // Functions and operators are those of the server itself, whoever may make others here.
        line.client.batch_execute("SET search_path TO pg_catalog, pg_temp").await.map_err(failure)?;
        self.make(&line.client).await?;
        Ok(line)
    }

    // The table, if it is not there: whoever may only use it never tries to make it.
    async fn make(&self, client: &Client) -> Result<(), MailboxError> {
        if self.is_there(client).await? {
            return Ok(());
        }
        let table = &self.address.table;
        let sql = format!(
            r#"CREATE TABLE IF NOT EXISTS {table} (
                name text COLLATE "C" PRIMARY KEY CHECK (octet_length(name) <= {MAX_NAME}),
                content bytea NOT NULL CHECK (octet_length(content) <= {MAX_OBJECT})
            );
            ALTER TABLE {table} ALTER content SET STORAGE EXTERNAL"#
        );
        let Err(error) = client.batch_execute(&sql).await else { return Ok(()) };
        // Of several who make it at once all but one are refused, by one of many errors of the server.
        if self.is_there(client).await? { Ok(()) } else { Err(failure(error)) }
    }

    async fn is_there(&self, client: &Client) -> Result<bool, MailboxError> {
        let sql = "SELECT to_regclass($1) IS NOT NULL";
        let rows = client.query_typed(sql, &[(&self.address.table, Type::TEXT)]).await.map_err(failure)?;
        Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(false))
    }

    async fn list_now(&self, prefix: &str, after: &str, limit: usize) -> Result<Listing, MailboxError> {
        let limit = limit.min(MAX_LISTING);
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        // Every character of a name is before it.
        let end = format!("{prefix}~");
        let sql = r#"SELECT name, octet_length(content)::bigint, xmin::text::bigint FROM TABLE
            WHERE name COLLATE "C" >= $1 AND name COLLATE "C" > $2 AND name COLLATE "C" < $3
              AND octet_length(name) <= 400
              AND name COLLATE "C" ~ '^[a-z0-9_-]{1,200}(/[a-z0-9_-]{1,200}){0,3}$'
            ORDER BY name COLLATE "C" LIMIT $4"#;
        let values: [(&(dyn ToSql + Sync), Type); 4] =
            [(&prefix, Type::TEXT), (&after, Type::TEXT), (&end, Type::TEXT), (&most, Type::INT8)];
        let rows = self.ask(sql, &values).await?;
        let mut listing = Listing { more: rows.len() > limit, ..Listing::default() };
        let mut last = after.to_owned();
        for row in rows.iter().take(limit) {
            let (name, size, mark) = (cell::<String>(row, 0)?, cell::<i64>(row, 1)?, cell::<i64>(row, 2)?);
            let name = ObjectName::new(&name).filter(|name| name.as_str().starts_with(prefix));
            let name = name.filter(|name| name.as_str() > last.as_str());
            let name = name.ok_or_else(|| lies("names that were not asked for"))?;
            last = name.to_string();
            let [size, mark] = [size, mark].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
            listing.objects.push(Listed { name, size, mark });
        }
        Ok(listing)
    }

    async fn get_now(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, MailboxError> {
        let length = length(&range);
        // Objects are far smaller than where these numbers end.
        let from = i32::try_from(range.start.saturating_add(1)).unwrap_or(i32::MAX);
        let count = i32::try_from(length).unwrap_or(i32::MAX);
        let sql = r#"SELECT substring(content FROM $2 FOR $3) FROM TABLE WHERE name COLLATE "C" = $1"#;
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&name, Type::TEXT), (&from, Type::INT4), (&count, Type::INT4)];
        let rows = self.ask(sql, &values).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut bytes: Vec<u8> = cell(row, 0)?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }
}

impl Mailbox for PostgresMailbox {
    fn put_if_absent<'a>(
        &'a self,
        name: &'a ObjectName,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<Put, MailboxError>> {
        Box::pin(async move {
            check_size(&bytes)?;
            let sql = "INSERT INTO TABLE (name, content) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1";
            let rows = self.ask(sql, &[(&name.as_str(), Type::TEXT), (&bytes, Type::BYTEA)]).await?;
            Ok(if rows.is_empty() { Put::Exists } else { Put::Stored })
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, MailboxError>> {
        Box::pin(self.list_now(prefix, after, limit))
    }

    fn get<'a>(
        &'a self,
        name: &'a ObjectName,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, MailboxError>> {
        Box::pin(self.get_now(name.as_str(), range))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<(), MailboxError>> {
        Box::pin(async move {
            let sql = r#"DELETE FROM TABLE WHERE name COLLATE "C" = $1"#;
            self.ask(sql, &[(&name.as_str(), Type::TEXT)]).await.map(drop)
        })
    }
}

fn cell<'r, T: tokio_postgres::types::FromSql<'r>>(row: &'r Row, at: usize) -> Result<T, MailboxError> {
    row.try_get(at).map_err(|_| lies("what was not asked for"))
}

fn lies(what: &str) -> MailboxError {
    MailboxError::Unusable(format!("the server answers with {what}"))
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, MailboxError>>,
) -> Result<T, MailboxError> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| {
        Err(MailboxError::Unreachable(format!("no answer within {} seconds", limit.as_secs())))
    })
}

fn failure(error: tokio_postgres::Error) -> MailboxError {
    let Some(said) = error.as_db_error() else {
        let cause = std::error::Error::source(&error);
        // What it would be asked with is not there: it says so by asking for it.
        if cause.is_some_and(|cause| cause.to_string() == NO_PASSWORD) {
            return MailboxError::Denied("the server asks for a password, and none is known here".into());
        }
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        return MailboxError::Unreachable(format!("{error}{cause}"));
    };
    let text: String = said.message().chars().filter(|char| !char.is_control()).take(MAX_SAID).collect();
    told(said.code(), text)
}

// What a server means by its code.
fn told(code: &SqlState, text: String) -> MailboxError {
    match *code {
        SqlState::DISK_FULL => MailboxError::Full(text),
        SqlState::INSUFFICIENT_PRIVILEGE
        | SqlState::INVALID_PASSWORD
        | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | SqlState::READ_ONLY_SQL_TRANSACTION => MailboxError::Denied(text),
        SqlState::INVALID_CATALOG_NAME
        | SqlState::INVALID_SCHEMA_NAME
        | SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_COLUMN
        | SqlState::DATATYPE_MISMATCH
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::WRONG_OBJECT_TYPE => MailboxError::Unusable(text),
        _ => MailboxError::Unreachable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_room_is_full_and_not_out_of_reach() {
        let told = |code| told(&SqlState::from_code(code), String::new());
        assert!(matches!(told("53100"), MailboxError::Full(_)));
        assert!(matches!(told("42501"), MailboxError::Denied(_)));
        assert!(matches!(told("57P03"), MailboxError::Unreachable(_)));
    }
}
