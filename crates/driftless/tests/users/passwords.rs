//! Passwords: what they hide, what they let happen, what guessing costs.

use driftless::{Access, KeyText};

use super::*;

// The secret bytes of a key, out of its text.
fn seed(db: &Database) -> Vec<u8> {
    let text: KeyText = db.export_key(&db.author().unwrap(), None).unwrap();
    let text = text.to_string();
    let bytes = data_encoding::BASE32_NOPAD.decode(text["driftless-key:".len()..].to_uppercase().as_bytes());
    bytes.unwrap()[34..66].to_vec()
}

fn holds(folder: &Path, secret: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| bytes.windows(secret.len()).any(|window| window == secret))
}

#[test]
fn a_password_hides_the_keys_and_not_who_they_are() {
    let home = tempfile::tempdir().unwrap();
    let db = builder().password(password("open sesame")).open(home.path()).unwrap();
    assert!(db.is_logged_in().unwrap());
    let ben = db.create_user("ben", None).unwrap();
    let space = db.create_space("home").unwrap();
    let (author, secret, plain) = (db.author().unwrap(), seed(&db), seed(&db.login("ben", None).unwrap()));
    db.flush().unwrap();
    assert!(!ben.has_password && holds(home.path(), &plain) && !holds(home.path(), &secret));
    assert!(!holds(home.path(), b"open sesame"));
    let shown = format!("{db:?} {:?} {:?}", password("open sesame"), db.export_key(&author, None).unwrap());
    assert!(!shown.contains("sesame") && !shown.contains("driftless-key"), "{shown}");
    drop((db, space));

    // Without the password it reads, receives and knows its own, and signs nothing.
    for access in [Access::Write, Access::Read] {
        let locked = builder().access(access).open(home.path()).unwrap();
        assert!(!locked.is_logged_in().unwrap());
        assert_eq!(locked.author().unwrap(), author);
        let space = locked.space("home").unwrap();
        assert!(space.members().unwrap()[0].you);
        if access == Access::Write {
            assert_eq!(code(insert(&space, 1)), "login_needed");
            assert_eq!(code(locked.create_space("more")), "login_needed");
            assert_eq!(code(locked.new_key()), "login_needed");
            assert_eq!(code(locked.export_key(&author, None)), "login_needed");
            assert_eq!(code(locked.set_password(None)), "login_needed");
            space.rename("house").unwrap();
            space.rename("home").unwrap();
        }
        // Somebody else's log-in is not this handle's.
        let unlocked = locked.login("ann", Some(&password("open sesame"))).unwrap();
        assert!(unlocked.is_logged_in().unwrap() && !locked.is_logged_in().unwrap());
    }
    assert_eq!(code(builder().password(password("wrong")).open(home.path())), "login_failed");
    let db = builder().password(password("open sesame")).open(home.path()).unwrap();
    insert(&db.space("home").unwrap(), 1).unwrap();
    assert!(!holds(home.path(), &secret));
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let db = memory();
    db.create_user("ben", Some(&password("open sesame"))).unwrap();
    let tried = [
        db.login("ben", Some(&password("open sesam"))),
        db.login("ben", Some(&password(""))),
        db.login("ben", None),
        db.login("nobody", Some(&password("open sesame"))),
        db.login("nobody", None),
        // She has none, so none is right.
        db.login("ann", Some(&password("open sesame"))),
    ];
    let looks: Vec<_> = tried
        .into_iter()
        .map(|tried| {
            let error = tried.unwrap_err();
            (error.code(), error.to_string(), error.hint())
        })
        .collect();
    assert!(looks.iter().all(|look| *look == looks[0] && look.0 == "login_failed"), "{looks:?}");
    let text = format!("{looks:?}");
    assert!(!text.contains("ben") && !text.contains("sesam"), "{text}");
}

#[test]
fn a_password_is_changed_and_removed_by_whoever_knows_it() {
    let home = tempfile::tempdir().unwrap();
    let db = open(home.path());
    let (author, secret) = (db.author().unwrap(), seed(&db));
    let space = db.create_space("home").unwrap();
    db.set_password(Some(&password("first"))).unwrap();
    assert!(db.find_user("ann").unwrap().has_password);
    // Who was logged in stays so; others are asked.
    insert(&space, 1).unwrap();
    assert_eq!(code(db.login("ann", None)), "login_failed");
    let other = db.login("ann", Some(&password("first"))).unwrap();
    other.set_password(Some(&password("second"))).unwrap();
    assert_eq!(code(db.login("ann", Some(&password("first")))), "login_failed");
    let key = db.new_key().unwrap();
    insert(&space, 2).unwrap();
    assert_eq!(code(db.set_password(Some(&password("")))), "invalid");
    drop((db, other, space));

    // What lay there without a password has left the file with the log.
    let db = open(home.path());
    assert!(!db.is_logged_in().unwrap() && !holds(home.path(), &secret));
    let ann = db.login("ann", Some(&password("second"))).unwrap();
    assert_eq!(ann.keys().unwrap().iter().map(|key| key.author).collect::<Vec<_>>(), [author, key]);
    ann.set_password(None).unwrap();
    // Nothing stands before the keys any more, for any handle.
    insert(&db.space("home").unwrap(), 3).unwrap();
    drop((db, ann));
    insert(&open(home.path()).space("home").unwrap(), 4).unwrap();
}

