//! Time: a hybrid logical clock (Kulkarni et al., 2014). 48 bits of Unix milliseconds, 16 bits of counter, one u64.
//!
//! A counter that overflows carries into the milliseconds. `now` is an argument; nothing here reads a clock.

use std::fmt;

/// A point in hybrid time. Ordered as the number it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The first moment of a millisecond (only the low 48 bits count).
    pub fn from_ms(ms: u64) -> Self {
        Self((ms & 0xffff_ffff_ffff) << 16)
    }

    /// Unix milliseconds.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The counter within the millisecond.
    pub fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The next moment; it stays at the end of time.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether this is further ahead of `now_ms` than a commit may be before it is held.
    pub fn is_ahead_of(self, now_ms: u64) -> bool {
        self.ms() > now_ms.saturating_add(crate::limits::MAX_AHEAD_MS)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.counter())
    }
}

/// Unix milliseconds as `2026-11-21 03:23:43` in UTC.
pub fn utc(ms: u64) -> String {
    let seconds = ms / 1000;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Days to a date in the Gregorian calendar, counted in years that begin in March, so that a leap day comes last
    // (Hinnant, "chrono-compatible low-level date algorithms").
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (era * 400 + year_of_era, month + 3),
        _ => (era * 400 + year_of_era + 1, month - 9),
    };
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The last millisecond of a second (`2026-11-21T03:23:43`, also with a space or a `Z`) or of a day (`2026-11-21`) in UTC.
pub fn from_utc(word: &str) -> Option<u64> {
    let word = word.strip_suffix('Z').unwrap_or(word);
    let (date, time) = match word.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (word, None),
    };
    let numbers = |text: &str, by: char, lengths: [usize; 3]| {
        let parts: Vec<&str> = text.split(by).collect();
        let fits = |(part, length): (&&str, usize)| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let all = parts.len() == 3 && parts.iter().zip(lengths).all(fits);
        let number = |at: usize| parts.get(at).and_then(|part| part.parse::<u64>().ok());
        if all { Some([number(0)?, number(1)?, number(2)?]) } else { None }
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if day == 0 || day > longest || year < 1970 {
        return None;
    }
    // Years that begin in March, as in `utc`.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        years * 365 + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + day - 1 - 719_468;
    let second = match time {
        None => 86_399,
        Some(time) => {
            let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
            if hour > 23 || minute > 59 || second > 59 {
                return None;
            }
            hour * 3600 + minute * 60 + second
        }
    };
    Some((days * 86_400 + second) * 1000 + 999)
}

/// The clock of one database: never goes back, follows what it sees.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    last: Timestamp,
}

impl Clock {
    /// A clock that goes on after `last`, the largest own or applied time in the log.
    pub fn after(last: Timestamp) -> Self {
        Self { last }
    }

    /// A time for a new commit: after everything seen so far, and not before `now_ms`.
    pub fn tick(&mut self, now_ms: u64) -> Timestamp {
        self.last = self.last.next().max(Timestamp::from_ms(now_ms));
        self.last
    }

    /// Takes note of a time that was applied. Held commits must not come here.
    pub fn observe(&mut self, time: Timestamp) {
        self.last = self.last.max(time);
    }

    /// The largest time given out or seen.
    pub fn last(&self) -> Timestamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_that_are_printed() {
        for ms in [999, 951_868_799_999, 951_868_800_999, 1_795_231_423_999, 4_107_542_399_999] {
            assert_eq!(from_utc(&utc(ms)), Some(ms));
        }
        assert_eq!(from_utc("2000-02-29"), Some(951_868_799_999));
        assert_eq!(from_utc("2026-11-21T03:23:43Z"), Some(1_795_231_423_999));
        for wrong in
            ["", "2026", "2026-02-29", "2026-13-01", "2026-1-1", "2026-11-21T24:00:00", "1969-12-31", "x-y-z"]
        {
            assert_eq!(from_utc(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_never_goes_back_and_the_counter_carries() {
        let mut clock = Clock::default();
        let first = clock.tick(1_000);
        assert_eq!(first, Timestamp::from_ms(1_000));
        assert!(clock.tick(500) > first);
        clock.observe(Timestamp((2_000 << 16) | 0xffff));
        assert_eq!(clock.tick(2_000), Timestamp::from_ms(2_001));
    }
}
