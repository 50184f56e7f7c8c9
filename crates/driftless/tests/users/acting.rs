//! Several users act in one open database at the same time, each through handles of its own.

use std::sync::Arc;

use driftless::{Database, Invite, Network, Permission, Strength, Subject};
use driftless_net::MemoryNetwork;

use super::*;

#[test]
fn each_handle_writes_as_its_own_user_also_at_the_same_time() {
    let ann = memory();
    ann.create_user("ben", None).unwrap();
    let ben = ann.login("ben", None).unwrap();
    assert_eq!((ann.user().unwrap().as_str(), ben.user().unwrap().as_str()), ("ann", "ben"));
    let (her, his) = (ann.author().unwrap(), ben.author().unwrap());
    assert_ne!(her, his);
    let home = ann.create_space("home").unwrap();
    assert_eq!(code(insert(&same(&home, &ben), 1)), "not_permitted");
    home.grant(Subject::Key(his), write(10)).unwrap();
    std::thread::scope(|scope| {
        for db in [&ann, &ben] {
            for _ in 0..2 {
                scope.spawn(|| {
                    let (space, author) = (same(&home, db), db.author().unwrap());
                    for n in 0..50 {
                        let id = insert(&space, n).unwrap();
                        let document = space.collection("notes").unwrap().get(&id).unwrap().unwrap();
                        assert_eq!(document.author, author);
                    }
                });
            }
        }
    });
    let log = home.log(driftless::LogQuery { document: None, limit: None }).unwrap();
    let by = |author| log.iter().filter(|line| line.author == author).count();
    assert_eq!((by(her), by(his)), (102, 100));
    let you = |db: &Database| {
        let members = same(&home, db).members().unwrap();
        members.into_iter().filter(|member| member.you).map(|member| member.subject).collect::<Vec<_>>()
    };
    assert_eq!((you(&ann), you(&ben)), (vec![Subject::Key(her)], vec![Subject::Key(his)]));
}

#[test]
fn a_database_opens_as_its_first_user_whoever_came_later() {
    let home = tempfile::tempdir().unwrap();
    let db = open(home.path());
    db.create_user("abe", None).unwrap();
    assert_eq!(code(db.create_user("abe", None)), "exists");
    assert_eq!(code(db.create_user("", None)), "invalid");
    drop(db);
    let opened = Database::builder().open(home.path()).unwrap();
    assert_eq!(opened.user().unwrap(), "ann");
    let names: Vec<_> =
        opened.users().unwrap().into_iter().map(|user| (user.name, user.is_default)).collect();
    assert_eq!(names, [("abe".to_owned(), false), ("ann".to_owned(), true)]);
    drop(opened);
    let abe = Database::builder().user_name("abe").open(home.path()).unwrap();
    assert_eq!(abe.user().unwrap(), "abe");
    drop(abe);
    assert_eq!(code(Database::builder().user_name("eve").open(home.path())), "not_found");
}

#[test]
fn a_space_is_written_with_the_key_that_may_do_most_there() {
    let (ann, other) = (memory(), memory());
    let usual = ann.author().unwrap();
    let better = ann.new_key().unwrap();
    let space = other.create_space("team").unwrap();
    let meet = |from: &Database, to: &Database| {
        let mut bytes = Vec::new();
        from.space("team").unwrap().export(&mut bytes, &mut |_| ()).unwrap();
        to.import(&mut bytes.as_slice(), &mut |_| ()).unwrap();
    };
    space.grant(Subject::Key(usual), write(50)).unwrap();
    meet(&other, &ann);
    let team = ann.space("team").unwrap();
    assert_eq!(team.author().unwrap(), usual);
    // As much with more strength, then more with less.
    for permission in [write(10), Permission::Admin(Strength(60))] {
        space.grant(Subject::Key(better), permission).unwrap();
        meet(&other, &ann);
        assert_eq!(team.author().unwrap(), better);
        let mut transaction = ann.transaction();
        let notes = team.collection("notes").unwrap();
        let id = transaction.insert(&notes, Map::from_json("{}").unwrap()).unwrap();
        assert_eq!(transaction.get(&notes, &id).unwrap().unwrap().author, better);
        transaction.commit().unwrap();
        assert_eq!(notes.get(&id).unwrap().unwrap().author, better);
    }
    // Equal ones leave it to the default key, which also founds spaces.
    space.grant(Subject::Key(usual), Permission::Admin(Strength(60))).unwrap();
    meet(&other, &ann);
    assert_eq!(team.author().unwrap(), usual);
    assert_eq!(ann.create_space("own").unwrap().author().unwrap(), usual);
    ann.set_default_key(&better).unwrap();
    assert_eq!((ann.author().unwrap(), team.author().unwrap()), (better, better));
    assert_eq!(ann.create_space("mine").unwrap().author().unwrap(), better);
    // A handle may insist.
    let insists = ann.with_key(&usual).unwrap();
    assert_eq!(same(&team, &insists).author().unwrap(), usual);
    assert_eq!(code(ann.with_key(&other.author().unwrap())), "login_failed");
}

