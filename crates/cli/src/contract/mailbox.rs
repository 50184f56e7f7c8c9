//! What `mailbox` prints.

use driftless::{PeerId, SpaceId};
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Mailbox {
    pub(crate) space: SpaceId,
    pub(crate) url: String,
    /// Objects that this database has put there.
    pub(crate) objects: u64,
    /// Whether something here is not there yet.
    pub(crate) unsent: bool,
    /// When the last exchange ended well; null if none has.
    pub(crate) last: Option<u64>,
    /// Why the last one failed; null if it did not.
    pub(crate) error: Option<String>,
    /// Whoever runs the mailbox can read contents there: they were not sealed, or none is there yet.
    pub(crate) operator_can_read: bool,
    #[serde(skip)]
    pub(crate) privacy: &'static str,
    pub(crate) alarms: Vec<Alarm>,
}

impl From<driftless::MailboxSummary> for Mailbox {
    fn from(summary: driftless::MailboxSummary) -> Self {
        let privacy = summary.privacy();
        let driftless::MailboxSummary {
            space,
            url,
            objects,
            unsent,
            last_ms,
            error,
            operator_can_read,
            alarms,
        } = summary;
        let last = Some(last_ms).filter(|last| *last > 0);
        let error = Some(error).filter(|error| !error.is_empty());
        let alarms = alarms.iter().map(Alarm::from).collect();
        Self { space, url, objects, unsent, last, error, operator_can_read, privacy, alarms }
    }
}

#[derive(Serialize)]
pub(crate) struct MailboxSynced {
    pub(crate) space: SpaceId,
    pub(crate) url: String,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) refused: u64,
    pub(crate) objects_out: u64,
    pub(crate) objects_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) repaired: u64,
    /// Why the mailbox kept own objects that somebody had changed; null if it did not.
    pub(crate) undeleted: Option<String>,
    pub(crate) foreign: u64,
    pub(crate) alarms: Vec<Alarm>,
}

/// `kind` is one of `missing`, `damaged`, `gone`, `forked`, `withheld`, `sealed`, `newer`, `early`.
#[derive(Serialize)]
pub(crate) struct Alarm {
    pub(crate) kind: &'static str,
    pub(crate) peer: PeerId,
    pub(crate) store: String,
    pub(crate) number: u64,
    pub(crate) since: u64,
    pub(crate) reason: &'static str,
}

impl From<&driftless::Alarm> for Alarm {
    fn from(alarm: &driftless::Alarm) -> Self {
        Self {
            kind: alarm.kind.word(),
            peer: alarm.peer,
            store: alarm.store.clone(),
            number: alarm.number,
            since: alarm.since_ms,
            reason: alarm.kind.reason(),
        }
    }
}
