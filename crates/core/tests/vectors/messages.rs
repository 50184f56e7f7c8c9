//! Messages: what each says, and its bytes.

use driftless_core::cbor::{Reader, Writer};
use driftless_core::clock::Timestamp;
use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::id::{AuthorId, CommitId, SpaceId, UserId};
use driftless_core::limits::{
    MAX_CHANGED, MAX_FOUND, MAX_LOCATED, MAX_NOTE, MAX_PROOFS, MAX_SUMMARY_HEADS, MAX_WANTED,
};
use driftless_core::reconcile::{Detail, Summary};
use driftless_core::rules::{Level, Permission, Shown, Strength, decode_proof, encode_proof};
use driftless_core::session::{
    AccessRequest, Answer, Changed, Creator, Discovered, InviteProof, Located, Lookup, Message, Pass,
    SpaceProof, Verdict, decode_document, encode_document, numbered, take_number,
};
use driftless_core::sign::Signature;
use driftless_core::value::Map;
use serde::{Deserialize, Serialize};

use crate::summaries::{SummaryFields, samples};
use crate::{Hex, RefusedBytes, hold};

/// A message, as JSON says it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum MessageFields {
    Hello { version: String, nonce: Hex },
    Proof { proofs: Vec<ProofFields> },
    Open { slot: String, space: String, invite: Option<PassFields>, summary: SummaryFields },
    Have { slot: String, summary: SummaryFields },
    Data { slot: String, number: String, digest: Hex, frame: Hex },
    Ack { slot: String, number: String, digest: Hex, refused: Vec<VerdictFields> },
    End { slot: String, digest: Hex, heads: Vec<String> },
    Want { slot: String, ids: Vec<String>, again: Option<SummaryFields> },
    Decline { slot: String, reason: String, retry_after_ms: String },
    Close { slot: String },
    Summary { slot: String, summary: SummaryFields },
    Request { number: String, space: String, author: String, permission: PermissionFields, note: String },
    Answer { number: String, answer: AnswerFields },
    Discover { number: String, after: Option<String> },
    Found { number: String, spaces: Vec<FoundFields>, more: bool },
    Changed { spaces: Vec<ChangedFields> },
    Shared { number: String, after: Option<String>, pass: Option<PassFields> },
    Find { number: String, collection: String, by: CreatorFields, after: Option<String> },
    Located { number: String, documents: Vec<LocatedFields>, next: Option<String>, cut: bool },
}

/// A permission; `strength` is null for readers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermissionFields {
    level: String,
    strength: Option<u32>,
}

impl PermissionFields {
    fn of(permission: Permission) -> Self {
        let level = match permission.level() {
            Level::Read => "read",
            Level::Write => "write",
            Level::Admin => "admin",
        };
        let strength = (permission != Permission::Read).then_some(permission.strength().0);
        Self { level: level.into(), strength }
    }

