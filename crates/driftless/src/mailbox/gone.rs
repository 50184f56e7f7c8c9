//! A folder that is empty, or not there at all, although objects were put into it: as a rule its disk is not mounted, and
//! filling another one would help nobody. Places that are reached by their names are filled again.

use driftless_net::mailbox::MailboxError;

use super::exchange::Exchange;
use crate::error::Error;

impl Exchange<'_> {
    /// An error if what may be another disk has nothing of the space, and had something.
    pub(super) async fn is_still_there(&mut self) -> Result<(), Error> {
        if self.mailbox.anew || !self.mailbox.place.can_be_unmounted() {
            return Ok(());
        }
        let (_, own) = self.own().await?;
        let had = own.number > 0 || self.readings().await?.iter().any(|(_, reading)| reading.at > 0);
        let prefix = format!("{}/", self.mailbox.space);
        if had && self.list(&prefix, "", 1).await?.objects.is_empty() {
            return Err(MailboxError::Gone("nothing is there of what was put there".into()).into());
        }
        Ok(())
    }
}
