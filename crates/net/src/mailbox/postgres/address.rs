//! Where a PostgreSQL server is, with which password, and a stream to it. A server elsewhere has to prove by TLS that it
//! is the one that is meant, unless the URL says `sslmode=disable`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::super::MailboxError;

/// What asks a server for TLS, before anything else is said.
const TLS_PLEASE: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const TABLE: &str = "driftless_mailbox";
const PORT: u16 = 5432;
/// Characters of a name in the server.
const MAX_WORD: usize = 63;
/// Bytes of a file of passwords or certificates.
const MAX_FILE: u64 = 1024 * 1024;

/// Bytes in both directions, whatever carries them.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) struct Address {
    pub(super) config: Config,
    /// Quoted, with its schema.
    pub(super) table: String,
    host: Host,
    port: u16,
    roots: Option<PathBuf>,
    tls: bool,
}

fn unusable(why: impl Into<String>) -> MailboxError {
    MailboxError::Unusable(why.into())
}

impl Address {
    pub(super) fn read(url: &str) -> Result<Self, MailboxError> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut table, mut schema, mut mode, mut roots) = (TABLE, "public", None, None);
        let mut rest = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("table", name)) => table = name,
                Some(("schema", name)) => schema = name,
                Some(("sslmode", word)) => mode = Some(word),
                Some(("sslrootcert", file)) => roots = Some(PathBuf::from(file)),
                _ => rest.push(part),
            }
        }
        let table = format!("{}.{}", quoted(schema)?, quoted(table)?);
        let config = format!("{place}?{}", rest.join("&"));
        let mut config: Config = config.parse().map_err(|_| {
            unusable("a table is named like `postgres://ann@db.example/notes?table=driftless_mailbox`")
        })?;
        if config.get_password().is_some() {
            return Err(unusable(
                "the password does not belong into the URL: put it into `PGPASSWORD` or `~/.pgpass`",
            ));
        }
        let [host] = config.get_hosts() else { return Err(unusable("the URL names one server")) };
        let (host, port) = (host.clone(), config.get_ports().first().copied().unwrap_or(PORT));
        let tls = match mode {
            None => !is_here(&host),
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            Some(_) => return Err(unusable("`sslmode` is `disable` or `require`")),
        };
        // That is done before the connection hears of the stream.
        config.ssl_mode(SslMode::Disable).application_name("driftless");
        Ok(Self { config, table, host, port, roots, tls })
    }

    pub(super) fn identity(&self) -> String {
        let host = match &self.host {
            Host::Tcp(host) => host.to_ascii_lowercase(),
            #[cfg(unix)]
            Host::Unix(folder) => folder.display().to_string().replace('/', "%2F"),
        };
        let user = self.config.get_user().unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or(user);
        let (schema, table) = self.table.split_once('.').unwrap_or(("", &self.table));
        let (schema, table) = (schema.trim_matches('"'), table.trim_matches('"'));
        format!("postgres://{host}:{}/{database}?schema={schema}&table={table}", self.port)
    }

    /// Takes the password from where those of PostgreSQL are kept.
    pub(super) fn find_password(&mut self) -> Result<(), MailboxError> {
        if let Some(password) = std::env::var("PGPASSWORD").ok().filter(|password| !password.is_empty()) {
            self.config.password(password);
            return Ok(());
        }
        let named = std::env::var_os("PGPASSFILE").map(PathBuf::from);
        let file = named.or_else(|| Some(std::env::home_dir()?.join(".pgpass")));
        let Some(file) = file.filter(|file| file.is_file()) else { return Ok(()) };
        only_ours(&file)?;
        if let Some(password) = self.password_in(&text(&file)?) {
            self.config.password(password);
        }
        Ok(())
    }

    // A line is HOST:PORT:DATABASE:USER:PASSWORD, and `*` stands for anything.
    fn password_in(&self, file: &str) -> Option<String> {
        let user = self.config.get_user().unwrap_or_default();
        let host = match &self.host {
            Host::Tcp(host) => host.clone(),
            #[cfg(unix)]
            Host::Unix(_) => "localhost".to_owned(),
        };
        let wanted = [&host, &self.port.to_string(), self.config.get_dbname().unwrap_or(user), user];
        file.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let mut fields = fields(line);
            let fits = wanted.iter().zip(&fields).all(|(wanted, field)| field == "*" || field == wanted);
            (fields.len() == 5 && fits).then(|| fields.pop())?
        })
    }

    /// A stream on which the server speaks next; and whether others could be in between.
    pub(super) async fn reach(&self) -> Result<(Box<dyn Stream>, bool), MailboxError> {
        let unreachable = |error: std::io::Error| MailboxError::Unreachable(error.to_string());
        let (mut stream, name): (Box<dyn Stream>, String) = match &self.host {
            Host::Tcp(host) => {
                let stream = TcpStream::connect((host.as_str(), self.port)).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                (Box::new(stream), host.clone())
            }
            #[cfg(unix)]
            Host::Unix(folder) => {
                let socket = folder.join(format!(".s.PGSQL.{}", self.port));
                let stream = tokio::net::UnixStream::connect(socket).await.map_err(unreachable)?;
                (Box::new(stream), "localhost".to_owned())
            }
        };
        if !self.tls {
            return Ok((stream, !is_here(&self.host)));
        }
        stream.write_all(&TLS_PLEASE).await.map_err(unreachable)?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.map_err(unreachable)?;
        if answer != *b"S" {
            return Err(unusable(
                "the server has no TLS; `sslmode=disable` does without, and anybody on the way can read",
            ));
        }
        let name = ServerName::try_from(name)
            .map_err(|_| unusable("the server has a name that no certificate has"))?;
        let config = client(self.roots.as_deref())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        Ok((Box::new(stream.map_err(unreachable)?), false))
    }
}

