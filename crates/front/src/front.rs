//! The front as its owner sees it: built, listening, closed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use driftless::{Database, Network, SyncEngine};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::caller::Callers;
use crate::crowd::{Crowd, Place};
use crate::desk::Desk;
use crate::door::{Door, PAGES};
use crate::limits::{ACCEPT_PAUSE, FAREWELL, HEAD, MAX_HEAD, SLOW};
use crate::pages::Pages;
use crate::token::{Token, TokenError};

/// What a socket gets for which there is no place.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Why there is no front.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontError {
    /// Others on the network of that address could read the token.
    #[error(
        "{0} is not an address of loopback: whoever listens on that network reads the token; `insecure_http` allows it"
    )]
    NotLoopback(SocketAddr),
    /// The system does not let us listen there.
    #[error("cannot listen at {at}: {error}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// A page has an origin such as `https://app.example.org`.
    #[error("`{0}` is no origin; one looks like https://app.example.org")]
    Origin(String),
    /// A name with or without a port.
    #[error("`{0}` is no name of a host; one looks like db.example.org or db.example.org:8443")]
    Host(String),
    /// Pages lie in a folder that can be read.
    #[error("no pages at {}: {error}", folder.display())]
    Pages {
        /// Where.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Says what a front is like, then opens it.
#[derive(Debug)]
pub struct FrontBuilder {
    backend: Backend,
    token: Option<Token>,
    callers: Callers,
    wrong: Option<FrontError>,
    insecure_http: bool,
    slow: Duration,
    pages: Option<Pages>,
}

impl FrontBuilder {
    /// The network that the database is on, for operations about peers. If left unset, these say that there is none.
    pub fn network(mut self, network: &Network) -> Self {
        self.backend.network = Some(network.clone());
        self
    }

    /// The sync engine, which knows what waits for whom. If left unset, what it wrote down is told.
    pub fn engine(mut self, engine: &SyncEngine) -> Self {
        self.backend.engine = Some(engine.clone());
        self
    }

    /// What clients have to show. If left unset, a new token.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Pages of this origin (`https://app.example.org`) may use the front, too. If left unset, only its own.
    pub fn origin(mut self, origin: &str) -> Self {
        if !self.callers.add_origin(origin) {
            self.wrong.get_or_insert(FrontError::Origin(origin.to_owned()));
        }
        self
    }

    /// The front is reached under this name as well, such as that of a proxy. If left unset, only under names of loopback
    /// and the address that it listens at.
    pub fn host(mut self, host: &str) -> Self {
        if !self.callers.add_host(host) {
            self.wrong.get_or_insert(FrontError::Host(host.to_owned()));
        }
        self
    }

    /// Lets `listen` take an address that is not of loopback, where others may read what goes over. If left unset, it
    /// refuses.
    pub fn insecure_http(mut self) -> Self {
        self.insecure_http = true;
        self
    }

    /// Serves the files of a folder under `/pages/`, to anybody, as the inspector is. If left unset, there are none.
    pub fn pages(mut self, folder: &Path) -> Self {
        match Pages::open(folder) {
            Ok(pages) => self.pages = Some(pages),
            Err(error) => {
                _ = self.wrong.get_or_insert(FrontError::Pages { folder: folder.to_owned(), error })
            }
        }
        self
    }

    /// How long a client may take nothing of what waits for it before its stream ends. If left unset, 10 s.
    pub fn slow(mut self, slow: Duration) -> Self {
        self.slow = slow;
        self
    }

    /// Opens the front. Needs a tokio runtime with IO and time.
    pub async fn listen(self, at: SocketAddr) -> Result<Front, FrontError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if !at.ip().to_canonical().is_loopback() && !self.insecure_http {
            return Err(FrontError::NotLoopback(at));
        }
        let token = self.token.map_or_else(Token::generate, Ok)?;
        let pages = self.pages.is_some();
        let cannot = |error| FrontError::Listen { at, error };
        let listener = TcpListener::bind(at).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (stop, stopping) = watch::channel(false);
        let door = Door {
            desk: Arc::new(Desk::new(self.backend, self.slow)),
            token: token.clone(),
            callers: self.callers,
            pages: self.pages,
            stop: stopping.clone(),
        };
        tokio::spawn(let_in(listener, Arc::new(door), stopping));
        Ok(Front { address, token, pages, stop })
    }
}

/// A front that is open. It ends when it is closed or dropped.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    token: Token,
    pages: bool,
    stop: watch::Sender<bool>,
}

impl Front {
    /// A front for the user of this handle: whoever shows the token acts as that user.
    pub fn builder(database: &Database) -> FrontBuilder {
        FrontBuilder {
            backend: Backend { database: database.clone(), network: None, engine: None },
            token: None,
            callers: Callers::default(),
            wrong: None,
            insecure_http: false,
            slow: SLOW,
            pages: None,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What clients have to show.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Where a browser opens it: with the token behind the `#`, which is not sent anywhere.
    pub fn url(&self) -> String {
        self.url_of("/")
    }

    /// Where a browser opens the pages of the folder, with the token; `None` unless one was given.
    pub fn pages_url(&self) -> Option<String> {
        self.pages.then(|| self.url_of(PAGES))
    }

    fn url_of(&self, path: &str) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            let loopback = if address.is_ipv4() {
                std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST)
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            };
            address.set_ip(loopback);
        }
        format!("http://{address}{path}#token={}", self.token.as_str())
    }

    /// Ends every connection, and waits until that is done, for two seconds at most.
    pub async fn close(self) {
        self.stop.send_replace(true);
        // Every connection holds an end of it.
        let _ = timeout(FAREWELL, self.stop.closed()).await;
    }
}

async fn let_in(listener: TcpListener, door: Arc<Door>, mut stop: watch::Receiver<bool>) {
    let (crowd, mut serving) = (Arc::new(Crowd::default()), JoinSet::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((mut socket, _)) => match crowd.enter() {
                    Some(place) => _ = serving.spawn(serve(socket, door.clone(), place)),
                    None => _ = serving.spawn(async move {
                        // Best effort: it must not wait.
                        let _ = timeout(ACCEPT_PAUSE, socket.write_all(TOO_MANY)).await;
                    }),
                },
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = serving.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    drop((listener, stop, door));
    // Answers that are on their way may finish; what is left ends with the set.
    let _ = timeout(FAREWELL, async { while serving.join_next().await.is_some() {} }).await;
}

async fn serve(socket: TcpStream, door: Arc<Door>, place: Arc<Place>) {
    let Ok(local) = socket.local_addr() else { return };
    let _ = socket.set_nodelay(true);
    let mut stop = door.stop.clone();
    let leaving = place.clone();
    let service = service_fn(move |request| {
        let (door, place) = (door.clone(), place.clone());
        async move { Ok::<_, std::convert::Infallible>(door.answer(request, local, place).await) }
    });
    // Without a timer hyper's limit on the time for a head does nothing.
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    // An error is the other side's, and says nothing to anybody here.
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        () = leaving.has_to_leave() => return,
        _ = stop.changed() => None,
    };
    if served.is_none() {
        connection.as_mut().graceful_shutdown();
        drop(stop);
        let _ = connection.await;
    }
}
