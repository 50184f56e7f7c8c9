//! The options of `serve` that are about pages.

use std::path::PathBuf;

use clap::Args;

/// What `serve --ui` is like.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Ui {
    /// Serve the inspector and what other pages of this machine may use, by default at any free port of this machine
    /// alone. The first line names the address and its token: whoever has it acts as you
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    pub(crate) ui: Option<String>,
    /// Keep the token of --ui over restarts: in this file, which only you may read; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) ui_token_file: Option<PathBuf>,
    /// Pages of this origin may use --ui, too; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) ui_origin: Vec<String>,
    /// --ui is reached under this name as well, such as that of a proxy; may be given several times
    #[arg(long, value_name = "HOST")]
    pub(crate) ui_host: Vec<String>,
    /// Serve the files of this folder, too, under /pages/: pages of your own beside the inspector
    #[arg(long, value_name = "DIR")]
    pub(crate) ui_pages: Option<PathBuf>,
    /// Let --ui listen on another address than one of this machine alone, where others may read the token
    #[arg(long)]
    pub(crate) insecure_http: bool,
}
