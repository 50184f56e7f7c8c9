//! The words for spaces.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum SpaceCommand {
    /// Create a space; its creator is its strongest admin
    #[command(after_help = "EXAMPLES
  driftless space create notes")]
    Create {
        /// The name, which its members see
        name: String,
    },
    /// List the spaces that are here
    #[command(after_help = "EXAMPLES
  driftless space list --json")]
    List,
    /// Show one space
    #[command(after_help = "EXAMPLES
  driftless space show notes")]
    Show {
        /// A space: its id, a prefix of it, or its local name
        space: String,
    },
    /// Give a space another name in this database
    #[command(after_help = "EXAMPLES
  driftless space rename notes old-notes")]
    Rename {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// The new name
        name: String,
    },
    /// Remove the local copy of a space, with commits that nobody else may have
    #[command(after_help = "EXAMPLES
  driftless bundle export notes notes.bundle     # a copy, in case it is wanted again
  driftless space forget notes
  driftless space forget notes --yes")]
    Forget {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// Do not ask; on a terminal it asks otherwise
        #[arg(long)]
        yes: bool,
    },
}
