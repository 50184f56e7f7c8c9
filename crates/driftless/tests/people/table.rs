//! The table of permissions: for each permission and each deed, one verdict, whether somebody does it on the own database,
//! sends a commit that says so, asks to be served, or only tries it on a draft.

use driftless::{
    AuthorId, Database, Deed, DraftGrant, DraftRule, Error, Fate, Invite, Keep, Kind, Permission, PolicyCase,
    Space, Strength, Subject, Timestamp,
};
use driftless_core::cbor::Writer;
use driftless_core::commit::{BodyEncoding, DocumentBody, Header, RuleBody, Vouched};
use driftless_core::rules::RuleOperator;
use driftless_core::sign::AuthorKey;

use crate::world::{World, admin, insert, key, meet, send};

/// What is said about the key that acts, in order; `None` as a subject is anyone.
struct Row {
    name: &'static str,
    said: Vec<(bool, Option<Permission>)>,
    /// One letter per deed, in the order of `deeds`: allowed or refused.
    expected: &'static str,
}

const WRITE: Permission = Permission::Write(Strength(100));

fn rows() -> Vec<Row> {
    let (named, anyone) = (true, false);
    let row = |name, said, expected| Row { name, said, expected };
    vec![
        //                                                                          read write admin grants.. removals..
        row("a stranger", vec![], "rr rrrr rrrr r"),
        row("a reader", vec![(named, Some(Permission::Read))], "ar rrrr rrrr r"),
        row("a writer", vec![(named, Some(WRITE))], "aa rrrr rrrr r"),
        row("an admin", vec![(named, Some(admin(10)))], "aa aarr aarr a"),
        row("a stronger admin", vec![(named, Some(admin(1)))], "aa aaar aaar a"),
        row("a removed admin", vec![(named, Some(admin(10))), (named, None)], "rr rrrr rrrr r"),
        row("anyone who may read", vec![(anyone, Some(Permission::Read))], "ar rrrr rrrr r"),
        row("anyone who may write", vec![(anyone, Some(WRITE))], "aa rrrr rrrr r"),
        row(
            "a reader where anyone may write",
            vec![(anyone, Some(WRITE)), (named, Some(Permission::Read))],
            "ar rrrr rrrr r",
        ),
        row(
            "a removed key where anyone may write",
            vec![(anyone, Some(WRITE)), (named, None)],
            "rr rrrr rrrr r",
        ),
        row("anyone, closed again", vec![(anyone, Some(WRITE)), (anyone, None)], "rr rrrr rrrr r"),
    ]
}

/// Who else is in the space.
struct Others {
    reader: Subject,
    equal: Subject,
    founder: Subject,
    fresh: Subject,
}

fn deeds(others: &Others) -> Vec<Deed> {
    let grant = |subject, permission| Deed::Grant(DraftGrant { subject, permission, keep: Keep::Nothing });
    let Others { reader, equal, founder, fresh } = *others;
    vec![
        Deed::Read,
        Deed::Write,
        Deed::Administer,
        grant(fresh, Some(WRITE)),
        grant(fresh, Some(admin(10))),
        grant(fresh, Some(admin(1))),
        grant(reader, None),
        grant(Subject::Anyone, Some(Permission::Read)),
        grant(equal, None),
        grant(founder, None),
        grant(reader, Some(WRITE)),
    ]
}

fn pen(key: &AuthorKey, space: &Space, world: &World, kind: Kind, body: Vec<u8>) -> Vouched {
    let header = Header {
        kind,
        continues: false,
        space: Some(space.id()),
        author: key.id(),
        seq: 1,
        previous: None,
        parents: space.digest().unwrap().heads,
        time: Timestamp::from_ms(world.now() + 1000),
        body_hash: [0; 32],
        body_length: 0,
        body_encoding: BodyEncoding::Plain,
        extensions: Header::no_extensions(),
    };
    Vouched::sign(header, body, key).unwrap()
}

fn bundle(commit: &Vouched) -> Vec<u8> {
    let received = commit.to_received();
    let mut writer = Writer::with_capacity(1000);
    let signature = received.signature.as_ref().map(|signature| &signature.0[..]);
    writer.array(3).bytes(&received.header).bytes_or_null(signature).bytes_or_null(received.body.as_deref());
    let mut bytes = b"driftless-bundle\x01".to_vec();
    for (kind, payload) in [(1, writer.finish()), (2, Vec::new()), (3, Vec::new())] {
        bytes.extend_from_slice(&[0xd7, b'd', b'l', 0x1a, kind]);
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&payload);
    }
    bytes
}

