//! The words of `bundle`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Write all commits of a space to a file
    #[command(after_help = "EXAMPLES
  driftless bundle export notes notes.bundle
  driftless bundle export notes - | ssh host driftless bundle import -

A bundle is not encrypted: whoever has the file can read the documents. With `-` it goes to standard output, and what
else there is to say to standard error.")]
    Export {
        /// A space: its id, a prefix of it, or its local name
        space: String,
        /// The file, or `-` for standard output; a file that is there is replaced
        file: PathBuf,
    },
    /// Read the commits of a bundle; each is checked as if it came from a stranger
    #[command(after_help = "EXAMPLES
  driftless bundle import notes.bundle
  driftless bundle import notes.bundle --json

From a damaged or cut-off file it takes what is intact, names what is not (frame, byte, reason), and fails with exit
code 5 and the code `damaged_bundle`.")]
    Import {
        /// The file, or `-` for standard input
        file: PathBuf,
    },
}
