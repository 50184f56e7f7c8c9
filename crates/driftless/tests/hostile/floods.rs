//! Much of something: refusals, markers, collections, empty records. What is done for each is bounded.

use std::io::Read;

use driftless::{DocumentId, Kind, Operator};
use driftless_core::commit::{DocumentBody, Header};
use driftless_core::operator::Edit;

use crate::honest::{Honest, MALLORY, sign, sign_bytes};
use crate::simulated::{database, import, map};

const MARKER: [u8; 4] = [0xd7, b'd', b'l', 0x1a];

#[test]
fn five_thousand_refusals_do_not_fill_the_table_at_any_time() {
    let honest = Honest::new(4);
    let db = database(50, &honest.hand);
    import(&db, &honest.bytes);
    let junk = (0..5000u32).map(|n| sign_bytes(n.to_be_bytes().to_vec(), None, MALLORY));
    let mut bytes = honest.with(junk);
    // Many damaged places make many durable writes, after each of which somebody looks.
    for _ in 0..2000 {
        bytes.extend_from_slice(&[0, 0xd7, b'd', b'l', 0x1a, 2, 0, 0, 0, 0]);
    }
    let (mut most, looking) = (0, db.clone());
    let done = db
        .import(&mut bytes.as_slice(), &mut |_| most = most.max(looking.status().unwrap().refused.len()))
        .unwrap();
    assert!(done.refused > 5000);
    let left = db.status().unwrap().refused;
    assert!(most <= 1000 && left.len() <= 1000 && left.len() > 500);
    // The same once more is counted, not added.
    import(&db, &bytes);
    assert!(db.status().unwrap().refused.len() <= 1000);
    honest.heals(&db, "flood");
}

// Counts how often it is asked.
struct Asked<'b> {
    bytes: &'b [u8],
    times: usize,
}

impl Read for Asked<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.times += 1;
        self.bytes.read(into)
    }
}

#[test]
fn eight_megabytes_of_markers_take_few_reads_and_few_durable_writes() {
    let honest = Honest::new(4);
    let count = 8 * 1024 * 1024;
    let head = |kind: u8, length: u32| [&MARKER[..], &[kind], &length.to_be_bytes()].concat();
    let patterns = [
        ("markers", MARKER.to_vec()),
        ("lying markers", head(1, 1_000_000)),
        ("lies and commits that begin", [head(1, 1_000_000), vec![0x83, 0x5a, 0, 0x0f, 0, 0]].concat()),
        ("empty ends of frames", head(2, 0)),
        ("empty commits", head(1, 0)),
        ("damage and ends of frames", [vec![0], head(2, 0)].concat()),
    ];
    for (name, pattern) in patterns {
        let mut bytes = honest.bytes[..17].to_vec();
        bytes.extend(pattern.iter().cycle().take(count));
        bytes.extend_from_slice(&honest.bytes[17..]);
        let db = database(50, &honest.hand);
        let (mut asked, mut writes) = (Asked { bytes: &bytes, times: 0 }, 0);
        db.import(&mut asked, &mut |_| writes += 1).unwrap();
        let pieces = count / pattern.len();
        assert!(
            asked.times < 20 && writes <= 10 + pieces / 100,
            "{name}: {} reads, {writes} writes",
            asked.times
        );
        assert!(db.status().unwrap().refused.len() <= 1000);
        honest.heals(&db, name);
    }
}

#[test]
fn more_collections_than_memory_keeps_are_all_there() {
    let honest = Honest::new(4);
    let edits = |from: u32| DocumentBody {
        edits: (from..from + 3000)
            .map(|n| Edit {
                collection: format!("c{n}").into(),
                document: DocumentId::from(i64::from(n)),
                operators: vec![Operator::Insert { fields: map(&format!(r#"{{"n": {n}}}"#)), parent: None }],
            })
            .collect(),
        retracts: Vec::new(),
    };
    let first = sign(honest.header(Kind::Documents), edits(0).encode([7; 16]));
    let id = driftless_core::commit::commit_id(&first.header);
    let header = honest.header(Kind::Documents);
    let time = driftless::Timestamp::from_ms(header.time.ms() + 1);
    let header = Header { seq: 2, previous: Some(id), parents: vec![], time, ..header };
    let second = sign(header, edits(3000).encode([7; 16]));
    let db = database(50, &honest.hand);
    import(&db, &honest.with([first, second]));
    let there = db.space("team").unwrap();
    assert_eq!(there.collections().unwrap().len(), 6001);
    assert_eq!(there.digest().unwrap().documents, 6004);
    for n in [0, 2999, 5999] {
        let found = there.collection(&format!("c{n}")).unwrap().get(&i64::from(n).into()).unwrap();
        assert_eq!(found.unwrap().fields, map(&format!(r#"{{"n": {n}}}"#)));
    }
    assert_eq!(there.rebuild().unwrap(), there.digest().unwrap());
}
