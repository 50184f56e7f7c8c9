//! The words of `peer`.

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Note where a peer may be found
    #[command(after_help = "EXAMPLES
  driftless peer add http://192.0.2.7:7477/#p_abcd...
  driftless peer add http://192.0.2.7:7477/#p_abcd... --name office

The address has the id of the peer behind `#`, as `driftless serve` prints it there.")]
    Add {
        /// The address
        #[arg(value_name = "ADDR")]
        address: String,
        /// A name for it that only this database uses
        #[arg(long)]
        name: Option<String>,
    },
    /// Give a peer a name that only this database uses
    #[command(after_help = "EXAMPLES
  driftless peer name p_abcd2345 office
  driftless peer name office ''

Every command that takes a peer takes its name as well. An empty name takes it away.")]
    Name {
        /// The name of the peer, its id, or the first 8 or more characters of that
        peer: String,
        /// The new name
        name: String,
    },
    /// Add or take away an address of a peer; all are tried in order, the last one that worked first
    #[command(after_help = "EXAMPLES
  driftless peer address office add http://192.0.2.7:7477
  driftless peer address office remove http://192.0.2.7:7477

What others only say of a peer is not dialed before it is added here.")]
    Address {
        /// The name of the peer, its id, or the first 8 or more characters of that
        peer: String,
        /// What to do with the address
        #[arg(value_enum)]
        change: AddressChange,
        /// The address
        #[arg(value_name = "ADDR")]
        address: String,
    },
    /// Forget a peer; its spaces stay
    #[command(after_help = "EXAMPLES
  driftless peer remove p_abcd2345")]
    Remove {
        /// The id of the peer, or the first 8 or more characters
        peer: String,
    },
    /// Show one peer
    #[command(after_help = "EXAMPLES
  driftless peer show p_abcd2345 --json")]
    Show {
        /// The id of the peer, or the first 8 or more characters
        peer: String,
    },
}

/// What to do with an address of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AddressChange {
    /// Try it first from now on
    Add,
    /// Try it no more
    Remove,
}
