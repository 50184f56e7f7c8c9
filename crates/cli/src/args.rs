//! The words of the command line: every command, its arguments, and its help with examples. No command runs here.

mod access;
mod bundle;
mod hub;
mod index;
mod mailbox;
mod member;
mod peer;
mod people;
mod query;
mod roots;
mod rows;
mod schema;
mod share;
mod space;
mod ui;

use std::path::PathBuf;

pub(crate) use access::{AccessCommand, Policy};
pub(crate) use bundle::BundleCommand;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
pub(crate) use index::IndexCommand;

pub(crate) use hub::Hub;
pub(crate) use mailbox::MailboxCommand;
pub(crate) use member::{MemberCommand, PolicyCommand, Weaken};
pub(crate) use peer::{AddressChange, PeerCommand};
pub(crate) use people::{KeyCommand, UserCommand};
pub(crate) use query::QueryCommand;
pub(crate) use roots::{RootsChange, RootsCommand};
pub(crate) use rows::{AttachChoices, RowsCommand};
pub(crate) use schema::SchemaCommand;
pub(crate) use share::{Share, ShareCommand};
pub(crate) use space::SpaceCommand;
pub(crate) use ui::{SERVE_HELP, Ui};

const AFTER_HELP: &str = "\
SPACE is a space id, the first 8 or more characters of one, or a local name.
JSON arguments may be `-` (standard input) or `@file`.

The database lies in --dir, else in $DRIFTLESS_DIR, else in the platform's folder for data.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused, 5 invalid input, 6 peer unreachable,
7 store damaged, locked, poisoned, or written by a newer driftless.

EXAMPLES
  driftless init --name ann
  driftless space create notes
  driftless insert notes shopping '{\"title\": \"Milk\", \"done\": false}'
  driftless find notes shopping '{\"done\": false}' --sort title";

#[derive(Debug, Parser)]
#[command(
    name = "driftless",
    version,
    about = "Documents that never drift apart: a local-first document database",
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 110
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The folder of the database
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Act as this user instead of the default one
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The password of that user is the first line of this file; else it is in $DRIFTLESS_PASSWORD, or asked for
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Print JSON, one value per line; failures as JSON on standard error
    #[arg(long, global = true, overrides_with = "json")]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(short, long, global = true, overrides_with = "quiet")]
    pub(crate) quiet: bool,
    /// Say more on standard error: also which steps frames and flushes take (-v), and every commit (-vv)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Which steps are told on standard error, instead of those of -v: `debug`, or `driftless[walk.send]=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "DRIFTLESS_LOG", hide_env_values = true)]
    pub(crate) log: Option<String>,
}

/// A collection of a space.
#[derive(Debug, Args)]
pub(crate) struct InCollection {
    /// A space: its id, a prefix of it, or its local name
    pub(crate) space: String,
    /// The collection; it exists as soon as a document is in it
    pub(crate) collection: String,
}

/// One document.
#[derive(Debug, Args)]
pub(crate) struct OneDocument {
    #[command(flatten)]
    pub(crate) at: InCollection,
    /// The id of the document: a word, an integer, a quoted string, or a list of these as JSON
    #[arg(allow_negative_numbers = true)]
    pub(crate) id: String,
}

