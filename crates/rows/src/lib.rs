//! An existing SQLite file under sync: each row a document of a space, without a change of the application that uses it.
//!
//! ```
//! use driftless::Database;
//! use driftless_rows::{Options, Rows};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("shop.db");
//! let shop = rusqlite::Connection::open(&path)?;
//! shop.execute_batch("CREATE TABLE article(id TEXT PRIMARY KEY, name TEXT, price REAL)")?;
//!
//! let database = Database::memory()?;
//! let mut rows = Rows::attach(&path, &database.create_space("catalogue")?, Options::default())?;
//! // The application goes on as before, in this process or another.
//! shop.execute_batch("INSERT INTO article(name, price) VALUES('milk', 1.2)")?;
//! assert_eq!(rows.sync()?.flushed.rows, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Modules are listed low to high; a module uses only those above it.

mod error;
mod cell;
mod key;
mod schema;
mod ledger;
mod reconcile;
mod options;
mod capture;
mod mirror;
mod file;
#[cfg(feature = "preupdate")]
mod captured;
mod fitting;
mod waiting;
mod flush;
mod audit;
mod lost;
mod revert;
mod apply;
mod attach;
mod rows;
mod watch;

pub use apply::Applied;
pub use attach::LeftOut;
#[cfg(feature = "preupdate")]
pub use captured::{Captured, CapturedTransaction};
pub use error::Error;
pub use flush::Flushed;
pub use options::{Capture, DoubleCreate, Options, Tables};
pub use reconcile::{CellChange, Deed, PerColumn, Policy, Reconciler, RowChange};
pub use rows::{Exchanged, Rows, Status, TableStatus, detach};
pub use waiting::{LostValue, RefusedRow, WaitingRow};
pub use watch::LOOK_EVERY;
