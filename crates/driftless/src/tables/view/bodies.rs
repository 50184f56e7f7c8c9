//! Bodies of commits that were just decoded, for whoever needs them next.

use std::collections::VecDeque;
use std::sync::Arc;

use driftless_core::commit::DocumentBody;
use driftless_core::operator::Edit;
use driftless_store::Storage;

use crate::error::Error;
use crate::tables::layout::LogKey;
use crate::tables::log;

/// Decoded bodies kept while documents of the same commits are folded.
const DECODED: usize = 32;
/// Edits in them: a decoded edit of a row takes some 4 KiB.
const DECODED_EDITS: usize = 2048;
/// Edits of one commit from which on its body is not remembered longer than it is needed.
const MANY: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Bodies {
    decoded: VecDeque<(LogKey, Arc<DocumentBody>)>,
}

impl Bodies {
    pub(super) fn clear(&mut self) {
        self.decoded.clear();
    }

    pub(super) fn remember(&mut self, at: LogKey, body: Arc<DocumentBody>) {
        self.decoded.push_back((at, body));
        let mut edits: usize = self.decoded.iter().map(|(_, body)| body.edits.len()).sum();
        // The newest stays, however large it is.
        while self.decoded.len() > DECODED || (edits > DECODED_EDITS && self.decoded.len() > 1) {
            let Some((_, oldest)) = self.decoded.pop_front() else { break };
            edits -= oldest.edits.len();
        }
    }

    /// The edits of a commit. Those of a large one are not remembered any longer: each is needed once, and has not to be
    /// copied.
    pub(super) fn edits(&mut self, at: LogKey, body: Arc<DocumentBody>) -> Vec<Edit> {
        if body.edits.len() >= MANY {
            self.decoded.retain(|(key, _)| *key != at);
        }
        Arc::try_unwrap(body).map_or_else(|shared| shared.edits.clone(), |own| own.edits)
    }

    pub(super) fn get(
        &mut self,
        storage: &dyn Storage,
        at: LogKey,
    ) -> Result<Option<Arc<DocumentBody>>, Error> {
        if let Some((_, body)) = self.decoded.iter().rev().find(|(key, _)| *key == at) {
            return Ok(Some(body.clone()));
        }
        let row = log::row(storage, at)?;
        let Some(bytes) = log::body_of(storage, at, &row)? else { return Ok(None) };
        let body = Arc::new(log::decode_body(&row, &bytes));
        self.remember(at, body.clone());
        Ok(Some(body))
    }
}