/// What to change of what a user wants.
#[derive(Debug, Args)]
pub(crate) struct Wishes {
    /// Exchange it with peers at all
    #[arg(long, value_name = "BOOL", requires = "space")]
    pub(crate) enabled: Option<bool>,
    /// Send what is committed at once, and stay connected for it
    #[arg(long, value_name = "BOOL", requires = "space")]
    pub(crate) on_commit: Option<bool>,
    /// Exchange it every so many seconds, or `none`
    #[arg(long, value_name = "SECONDS", requires = "space")]
    pub(crate) interval: Option<String>,
    /// Remember this with it; without a value, forget it. May be given several times
    #[arg(long, value_name = "K=V", requires = "space")]
    pub(crate) property: Vec<String>,
    /// Track the space no more
    #[arg(long, requires = "space", conflicts_with_all = ["enabled", "on_commit", "interval", "property"])]
    pub(crate) remove: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the database, with a user and a device key
    #[command(after_help = "EXAMPLES
  driftless init --name ann
  driftless init --name ann --password
  driftless --dir /tmp/try init --json
  driftless --dir ~/restored init --from notes.backup

It never overwrites: where a database is already, it fails (exit 1, code `exists`).

A database made from a backup has the keys of the original, which may have written more since, or may still be in use.
So it reads, receives and serves, and writes in a space only after an exchange of that space settled (code `restored`),
or at once with --original-is-gone.")]
    Init {
        /// The name of the user; if left out, $USER, else `me`
        #[arg(long)]
        name: Option<String>,
        /// Put a password before the keys of the user: from --password-file, else $DRIFTLESS_PASSWORD, else a prompt
        #[arg(long, conflicts_with = "from")]
        password: bool,
        /// Make it from a file that `driftless backup` wrote, with its users and keys
        #[arg(long, value_name = "FILE", conflicts_with = "name")]
        from: Option<PathBuf>,
        /// The original is gone, and nobody has received from it what the backup does not have: write at once
        #[arg(long, requires = "from")]
        original_is_gone: bool,
    },

    /// Create, list, show, rename and forget spaces
    #[command(
        subcommand,
        after_help = "EXAMPLES
  driftless space create notes
  driftless space list"
    )]
    Space(SpaceCommand),

    /// Insert a document, and print its id
    #[command(after_help = "EXAMPLES
  driftless insert notes shopping '{\"title\": \"Milk\"}'
  driftless insert notes shopping @milk.json --id milk
  echo '{\"title\": \"Milk\"}' | driftless insert notes shopping - --json")]
    Insert {
        #[command(flatten)]
        at: InCollection,
        /// The fields as a JSON object, or `-`, or `@file`
        #[arg(value_name = "JSON")]
        fields: String,
        /// The id, instead of a random one
        #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
        id: Option<String>,
        /// The id of a document that this one belongs to
        #[arg(long, value_name = "ID", allow_negative_numbers = true)]
        parent: Option<String>,
    },

    /// Insert or update many documents from a JSON, JSON Lines or CSV file
    #[command(after_help = "EXAMPLES
  driftless import world subdivisions examples/data/subdivisions.jsonl --key code
  driftless import shop customers customers.csv --key email
  curl -s https://example.org/rows.json | driftless import shop rows - --format json

A JSON file is an array of objects, or an object in which exactly one field is an array. A CSV file has a header; its
values are strings. With --key, a document that is there already is updated, or skipped if it is the same; without,
every row becomes a new document. Rows that cannot be documents are rejected and named with their line on standard
error (the first 10). Every 1,000 rows are one transaction: they are stored together or not at all. Running the same
import again completes one that was cut off.")]
    Import {
        #[command(flatten)]
        at: InCollection,
        /// The file, or `-` for standard input
        file: PathBuf,
        /// The field whose value (a string or an integer) becomes the id; it also stays a field
        #[arg(long, value_name = "FIELD")]
        key: Option<String>,
        /// If left out, the ending of the file decides; standard input is JSON Lines
        #[arg(long, value_enum)]
        format: Option<Format>,
    },

    /// Print one document
    #[command(after_help = "EXAMPLES
  driftless get world subdivisions FI-18
  driftless get world subdivisions '\"42\"'     # the string 42; without the quotes, the integer
  driftless get world subdivisions FI-18 --at 2026-11-20T12:00:00
  driftless get world subdivisions FI-18 --at c_abcd2345

A time is in UTC, and stands for all edits up to it by their authors' clocks: `2026-11-20`, `2026-11-20T12:00:00`, or Unix
milliseconds. A commit stands for itself and what its author had seen.")]
    Get {
        #[command(flatten)]
        document: OneDocument,
        /// As it was at a time, or as of a commit
        #[arg(long, value_name = "TIME|COMMIT")]
        at: Option<String>,
    },

    /// Print the operators that lead from one moment of a document to another
    #[command(after_help = "EXAMPLES
  driftless diff world subdivisions FI-18 --from 2026-11-20
  driftless diff world subdivisions FI-18 --from c_abcd2345 --to c_efgh2345 --json

