//! The words of `index`.

use clap::Subcommand;

use super::InCollection;

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