// What becomes of a commit of this key that says what the deed does, in a copy of the space.
fn received(world: &World, space: &Space, key: &AuthorKey, deed: &Deed, removed: bool) -> Fate {
    let copy = world.memory(200);
    let there = send(space, &copy);
    let commit = match deed {
        Deed::Write => pen(key, &there, world, Kind::Documents, DocumentBody::default().encode([7; 16])),
        _ => {
            let operator = match deed {
                Deed::Grant(DraftGrant { subject, permission, .. }) => {
                    RuleOperator::Grant { subject: *subject, permission: *permission, keep: Some(Vec::new()) }
                }
                _ => RuleOperator::Name("another".into()),
            };
            let body = RuleBody { operators: vec![operator] }.encode([7; 16]);
            pen(key, &there, world, Kind::Rules, body)
        }
    };
    if removed {
        // The founder removes the key and keeps nothing, without knowing of the commit, which comes then.
        let plan = space.plan_grant(Subject::Key(key.id()), None, &Keep::Nothing).unwrap();
        space.grant_with(&plan).unwrap();
        send(space, &copy);
    }
    let imported = copy.import(&mut bundle(&commit).as_slice(), &mut |_| {}).unwrap();
    assert_eq!(there.rebuild().unwrap(), there.digest().unwrap());
    match (imported.applied, imported.void, imported.refused) {
        (1, 0, 0) => Fate::Allowed,
        (0, 1, 0) => Fate::Void,
        (0, 0, 1) => Fate::Refused,
        other => panic!("{other:?}"),
    }
}

// What the own database says to its user.
fn local(db: &Database, space: &Space, deed: &Deed) -> Fate {
    let there = db.space(&space.id().to_string()).unwrap();
    let done = match deed {
        Deed::Write => insert(&there, 1),
        Deed::Grant(DraftGrant { subject, permission, keep }) => {
            there.plan_grant(*subject, *permission, keep).and_then(|plan| there.grant_with(&plan)).map(drop)
        }
        _ => {
            let invite =
                Invite { permission: Permission::Read, uses: None, expires: None, addresses: Vec::new() };
            there.invite(invite).map(drop)
        }
    };
    match done {
        Ok(()) => Fate::Allowed,
        Err(Error::NotPermitted(_)) => Fate::Refused,
        Err(other) => panic!("{other:?}"),
    }
}

fn state(space: &Space, key: AuthorId, row: &Row) {
    for (named, permission) in &row.said {
        let subject = if *named { Subject::Key(key) } else { Subject::Anyone };
        match permission {
            Some(permission) => space.grant(subject, *permission).unwrap(),
            None => space.revoke(subject).unwrap(),
        };
    }
}

fn founded(world: &World) -> (Database, Space, Others) {
    let ann = world.memory(1);
    let space = ann.create_space("team").unwrap();
    let [reader, equal, fresh] =
        [31, 32, 33].map(|seed| Subject::Key(AuthorKey::from_seed(&[seed; 32]).id()));
    space.grant(reader, Permission::Read).unwrap();
    space.grant(equal, admin(10)).unwrap();
    let founder = key(&ann);
    (ann, space, Others { reader, equal, founder, fresh })
}

#[test]
fn every_permission_and_deed_has_one_verdict_wherever_it_is_asked_for() {
    let mut asked = 0;
    for row in rows() {
        let expected: Vec<Fate> = row
            .expected
            .chars()
            .filter(|letter| *letter != ' ')
            .map(|letter| if letter == 'a' { Fate::Allowed } else { Fate::Refused })
            .collect();
        for (at, expected) in expected.into_iter().enumerate() {
            let world = World::new();
            let (ann, space, others) = founded(&world);
            let deed = deeds(&others)[at].clone();
            let what = format!("{}: {deed:?}", row.name);
            let (db, hand) = (world.memory(2), AuthorKey::from_seed(&[40; 32]));
            let author = db.author().unwrap();
            state(&space, author, &row);
            let case = PolicyCase { who: author, knowing: None, does: deed.clone() };
            let tried = space.judge_cases(&[], std::slice::from_ref(&case)).unwrap().remove(0);
            assert_eq!(tried.fate, expected, "on a draft, {what}: {}", tried.because);
            if deed == Deed::Read {
                let served = match meet(&db, &ann, &space) {
                    Ok(_) => Fate::Allowed,
                    Err(Error::NotOpen(_)) => Fate::Refused,
                    Err(other) => panic!("{other:?}"),
                };
                assert_eq!(served, expected, "served, {what}");
                continue;
            }
            send(&space, &db);
            assert_eq!(local(&db, &space, &deed), expected, "on the own database, {what}");
            let (_, space, _) = founded(&world);
            state(&space, hand.id(), &row);
            assert_eq!(received(&world, &space, &hand, &deed, false), expected, "received, {what}");
            asked += 3;
            // Where the key was stopped at the same time, the same commit is void; also in a draft.
            if expected == Fate::Allowed && row.said.iter().any(|(named, _)| *named) {
                let removal = DraftRule {
                    by: ann.author().unwrap(),
                    knowing: None,
                    grant: DraftGrant {
                        subject: Subject::Key(author),
                        permission: None,
                        keep: Keep::Nothing,
                    },
                };
                let (_, fresh, _) = founded(&world);
                state(&fresh, author, &row);
                let case = PolicyCase { knowing: Some(0), ..case };
                let tried = fresh.judge_cases(&[removal], &[case]).unwrap().remove(0);
                assert_eq!(tried.fate, Fate::Void, "on a draft, {what}: {}", tried.because);
                assert_eq!(received(&world, &space, &hand, &deed, true), Fate::Void, "received, {what}");
                asked += 2;
            }
        }
    }
    assert!(asked > 300, "{asked}");
}
