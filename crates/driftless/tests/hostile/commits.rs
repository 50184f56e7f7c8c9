//! Forged commits after an honest bundle: what each is called, and that the rest is taken.

use driftless::{CommitId, Kind, Permission, Strength, Subject, Timestamp};
use driftless_core::commit::{Header, Received, RuleBody};
use driftless_core::rules::RuleOperator;
use driftless_core::sign::Signature;

use crate::honest::{Honest, MALLORY, elsewhere, raw_body, received, sign, sign_bytes};
use crate::pen::{Pen, body};
use crate::simulated::{START, import};

struct Case {
    name: &'static str,
    commit: Received,
    code: &'static str,
}

fn good_body() -> Vec<u8> {
    body(1000, &[]).encode([7; 16])
}

// A header that names this body, encoded without asking whether it is a valid one.
fn unchecked(header: Header, body: &[u8]) -> Header {
    let body_hash = driftless_core::commit::body_hash(body);
    Header { body_hash, body_length: body.len() as u32, ..header }
}

fn rules(operators: Vec<RuleOperator>) -> Vec<u8> {
    RuleBody { operators }.encode([7; 16])
}

fn forged(honest: &Honest) -> Vec<Case> {
    let documents = || honest.header(Kind::Documents);
    let good = || unchecked(documents(), &good_body());
    let signed = |header: Header| sign_bytes(header.encode(), Some(good_body()), MALLORY);
    let mut cases = Vec::new();
    let mut case = |name, code, commit| cases.push(Case { name, commit, code });

    case("wrong author", "bad_signature", signed(Header { author: Pen::author(66), ..good() }));
    case(
        "a stranger",
        "not_permitted",
        sign_bytes(Header { author: Pen::author(66), ..good() }.encode(), Some(good_body()), 66),
    );
    case("another space", "unknown_space", signed(Header { space: Some(elsewhere()), ..good() }));
    case("not after its parents", "bad_time", signed(Header { time: Timestamp(1), ..good() }));
    case("missing parent", "missing_parent", signed(Header { parents: vec![CommitId([8; 32])], ..good() }));
    case(
        "missing previous",
        "missing_parent",
        signed(Header { seq: 2, previous: Some(CommitId([8; 32])), parents: vec![], ..good() }),
    );
    case(
        "a previous of somebody else",
        "bad_chain",
        signed(Header { seq: 2, previous: Some(honest.grant), parents: vec![], ..good() }),
    );
    case("no previous", "bad_header", signed(Header { seq: 2, ..good() }));
    case(
        "the last number of all",
        "bad_chain",
        signed(Header { seq: u64::MAX, previous: Some(honest.grant), parents: vec![], ..good() }),
    );
    case(
        "unsorted parents",
        "bad_header",
        signed(Header { parents: vec![honest.grant, CommitId([0; 32])], ..good() }),
    );
    case(
        "65 parents",
        "bad_header",
        signed(Header { parents: (0..65).map(|n| CommitId([n; 32])).collect(), ..good() }),
    );
    case("unsigned", "unsigned", Received { signature: None, ..signed(good()) });
    case(
        "zero signature",
        "bad_signature",
        Received { signature: Some(Signature([0; 64])), ..signed(good()) },
    );
    let others = received(&honest.bytes)[5].signature;
    case("somebody else's signature", "bad_signature", Received { signature: others, ..signed(good()) });

    let large = vec![0; 2 * 1024 * 1024];
    case("2 MiB declared", "bad_header", sign_bytes(unchecked(documents(), &large).encode(), None, MALLORY));
    // A record of that size is no record, so the file is damaged there.
    case("2 MiB sent", "unreadable", sign_bytes(good().encode(), Some(large), MALLORY));
    case(
        "longer than declared",
        "bad_body",
        sign_bytes(good().encode(), Some([good_body(), vec![0]].concat()), MALLORY),
    );
    case(
        "shorter than declared",
        "bad_body",
        sign_bytes(good().encode(), Some(good_body()[1..].to_vec()), MALLORY),
    );
    let other = body(1001, &[]).encode([8; 16]);
    case("another than declared", "bad_body", sign_bytes(good().encode(), Some(other), MALLORY));

    let encoded = good().encode();
    let version = |number: u8| {
        let mut header = encoded.clone();
        header[1] = number;
        header
    };
    case("newer version", "newer_version", sign_bytes(version(2), Some(good_body()), MALLORY));
    case("version zero", "newer_version", sign_bytes(version(0), Some(good_body()), MALLORY));
    // The version as 0x18 0x01, which should be 0x01.
    let long = [&encoded[..1], &[0x18, 1], &encoded[2..]].concat();
    case("a long integer", "bad_header", sign_bytes(long, Some(good_body()), MALLORY));
    let indefinite = [&[0x9f], &encoded[1..], &[0xff]].concat();
    case("an indefinite list", "bad_header", sign_bytes(indefinite, Some(good_body()), MALLORY));
    case(
        "bytes after the end",
        "bad_header",
        sign_bytes([&encoded[..], &[0]].concat(), Some(good_body()), MALLORY),
    );
    case("an empty header", "bad_header", sign_bytes(vec![], Some(good_body()), MALLORY));
    let extended = |map: &[u8]| [&encoded[..encoded.len() - 1], map].concat();
    case(
        "unsorted keys",
        "bad_header",
        sign_bytes(extended(&[0xa2, 2, 0, 1, 0]), Some(good_body()), MALLORY),
    );
    case("a key twice", "bad_header", sign_bytes(extended(&[0xa2, 1, 0, 1, 0]), Some(good_body()), MALLORY));
    let deep = [&[0xa1, 0x01][..], &[0x81; 3000], &[0]].concat();
    case("3,000 levels of extensions", "bad_header", sign_bytes(extended(&deep), Some(good_body()), MALLORY));
    let deepest = [&[0xa1, 0x01][..], &[0x81; 100_000], &[0]].concat();
    case(
        "100,000 levels of extensions",
        "bad_header",
        sign_bytes(extended(&deepest), Some(good_body()), MALLORY),
    );

    let rule = |operators| sign(honest.header(Kind::Rules), rules(operators));
    let mine = Subject::Key(Pen::author(MALLORY));
    let admin = Some(Permission::Admin(Strength(0)));
    let promote = || vec![RuleOperator::Grant { subject: mine, permission: admin, keep: None }];
    case("rules by a writer", "not_permitted", rule(promote()));
    let stranger =
        unchecked(Header { author: Pen::author(66), ..honest.header(Kind::Rules) }, &rules(promote()));
    case("rules by a stranger", "not_permitted", sign_bytes(stranger.encode(), Some(rules(promote())), 66));
    let proof = Signature([5; 64]);
    case(
        "a redeem of nothing",
        "not_permitted",
        rule(vec![RuleOperator::Redeem { invite: honest.grant, index: 0, proof }]),
    );
    case(
        "rules that do not decode",
        "bad_rule_body",
        sign(honest.header(Kind::Rules), raw_body(&[0x81, 0x82, 0, 0])),
    );
    case("rules without a body", "bad_rule_body", Received { body: None, ..rule(promote()) });
    cases
}

