//! The options of `serve` that are about pages, and what its help says at the end.

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
    /// Let --ui and --mailbox listen on another address than one of this machine alone, where others may read the token
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

/// Examples of `serve`, and what it does.
pub(crate) const SERVE_HELP: &str = "\
EXAMPLES
  driftless serve
  driftless serve --http 0.0.0.0:7477
  driftless serve --http 127.0.0.1:0 --json
  driftless serve --http 0.0.0.0:7477 --address http://example.org:7477
  driftless serve --iroh
  driftless serve --iroh 127.0.0.1:0 --relay none
  driftless serve --lan
  driftless serve --config /etc/driftless.toml --metrics 127.0.0.1:9477
  driftless serve --ui
  driftless serve --ui --ui-pages examples/notes-web
  driftless serve --mailbox /srv/mailbox --mailbox-token-file /srv/mailbox.token
  driftless serve --mailbox /srv/mailbox --mailbox-http 0.0.0.0:7478 --insecure-http
  driftless serve --ui 127.0.0.1:7480 --ui-token-file ~/.driftless-token --ui-origin https://app.example.org

The file of --config is TOML: `http`, `iroh`, `relay`, `lan`, `address`, `metrics`, `link_local`, `ui`, `ui_token_file`,
`ui_origin`, `ui_host`, `ui_pages`, `insecure_http`, `mailbox`, `mailbox_http`, `mailbox_token_file`, `mailbox_bytes`,
`mailbox_objects`, `mailbox_writer_bytes` and `mailbox_writer_objects` mean what the options mean, which win over it. While it
serves, spaces are exchanged by themselves, as `driftless prefs` says. With --mailbox, others `driftless mailbox add SPACE URL`
the address that the first line names: devices that are never on together exchange through it.

The first line is printed when it is ready. SIGINT (Ctrl-C) and SIGTERM stop it; it then exits with 0. Other commands on
the same folder work meanwhile, through it.";
