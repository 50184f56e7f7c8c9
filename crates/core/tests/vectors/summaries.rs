//! Summaries: what each says, and its bytes.

use driftless_core::id::CommitId;
use driftless_core::limits::{MAX_MARKS, MAX_SUMMARY_AUTHORS};
use driftless_core::reconcile::{Clock, Detail, Entry, Filter, Salt, Summary, frontier_digest};
use driftless_core::session::Message;
use driftless_core::sign::Domain;
use serde::{Deserialize, Serialize};

use crate::{Hex, RefusedBytes, hold};

/// A summary, as JSON says it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SummaryFields {
    digest: Hex,
    detail: DetailFields,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum DetailFields {
    Nothing {},
    Bare {},
    Since { known: Hex, clock: Vec<EntryFields> },
    Recent { known: Hex, filter: Hex },
    Clock { clock: Vec<EntryFields> },
    Otherwise { clock: Vec<EntryFields> },
    Marks { marks: Vec<Hex> },
    Filter { found: Vec<bool>, filter: Hex },
    Again { round: u32, marks: Vec<Hex>, filter: Hex },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFields {
    tag: Hex,
    seq: String,
    check: Hex,
}

impl SummaryFields {
    pub(crate) fn of(summary: &Summary) -> Self {
        let clock = |clock: &Clock| {
            clock
                .0
                .iter()
                .map(|entry| EntryFields {
                    tag: Hex::of(entry.tag),
                    seq: entry.seq.to_string(),
                    check: Hex::of(entry.check),
                })
                .collect()
        };
        let marks = |marks: &[[u8; 12]]| marks.iter().map(Hex::of).collect();
        let detail = match &summary.detail {
            Detail::Nothing => DetailFields::Nothing {},
            Detail::Bare => DetailFields::Bare {},
            Detail::Since(known, since) => DetailFields::Since { known: Hex::of(known), clock: clock(since) },
            Detail::Recent(known, filter) => {
                DetailFields::Recent { known: Hex::of(known), filter: Hex::of(filter.bytes()) }
            }
            Detail::Clock(all) => DetailFields::Clock { clock: clock(all) },
            Detail::Otherwise(other) => DetailFields::Otherwise { clock: clock(other) },
            Detail::Marks(all) => DetailFields::Marks { marks: marks(all) },
            Detail::Filter(found, filter) => {
                DetailFields::Filter { found: found.clone(), filter: Hex::of(filter.bytes()) }
            }
            Detail::Again(round, all, filter) => {
                DetailFields::Again { round: *round, marks: marks(all), filter: Hex::of(filter.bytes()) }
            }
        };
        Self { digest: Hex::of(summary.digest), detail }
    }

    pub(crate) fn summary(&self) -> Summary {
        let clock = |entries: &[EntryFields]| {
            let entry = |entry: &EntryFields| Entry {
                tag: entry.tag.array(),
                seq: entry.seq.parse().unwrap(),
                check: entry.check.array(),
            };
            Clock(entries.iter().map(entry).collect())
        };
        let marks = |marks: &[Hex]| marks.iter().map(Hex::array).collect();
        let filter = |bits: &Hex| Filter::from_bytes(&bits.0).unwrap();
        let detail = match &self.detail {
            DetailFields::Nothing {} => Detail::Nothing,
            DetailFields::Bare {} => Detail::Bare,
            DetailFields::Since { known, clock: since } => Detail::Since(known.array(), clock(since)),
            DetailFields::Recent { known, filter: bits } => Detail::Recent(known.array(), filter(bits)),
            DetailFields::Clock { clock: all } => Detail::Clock(clock(all)),
            DetailFields::Otherwise { clock: other } => Detail::Otherwise(clock(other)),
            DetailFields::Marks { marks: all } => Detail::Marks(marks(all)),
            DetailFields::Filter { found, filter: bits } => Detail::Filter(found.clone(), filter(bits)),
            DetailFields::Again { round, marks: all, filter: bits } => {
                Detail::Again(*round, marks(all), filter(bits))
            }
        };
        Summary { digest: self.digest.array(), detail }
    }
}

// A summary has no bytes of its own: it is an item of a message. These three stand before it in SUMMARY, slot 0.
const BEFORE: [u8; 3] = [0x83, 0x0a, 0x00];

pub(crate) fn encode(summary: &Summary) -> Vec<u8> {
    let bytes = Message::Summary { slot: 0, summary: summary.clone() }.encode();
    bytes.strip_prefix(&BEFORE).unwrap().to_vec()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Summary, String> {
    match Message::decode(&[&BEFORE, bytes].concat()) {
        Ok(Message::Summary { slot: 0, summary }) => Ok(summary),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    digests: Vec<FrontierDigest>,
    salts: Vec<SessionSalt>,
    summaries: Vec<Case>,
    refused: Vec<RefusedBytes>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontierDigest {
    heads: Vec<Hex>,
    digest: Hex,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionSalt {
    dialer_nonce: Hex,
    listener_nonce: Hex,
    salt: Hex,
    rounds: Vec<Hex>,
    id: Hex,
    check: Hex,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    summary: SummaryFields,
    bytes: Hex,
}

pub(crate) fn entry(tag: u8, seq: u64) -> Entry {
    Entry { tag: [tag; 4], seq, check: if seq == 0 { [0; 4] } else { [tag ^ 0xff; 4] } }
}

pub(crate) fn samples() -> Vec<(&'static str, Detail)> {
    let clock = Clock(vec![entry(1, 7), entry(2, 128), entry(2, 129), entry(0xfe, u64::MAX)]);
    let marks = vec![[0x11; 12], [0x22; 12], [0x33; 12]];
    let filter = Filter::from_bytes(&[0x81, 0x00, 0xff]).unwrap();
    let none = Filter::from_bytes(&[]).unwrap();
    vec![
        ("nothing", Detail::Nothing),
        ("bare", Detail::Bare),
        ("since, and nothing went on", Detail::Since([9; 8], Clock::default())),
        ("since, two chains of one author", Detail::Since([9; 8], clock.clone())),
        ("recent", Detail::Recent([9; 8], filter.clone())),
        ("recent, and nothing is", Detail::Recent([9; 8], none.clone())),
        ("clock", Detail::Clock(clock)),
        (
            "otherwise, one chain that is not there at all",
            Detail::Otherwise(Clock(vec![entry(1, 0), entry(2, 9)])),
        ),
        ("otherwise, nothing differs", Detail::Otherwise(Clock::default())),
        ("marks", Detail::Marks(marks.clone())),
        (
            "filter, nine marks were received",
            Detail::Filter((0..9).map(|at| at % 3 != 1).collect(), filter.clone()),
        ),
        ("filter, no marks were received", Detail::Filter(Vec::new(), filter.clone())),
        ("filter, all is below the marks that are here", Detail::Filter(vec![true], none)),
        ("again", Detail::Again(2, marks, filter)),
    ]
}

fn refused() -> Vec<RefusedBytes> {
    let clock = |most: usize, bytes: Vec<u8>| {
        let kind = if most > MAX_SUMMARY_AUTHORS { Detail::Otherwise } else { Detail::Clock };
        let empty = encode(&Summary { digest: [5; 8], detail: kind(Clock::default()) });
        string(&empty[..empty.len() - 1], &bytes)
    };
    let entry = |tag: u8, seq: &[u8]| [&[tag; 4], &[7; 4], seq].concat();
    let many = |count: usize| -> Vec<u8> {
        (0..count).flat_map(|n| [&(n as u32).to_be_bytes()[..], &[7; 4], &[1]].concat()).collect()
    };
    let summary = |detail| encode(&Summary { digest: [5; 8], detail });
    let marks = summary(Detail::Marks(Vec::new()));
    let marks = |length: usize| string(&marks[..marks.len() - 1], &vec![1; length]);
    let filter = |count: &[u8], bits: &[u8], filter: usize| {
        let start = [&[0x85, 6, 0x48][..], &[5; 8], count].concat();
        string(&string(&start, bits), &vec![1; filter])
    };
    let bare = summary(Detail::Bare);
    let of = |name: &str, bytes: Vec<u8>| RefusedBytes::new(name, bytes, decode);
    let mut kind = bare.clone();
    kind[1] = 8;
    let mut short = bare.clone();
    short[2] = 0x47;
    short.pop();
    vec![
        of("a kind that does not exist", kind),
        of("a digest of seven bytes", short),
        of("one item too many", [&[0x83], &bare[1..], &[0]].concat()),
        of("bytes after it", [&bare[..], &[0]].concat()),
        of("a number that is not in its shortest form", [&[0x82, 0x18, 1], &bare[2..]].concat()),
        of("clock: an entry that is cut off", clock(1, entry(1, &[]))),
        of("clock: a seq that is not in its shortest form", clock(1, entry(1, &[0x81, 0]))),
        of("clock: not ascending", clock(1, [entry(2, &[1]), entry(1, &[1])].concat())),
        of("clock: one entry twice", clock(1, [entry(1, &[1]), entry(1, &[1])].concat())),
        of(
            "clock: ascending as bytes, not as numbers",
            clock(1, [entry(1, &[0x80, 2]), entry(1, &[0xff, 1])].concat()),
        ),
        of("clock: an entry too many", clock(1, many(MAX_SUMMARY_AUTHORS + 1))),
        of("otherwise: an entry too many", clock(MAX_SUMMARY_AUTHORS + 1, many(2 * MAX_SUMMARY_AUTHORS + 1))),
        of("marks: not a multiple of twelve", marks(13)),
        of("marks: one too many", marks(12 * (MAX_MARKS + 1))),
        of("filter: a bit beyond the last", filter(&[3], &[0x0f], 3)),
        of("filter: a byte of bits too many", filter(&[8], &[0x0f, 0], 3)),
        of("filter: a byte of bits too few", filter(&[9], &[0x0f], 3)),
        of("filter: more marks than can be", filter(&[0x19, 0x04, 0x01], &[0; 129], 3)),
    ]
}

// `start`, then a byte string.
fn string(start: &[u8], bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u32;
    let head = match length {
        0..24 => vec![0x40 | length as u8],
        24..0x100 => vec![0x58, length as u8],
        0x100..0x1_0000 => [&[0x59], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[0x5a], &length.to_be_bytes()[..]].concat(),
    };
    [start, &head, bytes].concat()
}

fn digests() -> Vec<FrontierDigest> {
    let heads: Vec<[u8; 32]> = (1..4).map(|n| [n; 32]).collect();
    (0..=3)
        .map(|count| FrontierDigest {
            heads: heads[..count].iter().map(Hex::of).collect(),
            digest: Hex::of(frontier_digest(&heads[..count])),
        })
        .collect()
}

fn salts() -> Vec<SessionSalt> {
    let nonces = ([1; 16], [2; 16]);
    let id = Domain::CommitId.hash(&[b"node"]);
    let one = |dialer: [u8; 16], listener: [u8; 16]| {
        let salt = Salt::new(&[&dialer, &listener]);
        SessionSalt {
            dialer_nonce: Hex::of(dialer),
            listener_nonce: Hex::of(listener),
            salt: Hex::of(salt.key()),
            rounds: (1..3).map(|round| Hex::of(salt.round(round).key())).collect(),
            id: Hex::of(id),
            check: Hex::of(&blake3::keyed_hash(salt.key(), &id).as_bytes()[..4]),
        }
    };
    vec![one(nonces.0, nonces.1), one(nonces.1, nonces.0)]
}

#[test]
fn summaries_are_the_bytes_that_the_vectors_say() {
    let summaries = samples().into_iter().map(|(name, detail)| {
        let summary = Summary { digest: [5; 8], detail };
        Case { name: name.into(), summary: SummaryFields::of(&summary), bytes: Hex(encode(&summary)) }
    });
    let file = File {
        about: "A summary is an item of OPEN, HAVE, SUMMARY and WANT; bytes are those of the item alone. digests: of all \
                heads, in ascending order. salts: of the nonces of both sides; rounds are the salts of round 1 and 2; check is \
                what stands for id in a clock under this salt. refused: bytes that are no summary."
            .into(),
        digests: digests(),
        salts: salts(),
        summaries: summaries.collect(),
        refused: refused(),
    };
    hold("summaries", &file, |file: File| {
        for FrontierDigest { heads, digest } in &file.digests {
            let heads: Vec<[u8; 32]> = heads.iter().map(|head| CommitId(head.array()).0).collect();
            let hash = blake3::hash(&[&b"driftless/frontier/1\0"[..], heads.as_flattened()].concat());
            assert_eq!(hash.as_bytes()[..8], digest.0);
            assert_eq!(frontier_digest(&heads)[..], digest.0);
        }
        for salt in &file.salts {
            let hash = |parts: &[&[u8]]| {
                *blake3::hash(&[&[&b"driftless/session-salt/1\0"[..]], parts].concat().concat()).as_bytes()
            };
            let key = hash(&[&salt.dialer_nonce.0, &salt.listener_nonce.0]);
            assert_eq!(key[..], salt.salt.0);
            for (round, kept) in (1_u32..).zip(&salt.rounds) {
                assert_eq!(hash(&[&key, &round.to_be_bytes()])[..], kept.0);
            }
            assert_eq!(blake3::keyed_hash(&key, &salt.id.0).as_bytes()[..4], salt.check.0);
        }
        for case in &file.summaries {
            assert_eq!(decode(&case.bytes.0).as_ref(), Ok(&case.summary.summary()), "{}", case.name);
            assert_eq!(encode(&case.summary.summary()), case.bytes.0, "{}", case.name);
        }
        file.refused.iter().for_each(|refused| refused.check(decode));
    });
}
