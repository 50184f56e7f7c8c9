//! Objects that are asked for before it is their turn, where the place answers several questions at once: far away an
//! answer takes longer than all that is done with it. What comes is looked at in order, and as if it had just been asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use driftless_net::mailbox::{Listed, Mailbox as Place, MailboxError, ObjectName};
use tokio::task::JoinHandle;

use super::object;

/// Bytes that are asked for ahead, as far as listings say how many there are.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

type Answer = Result<Option<Vec<u8>>, MailboxError>;

/// What was asked for and not looked at yet. Dropping it forgets that.
#[derive(Debug)]
pub(super) struct Ahead {
    place: Arc<dyn Place>,
    waiting: VecDeque<(ObjectName, u64, JoinHandle<Answer>)>,
    /// How many may wait: more and more, as long as what comes is of use.
    most: usize,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.waiting.iter().for_each(|(.., task)| task.abort());
    }
}

impl Ahead {
    pub(super) fn of(place: &Arc<dyn Place>) -> Self {
        Self { place: place.clone(), waiting: VecDeque::new(), most: 1 }
    }

    /// What was got is of use: so probably is what follows.
    pub(super) fn trust(&mut self) {
        self.most = (2 * self.most).min(self.place.at_once());
    }

    /// The first of these, if it was asked for, and asks for those behind it.
    pub(super) fn next(&mut self, listed: &[Listed]) -> Option<JoinHandle<Answer>> {
        let (first, rest) = listed.split_first()?;
        let front = self.waiting.pop_front_if(|(name, ..)| *name == first.name);
        let begun = front.map(|(.., task)| task);
        let mut bytes: u64 = self.waiting.iter().map(|(_, size, _)| *size).sum();
        // The first one is being waited for as well.
        let room = self.most.saturating_sub(1).saturating_sub(self.waiting.len());
        let objects = rest.iter().filter(|listed| object::read_name(&listed.name).is_some());
        for listed in objects.skip(self.waiting.len()).take(room) {
            bytes = bytes.saturating_add(listed.size);
            if bytes > MAX_BYTES {
                break;
            }
            let (place, name, size) = (self.place.clone(), listed.name.clone(), listed.size);
            // One more shows whether there are more than the listing says.
            let get = async move { place.get(&name, 0..size + 1).await };
            self.waiting.push_back((listed.name.clone(), listed.size, tokio::spawn(get)));
        }
        begun
    }
}
