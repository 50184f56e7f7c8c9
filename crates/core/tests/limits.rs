//! Every limit of `limits.rs` by its name: one below it and at it something is taken, one above it is refused, where it
//! is written and where it is received. `FRAME_TARGET` is where a sender ends a frame, and forbids nothing.

use driftless_core::cbor::{Reader, Writer};
use driftless_core::clock::Timestamp;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, Kind, RuleBody, Vouched};
use driftless_core::document_id::DocumentId;
use driftless_core::filter::{FieldPath, Filter};
use driftless_core::fold::DocumentState;
use driftless_core::frame::{self, FrameBuilder, FrameCommit, FrameError, PushError};
use driftless_core::id::{AuthorId, CommitId, PeerId, SpaceId};
use driftless_core::limits::*;
use driftless_core::operator::{Edit, Operator};
use driftless_core::query::Sort;
use driftless_core::reconcile::{self, Clock, Detail, Entry, Heard, Summary};
use driftless_core::rules::{self, Permission, RuleOperator, Shown, Subject};
use driftless_core::session::{
    AccessRequest, Ask, Changed, Creator, Discovered, Located, Lookup, Message, Opened, Output, ReadFrame,
    Role, Session, SessionError, Slot, Surveyed, Verdict, numbered, take_number,
};
use driftless_core::sign::{AuthorKey, Domain, Signature};
use driftless_core::sketch::{Cell, Sketch};
use driftless_core::value::{Map, Path, Value, index_key};

fn holds(what: &str, limit: usize, taken: impl Fn(usize) -> bool) {
    for (n, expected) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        assert_eq!(taken(n), expected, "{what} at {n}");
    }
}

fn key() -> AuthorKey {
    AuthorKey::from_seed(&[1; 32])
}

fn ids(count: usize) -> Vec<CommitId> {
    (0..count as u32)
        .map(|n| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            CommitId(id)
        })
        .collect()
}

fn header(kind: Kind) -> Header {
    Header {
        kind,
        continues: false,
        space: Some(SpaceId([2; 32])),
        author: key().id(),
        seq: 1,
        previous: None,
        parents: ids(1),
        time: Timestamp::from_ms(1000),
        body_hash: [3; 32],
        body_length: 10,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    }
}

// Written: completed and signed. Received: taken apart.
fn written(header: &Header) -> bool {
    Vouched::sign(header.clone(), vec![0; header.body_length as usize], &key()).is_ok()
}

fn received(header: &Header) -> bool {
    Header::decode(&header.encode()).is_ok()
}

fn extended(bytes: usize) -> Header {
    let with = |room: usize| {
        let mut writer = Writer::with_capacity(room);
        writer.map(1).u64(0).bytes(&vec![0; room]);
        Header { extensions: writer.finish(), ..header(Kind::Documents) }
    };
    let room = bytes - (with(1000).encode().len() - 1000);
    assert_eq!(with(room).encode().len(), bytes);
    with(room)
}

#[test]
fn headers() {
    for taken in [written, received] {
        // The length of the body takes as many bytes in both.
        holds("MAX_HEADER", MAX_HEADER, |n| taken(&extended(n)));
        holds("MAX_PARENTS", MAX_PARENTS, |n| taken(&Header { parents: ids(n), ..header(Kind::Documents) }));
        let long = |kind, n: usize| Header { body_length: n as u32, ..header(kind) };
        holds("MAX_BODY", MAX_BODY, |n| taken(&long(Kind::Documents, n)));
        holds("MAX_RULE_BODY", MAX_RULE_BODY, |n| taken(&long(Kind::Rules, n)));
    }
}

// A body of this many bytes, of which nothing is known but that it is one.
fn padded(bytes: usize) -> Vec<u8> {
    let with = |room: usize| {
        let mut writer = Writer::with_capacity(room);
        writer.array(2).bytes(&[0; 16]).map(1).u64(9).bytes(&vec![0; room]);
        writer.finish()
    };
    let body = with(bytes - (with(70_000).len() - 70_000));
    let short = bytes - body.len();
    let body = with(body.len() + short - (with(70_000).len() - 70_000));
    // A shorter length takes fewer bytes.
    if body.len() == bytes { body } else { with(bytes - (with(60_000).len() - 60_000)) }
}

