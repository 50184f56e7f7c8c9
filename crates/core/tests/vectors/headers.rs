//! Headers, the ids they hash to, and the text of ids.

use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, Header, Kind, body_hash, commit_id};
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId, UserId};
use serde::{Deserialize, Serialize};

use driftless_core::cbor::Writer;

use crate::{Hex, RefusedBytes, hold};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Headers {
    about: String,
    valid: Vec<Valid>,
    refused: Vec<RefusedBytes>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Valid {
    name: String,
    bytes: Hex,
    id: Hex,
    text: String,
    header: Fields,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    version: u64,
    kind: String,
    continues: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    space: Option<String>,
    author: String,
    seq: String,
    #[serde(deserialize_with = "Option::deserialize")]
    previous: Option<String>,
    parents: Vec<String>,
    time: String,
    body_hash: Hex,
    body_length: u32,
    body_encoding: String,
    extensions: Hex,
}

impl Fields {
    fn of(header: &Header) -> Self {
        Self {
            version: 1,
            kind: if header.kind == Kind::Rules { "rules" } else { "documents" }.into(),
            continues: header.continues,
            space: header.space.map(|id| id.to_string()),
            author: header.author.to_string(),
            seq: header.seq.to_string(),
            previous: header.previous.map(|id| id.to_string()),
            parents: header.parents.iter().map(CommitId::to_string).collect(),
            time: header.time.0.to_string(),
            body_hash: Hex::of(header.body_hash),
            body_length: header.body_length,
            body_encoding: if header.body_encoding == BodyEncoding::Plain { "plain" } else { "sealed" }
                .into(),
            extensions: Hex::of(&header.extensions),
        }
    }

    fn header(&self) -> Header {
        assert_eq!(self.version, 1);
        Header {
            kind: match self.kind.as_str() {
                "rules" => Kind::Rules,
                "documents" => Kind::Documents,
                other => panic!("{other}"),
            },
            continues: self.continues,
            space: self.space.as_ref().map(|text| text.parse().unwrap()),
            author: self.author.parse().unwrap(),
            seq: self.seq.parse().unwrap(),
            previous: self.previous.as_ref().map(|text| text.parse().unwrap()),
            parents: self.parents.iter().map(|text| text.parse().unwrap()).collect(),
            time: Timestamp(self.time.parse().unwrap()),
            body_hash: self.body_hash.array(),
            body_length: self.body_length,
            body_encoding: match self.body_encoding.as_str() {
                "plain" => BodyEncoding::Plain,
                "sealed" => BodyEncoding::Sealed,
                other => panic!("{other}"),
            },
            extensions: self.extensions.0.clone(),
        }
    }
}

fn genesis() -> Header {
    Header {
        kind: Kind::Rules,
        continues: false,
        space: None,
        author: AuthorId([1; 32]),
        seq: 1,
        previous: None,
        parents: Vec::new(),
        time: Timestamp::from_ms(1_700_000_000_000),
        body_hash: body_hash(b"rules"),
        body_length: 5,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    }
}

fn edit() -> Header {
    let space = SpaceId::from(commit_id(&genesis().encode()));
    Header {
        kind: Kind::Documents,
        space: Some(space),
        seq: 2,
        previous: Some(CommitId(space.0)),
        time: Timestamp((1_700_000_000_000 << 16) | 1),
        body_hash: body_hash(b"edits"),
        ..genesis()
    }
}

fn valid() -> Vec<Valid> {
    let parents = |count: u8| (0..count).map(|n| CommitId([n; 32])).collect();
    let mut extensions = Writer::default();
    extensions.map(2).u64(7).array(1).str("kept").u64(300).null();
    let first = Header { seq: 1, previous: None, parents: parents(1), author: AuthorId([2; 32]), ..edit() };
    [
        ("genesis", genesis()),
        ("edit after the genesis", edit()),
        ("first commit of another author", first),
        ("as many parents as can be", Header { parents: parents(64), ..edit() }),
        ("goes on in the next commit", Header { continues: true, ..edit() }),
        ("sealed", Header { body_encoding: BodyEncoding::Sealed, ..edit() }),
        ("extensions are kept", Header { extensions: extensions.finish(), ..edit() }),
        ("the last time and seq", Header { time: Timestamp(u64::MAX), seq: u64::MAX, ..edit() }),
        ("the longest document body", Header { body_length: 1 << 20, ..edit() }),
        ("the longest rule body", Header { kind: Kind::Rules, body_length: 1 << 16, ..edit() }),
    ]
    .map(|(name, header)| {
        let bytes = header.encode();
        let id = commit_id(&bytes);
        let (header, text) = (Fields::of(&header), id.to_string());
        Valid { name: name.into(), bytes: Hex(bytes), id: Hex::of(id.0), text, header }
    })
    .into()
}

// One element of a header as bytes that its type would not allow.
fn with(base: &Header, element: usize, item: &[u8]) -> Vec<u8> {
    let bytes = base.encode();
    let mut reader = driftless_core::cbor::Reader::new(&bytes);
    let count = reader.array().unwrap() as usize;
    let mut items: Vec<&[u8]> = (0..count).map(|_| reader.raw().unwrap()).collect();
    items[element] = item;
    [&[0x8d], items.concat().as_slice()].concat()
}

fn encoded(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Vec<u8> {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.finish()
}

fn refused() -> Vec<RefusedBytes> {
    let (genesis, edit) = (genesis(), edit());
    let previous = edit.previous.unwrap();
    let parents = |ids: &[CommitId]| Header { parents: ids.to_vec(), ..edit.clone() }.encode();
    let (one, two) = (CommitId([1; 32]), CommitId([2; 32]));
    let many: Vec<CommitId> = (0..65).map(|n| CommitId([n; 32])).collect();
    let rules = Header { kind: Kind::Rules, ..edit.clone() };
    let whole = edit.encode();
    let long = encoded(|w| w.map(1).u64(0).bytes(&[0; 4000]));
    let deep = [&[0xa1, 0][..], &[0x81; 20], &[0]].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("a byte after the end", [&whole[..], &[0]].concat()),
        ("version 0", with(&edit, 0, &[0])),
        ("version 2", with(&edit, 0, &[2])),
        ("twelve elements", [&[0x8c], &whole[1..whole.len() - 1]].concat()),
        ("fourteen elements", [&[0x8e], &whole[1..], &[0]].concat()),
        ("a list of indefinite length", [&[0x9f], &whole[1..], &[0xff]].concat()),
        ("a number that is not the shortest", with(&edit, 5, &[0x18, 2])),
        ("kind 2", with(&edit, 1, &[2])),
        ("flag 2", with(&edit, 2, &[2])),
        ("flags 3", with(&edit, 2, &[3])),
        ("a space of 31 bytes", with(&edit, 3, &encoded(|w| w.bytes(&[0; 31])))),
        ("no author", with(&edit, 4, &[0xf6])),
        ("seq 0", with(&edit, 5, &[0])),
        ("a negative seq", with(&edit, 5, &[0x20])),
        ("seq 1 with a previous", with(&edit, 5, &[1])),
        ("seq 2 without a previous", Header { previous: None, parents: vec![one], ..edit.clone() }.encode()),
        ("a genesis with parents", Header { parents: vec![one], ..genesis.clone() }.encode()),
        ("a genesis with documents", Header { kind: Kind::Documents, ..genesis.clone() }.encode()),
        ("a genesis of seq 2", Header { seq: 2, previous: Some(one), ..genesis.clone() }.encode()),
        ("no parents, no genesis", Header { seq: 1, previous: None, ..edit.clone() }.encode()),
        ("parents out of order", parents(&[two, one])),
        ("a parent twice", parents(&[one, one])),
        ("previous among the parents", parents(&[previous])),
        ("65 parents", parents(&many)),
        ("a time before 1970", with(&edit, 8, &[0x20])),
        ("a body hash of 31 bytes", with(&edit, 9, &encoded(|w| w.bytes(&[0; 31])))),
        ("a document body too long", Header { body_length: (1 << 20) + 1, ..edit.clone() }.encode()),
        ("a rule body too long", Header { body_length: (1 << 16) + 1, ..rules.clone() }.encode()),
        ("a body of 4 GiB", with(&edit, 10, &encoded(|w| w.u64(1 << 32)))),
        ("body encoding 2", with(&edit, 11, &[2])),
        ("rules that continue", Header { continues: true, ..rules.clone() }.encode()),
        ("sealed rules", Header { body_encoding: BodyEncoding::Sealed, ..rules }.encode()),
        ("extensions that are a list", with(&edit, 12, &[0x80])),
        ("extensions out of order", with(&edit, 12, &[0xa2, 1, 0, 0, 0])),
        ("extensions with a float of 4 bytes", with(&edit, 12, &[0xa1, 0, 0xfa, 0, 0, 0, 0])),
        ("extensions with a tag", with(&edit, 12, &[0xa1, 0, 0xc0, 0])),
        ("extensions nested too deep", with(&edit, 12, &deep)),
        ("longer than 4,096 bytes", with(&edit, 12, &long)),
    ];
    cases.into_iter().map(|(name, bytes)| RefusedBytes::new(name, bytes, Header::decode)).collect()
}

#[test]
fn headers_are_read_written_and_hashed_as_the_vectors_say() {
    let about = "id: the hash of bytes under driftless/commit-id/1. Numbers of 64 bits are decimal texts. reason: a \
                 sentence of ours, which others need not share.";
    let file = Headers { about: about.into(), valid: valid(), refused: refused() };
    hold("headers", &file, |file: Headers| {
        for Valid { name, bytes, id, text, header } in &file.valid {
            let read = Header::decode(&bytes.0).unwrap();
            assert_eq!(read, header.header(), "{name}");
            assert_eq!(read.encode(), bytes.0, "{name}");
            assert_eq!(commit_id(&bytes.0), CommitId(id.array()), "{name}");
            assert_eq!(text.parse(), Ok(CommitId(id.array())), "{name}");
        }
        file.refused.iter().for_each(|refused| refused.check(Header::decode));
    });
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ids {
    about: String,
    valid: Vec<Id>,
    refused: Vec<NoId>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    kind: String,
    bytes: Hex,
    text: String,
    short: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoId {
    name: String,
    kind: String,
    text: String,
}

const KINDS: [&str; 5] = ["commit", "space", "author", "peer", "user"];

fn show(kind: &str, bytes: [u8; 32]) -> (String, String) {
    match kind {
        "commit" => (CommitId(bytes).to_string(), CommitId(bytes).short()),
        "space" => (SpaceId(bytes).to_string(), SpaceId(bytes).short()),
        "author" => (AuthorId(bytes).to_string(), AuthorId(bytes).short()),
        "peer" => (PeerId(bytes).to_string(), PeerId(bytes).short()),
        "user" => (UserId(bytes).to_string(), UserId(bytes).short()),
        other => panic!("{other}"),
    }
}

fn parse(kind: &str, text: &str) -> Option<[u8; 32]> {
    match kind {
        "commit" => text.parse::<CommitId>().ok().map(|id| id.0),
        "space" => text.parse::<SpaceId>().ok().map(|id| id.0),
        "author" => text.parse::<AuthorId>().ok().map(|id| id.0),
        "peer" => text.parse::<PeerId>().ok().map(|id| id.0),
        "user" => text.parse::<UserId>().ok().map(|id| id.0),
        other => panic!("{other}"),
    }
}

#[test]
fn ids_have_the_text_that_the_vectors_say() {
    let counted: [u8; 32] = std::array::from_fn(|n| n as u8);
    let mut valid = Vec::new();
    for kind in KINDS {
        for bytes in [[0; 32], [0xff; 32], counted] {
            let (text, short) = show(kind, bytes);
            valid.push(Id { kind: kind.into(), bytes: Hex::of(bytes), text, short });
        }
    }
    let text = show("commit", counted).0;
    let refused = [
        ("another kind", "space", text.clone()),
        ("upper case", "commit", text.to_uppercase()),
        ("a character missing", "commit", text[..53].to_owned()),
        ("a character too many", "commit", format!("{text}a")),
        ("padding", "commit", format!("{text}====")),
        ("without the letter", "commit", text[2..].to_owned()),
        ("a digit that is not used", "commit", format!("c_1{}", &text[3..])),
        ("bits after the end", "commit", format!("{}b", &text[..53])),
        ("nothing", "commit", String::new()),
    ]
    .map(|(name, kind, text)| NoId { name: name.into(), kind: kind.into(), text });
    let about = "short: what people are shown; any prefix of 8 characters of base32 may stand for an id.";
    let file = Ids { about: about.into(), valid, refused: refused.into() };
    hold("ids", &file, |file: Ids| {
        for Id { kind, bytes, text, short } in &file.valid {
            assert_eq!(parse(kind, text), Some(bytes.array()));
            assert_eq!(show(kind, bytes.array()), (text.clone(), short.clone()));
        }
        for NoId { name, kind, text } in &file.refused {
            assert_eq!(parse(kind, text), None, "{name}");
        }
    });
}