Times and commits are those of `get --at`; `driftless log` prints them. What it prints can be given to `edit`, as far as it
changes fields.")]
    Diff {
        #[command(flatten)]
        document: OneDocument,
        /// The moment before
        #[arg(long, value_name = "TIME|COMMIT")]
        from: String,
        /// The moment after; if left out, now
        #[arg(long, value_name = "TIME|COMMIT")]
        to: Option<String>,
    },

    /// Say why a document is, or is not, here or at a peer; or why a key may do what it may
    #[command(after_help = "EXAMPLES
  driftless explain world subdivisions FI-18
  driftless explain world subdivisions FI-18 --peer p_abcd2345 --json
  driftless explain world --key a_abcd2345

Each line is a step of the decision; `!!` marks those that stand in the way, and the end says what to do about the first.")]
    Explain {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// The collection
        #[arg(required_unless_present = "key", requires = "id")]
        collection: Option<String>,
        /// The id of the document: a word, an integer, a quoted string, or a list of these as JSON
        #[arg(allow_negative_numbers = true)]
        id: Option<String>,
        /// Also at this peer: its id, or the first 8 or more characters
        #[arg(long)]
        peer: Option<String>,
        /// A key instead of a document: an author id or a prefix of it, or the name of a user here
        #[arg(long, conflicts_with_all = ["collection", "peer"])]
        key: Option<String>,
    },

    /// Change fields of a document with operators
    #[command(after_help = "EXAMPLES
  driftless edit world subdivisions FI-18 '{\"$set\": {\"note\": \"home\"}, \"$inc\": {\"visits\": 1}}'
  driftless edit notes shopping milk '{\"$push\": {\"tags\": {\"$each\": [\"dairy\", \"cold\"]}}}'

Operators: $set $unset $inc $push $pull $pullAll $addToSet, with $each in $push and $addToSet.")]
    Edit {
        #[command(flatten)]
        document: OneDocument,
        /// The operators as JSON, or `-`, or `@file`
        operators: String,
    },

    /// Replace the fields of a document, writing only what differs
    #[command(after_help = "EXAMPLES
  driftless save notes shopping milk '{\"title\": \"Milk\", \"done\": true}'
  driftless get notes shopping milk | jq '.done = true' | driftless save notes shopping milk -")]
    Save {
        #[command(flatten)]
        document: OneDocument,
        /// All fields as a JSON object, or `-`, or `@file`
        #[arg(value_name = "JSON")]
        fields: String,
    },

    /// Delete a document; `restore` brings it back
    #[command(after_help = "EXAMPLES
  driftless delete notes shopping milk
  driftless find notes shopping --deleted     # shows it still")]
    Delete(OneDocument),

    /// Bring a deleted document back
    #[command(after_help = "EXAMPLES
  driftless restore notes shopping milk")]
    Restore(OneDocument),

    #[command(flatten)]
    Query(QueryCommand),

    /// Create and list indexes
    #[command(
        subcommand,
        after_help = "EXAMPLES
  driftless index create world subdivisions country
  driftless index list"
    )]
    Index(IndexCommand),

    /// Say what the documents of a collection are to be, and list those that are not
    #[command(subcommand, after_help = schema::EXAMPLES)]
    Schema(SchemaCommand),

    /// Say what you want of a space: whether, when and how often it is exchanged with peers
    #[command(after_help = "EXAMPLES
  driftless prefs
  driftless prefs notes
  driftless prefs notes --on-commit false --interval 60
  driftless prefs notes --enabled false
  driftless prefs notes --property colour=blue --json

