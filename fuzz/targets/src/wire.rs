//! Records put together to frames and unpacked: what stands under the encryption. Nothing of it opens a socket.

use driftless_net::{cut_frame, join_records};

// Small, so that a short input has several records.
const RECORD: usize = 64;
/// The largest frame: as before author keys are proven, so that bombs are found quickly.
const LIMIT: usize = 4096;

/// Records, each behind its length in one byte.
pub(crate) fn records(input: &[u8]) {
    let mut records = Vec::new();
    let mut rest = input;
    while let Some((length, after)) = rest.split_first() {
        let (record, after) = after.split_at(after.len().min(usize::from(*length)));
        records.push(record);
        rest = after;
    }
    let Ok(frames) = join_records(records.iter().copied(), RECORD, LIMIT) else { return };
    for frame in frames {
        assert!(frame.len() <= LIMIT);
        let again = cut_frame(&frame, RECORD);
        assert!(again.iter().all(|record| record.len() <= RECORD));
        assert_eq!(join_records(again.iter().map(Vec::as_slice), RECORD, LIMIT), Ok(vec![frame]));
    }
}

pub(crate) fn records_seeds() -> Vec<Vec<u8>> {
    let frames: [&[u8]; 4] = [b"", b"a frame", &[1; 100], &b"driftless ".repeat(90)];
    let prefixed = |frame: &[u8]| {
        cut_frame(frame, RECORD)
            .iter()
            .flat_map(|record| [&[record.len() as u8], &record[..]].concat())
            .collect()
    };
    let mut seeds: Vec<Vec<u8>> = frames.iter().map(|frame| prefixed(frame)).collect();
    seeds.push(seeds.concat());
    // The clean end.
    seeds.push(vec![4, 0, 0, 0, 0]);
    seeds
}
