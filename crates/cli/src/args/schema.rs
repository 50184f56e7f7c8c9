//! The words of `schema`.

use clap::Subcommand;

use super::InCollection;

pub(super) const EXAMPLES: &str = "EXAMPLES
  driftless schema set notes shopping shopping.schema.json
  driftless schema check notes shopping

A schema is local: it is not sent, and says nothing about commits. What is written here has to fit it; what others wrote
is kept and marked.";

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Give a collection a schema, and judge its documents
    #[command(after_help = "EXAMPLES
  driftless schema set notes shopping shopping.schema.json
  echo '{\"required\": [\"title\"]}' | driftless schema set notes shopping -

The file is a JSON Schema of draft 2020-12. It sees documents as `get` prints them, without the fields that begin with `_`.
References stay within it (`#/$defs/NAME`), patterns have no look-around, and `format` is only a note.")]
    Set {
        #[command(flatten)]
        at: InCollection,
        /// A file, or `-` for standard input
        file: String,
    },
    /// Print the schema of a collection
    #[command(after_help = "EXAMPLES
  driftless schema show notes shopping > shopping.schema.json
  driftless schema show notes shopping --json")]
    Show {
        #[command(flatten)]
        at: InCollection,
    },
    /// Take the schema of a collection away, and all marks
    #[command(after_help = "EXAMPLES
  driftless schema remove notes shopping")]
    Remove {
        #[command(flatten)]
        at: InCollection,
    },
    /// List the collections that have a schema
    #[command(after_help = "EXAMPLES
  driftless schema list
  driftless schema list notes --json")]
    List {
        /// Only this space
        space: Option<String>,
    },
    /// List the documents that do not fit, and why
    #[command(after_help = "EXAMPLES
  driftless schema check notes shopping
  driftless schema check notes shopping --limit 10 --json")]
    Check {
        #[command(flatten)]
        at: InCollection,
        /// At most so many documents; if left out, all
        #[arg(long)]
        limit: Option<usize>,
    },
}