fn client(roots: Option<&Path>) -> Result<ClientConfig, MailboxError> {
    let no_tls = |error: rustls::Error| unusable(format!("there is no TLS here: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(no_tls)?;
    let Some(file) = roots else {
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(no_tls)?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        return Ok(builder.with_no_client_auth());
    };
    let no_roots = || unusable(format!("{} has no certificates", file.display()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text(file)?.as_bytes()) {
        store.add(certificate.map_err(|_| no_roots())?).map_err(|_| no_roots())?;
    }
    if store.is_empty() {
        return Err(no_roots());
    }
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

// Whether what is said to this host stays on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(host) => {
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn quoted(word: &str) -> Result<String, MailboxError> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=MAX_WORD).contains(&word.len()) && word.bytes().all(known) {
        return Ok(format!("\"{word}\""));
    }
    Err(unusable("names of tables and schemas are a-z, 0-9 and `_` here"))
}

fn text(file: &Path) -> Result<String, MailboxError> {
    let unread = |error: std::io::Error| unusable(format!("{}: {error}", file.display()));
    if std::fs::metadata(file).map_err(unread)?.len() > MAX_FILE {
        return Err(unusable(format!("{} is too large", file.display())));
    }
    std::fs::read_to_string(file).map_err(unread)
}

#[cfg(unix)]
fn only_ours(file: &Path) -> Result<(), MailboxError> {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if open {
        return Err(unusable(format!("others can read {}: `chmod 600` it", file.display())));
    }
    Ok(())
}

#[cfg(not(unix))]
fn only_ours(_: &Path) -> Result<(), MailboxError> {
    Ok(())
}

// Fields between colons, where `\` takes the meaning of what follows away.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            ':' if fields.len() < 5 => fields.push(String::new()),
            char => {
                let char = if char == '\\' { chars.next().unwrap_or(char) } else { char };
                fields.last_mut().into_iter().for_each(|field| field.push(char));
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(url: &str) -> String {
        Address::read(url).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_url_names_a_server_a_database_and_a_table_and_no_password() {
        let address = Address::read("postgres://ann@db.example:5433/notes?schema=mine&table=box_1").unwrap();
        assert_eq!((address.table.as_str(), address.port, address.tls), ("\"mine\".\"box_1\"", 5433, true));
        assert!(!Address::read("postgresql://ann@127.0.0.1/notes").unwrap().tls);
        assert!(!Address::read("postgres://ann@%2Frun%2Fpg/notes").unwrap().tls);
        assert!(Address::read("postgres://ann@localhost/notes?sslmode=require").unwrap().tls);
        assert!(!Address::read("postgres://ann@db.example/notes?sslmode=disable").unwrap().tls);
        assert!(why("postgres://ann:secret@db/notes").contains("PGPASSWORD"));
        assert!(why("postgres://db/notes?table=a\"; drop").contains("a-z"));
        assert!(why("postgres://db/notes?sslmode=prefer").contains("require"));
        assert!(why("postgres://a,b/notes").contains("one server"));
        assert!(why("postgres://db/notes?nonsense=1").contains("is named like"));
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let address = Address::read("postgres://ann@db.example/notes").unwrap();
        let file =
            "# hosts\ndb.example:5432:other:ann:no\ndb.example:*:notes:ann:a\\:b\\\\c:d\n*:*:*:*:last\n";
        assert_eq!(address.password_in(file).as_deref(), Some("a:b\\c:d"));
        assert_eq!(address.password_in("*:*:*:bob:x\n*:*:*:ann"), None);
    }
}
