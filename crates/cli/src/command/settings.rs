//! What `serve` is told: by its options, and by a file in which each option has a key. Options win.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::Failure;

const HTTP: &str = "127.0.0.1:7477";

/// What was said, and what was left open.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) http: Option<String>,
    #[cfg(feature = "iroh")]
    pub(super) iroh: Option<Iroh>,
    #[cfg(feature = "iroh")]
    pub(super) relay: Option<String>,
    #[cfg(feature = "iroh")]
    pub(super) lan: Option<bool>,
    #[serde(default)]
    pub(super) address: Vec<String>,
    pub(super) metrics: Option<String>,
    pub(super) link_local: Option<bool>,
    pub(super) ui: Option<String>,
    pub(super) ui_token_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) ui_origin: Vec<String>,
    #[serde(default)]
    pub(super) ui_host: Vec<String>,
    pub(super) ui_pages: Option<PathBuf>,
    pub(super) insecure_http: Option<bool>,
    pub(super) mailbox: Option<String>,
    pub(super) mailbox_http: Option<String>,
    pub(super) mailbox_token_file: Option<PathBuf>,
    pub(super) mailbox_bytes: Option<u64>,
    pub(super) mailbox_objects: Option<u64>,
    pub(super) mailbox_writer_bytes: Option<u64>,
    pub(super) mailbox_writer_objects: Option<u64>,
}

/// `true`, or where.
#[cfg(feature = "iroh")]
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Iroh {
    On(bool),
    At(String),
}

#[cfg(feature = "iroh")]
impl Iroh {
    /// Where, if it is wanted at all.
    pub(super) fn place(&self) -> Option<&str> {
        match self {
            Self::On(on) => on.then_some("any"),
            Self::At(place) => Some(place),
        }
    }
}

impl Settings {
    /// These, and for what they leave open those of a file.
    pub(super) fn over(self, file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(self) };
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let file: Self = toml::from_str(&text).map_err(|error| {
            let message = format!("{}: {}", path.display(), error.message());
            let hint = "the keys are those of the options, such as http, address (a list) and ui; `driftless serve --help`";
            Failure::invalid("invalid_config", message, hint)
        })?;
        Ok(Self {
            http: self.http.or(file.http),
            #[cfg(feature = "iroh")]
            iroh: self.iroh.or(file.iroh),
            #[cfg(feature = "iroh")]
            relay: self.relay.or(file.relay),
            #[cfg(feature = "iroh")]
            lan: self.lan.or(file.lan),
            address: if self.address.is_empty() { file.address } else { self.address },
            metrics: self.metrics.or(file.metrics),
            link_local: self.link_local.or(file.link_local),
            ui: self.ui.or(file.ui),
            ui_token_file: self.ui_token_file.or(file.ui_token_file),
            ui_origin: if self.ui_origin.is_empty() { file.ui_origin } else { self.ui_origin },
            ui_host: if self.ui_host.is_empty() { file.ui_host } else { self.ui_host },
            ui_pages: self.ui_pages.or(file.ui_pages),
            insecure_http: self.insecure_http.or(file.insecure_http),
            mailbox: self.mailbox.or(file.mailbox),
            mailbox_http: self.mailbox_http.or(file.mailbox_http),
            mailbox_token_file: self.mailbox_token_file.or(file.mailbox_token_file),
            mailbox_bytes: self.mailbox_bytes.or(file.mailbox_bytes),
            mailbox_objects: self.mailbox_objects.or(file.mailbox_objects),
            mailbox_writer_bytes: self.mailbox_writer_bytes.or(file.mailbox_writer_bytes),
            mailbox_writer_objects: self.mailbox_writer_objects.or(file.mailbox_writer_objects),
        })
    }

    /// Where to listen.
    pub(super) fn http(&self) -> &str {
        self.http.as_deref().unwrap_or(HTTP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_the_file_and_unknown_keys_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("driftless.toml");
        std::fs::write(&path, "http = '0.0.0.0:1'\nmetrics = '127.0.0.1:2'\naddress = ['a:1', 'b:2']")
            .unwrap();
        let flags = Settings { http: Some("127.0.0.1:9".into()), ..Settings::default() };
        let settings = flags.over(Some(&path)).unwrap();
        assert_eq!((settings.http(), settings.metrics.as_deref()), ("127.0.0.1:9", Some("127.0.0.1:2")));
        assert_eq!(settings.address, ["a:1", "b:2"]);
        assert_eq!(Settings::default().over(None).unwrap().http(), HTTP);
        std::fs::write(&path, "htpp = '0.0.0.0:1'").unwrap();
        let failure = Settings::default().over(Some(&path)).unwrap_err();
        assert!(failure.code == "invalid_config" && failure.message.contains("htpp"), "{failure:?}");
        let failure = Settings::default().over(Some(&folder.path().join("none"))).unwrap_err();
        assert_eq!(failure.code, "file_not_found");
    }
}
