//! The words of `mailbox`.

use std::path::PathBuf;

use clap::Subcommand;

/// Of the group as a whole.
pub(crate) const EXAMPLES: &str = "EXAMPLES
  driftless mailbox add notes file:///home/ann/Sync/notes
  driftless mailbox sync

A mailbox is a folder that several devices share: a network drive, a stick, or a folder that another program carries from
device to device; or a bucket that speaks S3, a hub (`driftless serve --mailbox`), or a table of a PostgreSQL server. The
devices need not be on at the same time. Whoever runs the mailbox can read what is in it, and can change nothing that
anybody would take.";

#[derive(Debug, Subcommand)]
pub(crate) enum MailboxCommand {
    /// Remember a mailbox of a space
    #[command(after_help = "EXAMPLES
  driftless mailbox add notes file:///home/ann/Sync/notes
  driftless mailbox add s_abcd... file:///media/stick/notes
  driftless mailbox add notes s3://ann-notes/desk --endpoint https://s3.example.com
  driftless mailbox add notes https://hub.example.org --token-file token.txt
  driftless mailbox add notes postgres://ann@db.example.org/notes

A space that is not here yet is named by its whole id: the first `mailbox sync` brings it.

A bucket needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, here and of each sync; they are never
stored. AWS_REGION, AWS_ENDPOINT_URL and AWS_ALLOW_HTTP are heeded where the options are left out. The bucket has to
know puts that replace nothing (If-None-Match): that is tried, and what it leaves is deleted.")]
    Add {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// Where it is: `file:///path/of/a/folder`, the address of a hub, `https://hub.example.org`, `s3://bucket/prefix`,
        /// or a PostgreSQL database, `postgres://ann@db.example.org/notes` (its password: PGPASSWORD or ~/.pgpass)
        url: String,
        /// The server of a bucket, if it is not AWS; kept with the mailbox, as `?endpoint=` behind its URL
        #[arg(long, value_name = "URL")]
        endpoint: Option<String>,
        /// Where the bucket is; kept with the mailbox, as `?region=` behind its URL
        #[arg(long, value_name = "NAME")]
        region: Option<String>,
        /// What the hub wants to be shown is the first line of this file; it is kept in the database, and told to nobody else
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// Receive what others have put into the mailboxes, and put there what is new here
    #[command(after_help = "EXAMPLES
  driftless mailbox sync
  driftless mailbox sync notes --json
  driftless mailbox sync notes --watch --interval 30
  driftless mailbox sync notes file:///home/ann/Sync/notes
  driftless mailbox sync notes file:///media/stick/notes --anew

It goes on where it stopped, however it ended. Objects that are missing, damaged or hidden are alarms; nothing here is lost
by them, and the next sync of the device that wrote them puts them right.

With --watch it goes on until it is stopped (Ctrl-C): what is written here is sent within a second or so, what others put
into a hub comes as soon. Start `driftless serve` before it: then other commands can write meanwhile.

A folder that is gone or empty although something was put there is not filled again: its disk may not be mounted. --anew says
of one folder that it is lost for good; if the space has several mailboxes, name the URL.")]
    Sync {
        /// Only the mailboxes of this space
        space: Option<String>,
        /// Only this one of them
        url: Option<String>,
        /// Again and again, until it is stopped
        #[arg(long)]
        watch: bool,
        /// Seconds between two exchanges, at least 1; news come sooner
        #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "watch",
            value_parser = clap::value_parser!(u64).range(1..))]
        interval: u64,
        /// Fill a folder again that is gone or empty: what was put there is lost for good
        #[arg(long, requires = "space")]
        anew: bool,
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
