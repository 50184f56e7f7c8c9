//! Whether all is here: what is asked for after the peer has sent everything, and how often.

use super::Session;
use super::ask::{Ask, Checked, Output};
use super::message::{Message, Slot};
use crate::id::CommitId;
use crate::limits::{MAX_ROUNDS, MAX_WANTED};
use crate::reconcile::Summary;

impl Session {
    /// What is missing after the peer sent everything.
    pub fn handle_checked(&mut self, slot: Slot, checked: Checked) {
        let Checked { missing, bodies, again } = checked;
        let Some(exchange) = self.slots.get_mut(&slot).filter(|exchange| exchange.checking) else { return };
        exchange.checking = false;
        exchange.stalled = false;
        // What was missing on the way either came, or is missing from the heads as well.
        exchange.orphaned.clear();
        if missing.is_empty() && bodies.is_empty() {
            exchange.have_all = true;
            return self.advance(slot);
        }
        let (ids, again) = if missing.is_empty() { (bodies, None) } else { (missing, Some(again)) };
        self.wish(slot, ids, again);
    }

    // Asks for more, unless the peer had nothing to give for too long: then what is here stays.
    fn wish(&mut self, slot: Slot, mut ids: Vec<CommitId>, again: Option<Summary>) {
        let bodies = again.is_none();
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        exchange.rounds += u32::from(!bodies);
        let idle = if bodies { exchange.idle.wish(ids.len(), exchange.received) } else { 0 };
        if idle > MAX_ROUNDS || !bodies && exchange.rounds > MAX_ROUNDS {
            exchange.have_all = true;
            exchange.stalled = !bodies;
            return self.advance(slot);
        }
        exchange.their_end = None;
        exchange.have_all = false;
        exchange.end_due = true;
        ids.truncate(MAX_WANTED);
        self.send(&Message::Want { slot, ids, again });
    }

    // The peer said that this was all, and all of it is ingested: is it all?
    pub(super) fn check(&mut self, slot: Slot) {
        let Some(exchange) = self.slots.get_mut(&slot).filter(|exchange| exchange.ingesting == 0) else {
            return;
        };
        match exchange.their_end.clone() {
            // A stalled exchange looks again: what came may be what was missing.
            Some((digest, mut heads)) if !exchange.have_all || exchange.stalled => {
                if std::mem::replace(&mut exchange.checking, true) {
                    return;
                }
                // Heads that were sent are not named. What they stand on may be missing.
                heads.extend(exchange.orphaned.iter().take(MAX_WANTED.saturating_sub(heads.len())));
                let round = exchange.rounds + 1;
                self.outputs.push_back(Output::Ask(Ask::Check { slot, heads, digest, round }));
            }
            // The end named heads that are all here, and what came after it stands on something else.
            Some(_) if !exchange.orphaned.is_empty() && !exchange.checking => {
                exchange.checking = true;
                let (heads, round) = (std::mem::take(&mut exchange.orphaned), exchange.rounds + 1);
                self.outputs.push_back(Output::Ask(Ask::Check { slot, heads, digest: [0; 8], round }));
            }
            _ => self.advance(slot),
        }
    }

    // What this side named as known to both is what the peer goes by: it names nothing that lies below. Where the last that it
    // said of its heads is not what is here, that may have been wrong.
    pub(super) fn confirm(&mut self, slot: Slot) {
        let Some(exchange) = self.slots.get_mut(&slot) else { return };
        exchange.unconfirmed = false;
        // Who shows nothing has nothing to name.
        let Some(digest) = exchange.their_digest.filter(|digest| *digest != [0; 8]) else {
            return self.advance(slot);
        };
        exchange.checking = true;
        let round = exchange.rounds + 1;
        self.outputs.push_back(Output::Ask(Ask::Confirm { slot, digest, round }));
    }

    /// What is here, if the frontier that was named as known to both may never have been.
    pub fn handle_confirmed(&mut self, slot: Slot, again: Option<Summary>) {
        let Some(exchange) = self.slots.get_mut(&slot).filter(|exchange| exchange.checking) else { return };
        exchange.checking = false;
        match again {
            Some(again) => self.wish(slot, Vec::new(), Some(again)),
            // What came meanwhile may stand on something else.
            None => self.check(slot),
        }
    }
}
