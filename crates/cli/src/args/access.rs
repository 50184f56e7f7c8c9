//! The words for getting in without a ticket: policies, requests and discovery.

use clap::{Subcommand, ValueEnum};

use super::member::PolicyCommand;

/// A policy of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// What becomes of requests: `reject`, `queue`, or `approve:PERMISSION`
    Bootstrap,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Print or change what becomes of those who ask for access to a space, or try its rules
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "EXAMPLES
  driftless policy notes
  driftless policy notes bootstrap queue
  driftless policy notes bootstrap approve:write:100
  driftless policy notes bootstrap reject
  driftless policy test notes cases.json

reject   whoever asks is refused, and learns not even that the space exists; so it is at first
queue    the request waits on the device that was asked, for an admin: `requests`, `approve`, `reject`
approve  the device that is asked grants it at once, up to this permission (`read` or `write`), if its user is an admin

`driftless grant notes '*' read` lets everybody in without a grant for each."
    )]
    Policy {
        #[command(subcommand)]
        trial: Option<PolicyCommand>,
        /// A space: its id, a prefix of it, or its local name
        #[arg(required = true)]
        space: Option<String>,
        /// Which policy
        #[arg(value_enum, requires = "value")]
        policy: Option<Policy>,
        /// `reject`, `queue`, or `approve:PERMISSION`
        value: Option<String>,
    },

    /// Ask a peer for access to a space, and join it where that is granted
    #[command(after_help = "EXAMPLES
  driftless request http://192.0.2.7:7477 s_abcd... --permission read
  driftless request 'http://192.0.2.7:7477/#p_abcd...' s_abcd... --note 'Ben, from the office' --wait
  driftless request p_abcd2345 s_abcd... --name team --json

It prints `queued` and the id of the request where an admin has to decide: `driftless requests` shows it there. Once it is
approved, the same command joins; with --wait it asks again until then. Asking for something else changes the request.
A refusal (exit 4, code `not_open`) does not tell whether the space is there.")]
    Request {
        /// The peer: its address, its id, or the first 8 or more characters of that
        #[arg(value_name = "ADDR|PEER")]
        address: String,
        /// The id of the space, which need not be here
        space: String,
        /// What you want: `read`, `write` or `admin`; the last two with a strength, if you like
        #[arg(long, default_value = "write")]
        permission: String,
        /// What to tell whoever decides
        #[arg(long, value_name = "TEXT", default_value = "")]
        note: String,
        /// The name of the space in this database, instead of the one it has there
        #[arg(long)]
        name: Option<String>,
        /// Wait until somebody has decided
        #[arg(long)]
        wait: bool,
    },

    /// List those who ask this database for access and wait for an admin
    #[command(after_help = "EXAMPLES
  driftless requests
  driftless requests --json

The key and the permission are what `approve` grants. The note is what somebody says; nothing of it is proven. Requests that
are not answered are gone after 7 days.")]
    Requests,

    /// Grant what a request asks for
    #[command(after_help = "EXAMPLES
  driftless approve r_abcd...
  driftless approve r_abcd... --permission read

The id has to be whole: it stands for this space, this key and this permission. A request that asks for something else by
now has another id (exit 3).")]
    Approve {
        /// The id of the request
        id: String,
        /// Grant this instead
        #[arg(long)]
        permission: Option<String>,
    },

    /// Refuse a request, and whatever its key asks for in that space from now on
    #[command(after_help = "EXAMPLES
  driftless reject r_abcd...

`driftless grant` lets the key in all the same, should you change your mind.")]
    Reject {
        /// The id of the request
        id: String,
    },

    /// List the spaces that a peer lets you read
    #[command(after_help = "EXAMPLES
  driftless discover http://192.0.2.7:7477
  driftless discover p_abcd2345 --json

`driftless sync SPACE --peer ADDR`, with the id that it prints, brings one here.")]
    Discover {
        /// The peer: its address, its id, or the first 8 or more characters of that
        #[arg(value_name = "ADDR|PEER")]
        address: String,
    },
}
