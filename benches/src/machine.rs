//! What the machine can do without us, measured in the same run.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use driftless_core::id::CommitId;
use driftless_core::sign::{AuthorKey, verify_commit};

use crate::fixture::Place;
use crate::stopwatch::{Failure, median, micros, quickest, spent};
use crate::table::{Goal, Results};

/// Flushes, signatures, hashes.
pub(crate) fn run(place: &Place, results: &mut Results) -> Result<(), Failure> {
    let folder = place.folder()?;
    let path = folder.path().join("flushed");
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    let mut waits = Vec::new();
    for at in 0..place.size(400, 100) as u64 {
        let start = Instant::now();
        file.write_all_at(&[at as u8; 4096], at * 4096)?;
        file.sync_data()?;
        waits.push(micros(start.elapsed()));
    }
    let wait = median(waits);
    results.add("machine: flush of 4 KiB appended", 1e6 / wait, "/s", Goal::Shown, "median, wall");

    let count = place.size(20_000, 2_000);
    let key = AuthorKey::from_seed(&[7; 32]);
    let ids: Vec<CommitId> =
        (0..count as u64).map(|number| CommitId(*blake3::hash(&number.to_le_bytes()).as_bytes())).collect();
    let mut signatures = Vec::new();
    let (_, signing) = spent(|| {
        signatures = ids.iter().map(|id| key.sign_commit(id)).collect();
        Ok(())
    })?;
    results.add("machine: Ed25519 signatures made", signing.cpu_rate(count), "/s", Goal::Shown, "one core");
    let author = key.id();
    let (good, verifying) = spent(|| {
        let pairs = ids.iter().zip(&signatures);
        Ok(pairs.filter(|(id, signature)| verify_commit(&author, id, signature)).count())
    })?;
    if good != count {
        return Err("a signature did not verify".into());
    }
    results.add(
        "machine: Ed25519 verified strictly",
        verifying.cpu_rate(count),
        "/s",
        Goal::Shown,
        "one core",
    );

    let block = vec![7; 64 << 20];
    let mut runs = Vec::new();
    for _ in 0..place.runs() {
        runs.push(spent(|| Ok(black_box(blake3::hash(&block))))?.1);
    }
    let rate = quickest(runs).cpu_rate(64) / 1024.0;
    results.add("machine: BLAKE3 of 64 MiB", rate, "GiB/s", Goal::Shown, "one core");
    let small = 1_000_000;
    let (_, hashing) = spent(|| {
        for number in 0..small {
            black_box(blake3::hash(&[number as u8; 200]));
        }
        Ok(())
    })?;
    results.add("machine: BLAKE3 of 200 bytes", hashing.cpu_rate(small), "/s", Goal::Shown, "one core");
    Ok(())
}