#[test]
fn what_is_forged_is_refused_by_name_and_the_rest_is_taken() {
    let honest = Honest::new(120);
    let digest = honest.space.digest().unwrap();
    for Case { name, commit, code } in forged(&honest) {
        let taken = honest.take(&honest.with([commit]), name);
        assert!(taken.codes.iter().any(|found| found == code), "{name}: {:?}", taken.codes);
        let done = taken.imported.unwrap();
        assert!(done.refused + done.declined > 0, "{name}: {done:?}");
        assert_eq!(done.declined > 0, code == "newer_version", "{name}");
        let there = taken.db.space(&honest.space.id().to_string()).unwrap();
        assert_eq!(there.digest().unwrap().view, digest.view, "{name}");
        if code != "bad_body" {
            honest.heals(&taken.db, name);
        }
    }
}

#[test]
fn a_commit_whose_body_is_another_is_wanted_and_has_no_effect() {
    let honest = Honest::new(10);
    let good = sign(honest.header(Kind::Documents), good_body());
    let other = body(1001, &[]).encode([8; 16]);
    let taken = honest.take(&honest.with([Received { body: Some(other), ..good.clone() }]), "body");
    let status = taken.db.status().unwrap();
    assert_eq!((status.spaces[0].wanted.len(), taken.imported.unwrap().wanted), (1, 1));
    assert_eq!(status.spaces[0].documents, 10);
    import(&taken.db, &honest.with([good]));
    let status = taken.db.status().unwrap();
    assert_eq!((status.spaces[0].wanted.len(), status.spaces[0].documents), (0, 11));
}