Several users of one database may want different things: the smallest interval of all of them is used, and a commit is sent
at once if one of them wants that. Where none wants a space exchanged it is not. A space that nobody said anything about is
exchanged at each commit and every 300 seconds. `driftless status` says what happened.")]
    Prefs {
        /// A space: its id, a prefix of it, or its local name; if left out, all that you track
        space: Option<String>,
        #[command(flatten)]
        wishes: Wishes,
    },

    /// Print the history of a space or of a document, the newest commit first
    #[command(after_help = "EXAMPLES
  driftless log world --limit 10
  driftless log world subdivisions FI-18 --json")]
    Log {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// Only commits that touch a document of this collection
        #[arg(requires = "id")]
        collection: Option<String>,
        /// The id of that document
        #[arg(allow_negative_numbers = true)]
        id: Option<String>,
        /// Print at most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },

    /// Print the digest of a space: `view` is equal on two copies exactly when their documents are
    #[command(after_help = "EXAMPLES
  driftless digest world
  driftless --dir /tmp/copy digest world --json")]
    Digest {
        /// A space: its id, a prefix of it, or its local name
        space: String,
    },

    #[command(flatten)]
    Share(ShareCommand),

    #[command(flatten)]
    Member(MemberCommand),

    /// Print what is applied, waiting, without effect or refused, and why
    #[command(after_help = "EXAMPLES
  driftless status
  driftless status notes --json")]
    Status {
        /// Only this space
        space: Option<String>,
    },

    /// Users of this database: create, list, show, password, identity
    #[command(
        subcommand,
        after_help = "EXAMPLES
  driftless user create ben --password
  driftless --user ben insert notes shopping '{\"title\": \"Bread\"}'

Several users share one database. Commands act as the default user, or as the one that --user names; commands that sign
ask for the password of a user who has one. Documents are not encrypted: who may read the files can read them."
    )]
    User(UserCommand),

    /// Keys of the user: new, list, default, export, import, revoke
    #[command(
        subcommand,
        after_help = "EXAMPLES
  driftless key list
  driftless key new --default"
    )]
    Key(KeyCommand),

    /// Look at what may be wrong with this database, and put right what can be
    #[command(after_help = "EXAMPLES
  driftless doctor
  driftless doctor --fix
  driftless doctor --fix --keep-key
  driftless doctor --json

It looks at the store, the permissions of its files, the clock, the key that signs, forks, each space and each peer. On a
terminal it asks before it changes anything; otherwise only with --fix. What it can put right: files that others may
read; commits that were written while the clock was ahead (they are taken back and written again); and a key that another
copy of this database uses too. Then this copy gets a new key. Where the old one was an admin, the new one is made an
admin of the next weaker strength; elsewhere an admin has to `grant` it a permission, or `join` with a ticket.")]
    Doctor {
        /// Put right what can be, without asking
        #[arg(long)]
        fix: bool,
        /// Go on with the key: no other copy of this database uses it any more
        #[arg(long, requires = "fix")]
        keep_key: bool,
    },

    /// Make the documents again from the log
    #[command(after_help = "EXAMPLES
  driftless rebuild
  driftless rebuild notes")]
    Rebuild {
        /// Only this space
        space: Option<String>,
    },

    /// Verify every hash, signature, chain, index and document; put right what is damaged
    #[command(after_help = "EXAMPLES
  driftless fsck
  driftless fsck notes --json
  driftless fsck --repair
  driftless fsck --repair --peer http://192.0.2.7:7477

It only reads, also while others write, and fails with exit code 7 and the code `damaged` if anything is wrong.

--repair makes a new file from everything in the log that still proves itself, derives all else again, and puts it in
the place of the damaged one, which stays beside it. What was lost is fetched from --peer or the known peers; intact
commits that stand on lost ones are kept in a bundle in the folder, and taken when these are back. No other process may
have the database open for writing; all spaces are repaired.")]
    Fsck {
        /// Only this space
        space: Option<String>,
        /// Make it whole again
        #[arg(long, conflicts_with = "space")]
        repair: bool,
        /// Fetch what was lost from this peer: its address, its id, or the first 8 or more characters of that
        #[arg(long, value_name = "ADDR|PEER", requires = "repair")]
        peer: Option<String>,
    },

    /// Copy the whole database to a file, while others use it
    #[command(after_help = "EXAMPLES
  driftless backup notes-2026-05-01.backup
  driftless --dir ~/restored init --from notes-2026-05-01.backup

