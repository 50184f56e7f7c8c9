//! The words of `rows`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be chosen when a file is attached.
#[derive(Debug, Args)]
pub(crate) struct AttachChoices {
    /// Only this table; may be given several times. If left out, all that have a primary key, and those that come later
    #[arg(long, value_name = "T", conflicts_with = "all_tables")]
    pub(crate) table: Vec<String>,
    /// All tables again, of a file that was attached with some
    #[arg(long)]
    pub(crate) all_tables: bool,
    /// How concurrent changes of a column merge: last (if left out), counter, max, min or set. The same on every device
    #[arg(long, value_name = "TABLE.COLUMN=POLICY")]
    pub(crate) merge: Vec<String>,
    /// New rows whose key is an integer that SQLite chooses are numbered within this device's part, 0 to 4194303
    #[arg(long, value_name = "N")]
    pub(crate) part: Option<u32>,
    /// A row under a key that another device used before is not sent, and listed
    #[arg(long, overrides_with = "merge_double")]
    pub(crate) refuse_double: bool,
    /// It is merged with that of the other device, which takes `--refuse-double` back
    #[arg(long, overrides_with = "refuse_double")]
    pub(crate) merge_double: bool,
    /// The application's own triggers do not run for rows that come from elsewhere
    #[arg(long, overrides_with = "triggers")]
    pub(crate) no_triggers: bool,
    /// They do, which takes `--no-triggers` back
    #[arg(long, overrides_with = "no_triggers")]
    pub(crate) triggers: bool,
    /// Foreign keys do not hold for rows that come from elsewhere, as in an application that leaves them off
    #[arg(long, overrides_with = "foreign_keys")]
    pub(crate) no_foreign_keys: bool,
    /// They do, which takes `--no-foreign-keys` back
    #[arg(long, overrides_with = "no_foreign_keys")]
    pub(crate) foreign_keys: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RowsCommand {
    /// Put an existing SQLite file under sync with a space: each row a document
    #[command(after_help = "EXAMPLES
  driftless rows attach shop.db catalogue
  driftless rows attach shop.db catalogue --table article --table price
  driftless rows attach shop.db catalogue --merge stock.count=counter --part 1

The application goes on as before, whatever program writes: triggers in the file note which rows change, in the
application's own transactions. `driftless rows sync` does the rest. Where the space has a row already, its values hold.
A table without a primary key is left out, and said so; `rows detach` takes everything out again. A file that is attached
already takes the choices that a new `attach` says, and keeps the others; how its columns merge stays. Tables that are not
chosen any more are left alone from then on.")]
    Attach {
        /// The SQLite file
        file: PathBuf,
        /// A space: its id, a prefix of it, or its local name
        space: String,
        #[command(flatten)]
        choices: AttachChoices,
    },
    /// Take everything of ours out of a file: it is as it was, with the rows it has now
    #[command(after_help = "EXAMPLES
  driftless rows detach shop.db

What was written and not exchanged yet stays in the file only.")]
    Detach {
        /// The SQLite file
        file: PathBuf,
    },
    /// Commit what the application wrote, and write what came from elsewhere to the file
    #[command(after_help = "EXAMPLES
  driftless rows sync
  driftless rows sync shop.db --json
  driftless rows sync --watch
  driftless rows sync --audit

It exchanges files with the spaces of this database; `driftless sync` and `driftless serve` exchange those with other
devices. With --watch it goes on until it is stopped: also while `driftless serve` runs on the same folder.")]
    Sync {
        /// Only this file; if left out, all that are attached
        file: Option<PathBuf>,
        /// Go on whenever something changes, until it is stopped
        #[arg(long)]
        watch: bool,
        /// Compare every row first, for what triggers could not see
        #[arg(long)]
        audit: bool,
    },
    /// Make rows that were changed here, and are not in the space, what the space says
    #[command(after_help = "EXAMPLES
  driftless rows revert shop.db

For whoever may only read the space and has changed rows all the same: `rows sync` does not send them, says so, and leaves
them as they are. Rows that were created here are gone then, rows that were deleted are there again. What the space has
already stays: `driftless log` shows it, and another edit changes it.")]
    Revert {
        /// The SQLite file
        file: PathBuf,
    },
    /// Show how files stand: what waits, and why
    #[command(after_help = "EXAMPLES
  driftless rows status
  driftless rows status shop.db --losers --json

left out tables that cannot be under sync
waiting  documents that are no rows here, or not wholly, because a constraint says no: tried again with every exchange
refused  rows that are in no document
losers   values that lost against others in rows that were changed on two devices at once")]
    Status {
        /// Only this file; if left out, all that are attached
        file: Option<PathBuf>,
        /// Also the values that lost
        #[arg(long)]
        losers: bool,
    },
}
