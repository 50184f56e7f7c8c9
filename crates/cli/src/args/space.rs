//! The words for spaces and indexes.

use clap::Subcommand;

use super::InCollection;

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

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Make queries on a field fast
    #[command(after_help = "EXAMPLES
  driftless index create world subdivisions country
  driftless index create shop customers address.city")]
    Create {
        #[command(flatten)]
        at: InCollection,
        /// The field; dots lead into maps
        field: String,
    },
    /// List indexes
    #[command(after_help = "EXAMPLES
  driftless index list
  driftless index list world")]
    List {
        /// Only this space
        space: Option<String>,
    },
}
