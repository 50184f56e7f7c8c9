//! `serve --ui`: the front for pages, on the database that is served.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use driftless_front::{Front, FrontError, Token, TokenError};

use super::Serving;
use super::settings::Settings;
use crate::failure::{Exit, Failure};
use crate::output::escape;

/// Where the front is to listen, if there is to be one.
pub(super) fn place(settings: &Settings) -> Result<Option<SocketAddr>, Failure> {
    let Some(word) = settings.ui.as_deref() else {
        let alone = [
            (settings.ui_token_file.is_some(), "--ui-token-file"),
            (!settings.ui_origin.is_empty(), "--ui-origin"),
            (!settings.ui_host.is_empty(), "--ui-host"),
            (settings.ui_pages.is_some(), "--ui-pages"),
            (settings.insecure_http == Some(true) && settings.mailbox.is_none(), "--insecure-http"),
        ];
        return match alone.into_iter().find(|(given, _)| *given) {
            Some((_, option)) => Err(Failure::usage(format!("{option} is about --ui"), "add `--ui`")),
            None => Ok(None),
        };
    };
    let port = |word: &str| word.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let local = word.strip_prefix("localhost:").and_then(port);
    local.or_else(|| port(word)).or_else(|| word.parse().ok()).map(Some).ok_or_else(|| {
        let message = format!("`{}` is not IP:PORT", escape(word));
        Failure::invalid("invalid_address", message, "`--ui 127.0.0.1:7480`, or a port of this machine")
    })
}

/// Opens it. Needs the runtime of `serve`.
pub(super) async fn open(at: SocketAddr, settings: &Settings, serving: &Serving) -> Result<Front, Failure> {
    let mut builder = Front::builder(&serving.database).network(&serving.network).engine(&serving.engine);
    if let Some(path) = &settings.ui_token_file {
        builder = builder.token(Token::in_file(path).map_err(|error| no_token(path, &error))?);
    }
    builder = settings.ui_origin.iter().fold(builder, |builder, origin| builder.origin(origin));
    builder = settings.ui_host.iter().fold(builder, |builder, host| builder.host(host));
    if let Some(folder) = &settings.ui_pages {
        builder = builder.pages(folder);
    }
    if settings.insecure_http == Some(true) {
        builder = builder.insecure_http();
    }
    builder.listen(at).await.map_err(|error| {
        let hint = match &error {
            FrontError::NotLoopback(_) => {
                "say `--insecure-http` if you mean it, or let a proxy with TLS be there"
            }
            FrontError::Listen { .. } => {
                "choose another place with `--ui IP:PORT`; port 0 takes any free one"
            }
            _ => "`driftless serve --help` shows examples",
        };
        let code = match &error {
            FrontError::NotLoopback(_) => "not_loopback",
            FrontError::Listen { .. } => "cannot_listen",
            _ => "invalid_address",
        };
        match error {
            FrontError::NotLoopback(at) => {
                let message =
                    format!("{at} is not an address of this machine alone: others may read the token");
                Failure::invalid(code, message, hint)
            }
            FrontError::Listen { .. } => Failure::new(Exit::Failed, code, error, hint),
            FrontError::Pages { folder, error } => Failure::file(&folder, &error),
            error => Failure::invalid(code, error, hint),
        }
    })
}

pub(super) fn no_token(path: &Path, error: &TokenError) -> Failure {
    match error {
        TokenError::Io(error) => Failure::file(path, error),
        error => {
            let message = format!("{}: {error}", path.display());
            Failure::invalid("invalid_token", message, "remove the file, and a new token is made")
        }
    }
}
