//! Decoders of bytes: headers, bodies, frames, messages, values, ids, stored documents. What is accepted is its own
//! canonical form, or comes back the same where more is kept than is known.

use driftless_core::cbor::{Reader, Writer, check};
use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, RuleBody, Vouched, vouch};
use driftless_core::document_id::DocumentId;
use driftless_core::fold::DocumentState;
use driftless_core::frame::{self, FrameBuilder, FrameCommit};
use driftless_core::id::{AuthorId, CommitId, RequestId, SpaceId, UserId};
use driftless_core::operator::{Edit, Operator, operators_from_json, operators_to_value};
use driftless_core::reconcile::{Clock, Detail, Entry, Filter as Known, Summary};
use driftless_core::rules::{Permission, RuleOperator, Shown, Strength, Subject};
use driftless_core::session::{
    AccessRequest, Answer, Changed, Creator, Cursor, Discovered, InviteProof, Located, Lookup, Message,
    PROTOCOL_VERSION, Pass, Verdict,
};
use driftless_core::sign::Signature;
use driftless_core::sketch::Cell;
use driftless_core::value::{Map, Path, Value, index_key};

use crate::signed::key;

pub(crate) fn header(input: &[u8]) {
    if let Ok(header) = Header::decode(input) {
        assert_eq!(header.encode(), input);
        let _ = header.all_parents().count();
    }
}

// Bodies are stored as they came and may hold more than is known: then what is known comes back the same.
pub(crate) fn body(input: &[u8]) {
    let Ok(body) = DocumentBody::decode(input) else { return };
    let again = body.encode(salt(input));
    assert_eq!(DocumentBody::decode(&again).as_ref(), Ok(&body));
    if keys(input) == keys(&again) {
        assert_eq!(again, input);
    }
    let mut state = DocumentState::default();
    for (at, edit) in body.edits.iter().enumerate() {
        let bytes = edit.to_cbor();
        assert_eq!(Edit::decode(&mut Reader::new(&bytes)).as_ref(), Ok(edit));
        operators_to_value(&edit.operators);
        state.apply(Timestamp(at as u64 + 1), AuthorId([1; 32]), &edit.operators);
    }
    let bytes = state.to_bytes();
    assert_eq!(DocumentState::from_bytes(&bytes).map(|state| state.to_bytes()), Ok(bytes));
}

pub(crate) fn rules(input: &[u8]) {
    let Ok(body) = RuleBody::decode(input) else { return };
    let again = body.encode(salt(input));
    assert_eq!(RuleBody::decode(&again).as_ref(), Ok(&body));
    if keys(input) == keys(&again) {
        assert_eq!(again, input);
    }
}

fn salt(body: &[u8]) -> [u8; 16] {
    let mut reader = Reader::new(body);
    let salt = reader.array_of(2).and_then(|()| reader.array_bytes());
    salt.expect("a body that was decoded begins with its salt")
}

// The keys of a body that was decoded.
fn keys(body: &[u8]) -> Vec<u64> {
    let mut reader = Reader::new(body);
    let count = reader.array_of(2).and_then(|()| reader.bytes().map(drop)).and_then(|()| reader.map());
    let count = count.expect("a body that was decoded holds a map");
    let key = |reader: &mut Reader<'_>| {
        let key = reader.u64()?;
        reader.raw().map(|_| key)
    };
    (0..count).map(|_| key(&mut reader).expect("its keys are integers")).collect()
}

/// The space, then a frame.
pub(crate) fn frame(input: &[u8]) {
    let Some((space, bytes)) = input.split_first_chunk() else { return };
    let space = SpaceId(*space);
    let Ok(received) = frame::decode(&space, bytes) else { return };
    let headers: Option<Vec<Header>> =
        received.iter().map(|commit| Header::decode(&commit.header).ok()).collect();
    if let Some(headers) = headers {
        // Every header is one: written again, the frame says the same.
        let mut builder = FrameBuilder::new(space);
        let fits = received.iter().zip(&headers).all(|(commit, header)| {
            assert_eq!(header.encode(), commit.header);
            let id = driftless_core::commit::commit_id(&commit.header);
            let body = commit.body.as_deref();
            builder.push(FrameCommit { header, id, signature: commit.signature, body }).is_ok()
        });
        if fits {
            let again = builder.finish_keeping_signatures();
            assert_eq!(frame::decode(&space, &again).as_ref(), Ok(&received));
        }
    }
    let count = received.len();
    let sorted = vouch(received);
    assert!(sorted.vouched.len() <= count && sorted.verified as usize <= count);
    for commit in &sorted.vouched {
        assert!(commit.body().is_none_or(|body| body.len() == commit.header().body_length as usize));
    }
}