#[test]
fn a_copy_stops_the_one_key_that_it_used_and_no_other() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("one"), home.path().join("two"));
    let one = open(&first);
    one.create_user("ben", None).unwrap();
    let ben = one.login("ben", None).unwrap();
    let space = one.create_space("home").unwrap();
    space.grant(Subject::Key(ben.author().unwrap()), write(10)).unwrap();
    insert(&same(&space, &ben), 0).unwrap();
    drop((one, ben, space));
    std::fs::create_dir(&second).unwrap();
    for file in std::fs::read_dir(&first).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), second.join(file.file_name())).unwrap();
    }
    // Only ben writes in both.
    let copy = Database::builder().user_name("ben").open(&second).unwrap();
    insert(&copy.space("home").unwrap(), 1).unwrap();
    let one = open(&first);
    let ben = one.login("ben", None).unwrap();
    insert(&ben.space("home").unwrap(), 2).unwrap();
    let mut bytes = Vec::new();
    copy.space("home").unwrap().export(&mut bytes, &mut |_| ()).unwrap();
    one.import(&mut bytes.as_slice(), &mut |_| ()).unwrap();

    insert(&one.space("home").unwrap(), 3).unwrap();
    assert_eq!(code(insert(&ben.space("home").unwrap(), 4)), "author_forked");
    assert_eq!(one.status().unwrap().copied.unwrap().author, ben.author().unwrap());
    let check = |db: &Database, what: &str| {
        let checks = db.doctor().unwrap();
        checks.iter().filter(|check| check.check == what).all(|check| check.ok)
    };
    assert!(check(&one, "author") && !check(&one, "users") && !check(&ben, "author"));
    // Opened again it is still so; ben's new key goes on, and ann's never changed.
    let her = one.author().unwrap();
    drop((one, ben));
    let one = open(&first);
    let ben = one.login("ben", None).unwrap();
    assert_eq!(code(insert(&ben.space("home").unwrap(), 4)), "author_forked");
    let renewed = ben.renew_author().unwrap();
    assert_eq!(renewed.author, ben.author().unwrap());
    one.space("home").unwrap().grant(Subject::Key(renewed.author), write(10)).unwrap();
    insert(&ben.space("home").unwrap(), 5).unwrap();
    assert!(check(&ben, "author") && check(&one, "users") && one.author().unwrap() == her);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_proves_the_keys_of_all_who_are_logged_in_or_need_not() {
    let net = MemoryNetwork::new();
    let (hub, ann) = (memory(), memory());
    let on = |db: &Database| Network::over(db, Arc::new(net.transport(db.peer().unwrap()))).unwrap();
    let (at_hub, at_ann) = (on(&hub), on(&ann));
    let address = at_hub.serve(&"memory:hub".parse().unwrap()).await.unwrap();
    ann.create_user("ben", None).unwrap();
    ann.create_user("cem", Some(&password("open sesame"))).unwrap();
    let key = |name: &str| Subject::Key(ann.find_user(name).unwrap().keys[0].author);
    let [of_ben, of_cem] = ["ben", "cem"].map(|name| {
        let space = hub.create_space(name).unwrap();
        space.grant(key(name), Permission::Read).unwrap();
        space.id()
    });
    at_ann.sync_with_peer(&address, &of_ben).await.unwrap();
    assert_eq!(code(at_ann.sync_with_peer(&address, &of_cem).await), "not_open");
    let cem = ann.login("cem", Some(&password("open sesame"))).unwrap();
    at_ann.sync_with_peer(&address, &of_cem).await.unwrap();
    // Who logs out is no more proven.
    drop(cem);
    assert_eq!(code(at_ann.sync_with_peer(&address, &of_cem).await), "not_open");

    // A ticket lets in the key of whoever joins.
    let team = hub.create_space("team").unwrap();
    let addresses = vec![address.to_string()];
    let ticket = team.invite(Invite { permission: write(9), uses: None, expires: None, addresses }).unwrap();
    let cem = ann.login("cem", Some(&password("open sesame"))).unwrap();
    let (joined, _) = at_ann.acting_as(&cem).unwrap().join(&ticket).await.unwrap();
    assert_eq!(joined.database().user().unwrap(), "cem");
    insert(&joined, 1).unwrap();
    assert!(team.members().unwrap().iter().any(|member| member.subject == key("cem")));
    assert_eq!(code(insert(&same(&joined, &ann), 2)), "not_permitted");
    assert_eq!(code(at_ann.acting_as(&hub).map(drop)), "invalid");
}
