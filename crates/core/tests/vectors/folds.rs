//! Folds: the edits of one document in the order in which they arrived, and what the document then is.

use driftless_core::clock::Timestamp;
use driftless_core::document::Document;
use driftless_core::document_id::DocumentId;
use driftless_core::fold::{DocumentState, Position, document_digest, fold};
use driftless_core::id::{AuthorId, CommitId};
use driftless_core::operator::{Edit, Operator, operators_from_json, operators_to_value};
use driftless_core::value::Map;
use serde::{Deserialize, Serialize};

use crate::{Hex, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    cases: Vec<Case>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    arrival: Vec<Arrived>,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrived {
    time: String,
    commit: String,
    index: u32,
    author: String,
    edit: Hex,
    operators: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    exists: bool,
    deleted: bool,
    document: String,
    warnings: u32,
    state: Hex,
    // Of visible documents only.
    #[serde(deserialize_with = "Option::deserialize")]
    digest: Option<Hex>,
}

// Author, milliseconds, number of the commit, operators as JSON; `insert ..` stands for an insert of fields.
type Step = (&'static str, u64, u8, &'static str);

const CASES: [(&str, &[Step]); 16] = [
    ("an insert", &[("ann", 1, 1, r#"insert {"title":"Milk","n":1}"#)]),
    ("an edit of nothing creates", &[("ann", 1, 1, r#"{"$set":{"a.b":1}}"#)]),
    (
        "the last write of a field wins, in the order of time",
        &[
            ("ann", 1, 1, r#"insert {"a":0,"b":0}"#),
            ("ann", 3, 3, r#"{"$set":{"a":3}}"#),
            ("bob", 2, 2, r#"{"$set":{"a":2,"b":2}}"#),
        ],
    ),
    (
        "of two edits of one time the larger commit id comes last",
        &[
            ("ann", 1, 1, r#"insert {"a":0}"#),
            ("ann", 2, 9, r#"{"$set":{"a":"nine"}}"#),
            ("bob", 2, 3, r#"{"$set":{"a":"three"}}"#),
        ],
    ),
    (
        "two creators merge",
        &[("bob", 2, 2, r#"insert {"a":2,"b":2}"#), ("ann", 1, 1, r#"insert {"a":1,"c":1}"#)],
    ),
    (
        "a deletion hides, and edits go on underneath",
        &[
            ("ann", 1, 1, r#"insert {"n":1}"#),
            ("bob", 2, 2, r#"{"$delete":true}"#),
            ("ann", 3, 3, r#"{"$inc":{"n":5}}"#),
        ],
    ),
    (
        "what is restored has the edits of meanwhile",
        &[
            ("ann", 4, 4, r#"{"$restore":true}"#),
            ("ann", 1, 1, r#"insert {"n":1}"#),
            ("bob", 2, 2, r#"{"$delete":true}"#),
            ("ann", 3, 3, r#"{"$inc":{"n":5}}"#),
        ],
    ),
    (
        "an insert after a deletion begins anew",
        &[
            ("ann", 1, 1, r#"insert {"old":1}"#),
            ("bob", 2, 2, r#"{"$delete":true}"#),
            ("bob", 3, 3, r#"insert {"new":1}"#),
        ],
    ),
    (
        "an insert before a deletion that comes late does not",
        &[
            ("ann", 1, 1, r#"insert {"old":1}"#),
            ("bob", 2, 2, r#"insert {"new":1}"#),
            ("bob", 3, 3, r#"{"$delete":true}"#),
        ],
    ),
    ("a lone deletion makes nothing", &[("ann", 1, 1, r#"{"$delete":true}"#)]),
    (
        "counters add up, and become doubles",
        &[
            ("ann", 1, 1, r#"{"$inc":{"i":9223372036854775807,"d":1}}"#),
            ("bob", 2, 2, r#"{"$inc":{"i":1,"d":0.5}}"#),
        ],
    ),
    (
        "lists: push, pull by value, add what is not there",
        &[
            ("ann", 1, 1, r#"insert {"l":[1,2,"x",2.0]}"#),
            ("bob", 2, 2, r#"{"$push":{"l":{"$each":[3,[4]]}}}"#),
            ("ann", 3, 3, r#"{"$pull":{"l":2}}"#),
            ("bob", 4, 4, r#"{"$addToSet":{"l":{"$each":[1.0,"y","y"]}}}"#),
            ("bob", 5, 5, r#"{"$pullAll":{"l":["x",[4.0]]}}"#),
        ],
    ),
    (
        "what does not fit has no effect and warns",
        &[
            ("ann", 1, 1, r#"insert {"t":"text","l":[{"a":1}],"n":null}"#),
            ("bob", 2, 2, r#"[{"$inc":{"t":1,"n":1}},{"$push":{"t":1}},{"$set":{"l.0":2,"t.a":3}}]"#),
            ("bob", 3, 3, r#"[{"$unset":{"gone":""}},{"$unset":{"gone.too":""}}]"#),
        ],
    ),
    (
        "unset takes out, and the map around it stays",
        &[("ann", 1, 1, r#"insert {"a":{"b":1}}"#), ("ann", 2, 2, r#"{"$unset":{"a.b":""}}"#)],
    ),
    (
        "an edit without effect does not move updated",
        &[
            ("ann", 1, 1, r#"insert {"l":[1]}"#),
            ("bob", 2, 2, r#"[{"$addToSet":{"l":1}},{"$pull":{"l":5}}]"#),
        ],
    ),
    (
        "setting what is there already moves updated",
        &[("ann", 1, 1, r#"insert {"a":1}"#), ("bob", 2, 2, r#"{"$set":{"a":1}}"#)],
    ),
];

fn author(name: &str) -> AuthorId {
    crate::replica::author(name)
}

fn document() -> DocumentId {
    DocumentId::from(1)
}

fn arrived((by, ms, number, operators): &Step) -> Arrived {
    let operators = match operators.strip_prefix("insert ") {
        Some(fields) => {
            vec![Operator::Insert { fields: Map::from_json(fields).unwrap(), parent: None }]
        }
        None => operators_from_json(operators).unwrap(),
    };
    written(by, *ms, *number, operators)
}

fn written(by: &str, ms: u64, number: u8, operators: Vec<Operator>) -> Arrived {
    let shown = operators_to_value(&operators).to_json();
    let edit = Edit { collection: "notes".into(), document: document(), operators };
    Arrived {
        time: Timestamp::from_ms(ms).0.to_string(),
        commit: CommitId([number; 32]).to_string(),
        index: 0,
        author: author(by).to_string(),
        edit: Hex(edit.to_cbor()),
        operators: shown,
    }
}

fn end(arrival: &[Arrived]) -> End {
    let mut edits: Vec<_> = arrival
        .iter()
        .map(|arrived| {
            driftless_core::cbor::check(&arrived.edit.0, 72).unwrap();
            let edit = Edit::decode(&mut driftless_core::cbor::Reader::new(&arrived.edit.0)).unwrap();
            assert_eq!(edit.to_cbor(), arrived.edit.0);
            assert_eq!(operators_to_value(&edit.operators).to_json(), arrived.operators);
            let time = Timestamp(arrived.time.parse().unwrap());
            let position = Position { time, commit: arrived.commit.parse().unwrap(), index: arrived.index };
            (position, arrived.author.parse().unwrap(), edit)
        })
        .collect();
    edits.sort_by_key(|(position, _, _)| *position);
    let state = fold(edits.iter().map(|(position, author, edit)| (*position, *author, &edit.operators[..])));
    End {
        exists: state.exists(),
        deleted: state.deleted(),
        document: Document::new("notes", &document(), &state).to_json(),
        warnings: state.warnings(),
        state: Hex(state.to_bytes()),
        digest: state.visible().then(|| Hex::of(document_digest("notes", &document(), &state))),
    }
}

fn cases() -> Vec<Case> {
    let made = |name: &str, arrival: Vec<Arrived>| {
        let end = end(&arrival);
        Case { name: name.into(), arrival, end }
    };
    let mut cases: Vec<Case> =
        CASES.iter().map(|(name, steps)| made(name, steps.iter().map(arrived).collect())).collect();
    let insert = |ms, parent: i64| {
        let parent = Some(DocumentId::from(parent));
        written("ann", ms, ms as u8, vec![Operator::Insert { fields: Map::new(), parent }])
    };
    cases.push(made("the parent of the first insert holds", vec![insert(2, 20), insert(1, 10)]));
    let unknown = Operator::Unknown(vec![0x82, 0x18, 0x63, 0xf6]);
    cases.push(made("an unknown operator does nothing", vec![written("ann", 1, 1, vec![unknown])]));
    let mut second = arrived(&("ann", 1, 1, r#"{"$set":{"a":2}}"#));
    second.index = 1;
    let first = arrived(&("ann", 1, 1, r#"{"$set":{"a":1}}"#));
    cases.push(made("two edits of one commit go by their index", vec![second, first]));
    cases
}

#[test]
fn documents_fold_as_the_vectors_say_in_any_order_of_arrival() {
    let about = "Edits of document 1 of the collection notes, as they arrive; they fold in the order of time, commit, \
                 index. edit: its CBOR; operators: the same as people see it. document: with system fields, also of one \
                 that is not visible. state: as a checkpoint holds it.";
    let file = File { about: about.into(), cases: cases() };
    hold("folds", &file, |file: File| {
        for Case { name, mut arrival, end: expected } in file.cases {
            for _ in 0..arrival.len() {
                arrival.rotate_left(1);
                assert_eq!(end(&arrival), expected, "{name}");
            }
            let state = DocumentState::from_bytes(&expected.state.0).unwrap();
            assert_eq!(state.to_bytes(), expected.state.0, "{name}");
            assert_eq!(Document::new("notes", &document(), &state).to_json(), expected.document, "{name}");
        }
    });
}