#[test]
fn bodies() {
    holds("MAX_BODY", MAX_BODY, |n| {
        let body = padded(n);
        assert_eq!(body.len(), n);
        DocumentBody::decode(&body).is_ok()
    });
    holds("MAX_RULE_BODY", MAX_RULE_BODY, |n| {
        let body = padded(n);
        assert_eq!(body.len(), n);
        RuleBody::decode(&body).is_ok()
    });
    let edit =
        Edit { collection: "c".into(), document: DocumentId::from(1), operators: vec![Operator::Delete] };
    holds("MAX_EDITS", MAX_EDITS, |n| {
        let body = DocumentBody { edits: vec![edit.clone(); n], retracts: Vec::new() };
        DocumentBody::decode(&body.encode([0; 16])).is_ok()
    });
    holds("MAX_KEEP in a retraction", MAX_KEEP, |n| {
        let body = DocumentBody { edits: Vec::new(), retracts: ids(n) };
        DocumentBody::decode(&body.encode([0; 16])).is_ok()
    });
}

// Written: checked. Received: taken apart out of a body.
fn rules_taken(operators: Vec<RuleOperator>) -> bool {
    let written = rules::check(&operators).is_ok();
    let received = RuleBody::decode(&RuleBody { operators }.encode([0; 16])).is_ok();
    assert_eq!(written, received);
    written
}

#[test]
fn rule_operators() {
    holds("MAX_RULE_OPERATORS", MAX_RULE_OPERATORS, |n| rules_taken(vec![RuleOperator::Name("a".into()); n]));
    holds("MAX_KEEP", MAX_KEEP, |n| {
        let subject = Subject::Key(AuthorId([1; 32]));
        rules_taken(vec![RuleOperator::Grant { subject, permission: None, keep: Some(ids(n)) }])
    });
    holds("MAX_PROOF", MAX_PROOF, |n| {
        let proof = vec![Shown { header: vec![0; n - 7], signature: None, body: None }];
        rules_taken(vec![RuleOperator::Enrol { grant: CommitId([1; 32]), index: 0, proof }])
    });
    holds("MAX_SPACE_NAME", MAX_SPACE_NAME, |n| rules_taken(vec![RuleOperator::Name("a".repeat(n))]));
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |value, _| Value::List(vec![value]))
}

#[test]
fn values_paths_ids_and_names() {
    holds("MAX_VALUE_DEPTH", MAX_VALUE_DEPTH, |n| {
        let written = nested(n).check().is_ok();
        let json = Value::from_json(&format!("{}null{}", "[".repeat(n), "]".repeat(n))).is_ok();
        let received = Value::from_cbor(&nested(n).to_cbor()).is_ok();
        assert_eq!((json, received), (written, written));
        written
    });
    holds("MAX_PATH_DEPTH", MAX_PATH_DEPTH, |n| {
        let keys: Vec<String> = (0..n).map(|n| format!("k{n}")).collect();
        let mut writer = Writer::with_capacity(100);
        writer.array(n as u64);
        keys.iter().for_each(|key| {
            writer.str(key);
        });
        let received = Path::decode(&mut Reader::new(&writer.finish())).is_ok();
        let text = keys.join(".");
        let written = Path::new(keys).is_ok();
        assert_eq!((Path::parse(&text).is_ok(), received), (written, written));
        assert_eq!(FieldPath::parse(&text).is_ok(), written);
        written
    });
    holds("MAX_PATH_DEPTH in a sort", MAX_PATH_DEPTH, |n| {
        let fields: Vec<String> = (0..n).map(|n| format!("k{n}")).collect();
        Sort::parse(&fields.join(",")).is_ok()
    });
    holds("MAX_DOCUMENT_ID", MAX_DOCUMENT_ID, |n| {
        let text = "x".repeat(n - 3);
        let encoded = Value::from(text.clone()).to_cbor();
        assert_eq!(encoded.len(), n);
        let received = DocumentId::from_cbor(&encoded).is_ok();
        assert_eq!(DocumentId::string(text).is_ok(), received);
        received
    });
    holds("MAX_COLLECTION_NAME", MAX_COLLECTION_NAME, |n| {
        let edit = Edit {
            collection: "c".repeat(n).into(),
            document: DocumentId::from(1),
            operators: vec![Operator::Delete],
        };
        let received = Edit::decode(&mut Reader::new(&edit.to_cbor())).is_ok();
        assert_eq!(edit.check().is_ok(), received);
        received
    });
    // Longer keys of an index are cut there.
    let long = |n: usize| index_key(&Value::from("x".repeat(n)));
    let before = long(0).len();
    for n in [MAX_INDEX_KEY - 1, MAX_INDEX_KEY, MAX_INDEX_KEY + 1] {
        assert_eq!(long(n - before).len(), n.min(MAX_INDEX_KEY), "MAX_INDEX_KEY at {n}");
    }
}

