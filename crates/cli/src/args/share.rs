//! The words of `share`.

use clap::{Args, Subcommand};

use super::OneDocument;

#[derive(Debug, Subcommand)]
pub(crate) enum ShareCommand {
    /// Decide who gets a document: move it to the space that a policy names
    #[command(after_help = "EXAMPLES
  driftless share home notes present self                  # all your devices, and nobody else
  driftless share home notes milk users:ann,u_abcd...      # exactly these users and you
  driftless share home notes recipe public                 # anybody
  driftless share home notes photo ref:team/albums/summer  # whoever gets that document now
  driftless share home notes milk members                  # back to those of `home`

It is inserted there and deleted here in one step, with what is under it. Its history stays here, and who reads here is
told the id of the space where it went. A document that was moved from here before is taken from where it is now.")]
    Share(Share),
}

/// Which document, and who gets it.
#[derive(Debug, Args)]
pub(crate) struct Share {
    #[command(flatten)]
    pub(crate) document: OneDocument,
    /// members, self, users:U,V, ref:SPACE/COLLECTION/ID or public. A user is the id of an identity, or its name here
    pub(crate) policy: String,
    /// Leave the documents under it where they are
    #[arg(long)]
    pub(crate) alone: bool,
}
