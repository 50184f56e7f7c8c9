//! The words of the commands about who may do what: `grant`, `revoke`, `members`, `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// How a permission is taken away.
#[derive(Debug, Args)]
pub(crate) struct Weaken {
    /// Print what it would do, and sign nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask; on a terminal it asks otherwise
    #[arg(long)]
    pub(crate) yes: bool,
    /// Of the subject keep these commits and its own before them, instead of all that is here
    #[arg(long, value_name = "COMMIT", num_args = 1..)]
    pub(crate) keep: Vec<String>,
    /// Keep nothing of the subject
    #[arg(long, conflicts_with = "keep")]
    pub(crate) keep_nothing: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Give somebody a permission in a space, or a weaker one
    #[command(after_help = "EXAMPLES
  driftless grant notes a_abcd... write
  driftless grant notes '*' read
  driftless grant notes a_abcd2345 admin:20
  driftless grant notes a_abcd2345 read --dry-run
  driftless grant notes a_abcd2345 none --keep c_efgh2345

A strength after the colon says how far the key's own statements reach: smaller is stronger, and only the stronger act on
the weaker. If left out, an admin gets 10 and a writer 100.

A weaker permission than before keeps what is here of the subject. Before it is signed it says what stays and what becomes
void; on a terminal it asks.")]
    Grant {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// An author id or a prefix of it, the name of a user here, `*` for anyone, or a space id for the keys that it lets in
        subject: String,
        /// `read`, `write`, `admin` or `none`; write and admin with a strength, if you like: `write:5`
        permission: String,
        #[command(flatten)]
        weaken: Weaken,
        /// Let anyone be an admin
        #[arg(long)]
        allow_public_admin: bool,
    },

    /// Take a permission away; what the subject wrote until now stays
    #[command(after_help = "EXAMPLES
  driftless revoke notes a_abcd2345
  driftless revoke notes a_abcd2345 --dry-run
  driftless revoke notes a_abcd2345 --keep c_efgh2345
  driftless revoke notes '*' --yes

Before it is signed it says what stays and what becomes void; on a terminal it asks.")]
    Revoke {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// An author id or a prefix of it, the name of a user here, `*` for anyone, or a space id for the keys that it lets in
        subject: String,
        #[command(flatten)]
        weaken: Weaken,
    },

    /// Take back in a space what another space has taken back from a key
    #[command(after_help = "EXAMPLES
  driftless withdraw notes --of team a_abcd2345
  driftless withdraw notes --of s_abcd... a_abcd2345 --json

A space that was granted something lets its keys in, each for itself. Where it has removed one since, this shows that to the
other space. It takes a key that is stronger there than the one that goes, such as another one that the same space let in.")]
    Withdraw {
        /// The space in which it is taken back: its id, a prefix of it, or its local name
        space: String,
        /// The space that let the key in and has removed it
        #[arg(long)]
        of: String,
        /// An author id or a prefix of it, or the name of a user here
        key: String,
    },

    /// Print who may do what in a space
    #[command(after_help = "EXAMPLES
  driftless members notes
  driftless members notes --effective
  driftless members notes --effective --key a_abcd2345 --json

With --effective it names also those who were removed and those who stand by what anyone may, and which statement decided:
the commit, by whom, when. Where several were made at once, the weakest holds. Statements that do not count follow.")]
    Members {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// What each key may do now, and which rule commit decided that
        #[arg(long)]
        effective: bool,
        /// Only this key: an author id or a prefix of it, or the name of a user here
        #[arg(long, requires = "effective")]
        key: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Check that the rules decide as you expect, also with grants and removals that nobody has signed yet
    #[command(after_help = "EXAMPLES
  driftless policy test notes cases.json
  driftless policy test notes cases.json --json

A file is JSON: `keys` gives names to author ids (null makes one up), `draft` lists grants and removals that are applied
in order to a copy of the rules in memory, `cases` lists who does what and what is expected of it:

  {\"keys\": {\"mal\": \"a_abcd...\", \"new\": null},
   \"draft\": [{\"by\": \"ann\", \"revoke\": \"mal\"},
             {\"by\": \"ann\", \"grant\": \"new\", \"permission\": \"write:100\"}],
   \"cases\": [{\"who\": \"mal\", \"does\": \"read\", \"expected\": \"refused\", \"because\": \"draft 1\"},
             {\"who\": \"mal\", \"does\": \"write\", \"knowing\": 0, \"expected\": \"void\"},
             {\"who\": \"new\", \"does\": \"grant\", \"what\": {\"subject\": \"mal\", \"permission\": \"read\"},
              \"expected\": \"refused\"}]}

does: read, write, admin, grant, revoke, wrote (`what` is a commit). expected: allowed, refused, void. `knowing`: how many
of the draft that key has seen, if not all. Nothing is signed or stored. Exit code 1 if a case fails.")]
    Test {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// The file, or `-` for standard input
        file: PathBuf,
    },
}
