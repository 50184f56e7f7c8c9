//! The words of the commands that find documents: `find`, `count`, `watch`.

use clap::Subcommand;

use super::InCollection;

#[derive(Debug, Subcommand)]
pub(crate) enum QueryCommand {
    /// Print the documents that a filter selects, one per line
    #[command(after_help = "EXAMPLES
  driftless find world subdivisions '{\"country\": \"AT\"}' --sort name --limit 3
  driftless find world subdivisions '{\"type\": {\"$in\": [\"City\", \"Capital city\"]}}' --sort country,-name
  driftless find notes shopping --deleted
  driftless find '*' shopping --across     # in all spaces that you may read; or name some: home,work
  driftless find world subdivisions '{\"country\": \"AT\"}' --plan

Filters: $eq $ne $gt $gte $lt $lte $in $nin $and $or $not $exists $regex $elemMatch $size.")]
    Find {
        #[command(flatten)]
        at: InCollection,
        /// A filter as JSON, or `-`, or `@file`; if left out, all documents
        filter: Option<String>,
        /// Fields to sort by, `-` for descending: `country,-name`
        #[arg(long, value_name = "F,-G", allow_hyphen_values = true)]
        sort: Option<String>,
        /// Print at most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Leave out so many at the beginning
        #[arg(long, value_name = "N")]
        skip: Option<usize>,
        /// Include deleted documents
        #[arg(long)]
        deleted: bool,
        /// Print how it would be searched instead: by which index, over how many documents
        #[arg(long)]
        plan: bool,
        /// In several spaces: SPACE is `*`, or names with commas between them
        #[arg(long, conflicts_with = "plan")]
        across: bool,
    },

    /// Count the documents that a filter selects
    #[command(after_help = "EXAMPLES
  driftless count world subdivisions
  driftless count world subdivisions '{\"country\": \"AT\"}'")]
    Count {
        #[command(flatten)]
        at: InCollection,
        /// A filter as JSON, or `-`, or `@file`; if left out, all documents
        filter: Option<String>,
        /// Include deleted documents
        #[arg(long)]
        deleted: bool,
    },

    /// Print the documents that a filter selects, then every change, until it is stopped
    #[command(after_help = "EXAMPLES
  driftless watch notes shopping
  driftless watch notes shopping '{\"done\": false}' --json

`+` a document that is in the result now, `~` one that changed, `-` one that left the result.
With --json, a line of kind `ready` follows the first result.")]
    Watch {
        #[command(flatten)]
        at: InCollection,
        /// A filter as JSON, or `-`, or `@file`; if left out, all documents
        filter: Option<String>,
    },
}
