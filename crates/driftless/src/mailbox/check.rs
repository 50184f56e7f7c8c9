//! What `doctor` says of mailboxes: which were not reached, and which are not as their writers left them.

use super::alarm::{Alarm, AlarmKind};
use super::settings::MailboxSummary;
use crate::database::Database;
use crate::error::Error;
use crate::upkeep::doctor::Check;

impl Database {
    /// Looks at what came of the last exchange with each mailbox; asks none of them.
    pub fn check_mailboxes(&self) -> Result<Vec<Check>, Error> {
        Ok(self.mailboxes()?.iter().map(check).collect())
    }
}

fn check(mailbox: &MailboxSummary) -> Check {
    let url = &mailbox.url;
    match (mailbox.error.as_str(), mailbox.alarms.as_slice()) {
        ("", []) => Check::new("mailboxes", true, format!("{url}: {}", mailbox.privacy()), ""),
        ("", [alarm, ..]) => Check::new(
            "mailboxes",
            false,
            format!(
                "{url} is not as it was left, {} times; first: {} (object {} of {})",
                mailbox.alarms.len(),
                alarm.kind.reason(),
                alarm.number,
                alarm.peer
            ),
            advice(&mailbox.alarms),
        ),
        (error, _) => Check::new(
            "mailboxes",
            false,
            format!("the last exchange with {url} failed: {error}"),
            "check that it is there; `driftless mailbox sync` tries again, and goes on where it stopped",
        ),
    }
}

fn advice(alarms: &[Alarm]) -> &'static str {
    if alarms.iter().all(|alarm| alarm.kind == AlarmKind::Forked) {
        "nothing here is lost: that it happened stays told; let no two devices use a copy of one database"
    } else {
        "nothing here is lost: the next `driftless mailbox sync` of the device that wrote this puts it right"
    }
}
