//! A connection to a hub: TCP, TLS where the address says so, HTTP/1.1. It knows no requests.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::HubAddress;
use crate::mailbox::MailboxError;
use crate::mailbox::dial::dial;

/// Bytes of the head of an answer.
const MAX_HEAD: usize = 16 * 1024;

pub(super) type Sender = SendRequest<Full<Bytes>>;

pub(super) async fn connect(address: &HubAddress) -> Result<Sender, MailboxError> {
    let tcp = dial(&address.host, address.port).await?;
    if !address.secure {
        return speak(tcp).await;
    }
    #[cfg(feature = "tls")]
    return speak(tls::connect(&address.host, tcp).await?).await;
    #[cfg(not(feature = "tls"))]
    Err(MailboxError::Unusable("this driftless was built without TLS".into()))
}

async fn speak<S>(socket: S) -> Result<Sender, MailboxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let spoken = Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(socket)).await;
    let (sender, connection) = spoken.map_err(|error| MailboxError::Unreachable(error.to_string()))?;
    // It ends with the sender, or when the hub ends it.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(feature = "tls")]
mod tls {
    use std::sync::Arc;

    use rustls_platform_verifier::BuilderVerifierExt as _;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::{self, ClientConfig, crypto, pki_types::ServerName};

    use crate::mailbox::MailboxError;
    use crate::mailbox::dial::no_tls;

    /// A certificate is good if this machine takes it for that name.
    fn config() -> Result<ClientConfig, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?;
        Ok(config.with_no_client_auth())
    }

    pub(super) async fn connect(host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, MailboxError> {
        let config = config().map_err(|error| MailboxError::Unusable(error.to_string()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| MailboxError::Unusable("no certificate can be for that host".into()))?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        connected.map_err(|error| no_tls(&error))
    }
}
