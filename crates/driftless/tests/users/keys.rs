//! Keys of a user: new ones, as text, and their end.

use driftless::{Access, KeyState, KeyText, Subject};
use serde::Deserialize;

use super::*;

#[test]
fn keys_are_made_listed_and_kept() {
    let home = tempfile::tempdir().unwrap();
    let db = builder().password(password("open sesame")).open(home.path()).unwrap();
    let first = db.author().unwrap();
    let second = db.new_key().unwrap();
    assert_eq!(db.author().unwrap(), first);
    db.set_default_key(&second).unwrap();
    let third = db.new_key().unwrap();
    let now: Vec<_> = db.keys().unwrap().iter().map(|key| (key.author, key.is_default, key.state)).collect();
    let active = KeyState::Active;
    assert_eq!(now, [(second, true, active), (first, false, active), (third, false, active)]);
    assert_eq!(db.find_key(&third.to_string()[..10]).unwrap().author, third);
    assert_eq!(code(db.find_key("a_aaaaaaaa")), "not_found");
    drop(db);
    let locked = open(home.path());
    assert_eq!(
        locked.keys().unwrap().iter().map(|key| key.author).collect::<Vec<_>>(),
        [second, first, third]
    );
    assert_eq!(locked.author().unwrap(), second);
}

#[test]
fn a_revoked_key_never_signs_again_here() {
    let home = tempfile::tempdir().unwrap();
    let db = open(home.path());
    let space = db.create_space("home").unwrap();
    let first = db.author().unwrap();
    assert_eq!(code(db.revoke_key(&first)), "invalid");
    let second = db.new_key().unwrap();
    space.grant(Subject::Key(second), write(10)).unwrap();
    assert_eq!(space.author().unwrap(), first);
    db.revoke_key(&first).unwrap();
    db.revoke_key(&first).unwrap();
    assert_eq!((db.author().unwrap(), space.author().unwrap()), (second, second));
    insert(&space, 1).unwrap();
    assert_eq!(code(db.with_key(&first)), "login_failed");
    assert_eq!(code(db.export_key(&first, None)), "not_found");
    assert_eq!(code(db.set_default_key(&first)), "invalid");
    assert_eq!(code(db.revoke_key(&second)), "invalid");
    drop((db, space));
    let db = open(home.path());
    let states: Vec<_> = db.keys().unwrap().iter().map(|key| (key.author, key.state)).collect();
    assert_eq!(states, [(second, KeyState::Active), (first, KeyState::Revoked)]);
    assert_eq!(db.create_space("more").unwrap().author().unwrap(), second);
}

#[test]
fn a_key_goes_to_another_database_as_text() {
    let (one, two) = (memory(), memory());
    let author = one.author().unwrap();
    let plain = one.export_key(&author, None).unwrap();
    let sealed = one.export_key(&author, Some(&password("open sesame"))).unwrap();
    assert!(!plain.has_password() && sealed.has_password() && sealed.author() == author);
    assert_ne!(
        sealed.to_string(),
        one.export_key(&author, Some(&password("open sesame"))).unwrap().to_string()
    );
    let text = sealed.to_string();
    assert_eq!(code(two.import_key(&text, None)), "login_failed");
    assert_eq!(code(two.import_key(&text, Some(&password("wrong")))), "login_failed");
    assert_eq!(two.import_key(&format!(" {text}\n"), Some(&password("open sesame"))).unwrap(), author);
    assert_eq!(code(two.import_key(&plain.to_string(), None)), "exists");
    assert_eq!(code(one.import_key(&plain.to_string(), None)), "exists");
    assert_eq!(two.keys().unwrap().len(), 2);
    let with = two.with_key(&author).unwrap();
    assert_eq!(with.create_space("home").unwrap().author().unwrap(), author);
    // A wrong letter anywhere is found.
    for text in [plain.to_string(), sealed.to_string()] {
        for at in (0..text.len()).step_by(7) {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(code(memory().import_key(&wrong, Some(&password("open sesame")))), "invalid", "{at}");
        }
        assert_eq!(code(text[..text.len() - 8].parse::<KeyText>()), "invalid");
    }
}

#[test]
fn a_reading_handle_sees_users_and_keys_that_another_made() {
    let home = tempfile::tempdir().unwrap();
    let db = open(home.path());
    let reading = builder().access(Access::Read).open(home.path()).unwrap();
    db.create_user("ben", None).unwrap();
    let key = db.new_key().unwrap();
    db.set_default_key(&key).unwrap();
    assert!(reading.refresh().unwrap());
    assert_eq!(reading.users().unwrap(), db.users().unwrap());
    assert_eq!(reading.author().unwrap(), key);
    assert_eq!(code(reading.new_key()), "read_only");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "about")]
    _about: String,
    // Read where rows are.
    #[serde(rename = "rows")]
    _rows: serde_json::Value,
    keys: Vec<Vector>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    seed: String,
    author: String,
    password: Option<String>,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    text: String,
}

#[test]
fn keys_as_text_are_those_of_the_vectors() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/keys.json");
    let vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for Vector { seed, author, password: secret, text } in vectors.keys {
        let db = memory();
        let secret = secret.map(Password::new);
        let imported = db.import_key(&text, secret.as_ref()).unwrap();
        assert_eq!(imported.to_string(), author);
        let plain = db.export_key(&imported, None).unwrap().to_string();
        assert!(secret.is_some() || plain == text);
        let bytes =
            data_encoding::BASE32_NOPAD.decode(plain["driftless-key:".len()..].to_uppercase().as_bytes());
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes.unwrap()[34..66]), seed);
    }
    for Refused { name, text } in vectors.refused {
        assert_eq!(code(memory().import_key(&text, Some(&password("open sesame")))), "invalid", "{name}");
    }
}
