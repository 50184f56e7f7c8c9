//! `serve --mailbox`: a mailbox that others use, beside the database that is served. The two know nothing of each other.

use std::net::{Ipv4Addr, SocketAddr};

use driftless::{Error, HubLimits, HubNumbers, HubOptions, MailboxHub};
use driftless_front::Token;

use super::settings::Settings;
use super::ui::no_token;
use crate::failure::{Exit, Failure};
use crate::output::escape;

/// Where it listens unless it is told.
const PORT: u16 = 7478;

/// A mailbox that is to be served.
pub(super) struct Wanted {
    url: String,
    at: SocketAddr,
    options: HubOptions,
}

/// What was said about it, if there is to be one.
pub(super) fn wanted(settings: &Settings) -> Result<Option<Wanted>, Failure> {
    let Some(word) = settings.mailbox.as_deref() else {
        let alone = [
            (settings.mailbox_http.is_some(), "--mailbox-http"),
            (settings.mailbox_token_file.is_some(), "--mailbox-token-file"),
            (settings.mailbox_bytes.is_some(), "--mailbox-bytes"),
            (settings.mailbox_objects.is_some(), "--mailbox-objects"),
            (settings.mailbox_writer_bytes.is_some(), "--mailbox-writer-bytes"),
            (settings.mailbox_writer_objects.is_some(), "--mailbox-writer-objects"),
        ];
        return match alone.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => {
                Err(Failure::usage(format!("{option} is about --mailbox"), "add `--mailbox FOLDER`"))
            }
            None => Ok(None),
        };
    };
    let url = match word.contains("://") {
        true => word.to_owned(),
        false => {
            let path = std::path::absolute(word).map_err(|error| Failure::file(word.as_ref(), &error))?;
            format!("file://{}", path.display())
        }
    };
    let at =
        settings.mailbox_http.as_deref().map_or(Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))), at)?;
    if !at.ip().is_loopback() && settings.insecure_http != Some(true) {
        let message = format!("{at} is not an address of this machine alone: others may read what goes over");
        let hint = "say `--insecure-http` if you mean it, or let a proxy with TLS be there";
        return Err(Failure::invalid("not_loopback", message, hint));
    }
    let token = match &settings.mailbox_token_file {
        Some(path) => Some(Token::in_file(path).map_err(|error| no_token(path, &error))?.as_str().to_owned()),
        None => None,
    };
    let usual = HubLimits::default();
    let limits = HubLimits {
        bytes: settings.mailbox_bytes.unwrap_or(usual.bytes),
        objects: settings.mailbox_objects.unwrap_or(usual.objects),
        prefix_bytes: settings.mailbox_writer_bytes.unwrap_or(usual.prefix_bytes),
        prefix_objects: settings.mailbox_writer_objects.unwrap_or(usual.prefix_objects),
        ..usual
    };
    Ok(Some(Wanted { url, at, options: HubOptions { limits, token, admit: None } }))
}

// `PORT` of this machine alone, or `IP:PORT`.
fn at(word: &str) -> Result<SocketAddr, Failure> {
    let port = |word: &str| word.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let local = word.strip_prefix("localhost:").and_then(port);
    local.or_else(|| port(word)).or_else(|| word.parse().ok()).ok_or_else(|| {
        let message = format!("`{}` is not IP:PORT", escape(word));
        Failure::invalid(
            "invalid_address",
            message,
            "`--mailbox-http 127.0.0.1:7478`, or a port of this machine",
        )
    })
}

/// Serves it. Needs the runtime of `serve`.
pub(super) async fn open(wanted: Wanted) -> Result<MailboxHub, Failure> {
    let opened = MailboxHub::serve(&wanted.url, wanted.at, wanted.options).await;
    opened.map_err(|error| match error {
        Error::Io(reason) => {
            let hint = "choose another place with `--mailbox-http IP:PORT`; port 0 takes any free one";
            Failure::new(Exit::Failed, "cannot_listen", reason, hint)
        }
        error => error.into(),
    })
}

/// What is told of it to programs that watch over servers: a name, its kind, what it is, and the number.
pub(super) fn numbers(hub: &MailboxHub) -> [(&'static str, &'static str, &'static str, u64); 6] {
    let HubNumbers { objects, bytes, put, got, refused, waiting } = hub.numbers();
    [
        ("mailbox_objects", "gauge", "Objects in the mailbox that is served.", objects),
        ("mailbox_bytes", "gauge", "Bytes of these objects.", bytes),
        ("mailbox_put_total", "counter", "Objects that were put into it.", put),
        ("mailbox_got_total", "counter", "Objects, or parts of them, that were got from it.", got),
        ("mailbox_refused_total", "counter", "Requests to it that were refused.", refused),
        ("mailbox_waiting", "gauge", "Who waits for news from it.", waiting),
    ]
}
