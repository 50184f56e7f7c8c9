//! Crashes, broken disks and damaged files, at every place: nothing acknowledged is lost, nothing is there in part,
//! nothing wrong is served, nothing panics. Small by default; `just crash` runs all of it and says how much that is.

mod damage;
mod disk;
mod faults;
mod image;
mod recorded;
mod seam;
mod sweep;
mod verify;
mod workload;

/// Whether everything is tried, or a sample of it that suits a test run.
pub(crate) fn is_full() -> bool {
    std::env::var("DRIFTLESS_CRASH").is_ok_and(|size| size == "full")
}

/// Numbers that look random and are the same in every run.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// One line of the report; `--nocapture` shows it.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
