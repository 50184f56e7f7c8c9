//! How long a mailbox is asked that gives nothing: it may show names and objects without end, and other mailboxes wait.

use std::time::Duration;

use tokio::time::Instant;

/// Questions in a row that bring nothing: some for each of as many writers as are read.
const MAX_VAIN: u64 = 65_536;
/// How long nothing comes, however slowly each question is answered.
const MAX_TIME: Duration = Duration::from_secs(60 * 60);

/// What was asked in vain since something was found.
#[derive(Debug)]
pub(super) struct Effort {
    vain: u64,
    since: Instant,
}

impl Effort {
    pub(super) fn new() -> Self {
        Self { vain: 0, since: Instant::now() }
    }

    /// One more question. `false` where enough were asked.
    pub(super) fn ask(&mut self) -> bool {
        self.vain = self.vain.saturating_add(1);
        !self.is_spent()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.vain > MAX_VAIN || self.since.elapsed() > MAX_TIME
    }

    /// Something was found, or something else begins.
    pub(super) fn begin(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_after_so_many_questions_or_so_much_time() {
        let mut effort = Effort::new();
        assert!((0..MAX_VAIN).all(|_| effort.ask()) && !effort.ask());
        effort.begin();
        assert!(effort.ask());
        tokio::time::advance(MAX_TIME + Duration::from_secs(1)).await;
        assert!(!effort.ask());
    }
}