pub(crate) fn message(input: &[u8]) {
    match Message::decode(input) {
        // Of a greeting that says more than we know, only the version is taken.
        Ok(Message::Hello { version, .. }) if version != PROTOCOL_VERSION => {}
        Ok(message) => assert_eq!(message.encode(), input),
        Err(_) => {}
    }
}

pub(crate) fn value(input: &[u8]) {
    if let Ok(value) = Value::from_cbor(input) {
        assert_eq!(value.to_cbor(), input);
        assert_eq!(Value::from_json(&value.to_json()), Ok(value.clone()));
        assert!(value.compare(&value).is_eq() && value.same(&value));
        index_key(&value);
        if let Ok(id) = DocumentId::from_value(&value) {
            assert_eq!(DocumentId::from_value(&id.to_value()), Ok(id));
        }
    }
    if let Ok(id) = DocumentId::from_cbor(input) {
        assert_eq!(id.to_cbor(), input);
        assert_eq!(DocumentId::parse_text(&id.to_string()), Ok(id));
    }
    if check(input, 2).is_ok()
        && let Ok(path) = Path::decode(&mut Reader::new(input))
    {
        let mut writer = Writer::default();
        path.encode(&mut writer);
        assert_eq!(writer.finish(), input);
    }
}

/// A document as a checkpoint holds it.
pub(crate) fn stored(input: &[u8]) {
    let Ok(state) = DocumentState::from_bytes(input) else { return };
    let bytes = state.to_bytes();
    assert_eq!(DocumentState::from_bytes(&bytes).map(|state| state.to_bytes()), Ok(bytes));
    let edit = operators_from_json(crate::texts::OPERATORS).expect("the operators of the seeds");
    let mut next = state.clone();
    next.apply(Timestamp(u64::MAX), AuthorId([1; 32]), &edit);
    let bytes = next.to_bytes();
    assert_eq!(DocumentState::from_bytes(&bytes).map(|state| state.to_bytes()), Ok(bytes));
}

fn headers() -> Vec<Header> {
    let documents = Header {
        kind: Kind::Documents,
        continues: true,
        space: Some(SpaceId([1; 32])),
        author: AuthorId([2; 32]),
        seq: 300,
        previous: Some(CommitId([3; 32])),
        parents: vec![CommitId([4; 32]), CommitId([5; 32])],
        time: Timestamp(1 << 50),
        body_hash: [6; 32],
        body_length: 70_000,
        body_encoding: BodyEncoding::Sealed,
        extensions: vec![0xa1, 0x01, 0x82, 0x02, 0xa0],
    };
    let rules = Header {
        kind: Kind::Rules,
        continues: false,
        body_length: 100,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
        ..documents.clone()
    };
    let genesis = Header { space: None, seq: 1, previous: None, parents: vec![], ..rules.clone() };
    let parents = (0..64).map(|n| CommitId([n; 32])).collect();
    let joined = Header { seq: 1, previous: None, parents, ..rules.clone() };
    vec![documents, rules, genesis, joined]
}

pub(crate) fn header_seeds() -> Vec<Vec<u8>> {
    headers().iter().map(Header::encode).collect()
}

pub(crate) fn edits() -> Vec<Edit> {
    let fields = Map::from_json(crate::texts::DOCUMENT).expect("the document of the seeds");
    let mut operators = vec![Operator::Insert { fields, parent: Some(DocumentId::from(7)) }];
    operators.extend(operators_from_json(crate::texts::OPERATORS).expect("the operators of the seeds"));
    operators.push(Operator::Unknown(vec![0x82, 0x18, 0x63, 0x01]));
    let edit = |document, operators| Edit { collection: "notes".into(), document, operators };
    vec![
        edit(DocumentId::random([1; 16]), operators),
        edit(DocumentId::from(7), vec![Operator::Delete]),
        edit(DocumentId::from(-1), vec![Operator::Restore]),
        edit(DocumentId::from(-2), vec![Operator::Moved { to: SpaceId([4; 32]) }, Operator::Delete]),
    ]
}

pub(crate) fn body_seeds() -> Vec<Vec<u8>> {
    let edits = edits();
    let mut bodies: Vec<DocumentBody> = Vec::new();
    bodies.extend(edits.iter().map(|edit| DocumentBody { edits: vec![edit.clone()], retracts: vec![] }));
    bodies.push(DocumentBody { edits, retracts: vec![CommitId([8; 32])] });
    bodies.push(DocumentBody::default());
    let mut seeds: Vec<_> = bodies.iter().map(|body| body.encode([9; 16])).collect();
    let mut unknown = Writer::default();
    unknown.array(2).bytes(&[9; 16]).map(2).u64(0).array(0).u64(9).array(1).null();
    seeds.push(unknown.finish());
    seeds
}

