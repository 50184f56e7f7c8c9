//! A TCP connection to a mailbox that is far away, and why there is none: a name that nobody knows is told from a machine that
//! does not answer, and one that cannot prove itself from both. It knows nothing of what is said on it.

use std::io;

#[cfg(any(feature = "http", feature = "postgres"))]
use {
    super::MailboxError,
    tokio::net::{TcpStream, lookup_host},
};

/// A connection to the first of the host's addresses that takes one.
#[cfg(any(feature = "http", feature = "postgres"))]
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, MailboxError> {
    let nowhere = || MailboxError::NoHost(format!("{host} has no address"));
    let mut last = nowhere();
    for address in lookup_host((host, port)).await.map_err(|_| nowhere())? {
        match TcpStream::connect(address).await.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = MailboxError::Unreachable(sentence(&error)),
        }
    }
    Err(last)
}

/// Why there is no TLS on a connection.
#[cfg(any(feature = "tls", feature = "postgres"))]
pub(super) fn no_tls(error: &io::Error) -> MailboxError {
    let said = format!("TLS: {}", sentence(error));
    match error.get_ref().and_then(|inner| inner.downcast_ref::<tokio_rustls::rustls::Error>()) {
        Some(tokio_rustls::rustls::Error::InvalidCertificate(_)) => MailboxError::Untrusted(said),
        _ => MailboxError::Unreachable(said),
    }
}

/// What the system says of an error, without its number.
pub(super) fn sentence(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or_default().to_lowercase(),
        None => text,
    }
}
