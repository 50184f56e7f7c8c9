//! The options of `serve` that are about the mailbox it serves.

use std::path::PathBuf;

use clap::Args;

/// What `serve --mailbox` is like.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Hub {
    /// Serve a mailbox as well, in this folder, or what `mailbox add` takes: for devices that are never on together. It
    /// needs no place in any space; objects are taken from those only who have signed them
    #[arg(long, value_name = "FOLDER")]
    pub(crate) mailbox: Option<String>,
    /// Where the mailbox is reached, over plain HTTP; port 0 takes any free one. If left out, 127.0.0.1:7478, which a proxy
    /// with TLS passes on
    #[arg(long, value_name = "ADDR")]
    pub(crate) mailbox_http: Option<String>,
    /// Who uses the mailbox shows the token in this file, which only you may read; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) mailbox_token_file: Option<PathBuf>,
    /// Bytes of all objects in the mailbox, at most. If left out, 16 GiB
    #[arg(long, value_name = "N")]
    pub(crate) mailbox_bytes: Option<u64>,
    /// Objects in the mailbox, at most. If left out, 1,000,000
    #[arg(long, value_name = "N")]
    pub(crate) mailbox_objects: Option<u64>,
    /// Bytes that one device may put there for one space. If left out, 4 GiB
    #[arg(long, value_name = "N")]
    pub(crate) mailbox_writer_bytes: Option<u64>,
    /// Objects that one device may put there for one space. If left out, 100,000
    #[arg(long, value_name = "N")]
    pub(crate) mailbox_writer_objects: Option<u64>,
}