pub(crate) fn rule_operators() -> Vec<RuleOperator> {
    let subject = Subject::Key(key(9).id());
    let permission = Permission::Write(Strength(300));
    let proof = vec![
        Shown { header: vec![0x80], signature: Some(Signature([6; 64])), body: None },
        Shown { header: vec![0x80], signature: None, body: Some(vec![0x82]) },
    ];
    vec![
        RuleOperator::Grant {
            subject: Subject::Anyone,
            permission: Some(permission),
            keep: Some(vec![CommitId([1; 32]), CommitId([2; 32])]),
        },
        RuleOperator::Grant { subject, permission: None, keep: Some(vec![]) },
        RuleOperator::Grant { subject, permission: Some(Permission::Admin(Strength(0))), keep: None },
        RuleOperator::Name("winter".into()),
        RuleOperator::Setting { key: "policy".into(), value: vec![0x82, 1, 0xa0] },
        RuleOperator::Invite { key: [4; 32], permission, uses: Some(3), expires_ms: Some(1 << 41) },
        RuleOperator::Redeem { invite: CommitId([5; 32]), index: 0, proof: Signature([6; 64]) },
        RuleOperator::EndInvite { invite: CommitId([5; 32]), index: 1, keep: vec![CommitId([7; 32])] },
        RuleOperator::Grant {
            subject: Subject::Space(SpaceId([8; 32])),
            permission: Some(permission),
            keep: None,
        },
        RuleOperator::Enrol { grant: CommitId([5; 32]), index: 2, proof: proof.clone() },
        RuleOperator::Withdraw { space: SpaceId([8; 32]), key: key(9).id(), proof, keep: vec![] },
        RuleOperator::Unknown { raw: vec![0x82, 0x18, 0x63, 0x01] },
    ]
}

pub(crate) fn rules_seeds() -> Vec<Vec<u8>> {
    let all = rule_operators();
    let one = all.iter().map(|operator| RuleBody { operators: vec![operator.clone()] });
    one.chain([RuleBody { operators: all.clone() }]).map(|body| body.encode([9; 16])).collect()
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let space = SpaceId([1; 32]);
    let body = body_seeds().swap_remove(0);
    let first = headers().swap_remove(3);
    let mut commits =
        vec![Vouched::sign(first, rules_seeds().swap_remove(0), &key(3)).expect("a rule commit")];
    for at in 0..4 {
        let last = commits.last().expect("the first commit");
        let header = Header {
            kind: Kind::Documents,
            continues: at == 1,
            seq: last.header().seq + 1,
            previous: Some(last.id()),
            parents: if at == 2 { vec![CommitId([7; 32])] } else { vec![] },
            time: Timestamp(last.header().time.0 + (at << 16) + 1),
            ..last.header().clone()
        };
        commits.push(Vouched::sign(header, body.clone(), &key(3)).expect("a document commit"));
    }
    let written = |count: usize, keeping: bool, bodies: bool| {
        let mut builder = FrameBuilder::new(space);
        for commit in commits.iter().take(count) {
            let commit = FrameCommit::from(commit);
            builder.push(FrameCommit { body: commit.body.filter(|_| bodies), ..commit }).expect("it fits");
        }
        let frame = if keeping { builder.finish_keeping_signatures() } else { builder.finish() };
        [&space.0[..], &frame].concat()
    };
    vec![written(1, false, true), written(5, false, true), written(5, true, true), written(5, false, false)]
}

