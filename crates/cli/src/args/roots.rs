//! The words for what is pulled for a user: roots, invites between users, and pulling anew.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum RootsCommand {
    /// Invite a user to a space
    #[command(after_help = "EXAMPLES
  driftless invite notes u_abcd... --permission write
  driftless invite notes ben --address http://192.0.2.7:7477
  driftless invite notes u_abcd... --json

The invite is a document in the space of exactly you and that user, who finds it as soon as your devices meet. Accepting it lets
all devices of that user in. USER is a user id (`driftless user show` prints it where that user is, once `driftless user identity` has made it), or the name of a user of this database.")]
    Invite {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// Whom to invite: a user id, or the name of a user here
        #[arg(value_name = "USER")]
        whom: String,
        /// What accepting it gives: `read`, `write` or `admin`; the last two with a strength, if you like
        #[arg(long, default_value = "write")]
        permission: String,
        /// Where this database can be reached; if left out, where `driftless serve` says that it is
        #[arg(long)]
        address: Vec<String>,
    },

    /// List invites, those for you and those from you
    #[command(after_help = "EXAMPLES
  driftless invites
  driftless invites --from http://192.0.2.7:7477
  driftless invites --json

With --from, a peer is asked first what it shares with you by name.")]
    Invites {
        /// A peer to ask first: its address, its id, or the first 8 or more characters of that
        #[arg(long, value_name = "ADDR|PEER")]
        from: Option<String>,
    },

    /// Accept an invite: join the space on this device, and make it a root on all of yours
    #[command(after_help = "EXAMPLES
  driftless accept '~abcd...'
  driftless accept '~abcd...' --json

`joined` is false where nobody who serves the space could be reached now: it is pulled as soon as somebody can.")]
    Accept {
        /// The id of the invite, or the beginning of it
        id: String,
    },

    /// Decline an invite
    #[command(after_help = "EXAMPLES
  driftless decline '~abcd...'
  driftless decline '~abcd...' --json")]
    Decline {
        /// The id of the invite, or the beginning of it
        id: String,
    },

    /// List, add or remove the spaces that all devices of the user pull
    #[command(after_help = "EXAMPLES
  driftless roots
  driftless roots add notes
  driftless roots remove notes
  driftless roots --json

They are in a document of your private space, which all your devices share. What is removed stays here, and is pulled no more.")]
    Roots {
        #[command(subcommand)]
        change: Option<RootsChange>,
    },

    /// Forget how far a space was pulled from every peer, and pull it again
    #[command(after_help = "EXAMPLES
  driftless reset notes
  driftless reset --all
  driftless reset notes --json

Both sides look at all that they have, and only what is missing travels. Where no peer can be reached, the next exchange does it.")]
    Reset {
        /// A space: its id, a prefix of it, or its local name
        #[arg(required_unless_present = "all")]
        space: Option<String>,
        /// Every space
        #[arg(long, conflicts_with = "space")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RootsChange {
    /// Add a space, which need not be here
    #[command(after_help = "EXAMPLES
  driftless roots add team")]
    Add {
        /// A space: its whole id, or, if it is here, a prefix of it or its local name
        space: String,
    },
    /// Remove a space
    #[command(after_help = "EXAMPLES
  driftless roots remove team")]
    Remove {
        /// A space: its whole id, or, if it is here, a prefix of it or its local name
        space: String,
    },
}
