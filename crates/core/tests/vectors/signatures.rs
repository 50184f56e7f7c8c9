//! Ed25519 under our one rule, with the signatures on which implementations are known to differ.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::rules::invite::InviteKey;
use driftless_core::sign::{AuthorKey, Domain, Signature, verify};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use crate::{Hex, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    domains: Vec<DomainString>,
    cases: Vec<Case>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainString {
    text: String,
    bytes: Hex,
    hash_of_abc: Hex,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    name: String,
    domain: String,
    author: Hex,
    payload: Hex,
    signature: Hex,
    counts: bool,
    // Where the signature is the ordinary one of this secret.
    #[serde(deserialize_with = "Option::deserialize")]
    seed: Option<Hex>,
}

const DOMAINS: [Domain; 15] = [
    Domain::CommitId,
    Domain::Body,
    Domain::CommitSignature,
    Domain::Redeem,
    Domain::NodeProof,
    Domain::AuthorProof,
    Domain::DocumentDigest,
    Domain::Frontier,
    Domain::LogDigest,
    Domain::Refused,
    Domain::SessionSalt,
    Domain::Pack,
    Domain::Request,
    Domain::KeySeal,
    Domain::KeyText,
];

fn text(domain: Domain) -> String {
    String::from_utf8(domain.bytes().to_vec()).unwrap().trim_end_matches('\0').to_owned()
}

fn domain(name: &str) -> Domain {
    DOMAINS.into_iter().find(|domain| text(*domain) == name).expect("a domain of the registry")
}

// The encodings of torsion points that are not canonical: y + p, or x = 0 with a sign.
fn odd_torsion() -> Vec<(String, [u8; 32])> {
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let mut p_plus_one = p;
    p_plus_one[0] = 0xee;
    let mut minus_one = p;
    minus_one[0] = 0xec;
    let mut one = [0; 32];
    one[0] = 1;
    let signed = |mut bytes: [u8; 32]| {
        bytes[31] |= 0x80;
        bytes
    };
    [
        ("y = p", p),
        ("y = p, sign set", signed(p)),
        ("y = p + 1", p_plus_one),
        ("y = p + 1, sign set", signed(p_plus_one)),
        ("y = 1, sign set", signed(one)),
        ("y = -1, sign set", signed(minus_one)),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .to_vec()
}

fn challenge(r: &[u8; 32], author: &[u8; 32], payload: &[u8; 32]) -> Scalar {
    let mut hash = Sha512::new();
    hash.update(r);
    hash.update(author);
    hash.update(Domain::CommitSignature.bytes());
    hash.update(payload);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

// A payload for which the challenge is `rest` modulo 8, so that torsion adds up as the case wants it.
fn payload(r: &[u8; 32], author: &[u8; 32], rest: u8) -> ([u8; 32], Scalar) {
    (0u64..)
        .map(|n| Domain::CommitId.hash(&[b"vector", &n.to_be_bytes()]))
        .map(|payload| (payload, challenge(r, author, &payload)))
        .find(|(_, k)| k.as_bytes()[0] & 7 == rest)
        .expect("one in eight")
}

fn case(name: &str, author: [u8; 32], payload: [u8; 32], r: [u8; 32], s: [u8; 32], counts: bool) -> Case {
    Case {
        name: name.to_owned(),
        domain: text(Domain::CommitSignature),
        author: Hex::of(author),
        payload: Hex::of(payload),
        signature: Hex([r, s].concat()),
        counts,
        seed: None,
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let seed = [1; 32];
    let key = AuthorKey::from_seed(&seed);
    let author = key.id().0;
    let id = Domain::CommitId.hash(&[b"vector"]);
    let signature = key.sign_commit(&CommitId(id)).0;
    let (r, s) = (signature.first_chunk::<32>().unwrap(), signature.last_chunk::<32>().unwrap());
    let ordinary = case("ordinary", author, id, *r, *s, true);
    cases.push(Case { seed: Some(Hex::of(seed)), ..ordinary });
    let (space, invite, ticket) = (SpaceId([2; 32]), CommitId([3; 32]), InviteKey::from_secret(&[42; 32]));
    cases.push(Case {
        name: "a redeem proof".into(),
        domain: text(Domain::Redeem),
        author: Hex::of(ticket.public()),
        payload: Hex([space.0, invite.0, author].concat()),
        signature: Hex::of(ticket.prove(&space, &invite, &key.id()).0),
        counts: true,
        seed: Some(Hex::of([42; 32])),
    });
    let other = key.sign(Domain::AuthorProof, &[&id]).0;
    let (r2, s2) = (other.first_chunk().unwrap(), other.last_chunk().unwrap());
    cases.push(case("signed under another domain", author, id, *r2, *s2, false));
    cases.push(case("of another payload", author, [9; 32], *r, *s, false));
    cases.push(case("of another author", AuthorKey::from_seed(&[2; 32]).id().0, id, *r, *s, false));
    let mut flipped = *s;
    flipped[0] ^= 1;
    cases.push(case("one bit of S flipped", author, id, *r, flipped, false));
    cases.push(case("S + L", author, id, *r, plus_order(*s), false));
    cases.push(case("S + 2L", author, id, *r, plus_order(plus_order(*s)), false));

    // Secrets of our own, so that torsion can be put where we want it.
    let (secret, nonce) = (Scalar::from(0x0123_4567_89ab_cdefu64), Scalar::from(0xfedc_ba98u64));
    let base = ED25519_BASEPOINT_POINT;
    let compress = |point: EdwardsPoint| point.compress().to_bytes();
    let (honest, honest_r) = (compress(base * secret), compress(base * nonce));
    let mixed = compress(base * secret + EIGHT_TORSION[1]);
    let mixed_r = compress(base * nonce + EIGHT_TORSION[1]);
    let answer = |k: Scalar| (nonce + k * secret).to_bytes();
    let mut torsion: Vec<(String, [u8; 32])> =
        (0..8).map(|n| (format!("{n} times a point of order 8"), compress(EIGHT_TORSION[n]))).collect();
    torsion.extend(odd_torsion());
    for (name, small) in &torsion {
        let (id, _) = payload(&honest_r, small, 0);
        let name = format!("the key is of small order, the equation holds: {name}");
        cases.push(case(&name, *small, id, honest_r, nonce.to_bytes(), false));
    }
    for (n, (name, small)) in (0u8..).zip(&torsion) {
        // The mixed key's own torsion, times minus the challenge, is this R for the first eight.
        let (id, k) = payload(small, &mixed, n.wrapping_neg() & 7);
        let name = format!("R is of small order: {name}");
        cases.push(case(&name, mixed, id, *small, (k * secret).to_bytes(), false));
    }
    let (id, k) = payload(&honest_r, &mixed, 0);
    cases.push(case("a key of mixed order, the equation holds", mixed, id, honest_r, answer(k), true));
    let (id, k) = payload(&honest_r, &mixed, 1);
    let name = "a key of mixed order, the equation holds only times the cofactor";
    cases.push(case(name, mixed, id, honest_r, answer(k), false));
    let (id, k) = payload(&mixed_r, &mixed, 7);
    cases.push(case("key and R of mixed order, the equation holds", mixed, id, mixed_r, answer(k), true));
    let (id, k) = payload(&mixed_r, &honest, 0);
    let name = "R of mixed order, the equation holds only times the cofactor";
    cases.push(case(name, honest, id, mixed_r, answer(k), false));

    let off = (0u8..).map(|y| [&[y][..], &[0; 31]].concat().try_into().unwrap());
    let off: [u8; 32] = { off }.find(|y| CompressedEdwardsY(*y).decompress().is_none()).unwrap();
    cases.push(case("the key is no point", off, id, honest_r, nonce.to_bytes(), false));
    cases.push(case("R is no point", honest, id, off, nonce.to_bytes(), false));
    cases.push(case("all zero", [0; 32], [0; 32], [0; 32], [0; 32], false));
    cases
}

// S + L as a number: another encoding of the same scalar.
fn plus_order(s: [u8; 32]) -> [u8; 32] {
    let order = {
        let mut bytes = (-Scalar::ONE).to_bytes();
        bytes[0] += 1;
        bytes
    };
    let (mut sum, mut carry) = ([0; 32], 0);
    for ((sum, s), order) in sum.iter_mut().zip(s).zip(order) {
        let digit = u16::from(s) + u16::from(order) + carry;
        (*sum, carry) = (digit as u8, digit >> 8);
    }
    sum
}

#[test]
fn signatures_count_or_not_as_the_vectors_say() {
    let domains = DOMAINS.map(|domain| DomainString {
        text: text(domain),
        bytes: Hex::of(domain.bytes()),
        hash_of_abc: Hex::of(domain.hash(&[b"abc"])),
    });
    let file = File {
        about: "A signature is over the bytes of the domain, then the payload. counts: whether it is the author's. \
                seed: the secret, where the signature is the ordinary one."
            .into(),
        domains: domains.into(),
        cases: cases(),
    };
    hold("signatures", &file, |file: File| {
        let page = include_str!("../../../../docs/format.md");
        for DomainString { text, bytes, hash_of_abc } in &file.domains {
            assert!(page.contains(&format!("| `{text}` |")), "{text} is not in the registry");
            assert_eq!(bytes.0, domain(text).bytes());
            assert_eq!(blake3::hash(&[&bytes.0[..], b"abc"].concat()).as_bytes()[..], hash_of_abc.0);
        }
        for case in &file.cases {
            let (domain, signature) = (domain(&case.domain), Signature(case.signature.array()));
            let counts = verify(&AuthorId(case.author.array()), domain, &[&case.payload.0], &signature);
            assert_eq!(counts, case.counts, "{}", case.name);
            if let Some(seed) = &case.seed {
                let key = AuthorKey::from_seed(&seed.array());
                assert_eq!(key.id().0[..], case.author.0);
                assert_eq!(key.sign(domain, &[&case.payload.0]), signature);
            }
        }
    });
}
