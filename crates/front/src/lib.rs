//! A driftless database for web pages and programs on the same machine: operations over HTTP, live queries and signals
//! over a WebSocket, and the inspector. `docs/front.md` says what goes over.
//!
//! Whoever has the token acts as the user of the database; pages that are not ours are kept out by their origin, and
//! names that were made to lead here by the name.
//!
//! ```
//! # #[tokio::main(flavor = "multi_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = driftless::Database::memory()?;
//! let front = driftless_front::Front::builder(&db).listen("127.0.0.1:0".parse()?).await?;
//! assert!(front.url().starts_with("http://127.0.0.1:") && front.url().contains("/#token="));
//! front.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Modules are listed low to high; a module uses only those above it.

mod limits;

mod refusal;

mod token;

mod caller;

mod assets;

mod pages;

mod crowd;

mod numbers;

mod cbor;

mod outbox;

mod backend;

mod arguments;

mod operation;

mod openapi;

mod desk;

mod stream;

mod socket;

mod door;

mod front;

pub use front::{Front, FrontBuilder, FrontError};
pub use token::{Token, TokenError};
