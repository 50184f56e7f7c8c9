//! The words of `mailbox`.

use std::path::PathBuf;

use clap::Subcommand;

/// Of the group as a whole.
pub(crate) const EXAMPLES: &str = "EXAMPLES
  driftless mailbox add notes file:///home/ann/Sync/notes
  driftless mailbox sync

A mailbox is a folder that several devices share: a network drive, a stick, or a folder that another program carries from
device to device. The devices need not be on at the same time. Whoever runs the mailbox can read what is in it, and can
change nothing that anybody would take.";

#[derive(Debug, Subcommand)]
pub(crate) enum MailboxCommand {
    /// Remember a mailbox of a space
    #[command(after_help = "EXAMPLES
  driftless mailbox add notes file:///home/ann/Sync/notes
  driftless mailbox add s_abcd... file:///media/stick/notes
  driftless mailbox add notes https://hub.example.org --token-file token.txt
  driftless mailbox add notes postgres://ann@db.example.org/notes

A space that is not here yet is named by its whole id: the first `mailbox sync` brings it.")]
    Add {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// Where it is: `file:///path/of/a/folder`, the address of a hub, `https://hub.example.org`,
        /// or a PostgreSQL database, `postgres://ann@db.example.org/notes` (its password: PGPASSWORD or ~/.pgpass)
        url: String,
        /// What the hub wants to be shown is the first line of this file; it is kept in the database, and told to nobody else
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Receive what others have put into the mailboxes, and put there what is new here
    #[command(after_help = "EXAMPLES
  driftless mailbox sync
  driftless mailbox sync notes --json
  driftless mailbox sync notes --watch --interval 30

It goes on where it stopped, however it ended. Objects that are missing, damaged or hidden are alarms; nothing here is lost
by them, and the next sync of the device that wrote them puts them right.")]
    Sync {
        /// Only the mailboxes of this space
        space: Option<String>,
        /// Again and again, until it is stopped
        #[arg(long)]
        watch: bool,
        /// Seconds between two exchanges
        #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "watch")]
        interval: u64,
    },
    /// List the mailboxes, what waits for them, and what is wrong with them
    #[command(after_help = "EXAMPLES
  driftless mailbox list
  driftless mailbox list --json")]
    List,
    /// Forget a mailbox; what lies there stays there
    #[command(after_help = "EXAMPLES
  driftless mailbox remove notes file:///home/ann/Sync/notes
  driftless mailbox remove notes")]
    Remove {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// Which one; if left out, all of the space
        url: Option<String>,
    },
}