#[test]
fn documents() {
    let applied = |operator: Operator| {
        let mut state = DocumentState::default();
        state.apply(Timestamp(1), key().id(), &[operator]);
        state.warnings() == 0
    };
    let set = |path: &str, value| Operator::Set { path: Path::parse(path).unwrap(), value };
    // The fields are one level, and the map `a` another one.
    holds("MAX_DOCUMENT_DEPTH", MAX_DOCUMENT_DEPTH, |n| applied(set("a.b", nested(n - 2))));
    let texts = |n: usize| Map::from_iter([("a".to_owned(), Value::from("x".repeat(n)))]);
    let empty = Value::Map(texts(0)).measure().weight as usize;
    holds("MAX_DOCUMENT_WEIGHT", MAX_DOCUMENT_WEIGHT as usize, |n| {
        applied(Operator::Insert { fields: texts(n - empty), parent: None })
    });
}

#[test]
fn filters() {
    let taken = |text: String| Filter::parse(&text).is_ok();
    holds("MAX_FILTER_OPERATORS", MAX_FILTER_OPERATORS, |n| {
        // A field that is compared with a value counts as one.
        let fields: Vec<String> = (0..n).map(|n| format!(r#""f{n}": 1"#)).collect();
        taken(format!("{{{}}}", fields.join(",")))
    });
    holds("MAX_FILTER_REGEXES", MAX_FILTER_REGEXES, |n| {
        let fields: Vec<String> = (0..n).map(|n| format!(r#""f{n}": {{"$regex": "a"}}"#)).collect();
        taken(format!("{{{}}}", fields.join(",")))
    });
    holds("MAX_REGEX", MAX_REGEX, |n| taken(format!(r#"{{"a": {{"$regex": "{}"}}}}"#, "a".repeat(n))));
    // What a pattern compiles into is not ours to count: MAX_REGEX_COMPILED lies between these two.
    assert!(taken(r#"{"a": {"$regex": "a{1000}"}}"#.into()));
    assert!(!taken(r#"{"a": {"$regex": "\\w{1000}"}}"#.into()), "MAX_REGEX_COMPILED");
}

#[test]
fn messages() {
    let taken = |message: Message| {
        let bytes = message.encode();
        Message::decode(&bytes).is_ok()
    };
    holds("MAX_PROOFS", MAX_PROOFS, |n| {
        taken(Message::Proof(vec![(AuthorId([1; 32]), Signature([2; 64])); n]))
    });
    holds("MAX_SUMMARY_HEADS", MAX_SUMMARY_HEADS, |n| {
        taken(Message::End { slot: 0, digest: [0; 8], heads: ids(n) })
    });
    let says = |detail| taken(Message::Have { slot: 0, summary: Summary { digest: [0; 8], detail } });
    let clock = |n| Clock((1..=n as u64).map(|seq| Entry { tag: [1; 4], seq, check: [2; 4] }).collect());
    holds("MAX_SUMMARY_AUTHORS", MAX_SUMMARY_AUTHORS, |n| says(Detail::Clock(clock(n))));
    holds("MAX_SUMMARY_AUTHORS of both", 2 * MAX_SUMMARY_AUTHORS, |n| says(Detail::Otherwise(clock(n))));
    holds("MAX_MARKS", MAX_MARKS, |n| says(Detail::Marks(vec![[1; 12]; n])));
    holds("MAX_FILTER", MAX_FILTER, |n| reconcile::Filter::from_bytes(&vec![1; n]).is_some());
    holds("MAX_WANTED", MAX_WANTED, |n| {
        let want = taken(Message::Want { slot: 0, ids: ids(n), again: None });
        let verdict = Verdict { hash: [1; 32], code: "bad_header".into() };
        assert_eq!(
            taken(Message::Ack { slot: 0, number: 1, refused: vec![verdict; n], digest: [0; 8] }),
            want
        );
        want
    });
    let (space, author, permission) = (SpaceId([9; 32]), AuthorId([7; 32]), Permission::Read);
    holds("MAX_NOTE", MAX_NOTE, |n| {
        let request = AccessRequest { space, author, permission, note: "n".repeat(n) };
        taken(Message::Request { number: 0, request })
    });
    let found = |n: usize, spaces| {
        let found = Discovered { space, name: "n".repeat(n) };
        taken(Message::Found { number: 0, spaces: vec![found; spaces], more: false })
    };
    holds("MAX_SPACE_NAME of a space that was found", MAX_SPACE_NAME, |n| found(n, 1));
    holds("MAX_FOUND", MAX_FOUND, |n| found(1, n));
    let changed = |n| vec![Changed { space, digest: [0; 8] }; n];
    holds("MAX_CHANGED", MAX_CHANGED, |n| taken(Message::Changed(changed(n))));
    let lookup = |n| Lookup { collection: "n".repeat(n), by: Creator::Author(author), after: None };
    holds("MAX_COLLECTION_NAME of a look-up", MAX_COLLECTION_NAME, |n| {
        taken(Message::Find { number: 0, lookup: lookup(n) })
    });
    let located = |n| Located { documents: vec![(space, Vec::new()); n], ..Located::default() };
    holds("MAX_LOCATED", MAX_LOCATED, |n| taken(Message::Located { number: 0, located: located(n) }));
    // A code is a word of at most 64 bytes, a message at most 8 lists deep.
    holds("a code", 64, |n| taken(Message::Decline { slot: 0, reason: "a".repeat(n), retry_after_ms: 1 }));
}

#[test]
fn frames() {
    let space = SpaceId([2; 32]);
    holds("MAX_FRAME", MAX_FRAME, |n| {
        frame::decode(&space, &vec![1; n]) != Err(FrameError::TooLarge("bytes"))
    });
    let commit = Vouched::sign(header(Kind::Documents), vec![0; 20], &key()).unwrap();
    holds("MAX_FRAME_COMMITS where it is written", MAX_FRAME_COMMITS, |n| {
        let mut builder = FrameBuilder::new(space);
        let body = FrameCommit { body: None, ..FrameCommit::from(&commit) };
        let last = (0..n).map(|_| builder.push(body)).last().unwrap();
        assert!(matches!(last, Ok(()) | Err(PushError::Full)));
        last.is_ok()
    });
    // As many are announced, and none follows.
    let announced = |n: usize| {
        let count = [1, 0x80 | (n & 0x7f) as u8, (n >> 7) as u8];
        frame::decode(&space, &[&count[..], &[0; 100_000]].concat()).unwrap_err()
    };
    assert_eq!(announced(MAX_FRAME_COMMITS - 1), announced(MAX_FRAME_COMMITS));
    assert_ne!(announced(MAX_FRAME_COMMITS), announced(MAX_FRAME_COMMITS + 1));
}

// A listener to whom a dialer has proven a key; what it asks of its host is counted.
struct Listener {
    session: Session,
    reads: Vec<Slot>,
    said: u64,
}

const US: PeerId = PeerId([1; 32]);
const THEM: PeerId = PeerId([2; 32]);

impl Listener {
    fn new() -> Self {
        let mut session = Session::new(Role::Listener, US, THEM, [3; 16], vec![key()]);
        let hello = Message::Hello { version: 1, nonce: [4; 16] };
        session.handle_frame(&numbered(0, &hello)).unwrap();
        let signed = [&[0][..], &THEM.0, &US.0, &[4; 16], &[3; 16]].concat();
        let signature = key().sign(Domain::AuthorProof, &[&signed]);
        session.handle_frame(&numbered(1, &Message::Proof(vec![(key().id(), signature)]))).unwrap();
        let mut listener = Self { session, reads: Vec::new(), said: 2 };
        listener.drain(true);
        listener
    }

    // Opens what it is asked to, or nothing; keeps what is to be read.
    fn drain(&mut self, opens: bool) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Ask(Ask::Open { slot, .. }) => {
                    let summary = Summary { digest: [1; 8], ..Summary::default() };
                    self.session.handle_opened(
                        slot,
                        opens.then_some(Opened { summary, readable: true, ready: true }),
                    );
                }
                Output::Ask(Ask::Read { slot }) => self.reads.push(slot),
                Output::Ask(Ask::Want { slot, again: Some(_), .. }) => {
                    self.session.handle_heard(slot, Heard { answer: None, ready: true });
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, message: &Message) -> Result<(), SessionError> {
        self.said += 1;
        self.session.handle_frame(&numbered(self.said - 1, message))
    }

    fn open(&mut self, n: usize, opens: bool) -> Result<(), SessionError> {
        let space = SpaceId(ids(n + 1)[n].0);
        let slot = 2 * n as Slot;
        let open = Message::Open { slot, space, invite: None, summary: Summary::default() };
        let heard = self.say(&open);
        self.drain(opens);
        heard
    }

    fn read(&mut self, slot: Slot, bytes: Option<usize>) {
        self.reads.retain(|other| *other != slot);
        let frame = bytes.map(|bytes| vec![0; bytes]);
        self.session.handle_read(slot, Some(ReadFrame { frame, ..ReadFrame::default() }));
        self.drain(true);
    }
}

#[test]
fn slots_and_openings() {
    holds("MAX_SLOTS", MAX_SLOTS, |n| {
        let mut listener = Listener::new();
        (0..n).map(|n| listener.open(n, true)).last().unwrap().is_ok()
    });
    holds("MAX_OPENS", MAX_OPENS, |n| {
        let mut listener = Listener::new();
        (0..n).map(|n| listener.open(n, false)).last().unwrap().is_ok()
    });
    holds("MAX_REOPENS", MAX_REOPENS as usize, |n| {
        let mut listener = Listener::new();
        let space = SpaceId([7; 32]);
        let open = |slot| Message::Open { slot, space, invite: None, summary: Summary::default() };
        let heard = (0..n).map(|n| {
            let heard = listener.say(&open(2 * n as Slot));
            listener.drain(false);
            heard
        });
        heard.last().unwrap().is_ok()
    });
}

#[test]
fn keys_beyond_the_limit_are_not_proven() {
    for count in [MAX_PROOFS - 1, MAX_PROOFS, MAX_PROOFS + 1] {
        let keys: Vec<AuthorKey> = (0..count).map(|n| AuthorKey::from_seed(&[n as u8; 32])).collect();
        let mut session = Session::new(Role::Dialer, US, THEM, [3; 16], keys);
        session.handle_frame(&numbered(0, &Message::Hello { version: 1, nonce: [4; 16] })).unwrap();
        let mut proven = 0;
        while let Some(output) = session.poll() {
            if let Output::Send(bytes) = output
                && let Ok(Message::Proof(proofs)) = Message::decode(take_number(&bytes).unwrap().1)
            {
                proven = proofs.len();
            }
        }
        assert_eq!(proven, count.min(MAX_PROOFS), "MAX_PROOFS");
    }
}

#[test]
fn rounds() {
    for bodies in [false, true] {
        // Of bodies, the first wish is no round, and one more may have been under way.
        let most = if bodies { MAX_ROUNDS as usize + 2 } else { MAX_ROUNDS as usize };
        holds("MAX_ROUNDS", most, |n| {
            let mut listener = Listener::new();
            listener.open(0, true).unwrap();
            let mut taken = true;
            for _ in 0..n {
                listener.read(0, None);
                let want = Message::Want { slot: 0, ids: ids(1), again: (!bodies).then(Summary::default) };
                taken = listener.say(&want).is_ok();
                listener.drain(true);
            }
            taken
        });
    }
}

#[test]
fn windows() {
    // While less than the window is not acknowledged, the next frame is read.
    for (sent, more) in [(SEND_WINDOW - 1, true), (SEND_WINDOW, false), (SEND_WINDOW + 1, false)] {
        let mut listener = Listener::new();
        listener.open(0, true).unwrap();
        listener.read(0, Some(sent / 2));
        listener.read(0, Some(sent - sent / 2));
        assert_eq!(listener.reads == [0], more, "SEND_WINDOW at {sent}");
    }
    // As many largest frames are read at once as fit, and one more if it still fits beside what is not acknowledged.
    let reads = SESSION_WINDOW / MAX_FRAME;
    let last = SESSION_WINDOW - MAX_FRAME - (reads - 1) * SEND_WINDOW;
    for (last, more) in [(last - 1, 1), (last, 1), (last + 1, 0)] {
        let mut listener = Listener::new();
        (0..reads).for_each(|n| listener.open(n, true).unwrap());
        assert_eq!(listener.reads.len(), reads);
        listener.open(reads, true).unwrap();
        assert_eq!(listener.reads.len(), reads, "there is no room for another");
        let slots = listener.reads.clone();
        slots[1..].iter().for_each(|slot| listener.read(*slot, Some(SEND_WINDOW)));
        listener.read(slots[0], Some(last));
        assert_eq!(listener.reads.len(), more, "SESSION_WINDOW with a last frame of {last}");
    }
}

#[test]
fn many_spaces() {
    let cells = |n: usize| Message::Cells(vec![Cell { count: 1, sum: [2; 12], check: [3; 4] }; n]);
    holds("MAX_CELLS where they are read", MAX_CELLS, |n| Message::decode(&cells(n).encode()).is_ok());
    let sketch = Sketch::new([1; 32], vec![[2; 12]]);
    for n in [MAX_CELLS - 1, MAX_CELLS, MAX_CELLS + 1] {
        assert_eq!(sketch.cells(n).len(), n.min(MAX_CELLS), "MAX_CELLS at {n}");
    }
    // As many spaces that changed here are opened for a dialer that has the same, and as many cells are sent first to one
    // that has not.
    for n in [MAX_BULK - 1, MAX_BULK, MAX_BULK + 1] {
        let mut listener = Listener::new();
        listener.say(&Message::Spaces { count: n as u64, sum: [0; 8] }).unwrap();
        let met = |id: CommitId| Surveyed { space: SpaceId(id.0), digest: [1; 8], changed: true };
        listener.session.handle_surveyed(ids(n).into_iter().map(met).collect());
        let mut opened = 0;
        let mut first = None;
        while let Some(output) = listener.session.poll() {
            match output {
                Output::Ask(Ask::Open { slot, .. }) => {
                    opened += 1;
                    let opened = Opened { summary: Summary::default(), readable: true, ready: true };
                    listener.session.handle_opened(slot, Some(opened));
                }
                Output::Send(bytes) => {
                    if let Ok(Message::Cells(cells)) = Message::decode(take_number(&bytes).unwrap().1) {
                        first = Some(cells.len());
                    }
                }
                _ => {}
            }
        }
        assert_eq!(opened, n.min(MAX_BULK), "MAX_BULK at {n}");
        assert_eq!(first, Some(FIRST_CELLS), "FIRST_CELLS");
    }
    // Twice as many as there are at least different, and never fewer than the first.
    for (count, sent) in [
        (FIRST_CELLS / 2 - 1, FIRST_CELLS),
        (FIRST_CELLS / 2, FIRST_CELLS),
        (FIRST_CELLS / 2 + 1, FIRST_CELLS + 2),
    ] {
        let mut listener = Listener::new();
        listener.say(&Message::Spaces { count: count as u64, sum: [9; 8] }).unwrap();
        listener.session.handle_surveyed(Vec::new());
        let Some(Output::Ask(Ask::Survey { .. })) = listener.session.poll() else { panic!("no survey") };
        let Some(Output::Send(bytes)) = listener.session.poll() else { panic!("no cells") };
        let Ok(Message::Cells(cells)) = Message::decode(take_number(&bytes).unwrap().1) else {
            panic!("no cells")
        };
        assert_eq!(cells.len(), sent, "FIRST_CELLS at {count}");
    }
}