#[test]
fn the_last_password_that_was_set_is_the_one_that_holds() {
    let home = tempfile::tempdir().unwrap();
    drop(builder().password(password("first")).open(home.path()).unwrap());
    let locked = open(home.path());
    let ann = locked.login("ann", Some(&password("first"))).unwrap();
    ann.set_password(None).unwrap();
    // Now this handle signs as well, and so it may set one.
    locked.set_password(Some(&password("second"))).unwrap();
    for db in [&ann, &locked] {
        db.new_key().unwrap();
        assert_eq!(code(db.login("ann", Some(&password("first")))), "login_failed");
        db.login("ann", Some(&password("second"))).unwrap();
    }
    let keys = ann.keys().unwrap();
    drop((locked, ann));
    let ann = builder().password(password("second")).open(home.path()).unwrap();
    assert_eq!((ann.keys().unwrap(), keys.len()), (keys, 3));
}

#[test]
fn what_a_password_costs_grows_at_the_next_login() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("driftless.sqlite");
    let row = || {
        let db = rusqlite::Connection::open(&file).unwrap();
        db.query_row("SELECT value FROM user", [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
    };
    drop(builder().password(password("open sesame")).open(home.path()).unwrap());
    let before = row();
    let dear = PasswordCost { memory_kib: 64, passes: 2, lanes: 1 };
    let dearer = || builder().password_cost(dear).password(password("open sesame")).open(home.path());
    drop(dearer().unwrap());
    let after = row();
    assert_ne!(before, after);
    // Then it is enough, and a cheaper setting takes nothing back.
    drop(dearer().unwrap());
    drop(builder().password(password("open sesame")).open(home.path()).unwrap());
    assert_eq!(row(), after);
    assert_eq!(code(builder().password(password("open sesam")).open(home.path())), "login_failed");
    let free = PasswordCost { memory_kib: 0, passes: 1, lanes: 1 };
    assert_eq!(code(builder().password_cost(free).memory()), "invalid");
}

#[test]
fn after_five_failures_in_a_minute_the_next_guess_waits() {
    let hand = Hand::new();
    let db = at(&hand).memory().unwrap();
    db.create_user("ben", Some(&password("open sesame"))).unwrap();
    for name in ["ben", "nobody"] {
        for _ in 0..5 {
            assert_eq!(code(db.login(name, Some(&password("wrong")))), "login_failed");
            hand.advance(1000);
        }
        let waits = db.login(name, Some(&password("open sesame")));
        assert!(matches!(waits, Err(Error::TooManyAttempts { seconds: 55 })), "{waits:?}");
        hand.advance(5000);
    }
    // It is about that name; and a success starts anew.
    db.login("ann", None).unwrap();
    hand.advance(60_000);
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(code(db.login("ben", Some(&password("wrong")))), "login_failed");
        }
        db.login("ben", Some(&password("open sesame"))).unwrap();
    }
}

#[test]
fn a_repair_keeps_users_and_guards_chains_that_only_a_password_goes_on_with() {
    let home = tempfile::tempdir().unwrap();
    let db = builder().password(password("open sesame")).open(home.path()).unwrap();
    db.create_user("ben", None).unwrap();
    let space = db.create_space("home").unwrap();
    (0..3).for_each(|n| drop(insert(&space, n).unwrap()));
    let (users, author) = (db.users().unwrap(), db.author().unwrap());
    drop((db, space));
    assert!(Database::fsck_folder(home.path(), &mut |_| ()).unwrap().is_ok());
    let file = rusqlite::Connection::open(home.path().join("driftless.sqlite")).unwrap();
    let last = "key = (SELECT max(key) FROM log)";
    file.execute(&format!("UPDATE log SET value = x'00' WHERE {last}"), []).unwrap();
    drop(file);
    assert!(!Database::fsck_folder(home.path(), &mut |_| ()).unwrap().is_ok());
    let repaired = Database::builder().repair(home.path(), &mut |_| ()).unwrap();
    assert_eq!(repaired.spaces[0].guarded, [author]);
    let db = builder().password(password("open sesame")).open(home.path()).unwrap();
    assert_eq!(db.users().unwrap(), users);
    assert_eq!(code(insert(&db.space("home").unwrap(), 4)), "chain_lost");
}