The file is a database as of one moment; it appears whole or not at all, and one that is there is never replaced. It
holds the keys of all users, unencrypted unless they have a password. To restore it, make a database from it as above, or copy it into an empty
folder under the name driftless.sqlite.")]
    Backup {
        /// The new file
        file: PathBuf,
    },

    /// Pack old history, so that the log takes less room on the disk
    #[command(after_help = "EXAMPLES
  driftless compact
  driftless compact notes --json")]
    Compact {
        /// Only this space
        space: Option<String>,
    },

    /// Carry a space to another database as a file
    #[command(
        subcommand,
        after_help = "EXAMPLES
  driftless bundle export notes notes.bundle
  driftless --dir /tmp/copy bundle import notes.bundle"
    )]
    Bundle(BundleCommand),

    /// Keep the rows of an existing SQLite file and the documents of a space the same
    #[command(
        subcommand,
        after_help = "EXAMPLES
  driftless rows attach shop.db catalogue
  driftless rows sync --watch
  driftless rows status"
    )]
    Rows(RowsCommand),

    /// Serve the spaces of this database to peers, and stay connected to those that are known, until it is stopped
    #[command(after_help = SERVE_HELP)]
    Serve {
        /// Where to listen; port 0 takes any free one. If left out, 127.0.0.1:7477
        #[arg(long, value_name = "ADDR")]
        http: Option<String>,
        /// Serve over iroh as well, at any free port of all interfaces unless a place is named: peers behind routers find
        /// a way to each other
        #[cfg(feature = "iroh")]
        #[arg(long, value_name = "IP:PORT", num_args = 0..=1, default_missing_value = "any")]
        iroh: Option<String>,
        /// Who passes on what finds no direct way over iroh: `default` (servers of the makers of iroh, which see who talks
        /// to whom and nothing else), `none`, or the URL of a relay
        #[cfg(feature = "iroh")]
        #[arg(long, value_name = "RELAY")]
        relay: Option<String>,
        /// Look for known peers on the local network, and say there under which key this one is; means --iroh, too.
        /// Whoever listens there learns this key and these sockets, and no name of anything
        #[cfg(feature = "iroh")]
        #[arg(long)]
        lan: bool,
        /// Where others can reach it, if that is somewhere else; may be given several times
        #[arg(long, value_name = "ADDR")]
        address: Vec<String>,
        /// Tell programs that watch over servers (Prometheus) how it goes, at http://ADDR/metrics, by default of this machine
        /// alone. Whoever reaches it reads names of spaces and ids of peers
        #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:9477")]
        metrics: Option<String>,
        /// Also dial link-local addresses by itself
        #[arg(long)]
        link_local: bool,
        #[command(flatten)]
        ui: Ui,
        #[command(flatten)]
        hub: Box<Hub>,
        /// A file with the same choices
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },

    /// Print a ticket: whoever has it can join the space
    #[command(after_help = "EXAMPLES
  driftless ticket notes
  driftless ticket notes --permission read --uses 1 --expires 2d
  driftless ticket notes --address http://192.0.2.7:7477
  driftless ticket notes --qr

A ticket is a secret: give it only to those who shall join. It names the addresses of the `driftless serve` that runs on
this folder, or those that --address gives.")]
    Ticket {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// What those who join get: `read`, `write` or `admin`; the last two with a strength, if you like
        #[arg(long, default_value = "write")]
        permission: String,
        /// How many may join; if left out, as many as have the ticket
        #[arg(long, value_name = "N")]
        uses: Option<u32>,
        /// How long it may be used: `45s`, `30m`, `12h`, `2d`, `1w`; if left out, until it is ended
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Where this database can be reached; may be given several times
        #[arg(long, value_name = "ADDR")]
        address: Vec<String>,
        /// The ticket also as a QR code, for a camera; not with --json
        #[arg(long)]
        qr: bool,
    },

    /// Join a space by a ticket, and fetch it
    #[command(after_help = "EXAMPLES
  driftless join driftless:aiab...
  driftless join @ticket.txt --name team-notes