#[test]
fn a_body_that_does_not_decode_has_no_effect() {
    let honest = Honest::new(10);
    let deep = [&[0x81; 100_000][..], &[0]].concat();
    let bodies = [
        ("empty", vec![]),
        ("garbage", vec![0xff; 100]),
        ("nested", raw_body(&deep)),
        ("all nested", deep),
        ("a million edits", raw_body(&[0x9a, 0, 0x10, 0, 0])),
        ("long integers", raw_body(&[0x98, 0])),
        ("trailing", [good_body(), vec![0]].concat()),
        (
            "keys twice",
            vec![0x82, 0x50, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0xa2, 0, 0x80, 0, 0x80],
        ),
    ];
    for (name, bytes) in bodies {
        let taken = honest.take(&honest.with([sign(honest.header(Kind::Documents), bytes)]), name);
        assert_eq!(taken.imported.unwrap().refused, 0, "{name}");
        assert_eq!(taken.db.status().unwrap().spaces[0].documents, 10, "{name}");
    }
}

#[test]
fn the_year_2999_waits_and_drags_no_clock() {
    let honest = Honest::new(20);
    for time in [Timestamp::from_ms(32_472_144_000_000), Timestamp(u64::MAX)] {
        let future = sign(Header { time, ..honest.header(Kind::Documents) }, good_body());
        let taken = honest.take(&honest.with([future]), "future");
        let status = taken.db.status().unwrap();
        assert_eq!((status.spaces[0].held.len(), status.spaces[0].documents), (1, 20));
        assert!(!status.spaces[0].held[0].reason.is_empty());
        let own = taken.db.create_space("own").unwrap();
        own.collection("notes").unwrap().insert(crate::simulated::map("{}")).unwrap();
        let last = &own.log(driftless::LogQuery { limit: Some(1), ..Default::default() }).unwrap()[0];
        assert!(last.time.ms() < START + 100_000, "{:?}", last.time);
    }
}

#[test]
fn a_commit_of_another_space_is_one_of_that_space_only() {
    let (honest, other) = (Honest::new(10), Honest::named("other", 12));
    let db = crate::simulated::database(50, &honest.hand);
    import(&db, &honest.bytes);
    // As it is: its own space is not here.
    let replayed = received(&other.bytes).pop().unwrap();
    import(&db, &honest.with([replayed.clone()]));
    // With this space in its header: the signature is of another commit.
    let header = Header { space: Some(honest.space.id()), ..Header::decode(&replayed.header).unwrap() };
    import(&db, &honest.with([Received { header: header.encode(), ..replayed }]));
    let status = db.status().unwrap();
    let mut codes: Vec<_> = status.refused.iter().map(|line| line.code.as_str()).collect();
    codes.sort();
    assert_eq!(codes, ["bad_signature", "unknown_space"]);
    assert_eq!(status.spaces.len(), 1);
    honest.heals(&db, "replayed");
}

#[test]
fn a_commit_that_says_to_be_of_another_space_vouches_for_none_of_this_one() {
    // Nobody else could be shown why the first one was let in, and all that stands on it would be refused there.
    let honest = Honest::new(10);
    let first = sign(honest.header(Kind::Documents), good_body());
    let next = Header {
        seq: 2,
        previous: Some(driftless_core::commit::commit_id(&first.header)),
        parents: vec![],
        space: Some(elsewhere()),
        time: Timestamp::from_ms(START + 6000),
        ..honest.header(Kind::Documents)
    };
    let bytes = honest.with([Received { signature: None, ..first }, sign(next, good_body())]);
    let taken = honest.take(&bytes, "another space");
    let mut codes = taken.codes;
    codes.sort();
    assert_eq!(codes, ["unknown_space", "unsigned"]);
    honest.heals(&taken.db, "another space");
}