    fn permission(&self) -> Permission {
        let level = match &self.level[..] {
            "read" => Level::Read,
            "write" => Level::Write,
            "admin" => Level::Admin,
            other => panic!("{other} is no level"),
        };
        Permission::new(level, self.strength.map_or(Strength::WEAKEST, Strength))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum AnswerFields {
    Refused,
    Allowed(PermissionFields),
    /// The id follows from what was asked for.
    Queued(String),
    Full,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangedFields {
    space: String,
    digest: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum CreatorFields {
    Author(String),
    User(String),
}

/// The document is bytes in a message; here they are what they say, as JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocatedFields {
    space: String,
    document: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FoundFields {
    space: String,
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofFields {
    author: String,
    signature: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum PassFields {
    Invite(InviteFields),
    Space(SpaceProofFields),
}

impl PassFields {
    fn of(pass: &Pass) -> Self {
        match pass {
            Pass::Invite(invite) => Self::Invite(InviteFields {
                invite: invite.invite.to_string(),
                index: invite.index,
                joiner: invite.joiner.to_string(),
                proof: Hex::of(invite.proof.0),
            }),
            Pass::Space(SpaceProof { joiner, space, proof }) => {
                let mut writer = Writer::default();
                encode_proof(proof, &mut writer);
                let (joiner, space) = (joiner.to_string(), space.to_string());
                Self::Space(SpaceProofFields { joiner, space, proof: Hex::of(writer.finish()) })
            }
        }
    }

    fn pass(&self) -> Pass {
        match self {
            Self::Invite(invite) => Pass::Invite(InviteProof {
                invite: invite.invite.parse().unwrap(),
                index: invite.index,
                joiner: invite.joiner.parse().unwrap(),
                proof: Signature(invite.proof.array()),
            }),
            Self::Space(shown) => Pass::Space(SpaceProof {
                joiner: shown.joiner.parse().unwrap(),
                space: shown.space.parse().unwrap(),
                proof: decode_proof(&mut Reader::new(&shown.proof.0)).unwrap(),
            }),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpaceProofFields {
    joiner: String,
    space: String,
    // As in an enrol.
    proof: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteFields {
    invite: String,
    index: u32,
    joiner: String,
    proof: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictFields {
    hash: Hex,
    code: String,
}

fn texts(ids: &[CommitId]) -> Vec<String> {
    ids.iter().map(CommitId::to_string).collect()
}

fn ids(texts: &[String]) -> Vec<CommitId> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl MessageFields {
    // Only messages that stand in a vector are written down; others have vectors of their own.
    #[allow(unreachable_patterns)]
    pub(crate) fn of(message: &Message) -> Self {
        match message {
            Message::Hello { version, nonce } => {
                Self::Hello { version: version.to_string(), nonce: Hex::of(nonce) }
            }
            Message::Proof(proofs) => {
                let proof = |(author, signature): &(AuthorId, Signature)| ProofFields {
                    author: author.to_string(),
                    signature: Hex::of(signature.0),
                };
                Self::Proof { proofs: proofs.iter().map(proof).collect() }
            }
            Message::Open { slot, space, invite, summary } => Self::Open {
                slot: slot.to_string(),
                space: space.to_string(),
                invite: invite.as_ref().map(PassFields::of),
                summary: SummaryFields::of(summary),
            },
            Message::Have { slot, summary } => {
                Self::Have { slot: slot.to_string(), summary: SummaryFields::of(summary) }
            }
            Message::Data { slot, number, frame, digest } => Self::Data {
                slot: slot.to_string(),
                number: number.to_string(),
                digest: Hex::of(digest),
                frame: Hex::of(frame),
            },
            Message::Ack { slot, number, refused, digest } => {
                let verdict = |verdict: &Verdict| VerdictFields {
                    hash: Hex::of(verdict.hash),
                    code: verdict.code.clone(),
                };
                Self::Ack {
                    slot: slot.to_string(),
                    number: number.to_string(),
                    digest: Hex::of(digest),
                    refused: refused.iter().map(verdict).collect(),
                }
            }
            Message::End { slot, digest, heads } => {
                Self::End { slot: slot.to_string(), digest: Hex::of(digest), heads: texts(heads) }
            }
            Message::Want { slot, ids, again } => Self::Want {
                slot: slot.to_string(),
                ids: texts(ids),
                again: again.as_ref().map(SummaryFields::of),
            },
            Message::Decline { slot, reason, retry_after_ms } => Self::Decline {
                slot: slot.to_string(),
                reason: reason.clone(),
                retry_after_ms: retry_after_ms.to_string(),
            },
            Message::Close { slot } => Self::Close { slot: slot.to_string() },
            Message::Summary { slot, summary } => {
                Self::Summary { slot: slot.to_string(), summary: SummaryFields::of(summary) }
            }
            Message::Request { number, request } => Self::Request {
                number: number.to_string(),
                space: request.space.to_string(),
                author: request.author.to_string(),
                permission: PermissionFields::of(request.permission),
                note: request.note.clone(),
            },
            Message::Answer { number, answer } => Self::Answer {
                number: number.to_string(),
                answer: match answer {
                    Answer::Refused => AnswerFields::Refused,
                    Answer::Allowed(permission) => AnswerFields::Allowed(PermissionFields::of(*permission)),
                    Answer::Queued(id) => AnswerFields::Queued(id.to_string()),
                    Answer::Full => AnswerFields::Full,
                },
            },
            Message::Discover { number, after } => {
                Self::Discover { number: number.to_string(), after: after.map(|after| after.to_string()) }
            }
            Message::Found { number, spaces, more } => {
                let found = |found: &Discovered| FoundFields {
                    space: found.space.to_string(),
                    name: found.name.clone(),
                };
                let spaces = spaces.iter().map(found).collect();
                Self::Found { number: number.to_string(), spaces, more: *more }
            }
            Message::Changed(spaces) => {
                let changed = |changed: &Changed| ChangedFields {
                    space: changed.space.to_string(),
                    digest: Hex::of(changed.digest),
                };
                Self::Changed { spaces: spaces.iter().map(changed).collect() }
            }
            Message::Shared { number, after, pass } => Self::Shared {
                number: number.to_string(),
                after: after.map(|after| after.to_string()),
                pass: pass.as_ref().map(PassFields::of),
            },
            Message::Find { number, lookup: Lookup { collection, by, after } } => Self::Find {
                number: number.to_string(),
                collection: collection.clone(),
                by: match by {
                    Creator::Author(author) => CreatorFields::Author(author.to_string()),
                    Creator::User(user) => CreatorFields::User(user.to_string()),
                },
                after: after.map(|after| after.to_string()),
            },
            Message::Located { number, located: Located { documents, next, cut } } => {
                let document = |(space, document): &(SpaceId, Vec<u8>)| LocatedFields {
                    space: space.to_string(),
                    document: Hex(document.clone()),
                };
                Self::Located {
                    number: number.to_string(),
                    documents: documents.iter().map(document).collect(),
                    next: next.map(|next| next.to_string()),
                    cut: *cut,
                }
            }
            other => panic!("no vector has {other:?}"),
        }
    }

    pub(crate) fn message(&self) -> Message {
        let number = |text: &String| text.parse::<u64>().unwrap();
        match self {
            Self::Hello { version, nonce } => {
                Message::Hello { version: number(version), nonce: nonce.array() }
            }
            Self::Proof { proofs } => {
                let proof =
                    |proof: &ProofFields| (proof.author.parse().unwrap(), Signature(proof.signature.array()));
                Message::Proof(proofs.iter().map(proof).collect())
            }
            Self::Open { slot, space, invite, summary } => Message::Open {
                slot: number(slot),
                space: space.parse().unwrap(),
                invite: invite.as_ref().map(PassFields::pass),
                summary: summary.summary(),
            },
            Self::Have { slot, summary } => Message::Have { slot: number(slot), summary: summary.summary() },
            Self::Data { slot, number: count, digest, frame } => Message::Data {
                slot: number(slot),
                number: number(count),
                frame: frame.0.clone(),
                digest: digest.array(),
            },
            Self::Ack { slot, number: count, digest, refused } => {
                let verdict = |verdict: &VerdictFields| Verdict {
                    hash: verdict.hash.array(),
                    code: verdict.code.clone(),
                };
                Message::Ack {
                    slot: number(slot),
                    number: number(count),
                    refused: refused.iter().map(verdict).collect(),
                    digest: digest.array(),
                }
            }
            Self::End { slot, digest, heads } => {
                Message::End { slot: number(slot), digest: digest.array(), heads: ids(heads) }
            }
            Self::Want { slot, ids: wanted, again } => Message::Want {
                slot: number(slot),
                ids: ids(wanted),
                again: again.as_ref().map(SummaryFields::summary),
            },
            Self::Decline { slot, reason, retry_after_ms } => Message::Decline {
                slot: number(slot),
                reason: reason.clone(),
                retry_after_ms: number(retry_after_ms),
            },
            Self::Close { slot } => Message::Close { slot: number(slot) },
            Self::Summary { slot, summary } => {
                Message::Summary { slot: number(slot), summary: summary.summary() }
            }
            Self::Request { number: count, space, author, permission, note } => Message::Request {
                number: number(count),
                request: AccessRequest {
                    space: space.parse().unwrap(),
                    author: author.parse().unwrap(),
                    permission: permission.permission(),
                    note: note.clone(),
                },
            },
            Self::Answer { number: count, answer } => Message::Answer {
                number: number(count),
                answer: match answer {
                    AnswerFields::Refused => Answer::Refused,
                    AnswerFields::Allowed(permission) => Answer::Allowed(permission.permission()),
                    AnswerFields::Queued(id) => Answer::Queued(id.parse().unwrap()),
                    AnswerFields::Full => Answer::Full,
                },
            },
            Self::Discover { number: count, after } => Message::Discover {
                number: number(count),
                after: after.as_ref().map(|after| after.parse().unwrap()),
            },
            Self::Found { number: count, spaces, more } => {
                let found = |found: &FoundFields| Discovered {
                    space: found.space.parse().unwrap(),
                    name: found.name.clone(),
                };
                let spaces = spaces.iter().map(found).collect();
                Message::Found { number: number(count), spaces, more: *more }
            }
            Self::Changed { spaces } => {
                let changed = |changed: &ChangedFields| Changed {
                    space: changed.space.parse().unwrap(),
                    digest: changed.digest.0[..].try_into().unwrap(),
                };
                Message::Changed(spaces.iter().map(changed).collect())
            }
            Self::Shared { number: count, after, pass } => Message::Shared {
                number: number(count),
                after: after.as_ref().map(|after| after.parse().unwrap()),
                pass: pass.as_ref().map(PassFields::pass),
            },
            Self::Find { number: count, collection, by, after } => {
                let by = match by {
                    CreatorFields::Author(author) => Creator::Author(author.parse().unwrap()),
                    CreatorFields::User(user) => Creator::User(user.parse().unwrap()),
                };
                let after = after.as_ref().map(|after| after.parse().unwrap());
                let lookup = Lookup { collection: collection.clone(), by, after };
                Message::Find { number: number(count), lookup }
            }
            Self::Located { number: count, documents, next, cut } => {
                let document =
                    |located: &LocatedFields| (located.space.parse().unwrap(), located.document.0.clone());
                let documents = documents.iter().map(document).collect();
                let next = next.as_ref().map(|next| next.parse().unwrap());
                Message::Located { number: number(count), located: Located { documents, next, cut: *cut } }
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    messages: Vec<Case>,
    newer: Newer,
    refused: Vec<RefusedBytes>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    number: String,
    says: MessageFields,
    bytes: Hex,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Newer {
    bytes: Hex,
    version: String,
}

fn messages() -> Vec<(String, u64, Message)> {
    let heads = vec![CommitId([3; 32]), CommitId([4; 32])];
    let summary = |detail| Summary { digest: [5; 8], detail };
    let space = SpaceId([9; 32]);
    let invite = InviteProof {
        invite: CommitId([6; 32]),
        index: 70_000,
        joiner: AuthorId([7; 32]),
        proof: Signature([8; 64]),
    };
    let invite = Pass::Invite(invite);
    let team = Pass::Space(SpaceProof {
        joiner: AuthorId([7; 32]),
        space: SpaceId([8; 32]),
        proof: vec![Shown { header: vec![1, 2], signature: Some(Signature([3; 64])), body: Some(vec![4]) }],
    });
    let request = |permission, note: &str| {
        let author = AuthorId([7; 32]);
        AccessRequest { space, author, permission, note: note.into() }
    };
    let wanted = request(Permission::Write(Strength(100)), "it is me");
    let found = Discovered { space, name: "team".into() };
    let lookup = |by, after| Lookup { collection: "profile".into(), by, after };
    let document = Document {
        id: DocumentId::string("user").unwrap(),
        collection: "profile".into(),
        created: Timestamp(1 << 16),
        updated: Timestamp(2 << 16),
        author: AuthorId([7; 32]),
        deleted: false,
        parent: None,
        fields: Map::from_json(r#"{"name": "Ann"}"#).unwrap(),
    };
    let bytes = encode_document(&document);
    assert_eq!(decode_document("profile", &bytes), Ok(document));
    let located = Located { documents: vec![(space, bytes)], next: Some(space), cut: true };
    let team_pass = team.clone();
    let verdict = |n: u8, code: &str| Verdict { hash: [n; 32], code: code.into() };
    let open = |invite, detail| Message::Open { slot: 24, space, invite, summary: summary(detail) };
    let mut all = vec![
        ("hello", 0, Message::Hello { version: 1, nonce: [1; 16] }),
        ("proof of no key", 1, Message::Proof(Vec::new())),
        ("proof of two keys", 1, Message::Proof(vec![(AuthorId([1; 32]), Signature([2; 64])); 2])),
        ("open", 2, Message::Open { slot: 0, space, invite: None, summary: Summary::default() }),
        ("open by invite", 127, open(Some(invite), Detail::Bare)),
        ("open by another space", 2, open(Some(team), Detail::Bare)),
        ("data", 128, Message::Data { slot: 4, number: 1, frame: vec![1, 2, 3], digest: [4; 8] }),
        ("ack", 300, Message::Ack { slot: 4, number: 256, refused: Vec::new(), digest: [4; 8] }),
        (
            "ack, two were not taken",
            16_384,
            Message::Ack {
                slot: 4,
                number: 65_536,
                refused: vec![verdict(1, "bad_header"), verdict(2, "unsigned")],
                digest: [4; 8],
            },
        ),
        ("end, both have the same", 5, Message::End { slot: 4, digest: [1; 8], heads: Vec::new() }),
        ("end", 5, Message::End { slot: 4, digest: [1; 8], heads: heads.clone() }),
        ("want bodies", 6, Message::Want { slot: 4, ids: heads.clone(), again: None }),
        (
            "want everything",
            6,
            Message::Want { slot: 4, ids: heads.clone(), again: Some(summary(Detail::Nothing)) },
        ),
        (
            "decline",
            7,
            Message::Decline { slot: 4, reason: "newer_version".into(), retry_after_ms: 3_600_000 },
        ),
        ("close", u64::MAX, Message::Close { slot: u64::MAX }),
        ("request to read", 2, Message::Request { number: 0, request: request(Permission::Read, "") }),
        ("request to write", 2, Message::Request { number: 24, request: wanted.clone() }),
        ("answer: refused", 2, Message::Answer { number: 24, answer: Answer::Refused }),
        ("answer: allowed", 2, Message::Answer { number: 24, answer: Answer::Allowed(wanted.permission) }),
        ("answer: queued", 2, Message::Answer { number: 24, answer: Answer::Queued(wanted.id()) }),
        ("answer: full", 2, Message::Answer { number: 24, answer: Answer::Full }),
        ("discover", 2, Message::Discover { number: 0, after: None }),
        ("discover on", 3, Message::Discover { number: 1, after: Some(space) }),
        ("found nothing", 2, Message::Found { number: 0, spaces: Vec::new(), more: false }),
        ("found one of several", 2, Message::Found { number: 0, spaces: vec![found], more: true }),
        ("changed somewhere", 2, Message::Changed(Vec::new())),
        ("changed", 2, Message::Changed(vec![Changed { space, digest: [4; 8] }])),
        ("shared by name", 2, Message::Shared { number: 0, after: None, pass: None }),
        (
            "shared by name, also with another space",
            3,
            Message::Shared { number: 1, after: Some(space), pass: Some(team_pass) },
        ),
        (
            "find by key",
            2,
            Message::Find { number: 0, lookup: lookup(Creator::Author(AuthorId([7; 32])), None) },
        ),
        (
            "find by user, going on",
            2,
            Message::Find { number: 1, lookup: lookup(Creator::User(UserId([8; 32])), Some(space)) },
        ),
        ("located nothing", 2, Message::Located { number: 0, located: Located::default() }),
        ("located", 2, Message::Located { number: 1, located }),
    ]
    .into_iter()
    .map(|(name, number, message)| (name.to_owned(), number, message))
    .collect::<Vec<_>>();
    for (name, detail) in samples() {
        let message = match &detail {
            Detail::Again(..) => Message::Want { slot: 4, ids: heads.clone(), again: Some(summary(detail)) },
            Detail::Otherwise(_) | Detail::Bare => Message::Have { slot: 4, summary: summary(detail) },
            _ => Message::Summary { slot: 4, summary: summary(detail) },
        };
        all.push((format!("summary: {name}"), 3, message));
    }
    all
}

fn decode(bytes: &[u8]) -> Result<(u64, Message), String> {
    let (number, message) = take_number(bytes).ok_or("no number")?;
    Message::decode(message).map(|message| (number, message)).map_err(|error| error.to_string())
}

fn refused() -> Vec<RefusedBytes> {
    let close = numbered(3, &Message::Close { slot: 4 });
    let ids = |count| vec![CommitId([3; 32]); count];
    let ack = |code: &str| {
        let refused = vec![Verdict { hash: [1; 32], code: code.into() }];
        numbered(3, &Message::Ack { slot: 4, number: 1, refused, digest: [4; 8] })
    };
    let proofs = vec![(AuthorId([1; 32]), Signature([2; 64])); MAX_PROOFS + 1];
    let (space, author) = (SpaceId([9; 32]), AuthorId([7; 32]));
    let long = AccessRequest { space, author, permission: Permission::Read, note: "x".repeat(MAX_NOTE + 1) };
    let found = vec![Discovered { space, name: String::new() }; MAX_FOUND + 1];
    let changed = vec![Changed { space, digest: [4; 8] }; MAX_CHANGED + 1];
    let located = Located { documents: vec![(space, Vec::new()); MAX_LOCATED + 1], ..Located::default() };
    let hello = |items: &[u8]| [&[0][..], items, &[0x50], &[1; 16]].concat();
    vec![
        ("nothing", Vec::new()),
        ("no message", vec![3]),
        ("a number that is not in its shortest form", [&[0x83, 0][..], &close[1..]].concat()),
        ("a number of 65 bits", [&[0xff; 9][..], &[2], &close[1..]].concat()),
        ("a code that does not exist", vec![3, 0x82, 0x18, 0x63, 4]),
        ("an item too few", vec![3, 0x81, 9]),
        ("an item too many", vec![3, 0x83, 9, 4, 0]),
        ("a list without a length", vec![3, 0x9f, 9, 4, 0xff]),
        ("a slot that is not in its shortest form", vec![3, 0x82, 9, 0x18, 4]),
        ("a negative slot", vec![3, 0x82, 9, 0x20]),
        ("bytes after it", [&close[..], &[0]].concat()),
        ("a map", vec![3, 0xa1, 9, 4]),
        ("a greeting of version 1 with an item more", hello(&[0x84, 0, 1, 0])),
        ("a proof too many", numbered(1, &Message::Proof(proofs))),
        ("a wish too many", numbered(3, &Message::Want { slot: 4, ids: ids(MAX_WANTED + 1), again: None })),
        (
            "a head too many",
            numbered(3, &Message::End { slot: 4, digest: [1; 8], heads: ids(MAX_SUMMARY_HEADS + 1) }),
        ),
        ("a code in capitals", ack("Bad_header")),
        ("a code of 65 bytes", ack(&"x".repeat(65))),
        ("a note of 4097 bytes", numbered(3, &Message::Request { number: 0, request: long })),
        ("a space too many", numbered(3, &Message::Found { number: 0, spaces: found, more: true })),
        ("a space that changed too many", numbered(3, &Message::Changed(changed))),
        ("a document too many", numbered(3, &Message::Located { number: 0, located })),
        (
            "a look-up by something that does not exist",
            [&[3, 0x85, 0x18, 26, 0, 0x61, 0x78, 0x82, 2, 0x58, 32][..], &[7; 32], &[0xf6]].concat(),
        ),
        ("an answer that does not exist", vec![3, 0x84, 0x18, 31, 0, 4, 0xf6]),
        ("a refusal with an id", [&[3, 0x84, 0x18, 31, 0, 0, 0x58, 32][..], &[1; 32]].concat()),
        ("a frame that is text", [&[3, 0x85, 4, 4, 1, 0x48][..], &[4; 8], &[0x63], b"abc"].concat()),
    ]
    .into_iter()
    .map(|(name, bytes)| RefusedBytes::new(name, bytes, decode))
    .collect()
}

#[test]
fn messages_are_the_bytes_that_the_vectors_say() {
    let cases = messages().into_iter().map(|(name, number, message)| Case {
        name,
        number: number.to_string(),
        says: MessageFields::of(&message),
        bytes: Hex(numbered(number, &message)),
    });
    let file = File {
        about: "bytes: the number of the message in the session in LEB128, then the message. says: the same in JSON, with \
                ids as text and numbers of 64 bits as decimal texts. newer: a greeting of a newer version, of which only the \
                version is read. refused: what ends a connection by its bytes alone."
            .into(),
        messages: cases.collect(),
        newer: Newer {
            bytes: Hex([&[0, 0x84, 0, 2, 0x61, 0x78, 0x50][..], &[1; 16]].concat()),
            version: "2".into(),
        },
        refused: refused(),
    };
    hold("messages", &file, |file: File| {
        for case in &file.messages {
            let number: u64 = case.number.parse().unwrap();
            let message = case.says.message();
            assert_eq!(decode(&case.bytes.0), Ok((number, message.clone())), "{}", case.name);
            assert_eq!(numbered(number, &message), case.bytes.0, "{}", case.name);
        }
        match decode(&file.newer.bytes.0) {
            Ok((0, Message::Hello { version, .. })) => assert_eq!(version.to_string(), file.newer.version),
            other => panic!("{other:?}"),
        }
        file.refused.iter().for_each(|refused| refused.check(decode));
    });
}
