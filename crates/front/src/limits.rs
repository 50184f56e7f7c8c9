//! What a client of the front may cost: each bound with its reason. Those of documents are the database's own.

use std::time::Duration;

/// Open sockets: some memory each, and a file descriptor.
pub(crate) const CONNECTIONS: usize = 512;
/// Of these, sockets that have not shown the token: a browser opens six.
pub(crate) const STRANGERS: usize = 128;
/// Time for the head of a request, and for its body: the network is this machine.
pub(crate) const HEAD: Duration = Duration::from_secs(10);
pub(crate) const BODY: Duration = Duration::from_secs(30);
/// Bytes of the head of a request: a browser's are a few thousand.
pub(crate) const MAX_HEAD: usize = 16 * 1024;
/// Bytes of a request and of a message: a document of the largest size, with what JSON adds.
pub(crate) const MAX_MESSAGE: usize = 2 * 1024 * 1024;
/// Bytes of a file of somebody's own pages, which is read whole: scripts and pictures of a page are smaller.
pub(crate) const MAX_PAGE: u64 = 16 * 1024 * 1024;
/// Bytes of an answer: a page shows less, a program asks with `limit`.
pub(crate) const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Documents, commits or other lines of an answer.
pub(crate) const MAX_LINES: usize = 10_000;
/// Lines of a log or a history where nobody says how many.
pub(crate) const USUAL_LINES: usize = 100;
/// Documents in the first result of a watch, which is held until its client has taken it.
pub(crate) const MAX_WATCHED: u64 = 20_000;
/// Operations that a connection has asked for and that are not answered: beyond them it is not read.
pub(crate) const IN_FLIGHT: usize = 32;
/// Of these, at work or with an answer that waits for its client: each may hold `MAX_ANSWER`.
pub(crate) const AT_WORK: usize = 4;
/// Streams of a connection: a page with that many lists is a large one.
pub(crate) const STREAMS: usize = 64;
/// Bytes that wait for one client to take them.
pub(crate) const OUTBOUND: usize = 4 * 1024 * 1024;
/// Events of a stream that are made together.
pub(crate) const TOGETHER: usize = 256;
/// A stream whose client takes nothing for this long ends.
pub(crate) const SLOW: Duration = Duration::from_secs(10);
/// A connection that takes nothing for this long ends.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// Between two pings, and the silence after which a client is taken for gone.
pub(crate) const PING: Duration = Duration::from_secs(20);
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// Threads that work for all clients: the database has one lock.
pub(crate) const THREADS: usize = 8;
/// Exchanges with peers that clients wait for.
pub(crate) const EXCHANGES: usize = 4;
/// Nesting of CBOR: of a document, and what is around it.
pub(crate) const MAX_DEPTH: usize = 80;
/// Collections that a signal names; with more it says that any may have changed.
pub(crate) const NAMED: usize = 64;
/// Spaces whose signals wait for one client; with more, anything may have changed.
pub(crate) const SIGNALLED: usize = 256;
/// After the system refused a socket (mostly: no file descriptors left), so as not to spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What connections get to end when the front is closed.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);
