//! Log-ins that failed, by the name that was given, whether or not there is such a user: after five in a minute the next
//! ones wait, so that nobody guesses at the speed of the machine. In memory; times are arguments.

use std::collections::BTreeMap;

use crate::error::Error;

/// Failures of one name in a minute.
const MOST: usize = 5;
const MINUTE_MS: u64 = 60_000;
/// Names that are remembered: more than can fail in a minute at the full cost of a password.
const NAMES: usize = 1024;
/// Bytes of a name that tell it from others.
const NAME: usize = 128;

/// What failed in the last minute.
#[derive(Debug, Default)]
pub(crate) struct Failures(BTreeMap<Vec<u8>, Vec<u64>>);

impl Failures {
    /// Whether a log-in may be tried.
    pub(crate) fn check(&self, name: &str, now: u64) -> Result<(), Error> {
        let times = self.0.get(key(name)).map_or(&[][..], Vec::as_slice);
        let recent: Vec<u64> = times.iter().copied().filter(|time| is_recent(*time, now)).collect();
        match recent.len().checked_sub(MOST).and_then(|at| recent.get(at)) {
            Some(first) => {
                let wait = (first + MINUTE_MS).saturating_sub(now).clamp(1, MINUTE_MS);
                Err(Error::TooManyAttempts { seconds: wait.div_ceil(1000) })
            }
            None => Ok(()),
        }
    }

    /// One more.
    pub(crate) fn note(&mut self, name: &str, now: u64) {
        if self.0.len() >= NAMES && !self.0.contains_key(key(name)) {
            self.0.retain(|_, times| times.last().is_some_and(|time| is_recent(*time, now)));
            let oldest = self.0.iter().min_by_key(|(_, times)| times.last().copied());
            let oldest = oldest.filter(|_| self.0.len() >= NAMES).map(|(name, _)| name.clone());
            oldest.map(|name| self.0.remove(&name));
        }
        let times = self.0.entry(key(name).to_vec()).or_default();
        times.retain(|time| is_recent(*time, now));
        times.push(now);
        let spare = times.len().saturating_sub(MOST);
        times.drain(..spare);
    }

    /// Whoever knows the password is no guesser.
    pub(crate) fn forget(&mut self, name: &str) {
        self.0.remove(key(name));
    }
}

fn key(name: &str) -> &[u8] {
    &name.as_bytes()[..name.len().min(NAME)]
}

// A clock that was set back must not lock anybody out for longer.
fn is_recent(time: u64, now: u64) -> bool {
    time <= now && now - time < MINUTE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_failure_in_a_minute_waits_for_the_first_to_be_a_minute_ago() {
        let mut failures = Failures::default();
        for at in 0..5 {
            assert!(failures.check("ann", at * 1000).is_ok());
            failures.note("ann", at * 1000);
        }
        let refused = failures.check("ann", 10_000);
        assert!(matches!(refused, Err(Error::TooManyAttempts { seconds: 50 })), "{refused:?}");
        assert!(failures.check("ben", 10_000).is_ok());
        assert!(failures.check("ann", 59_999).is_err());
        assert!(failures.check("ann", 60_000).is_ok());
        failures.forget("ann");
        assert!(failures.check("ann", 10_000).is_ok());
    }

    #[test]
    fn many_names_do_not_make_it_forget_who_failed_last() {
        let mut failures = Failures::default();
        (0..2 * NAMES).for_each(|n| failures.note(&n.to_string(), 900));
        (0..5).for_each(|_| failures.note("ann", 1000));
        (0..NAMES / 2).for_each(|n| failures.note(&format!("x{n}"), 1001));
        assert!(failures.0.len() <= NAMES && failures.check("ann", 2000).is_err());
    }
}
