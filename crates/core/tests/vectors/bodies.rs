//! Bodies of document and rule commits: edits, operators, retractions, and what makes a body have no effect.

use driftless_core::cbor::Writer;
use driftless_core::commit::{DocumentBody, RuleBody, body_hash};
use driftless_core::document_id::DocumentId;
use driftless_core::id::{AuthorId, CommitId, SpaceId};
use driftless_core::operator::{Edit, Operator, operators_to_value};
use driftless_core::rules::{Permission, RuleOperator, Shown, Strength, Subject};
use driftless_core::sign::Signature;
use driftless_core::value::{Map, Number, Path, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Hex, RefusedBytes, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<B> {
    about: String,
    valid: Vec<Valid<B>>,
    refused: Vec<RefusedBytes>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Valid<B> {
    name: String,
    bytes: Hex,
    hash: Hex,
    salt: Hex,
    // Whether what is known of it, encoded again, gives these bytes: not if there are unknown keys.
    whole: bool,
    body: B,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Documents {
    edits: Vec<EditText>,
    retracts: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EditText {
    collection: String,
    id: String,
    operators: String,
}

const SALT: [u8; 16] = [0x5a; 16];

fn describe(body: &DocumentBody) -> Documents {
    let edit = |edit: &Edit| EditText {
        collection: edit.collection.to_string(),
        id: edit.document.to_string(),
        operators: operators_to_value(&edit.operators).to_json(),
    };
    Documents {
        edits: body.edits.iter().map(edit).collect(),
        retracts: body.retracts.iter().map(CommitId::to_string).collect(),
    }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn edit(operators: Vec<Operator>) -> Edit {
    Edit { collection: "notes".into(), document: DocumentId::from(1), operators }
}

fn fields(json: &str) -> Map {
    Map::from_json(json).unwrap()
}

fn value(json: &str) -> Value {
    Value::from_json(json).unwrap()
}

fn documents() -> Vec<Valid<Documents>> {
    let one = |operator| DocumentBody { edits: vec![edit(vec![operator])], retracts: Vec::new() };
    let leaving = vec![Operator::Moved { to: SpaceId([6; 32]) }, Operator::Delete];
    let moved = DocumentBody { edits: vec![edit(leaving)], retracts: Vec::new() };
    let values = || vec![value("1"), value("\"two\""), value("[3]")];
    let parent = Some(DocumentId::string("home").unwrap());
    let retract = DocumentBody { edits: Vec::new(), retracts: vec![CommitId([9; 32]), CommitId([8; 32])] };
    let all = DocumentBody {
        edits: vec![
            edit(vec![
                Operator::Set { path: path("a"), value: value("1") },
                Operator::Unset { path: path("b.c") },
            ]),
            Edit {
                collection: "Städte".into(),
                document: DocumentId::random([7; 16]),
                operators: vec![Operator::Delete],
            },
            edit(Vec::new()),
        ],
        retracts: vec![CommitId([9; 32])],
    };
    let long_path = Path::new((0..32).map(|n| n.to_string()).collect()).unwrap();
    let cases = [
        ("nothing", DocumentBody::default()),
        ("$insert", one(Operator::Insert { fields: fields(r#"{"bb":1,"a":2}"#), parent: None })),
        ("$insert with a parent", one(Operator::Insert { fields: Map::new(), parent })),
        ("$set", one(Operator::Set { path: path("a.b"), value: value(r#"{"x":[null,true,-0.0]}"#) })),
        ("a path of 32 keys", one(Operator::Set { path: long_path, value: value("null") })),
        ("a path with a dot in a key", one(Operator::Unset { path: path(r#"["a.b",""]"#) })),
        ("$unset", one(Operator::Unset { path: path("a") })),
        ("$inc", one(Operator::Increment { path: path("n"), by: Number::I64(-5) })),
        ("$push", one(Operator::Push { path: path("l"), values: values() })),
        ("$pull of several values", one(Operator::Pull { path: path("l"), values: values() })),
        ("$addToSet", one(Operator::AddToSet { path: path("l"), values: vec![value("1.0")] })),
        ("$delete", one(Operator::Delete)),
        ("$restore", one(Operator::Restore)),
        ("a document that moves", moved),
        ("an operator of a newer version", one(Operator::Unknown(vec![0x82, 0x18, 0x63, 0xf6]))),
        ("retractions", retract),
        ("several edits and a retraction", all),
    ];
    let mut valid: Vec<_> = cases
        .map(|(name, body)| {
            let bytes = body.encode(SALT);
            let (hash, salt) = (Hex::of(body_hash(&bytes)), Hex::of(SALT));
            Valid { name: name.into(), bytes: Hex(bytes), hash, salt, whole: true, body: describe(&body) }
        })
        .into();
    let bytes = framed(&[&[0xa2, 0, 0x80], &[0x18, 99, 0x61, b'x'][..]].concat());
    let body = describe(&DocumentBody::decode(&bytes).unwrap());
    let hash = Hex::of(body_hash(&bytes));
    let (name, salt) = ("a key of a newer version".into(), Hex::of(SALT));
    valid.push(Valid { name, bytes: Hex(bytes), hash, salt, whole: false, body });
    valid
}

// A body of this map.
fn framed(map: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(2).bytes(&SALT).raw(map);
    writer.finish()
}

// A body of these items under key 0.
fn items(items: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.map(1).u64(0).array(items.len() as u64);
    for item in items {
        writer.raw(item);
    }
    framed(&writer.finish())
}

// A body with one edit, of this operator.
fn operator(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(3).str("notes").u64(1).array(1).raw(bytes);
    items(&[&writer.finish()])
}

// A body with one edit of no operators, of this collection and document.
fn place(collection: &str, id: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(3).str(collection).raw(id).array(0);
    items(&[&writer.finish()])
}

fn refused_documents() -> Vec<RefusedBytes> {
    let set = |path: &[&str], value: &[u8]| {
        let mut writer = Writer::default();
        writer.array(3).u64(1).array(path.len() as u64);
        for key in path {
            writer.str(key);
        }
        writer.raw(value);
        operator(&writer.finish())
    };
    let nan = [&[0xfb, 0x7f, 0xf8][..], &[0; 6]].concat();
    let deep = [&[0x81; 65][..], &[0]].concat();
    let whole = DocumentBody::default().encode(SALT);
    // The key after the list must not be taken for the code.
    let codeless = [&[0xa2, 0, 0x81, 0x83, 0x61, b'n', 1, 0x81, 0x80], &[0x18, 99, 0][..]].concat();
    let text = |text: &str| {
        let mut writer = Writer::default();
        writer.str(text);
        writer.finish()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("a byte after the end", [&whole[..], &[0]].concat()),
        ("a salt of 15 bytes", [&[0x82, 0x4f][..], &[0; 15], &[0xa0]].concat()),
        ("three elements", [&[0x83], &whole[1..], &[0]].concat()),
        ("a list in the place of the map", framed(&[0x80])),
        ("a text as key", framed(&[0xa1, 0x61, b'x', 0])),
        ("a negative key", framed(&[0xa1, 0x20, 0])),
        ("keys out of order", framed(&[0xa2, 1, 0x80, 0, 0x80])),
        ("a key twice", framed(&[0xa2, 0, 0x80, 0, 0x80])),
        ("edits that are no list", framed(&[0xa1, 0, 0])),
        ("an edit of two elements", items(&[&[0x82, 0x61, b'n', 1]])),
        ("a collection without a name", place("", &[1])),
        ("a collection that begins with _", place("_notes", &[1])),
        ("a collection that begins with $", place("$notes", &[1])),
        ("a control character in a collection", place("no\ntes", &[1])),
        ("a collection of 257 bytes", place(&"n".repeat(257), &[1])),
        ("a float as document id", place("notes", &[0xfb, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("null as document id", place("notes", &[0xf6])),
        ("an empty list as document id", place("notes", &[0x80])),
        ("a list in a list as document id", place("notes", &[0x81, 0x81, 1])),
        ("a text that looks like a random id", place("notes", &text(&format!("~{}", "a".repeat(26))))),
        ("a document id of 1,025 bytes", place("notes", &text(&"x".repeat(1022)))),
        ("an operator that is no list", operator(&[7])),
        ("an operator without code", operator(&[0x80])),
        ("an operator without code, then an unknown key", framed(&codeless)),
        ("a text as code", operator(&[0x81, 0x61, b'x'])),
        ("$delete with an argument", operator(&[0x82, 7, 0])),
        ("$set without a value", operator(&[0x82, 1, 0x81, 0x61, b'a'])),
        ("$inc by a text", operator(&[0x83, 3, 0x81, 0x61, b'n', 0x61, b'1'])),
        ("$push of what is no list", operator(&[0x83, 4, 0x81, 0x61, b'l', 1])),
        ("$insert of a list", operator(&[0x82, 0, 0x80])),
        ("an empty path", set(&[], &[0])),
        ("a path of 33 keys", set(&["a"; 33], &[0])),
        ("a path to a system field", set(&["_id"], &[0])),
        ("a path with $", set(&["a", "$b"], &[0])),
        ("a number as key of a map", set(&["a"], &[0xa1, 0, 0])),
        ("a reserved key in a map", set(&["a"], &[0xa1, 0x62, b'_', b'x', 0])),
        ("keys of a map out of order", set(&["a"], &[0xa2, 0x62, b'a', b'a', 0, 0x61, b'b', 0])),
        ("an integer beyond i64", set(&["a"], &[0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        ("a float of 2 bytes", set(&["a"], &[0xf9, 0, 0])),
        ("not a number", set(&["a"], &nan)),
        ("undefined", set(&["a"], &[0xf7])),
        ("text that is not UTF-8", set(&["a"], &[0x61, 0xff])),
        ("a value 65 deep", set(&["a"], &deep)),
        ("an unknown operator that is not canonical", operator(&[0x82, 0x18, 0x63, 0x18, 1])),
        ("a retracted id of 31 bytes", framed(&[&[0xa1, 1, 0x81, 0x58, 31][..], &[0; 31]].concat())),
    ];
    cases.into_iter().map(|(name, bytes)| RefusedBytes::new(name, bytes, DocumentBody::decode)).collect()
}

#[test]
fn document_bodies_are_read_and_written_as_the_vectors_say() {
    let about = "hash: of bytes under driftless/body/1. operators: as people see them, JSON in a text. refused: such a \
                 body has no effect, its commit stays. reason: a sentence of ours.";
    let file = File { about: about.into(), valid: documents(), refused: refused_documents() };
    hold("document_bodies", &file, |file: File<Documents>| {
        for case in &file.valid {
            let body = DocumentBody::decode(&case.bytes.0).unwrap();
            assert_eq!(describe(&body), case.body, "{}", case.name);
            assert_eq!(body.encode(case.salt.array()) == case.bytes.0, case.whole, "{}", case.name);
            assert_eq!(body_hash(&case.bytes.0), case.hash.array(), "{}", case.name);
        }
        file.refused.iter().for_each(|refused| refused.check(DocumentBody::decode));
    });
}

fn shown(proof: &[Shown]) -> serde_json::Value {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let one = |shown: &Shown| {
        let signature = shown.signature.as_ref().map(|signature| hex(&signature.0));
        json!({ "header": hex(&shown.header), "signature": signature, "body": shown.body.as_deref().map(hex) })
    };
    proof.iter().map(one).collect()
}

/// What a rule operator says, in JSON.
fn show(operator: &RuleOperator) -> serde_json::Value {
    let permission = |permission: &Permission| match permission {
        Permission::Read => json!("read"),
        Permission::Write(strength) => json!({ "write": strength.0 }),
        Permission::Admin(strength) => json!({ "admin": strength.0 }),
    };
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    match operator {
        RuleOperator::Grant { subject, permission: given, keep } => json!({ "grant": {
            "subject": match subject {
                Subject::Key(author) => author.to_string(),
                Subject::Anyone => "*".into(),
                Subject::Space(space) => space.to_string(),
            },
            "permission": given.as_ref().map(permission),
            "keep": keep,
        }}),
        RuleOperator::Name(name) => json!({ "name": name }),
        RuleOperator::Setting { key, value } => json!({ "setting": { "key": key, "value": hex(value) } }),
        RuleOperator::Invite { key, permission: given, uses, expires_ms } => json!({ "invite": {
            "key": hex(key), "permission": permission(given), "uses": uses, "expires_ms": expires_ms,
        }}),
        RuleOperator::Redeem { invite, index, proof } => {
            json!({ "redeem": { "invite": invite, "index": index, "proof": hex(&proof.0) } })
        }
        RuleOperator::EndInvite { invite, index, keep } => {
            json!({ "end_invite": { "invite": invite, "index": index, "keep": keep } })
        }
        RuleOperator::Enrol { grant, index, proof } => {
            json!({ "enrol": { "grant": grant, "index": index, "proof": shown(proof) } })
        }
        RuleOperator::Withdraw { space, key, proof, keep } => {
            json!({ "withdraw": { "space": space, "key": key, "proof": shown(proof), "keep": keep } })
        }
        RuleOperator::Unknown { raw } => json!({ "unknown": hex(raw) }),
    }
}

fn show_all(body: &RuleBody) -> serde_json::Value {
    body.operators.iter().map(show).collect()
}

fn rules() -> Vec<Valid<serde_json::Value>> {
    let key = Subject::Key(AuthorId([1; 32]));
    let grant = |subject, permission| RuleOperator::Grant { subject, permission, keep: None };
    let cut = |keep| RuleOperator::Grant { subject: key, permission: None, keep: Some(keep) };
    let invite = |uses, expires_ms| RuleOperator::Invite {
        key: [2; 32],
        permission: Permission::Write(Strength(7)),
        uses,
        expires_ms,
    };
    let ids = vec![CommitId([3; 32]), CommitId([4; 32])];
    let one = CommitId([3; 32]);
    let redeem = RuleOperator::Redeem { invite: one, index: 1, proof: Signature([5; 64]) };
    let end = RuleOperator::EndInvite { invite: one, index: 0, keep: ids.clone() };
    let team = Subject::Space(SpaceId([6; 32]));
    // Bodies are read whatever a proof shows; rules look into it.
    let proof = vec![
        Shown { header: vec![1, 2], signature: None, body: Some(vec![3]) },
        Shown { header: vec![4], signature: Some(Signature([5; 64])), body: None },
    ];
    let enrol = RuleOperator::Enrol { grant: one, index: 1, proof: proof.clone() };
    let (space, member) = (SpaceId([6; 32]), AuthorId([7; 32]));
    let withdraw = RuleOperator::Withdraw { space, key: member, proof, keep: ids.clone() };
    let owner = grant(key, Some(Permission::Admin(Strength(0))));
    let weakest = Permission::Write(Strength(u32::MAX));
    let cases = [
        ("nothing", vec![]),
        ("admin of strength 0", vec![owner.clone()]),
        (
            "write of strength 9 for anyone",
            vec![grant(Subject::Anyone, Some(Permission::Write(Strength(9))))],
        ),
        ("the weakest write", vec![grant(key, Some(weakest))]),
        ("read", vec![grant(key, Some(Permission::Read))]),
        ("none, without keep", vec![grant(key, None)]),
        ("none, keeping nothing", vec![cut(vec![])]),
        ("none, keeping two", vec![cut(ids)]),
        ("a name", vec![RuleOperator::Name("Küche".into())]),
        ("a setting", vec![RuleOperator::Setting { key: "colour".into(), value: vec![0x82, 1, 0xf5] }]),
        ("an invite without bounds", vec![invite(None, None)]),
        ("an invite with bounds", vec![invite(Some(3), Some(1_700_000_000_000))]),
        ("a redeem", vec![redeem]),
        ("the end of an invite", vec![end]),
        ("read for those of a space", vec![grant(team, Some(Permission::Read))]),
        ("an enrol", vec![enrol]),
        ("a withdraw", vec![withdraw]),
        ("an operator of a newer version", vec![RuleOperator::Unknown { raw: vec![0x82, 8, 0xf6] }]),
        ("a subject of a newer version", vec![RuleOperator::Unknown { raw: vec![0x83, 0, 0x81, 1, 0xf6] }]),
        ("several", vec![owner, RuleOperator::Name("list".into()), invite(Some(1), None)]),
    ];
    let mut valid: Vec<_> = cases
        .map(|(name, operators)| {
            let body = RuleBody { operators };
            let (bytes, salt) = (body.encode(SALT), Hex::of(SALT));
            let hash = Hex::of(body_hash(&bytes));
            Valid { name: name.into(), bytes: Hex(bytes), hash, salt, whole: true, body: show_all(&body) }
        })
        .into();
    let bytes = framed(&[0xa2, 0, 0x80, 1, 0x80]);
    let body = show_all(&RuleBody::decode(&bytes).unwrap());
    let hash = Hex::of(body_hash(&bytes));
    let (name, salt) = ("a key of a newer version".into(), Hex::of(SALT));
    valid.push(Valid { name, bytes: Hex(bytes), hash, salt, whole: false, body });
    valid
}

fn refused_rules() -> Vec<RefusedBytes> {
    let id = |byte: u8| [&[0x58, 32][..], &[byte; 32]].concat();
    let keep = |ids: &[u8]| {
        let ids: Vec<u8> = ids.iter().flat_map(|byte| id(*byte)).collect();
        let count = u8::try_from(ids.len() / 34).unwrap();
        items(&[&[&[0x84, 0][..], &id(1), &[0xf6, 0x80 | count], &ids].concat()])
    };
    let permission = |permission: &[u8]| items(&[&[&[0x83, 0, 0xf6], permission].concat()]);
    let named = |name: &str| {
        let mut writer = Writer::default();
        writer.array(2).u64(1).str(name);
        items(&[&writer.finish()])
    };
    let many = items(&[&[0x81, 6][..]; 257]);
    let deep = [&[0x83, 2, 0x61, b'x'][..], &[0x81; 65], &[0]].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a grant of two elements", items(&[&[0x82, 0, 0xf6]])),
        ("a permission of no kind", permission(&[0x81, 3])),
        ("read with a strength", permission(&[0x82, 0, 1])),
        ("write without a strength", permission(&[0x81, 1])),
        ("a strength beyond 32 bits", permission(&[0x82, 1, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0])),
        ("kept commits out of order", keep(&[2, 1])),
        ("a kept commit twice", keep(&[1, 1])),
        ("a name of 257 bytes", named(&"n".repeat(257))),
        ("a name that is no text", items(&[&[0x82, 1, 1]])),
        ("a setting nested too deep", items(&[&deep])),
        ("a redeem without proof", items(&[&[&[0x83, 4][..], &id(1), &[0]].concat()])),
        ("257 operators", many),
        ("an operator without code", items(&[&[0x80]])),
        ("a negative code", items(&[&[0x81, 0x20]])),
    ];
    cases.into_iter().map(|(name, bytes)| RefusedBytes::new(name, bytes, RuleBody::decode)).collect()
}

#[test]
fn rule_bodies_are_read_and_written_as_the_vectors_say() {
    let about = "hash: of bytes under driftless/body/1. A rule commit with a refused body is refused. reason: a \
                 sentence of ours.";
    let file = File { about: about.into(), valid: rules(), refused: refused_rules() };
    hold("rule_bodies", &file, |file: File<serde_json::Value>| {
        for case in &file.valid {
            let body = RuleBody::decode(&case.bytes.0).unwrap();
            assert_eq!(show_all(&body), case.body, "{}", case.name);
            assert_eq!(body.encode(case.salt.array()) == case.bytes.0, case.whole, "{}", case.name);
            assert_eq!(body_hash(&case.bytes.0), case.hash.array(), "{}", case.name);
        }
        file.refused.iter().for_each(|refused| refused.check(RuleBody::decode));
    });
}