A join that was cut off goes on where it was when it is run again.")]
    Join {
        /// The ticket, or `-`, or `@file`
        ticket: String,
        /// The name of the space in this database, instead of the one it has there
        #[arg(long)]
        name: Option<String>,
    },

    #[command(flatten)]
    Access(AccessCommand),

    #[command(flatten)]
    Roots(RootsCommand),

    /// Exchange with peers, both directions
    #[command(after_help = "EXAMPLES
  driftless sync
  driftless sync notes --once
  driftless sync notes --peer http://192.0.2.7:7477
  driftless sync --pull

Without SPACE it exchanges all spaces of all known peers. With --peer and an address, that peer is known from then on.
It fails if a space could be exchanged with nobody. With --pull it fetches what came to the peer since the last pull, in
one round trip, and sends nothing; the first time, and after a peer was restored from a copy, it exchanges.")]
    Sync {
        /// Only this space: its id, a prefix of it, or its local name
        space: Option<String>,
        /// Only with this peer: its address, its id, or the first 8 or more characters of that
        #[arg(long, value_name = "ADDR|PEER")]
        peer: Option<String>,
        /// Only fetch what is new there since the last time
        #[arg(long)]
        pull: bool,
        /// One exchange, then end: what it also does without; `driftless serve` stays connected
        #[arg(long)]
        once: bool,
    },

    /// List the known peers, and how exchanges with them went
    #[command(after_help = "EXAMPLES
  driftless peers
  driftless peers --json
  driftless peers --lan --timeout 5s

With --lan it lists who says on the local network to be there: those that run `driftless serve --lan`. Nobody proves anything
by that before somebody connects; `driftless join`, `sync` and `discover` take the address.")]
    Peers {
        /// Who is on the local network instead, known or not
        #[cfg(feature = "iroh")]
        #[arg(long)]
        lan: bool,
        /// How long they may take to say so
        #[cfg(feature = "iroh")]
        #[arg(long, value_name = "TIME", default_value = "2s", requires = "lan")]
        timeout: String,
    },

    /// Exchange a space through a folder or a hub that nobody has to trust
    #[command(subcommand, after_help = mailbox::EXAMPLES)]
    Mailbox(MailboxCommand),

    /// Add, remove and show peers
    #[command(
        subcommand,
        after_help = "EXAMPLES
  driftless peers
  driftless peer show p_abcd2345"
    )]
    Peer(PeerCommand),

    /// Two databases, edited apart, brought together: a story with real documents
    #[command(after_help = "EXAMPLES
  driftless demo
  driftless demo --keep /tmp/demo
  driftless demo --json

Without FILE it takes examples/data/subdivisions.jsonl of the source tree, if it is run in there, else made-up places.")]
    Demo {
        /// JSON Lines with unique `code` fields
        file: Option<PathBuf>,
        /// Make the databases in this folder and leave them there
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },

    /// Print a script that completes commands in a shell
    #[command(after_help = "EXAMPLES
  driftless completions bash > ~/.local/share/bash-completion/completions/driftless
  driftless completions zsh > ~/.zfunc/_driftless
  driftless completions fish > ~/.config/fish/completions/driftless.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The format of a file of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An array of objects, or an object with one array
    Json,
    /// One object per line
    Jsonl,
    /// A header and rows; values are strings
    Csv,
}

impl Command {
    /// Whether it goes on until somebody ends it, so that this is how it ends well.
    #[cfg(unix)]
    pub(crate) fn is_watch(&self) -> bool {
        matches!(
            self,
            Self::Query(QueryCommand::Watch { .. })
                | Self::Rows(RowsCommand::Sync { watch: true, .. })
                | Self::Mailbox(MailboxCommand::Sync { watch: true, .. })
        )
    }
}

#[cfg(test)]
mod tests;