pub(crate) fn messages() -> Vec<Message> {
    let entry = |seq| Entry { tag: [1; 4], seq, check: [2; 4] };
    let heads = vec![CommitId([3; 32]), CommitId([4; 32])];
    let clock = Clock(vec![entry(0), entry(300)]);
    let known = Known::from_bytes(&[7; 5]).expect("a small filter");
    let summary = |detail| Summary { digest: [5; 8], detail };
    let invite = InviteProof {
        invite: CommitId([6; 32]),
        index: 70_000,
        joiner: AuthorId([7; 32]),
        proof: Signature([8; 64]),
    };
    let space = SpaceId([9; 32]);
    let lookup = |by, after| Lookup { collection: "profile".into(), by, after };
    let request = |permission, note: &str| {
        let author = AuthorId([7; 32]);
        AccessRequest { space, author, permission, note: note.into() }
    };
    let verdict = Verdict { hash: [1; 32], code: "bad_header".into() };
    let cursor = Cursor { store: [1; 16], at: 70_000, digest: [2; 8] };
    vec![
        Message::Hello { version: 1, nonce: [1; 16] },
        Message::Proof(vec![(AuthorId([1; 32]), Signature([2; 64])); 2]),
        Message::Open {
            slot: 24,
            space,
            invite: Some(Pass::Invite(invite)),
            summary: summary(Detail::Clock(clock.clone())),
        },
        Message::Open { slot: 0, space, invite: None, summary: Summary::default() },
        Message::Reopen { slot: 2, item: [3; 12], digest: [4; 8], clock: clock.clone() },
        Message::Spaces { count: 10_000, sum: [5; 8] },
        Message::Cells(vec![Cell { count: 300, sum: [6; 12], check: [7; 4] }; 2]),
        Message::Cells(Vec::new()),
        Message::More,
        Message::Rest { slot: 300 },
        Message::Have { slot: 3, summary: summary(Detail::Since([8; 8], clock.clone())) },
        Message::Have { slot: 3, summary: summary(Detail::Otherwise(clock)) },
        Message::Summary { slot: 3, summary: summary(Detail::Bare) },
        Message::Have { slot: 3, summary: summary(Detail::Recent([8; 8], known.clone())) },
        Message::Summary { slot: 3, summary: summary(Detail::Marks(vec![[6; 12]; 3])) },
        Message::Summary { slot: 3, summary: summary(Detail::Filter(vec![true; 9], known.clone())) },
        Message::Data { slot: 4, number: 1 << 40, frame: vec![1, 2, 3], digest: [4; 8] },
        Message::Ack { slot: 4, number: 256, refused: vec![verdict; 2], digest: [4; 8] },
        Message::End { slot: 4, digest: [1; 8], heads: heads.clone() },
        Message::Want { slot: 4, ids: heads.clone(), again: None },
        Message::Want {
            slot: 4,
            ids: heads,
            again: Some(summary(Detail::Again(3, vec![[6; 12]; 3], known))),
        },
        Message::Decline { slot: 4, reason: "too_many".into(), retry_after_ms: 5000 },
        Message::Close { slot: u64::MAX },
        Message::Pull { request: 0, space, cursor: None, budget: 1 << 19, wanted: vec![CommitId([3; 32])] },
        Message::Pull { request: 300, space, cursor: Some(cursor), budget: u64::MAX, wanted: Vec::new() },
        Message::Pulled { request: 0, frames: vec![vec![7; 30]; 2], cursor, more: true },
        Message::Stale { request: 0, cursor },
        Message::Withheld { request: 24 },
        Message::Request { number: 0, request: request(Permission::Write(Strength(7)), "hi, it is me") },
        Message::Request { number: 300, request: request(Permission::Read, "") },
        Message::Answer { number: 0, answer: Answer::Refused },
        Message::Answer { number: 1, answer: Answer::Allowed(Permission::Admin(Strength(300))) },
        Message::Answer { number: 2, answer: Answer::Queued(RequestId([3; 32])) },
        Message::Answer { number: 3, answer: Answer::Full },
        Message::Discover { number: 0, after: None },
        Message::Discover { number: 24, after: Some(space) },
        Message::Found { number: 0, spaces: Vec::new(), more: false },
        Message::Found { number: 1, spaces: vec![Discovered { space, name: "team".into() }; 2], more: true },
        Message::Changed(Vec::new()),
        Message::Changed(vec![Changed { space, digest: [3; 8] }; 2]),
        Message::Shared { number: 0, after: Some(space), pass: None },
        Message::Find { number: 1, lookup: lookup(Creator::Author(AuthorId([7; 32])), None) },
        Message::Find { number: 24, lookup: lookup(Creator::User(UserId([8; 32])), Some(space)) },
        Message::Located { number: 0, located: Located::default() },
        Message::Located {
            number: 1,
            located: Located { documents: vec![(space, vec![1, 2, 3]); 2], next: Some(space), cut: true },
        },
    ]
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    messages().iter().map(Message::encode).collect()
}

pub(crate) fn value_seeds() -> Vec<Vec<u8>> {
    let values = crate::texts::VALUES.iter().map(|text| Value::from_json(text).expect("a value").to_cbor());
    let list = DocumentId::list(vec![DocumentId::from(1), DocumentId::random([2; 16])]).expect("an id");
    let mut path = Writer::default();
    Path::parse("one.two.three").expect("a path").encode(&mut path);
    values.chain([list.to_cbor(), DocumentId::random([1; 16]).to_cbor(), path.finish()]).collect()
}

pub(crate) fn stored_seeds() -> Vec<Vec<u8>> {
    let mut state = DocumentState::default();
    let mut seeds = vec![state.to_bytes()];
    for (at, edit) in edits().into_iter().enumerate() {
        state.apply(Timestamp(at as u64 + 1), AuthorId([at as u8; 32]), &edit.operators);
        seeds.push(state.to_bytes());
    }
    seeds
}
