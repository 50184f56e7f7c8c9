//! Keeping a file and its space the same for as long as somebody wants: whenever the application writes, or something
//! comes from elsewhere.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::rows::{Exchanged, Rows};

/// How often the file is asked whether somebody wrote to it: the answer is a number in its header.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
// After a failure the file is left alone for a while: somebody may keep it locked.
const REST: Duration = Duration::from_secs(1);

impl Rows {
    /// Exchanges whenever there is something, and tells of it, until `goes_on` says no; it is asked at least every
    /// `LOOK_EVERY`. A failure is told and tried again; one that says that the file is not attached to this space any more
    /// ends it.
    pub fn watch(
        &mut self,
        mut goes_on: impl FnMut() -> bool,
        mut tell: impl FnMut(Result<Exchanged, Error>),
    ) -> Result<(), Error> {
        let changes = self.space().database().changes();
        let space = self.space().id();
        let mut seen = None;
        let mut not_before = Instant::now();
        let mut news = true;
        while goes_on() {
            if Instant::now() >= not_before {
                let done = self.look(news, &mut seen);
                match &done {
                    Err(Error::NotAttached(_) | Error::Attached(_)) => return done.map(drop),
                    Ok(Some(_)) => news = false,
                    Ok(None) => {}
                    Err(_) => not_before = Instant::now() + REST,
                }
                match done.transpose() {
                    Some(Ok(exchanged)) if exchanged == Exchanged::default() => {}
                    Some(told) => tell(told),
                    None => {}
                }
            }
            match changes.wait_for(LOOK_EVERY) {
                Some(driftless::Event::Change(change)) => news |= change.space == space,
                Some(driftless::Event::Missed) => news = true,
                None => {}
            }
        }
        Ok(())
    }

    // Exchanges if there is something. Also a look at the file can fail, while somebody keeps it locked.
    fn look(&mut self, news: bool, seen: &mut Option<i64>) -> Result<Option<Exchanged>, Error> {
        let version = self.data_version()?;
        if !news && *seen == Some(version) {
            return Ok(None);
        }
        let done = self.sync()?;
        // Its own writes do not change the number.
        *seen = Some(version);
        Ok(Some(done))
    }
}
