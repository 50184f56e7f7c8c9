//! Reads what users type: JSON arguments (or `-`, or `@file`), ids, subjects, permissions, addresses, tickets.

#[cfg(feature = "iroh")]
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(feature = "iroh")]
use driftless::Relay;
use driftless::{
    Address, At, AuthorId, Bootstrap, DocumentId, Filter, Map, Operator, Permission, RequestId, Space,
    Strength, Subject, Ticket, Value, from_utc,
};

use crate::failure::Failure;
use crate::terminal::Input;

// Strengths of keys that are granted without one. Admins act only on weaker keys, so they are above the writers, and
// there is room on all sides.
const USUAL_ADMIN: Strength = Strength(10);
const USUAL_WRITER: Strength = Strength(100);

const JSON_HINT: &str = "documents look like '{\"title\": \"Milk\"}'; in a shell, put them in single quotes";

/// The fields of a new document.
pub(crate) fn document(input: &mut Input, word: &str) -> Result<Map, Failure> {
    fields(&input.argument(word)?)
}

fn fields(json: &str) -> Result<Map, Failure> {
    Map::from_json(json).map_err(|error| Failure::invalid("invalid_json", error, JSON_HINT))
}

/// The fields of a document that is there: what `get` printed may come back, the system fields are left out.
pub(crate) fn whole_document(input: &mut Input, word: &str, id: &DocumentId) -> Result<Map, Failure> {
    const SYSTEM: [&str; 7] =
        ["_id", "_collection", "_created", "_updated", "_author", "_deleted", "_parent"];
    let json = input.argument(word)?;
    let Ok(Value::Map(mut map)) = Value::from_json_with_operators(&json) else { return fields(&json) };
    if map.get("_id").is_some_and(|other| *other != id.to_value()) {
        let message = "the document has another `_id` than the command";
        return Err(Failure::invalid("invalid_json", message, "leave `_id` out, or name that document"));
    }
    for key in SYSTEM {
        map.remove(key);
    }
    fields(&map.to_json())
}

pub(crate) fn operators(input: &mut Input, word: &str) -> Result<Vec<Operator>, Failure> {
    Ok(driftless::operators_from_json(&input.argument(word)?).map_err(driftless::Error::from)?)
}

/// No filter is all documents.
pub(crate) fn filter(input: &mut Input, word: Option<&str>) -> Result<Filter, Failure> {
    let json = word.map_or(Ok("{}".to_owned()), |word| input.argument(word))?;
    Ok(Filter::parse(&json).map_err(driftless::Error::from)?)
}

pub(crate) fn document_id(word: &str) -> Result<DocumentId, Failure> {
    DocumentId::parse_text(word).map_err(|error| {
        Failure::invalid("invalid_id", error, "ids are printed by `driftless insert` and `driftless find`")
    })
}

/// A point in the history of a space: a commit of it, Unix milliseconds, or a date with or without a time, in UTC.
pub(crate) fn moment(space: &Space, word: &str) -> Result<At, Failure> {
    if word.starts_with("c_") {
        return Ok(At::Commit(space.find_commit(word)?));
    }
    if let Ok(ms) = word.parse() {
        return Ok(At::Time(ms));
    }
    from_utc(word).map(At::Time).ok_or_else(|| {
        let hint = "`2026-11-20`, `2026-11-20T12:00:00`, Unix milliseconds, or a commit as `driftless log` prints it";
        Failure::invalid("invalid_time", format!("`{word}` is neither a time nor a commit"), hint)
    })
}

/// Whom a word names: an author id or a prefix of it, the name of a user here, `*` for anyone, or a space id for the keys
/// that it lets in.
pub(crate) fn subject(space: &Space, word: &str) -> Result<Subject, Failure> {
    space.find_subject(word).map_err(invalid_subject)
}

/// One key: an author id or a prefix of it, or the name of a user here.
pub(crate) fn key(space: &Space, word: &str) -> Result<AuthorId, Failure> {
    if word == "*" {
        let hint = "name one key; `driftless members SPACE --effective` shows those that are known";
        return Err(Failure::invalid("invalid_subject", "`*` is anyone, and no key", hint));
    }
    space.find_key(word).map_err(invalid_subject)
}

fn invalid_subject(error: driftless::Error) -> Failure {
    match error.code() {
        "not_found" => Failure::invalid("invalid_subject", &error, error.hint()),
        _ => error.into(),
    }
}

/// A permission, or `none`.
pub(crate) fn permission_or_none(word: &str) -> Result<Option<Permission>, Failure> {
    if word == "none" { Ok(None) } else { permission(word).map(Some) }
}

/// `read`, `write` or `admin`; the last two may carry a strength, `write:5`.
pub(crate) fn permission(word: &str) -> Result<Permission, Failure> {
    let (level, strength) = match word.split_once(':') {
        Some((level, strength)) => (level, strength.parse().ok().map(Strength)),
        None => (word, None),
    };
    match (level, strength) {
        ("read", _) if word == "read" => Ok(Permission::Read),
        ("write", _) if word == "write" => Ok(Permission::Write(USUAL_WRITER)),
        ("admin", _) if word == "admin" => Ok(Permission::Admin(USUAL_ADMIN)),
        ("write", Some(strength)) => Ok(Permission::Write(strength)),
        ("admin", Some(strength)) => Ok(Permission::Admin(strength)),
        _ => {
            let hint = "read, write or admin; with a strength like `write:5`, where smaller is stronger";
            Err(Failure::invalid("invalid_permission", format!("`{word}` is not a permission"), hint))
        }
    }
}

/// `reject`, `queue`, or `approve:` and a permission.
pub(crate) fn bootstrap(word: &str) -> Result<Bootstrap, Failure> {
    match (word, word.strip_prefix("approve:")) {
        ("reject", _) => Ok(Bootstrap::Reject),
        ("queue", _) => Ok(Bootstrap::Queue),
        (_, Some(most)) => permission(most).map(Bootstrap::Approve),
        _ => {
            let hint = "`reject`, `queue`, or `approve:` and a permission, such as `approve:write:100`";
            Err(Failure::invalid("invalid_policy", format!("`{word}` is not a bootstrap policy"), hint))
        }
    }
}

/// The id of a request, whole.
pub(crate) fn request(word: &str) -> Result<RequestId, Failure> {
    word.parse().map_err(|error| {
        let hint = "`driftless requests` prints the ids; copy the whole of it";
        Failure::invalid("invalid_request", error, hint)
    })
}

/// `45s`, `30m`, `12h`, `2d` or `1w`.
pub(crate) fn duration(word: &str) -> Result<Duration, Failure> {
    const UNITS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    // A hundred years: more is a slip of the keyboard.
    const LONGEST: u64 = 100 * 366 * 86_400;
    let seconds = UNITS.into_iter().find_map(|(unit, seconds)| {
        let number =
            word.strip_suffix(unit).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
        number.parse::<u64>().ok()?.checked_mul(seconds).filter(|seconds| *seconds <= LONGEST)
    });
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let hint = "a number and a unit: `45s`, `30m`, `12h`, `2d`, `1w`";
        Failure::invalid("invalid_duration", format!("`{word}` is not a length of time"), hint)
    })
}

/// Where a peer may be found: `http://host:port`, with `/#p_..` behind it only that peer; `http://` may be left out.
pub(crate) fn address(word: &str) -> Result<Address, Failure> {
    let has_scheme = word.contains("://") || word.starts_with("iroh:");
    let whole = if has_scheme { word.to_owned() } else { format!("http://{word}") };
    whole.parse().map_err(|error| {
        let hint = "addresses look like http://192.0.2.7:7477; `driftless serve` prints those of its folder";
        Failure::invalid("invalid_address", error, hint)
    })
}

/// The sockets for iroh: `any`, or IP:PORT.
#[cfg(feature = "iroh")]
pub(crate) fn iroh_socket(word: &str) -> Result<Address, Failure> {
    let sockets: Vec<SocketAddr> = match word {
        "any" => Vec::new(),
        word => vec![word.parse().map_err(|_| {
            let hint = "`--iroh` alone takes any free port of all interfaces; `--iroh 127.0.0.1:0` one of this machine";
            Failure::invalid("invalid_address", format!("`{word}` is not IP:PORT"), hint)
        })?],
    };
    Address::iroh(&sockets, None)
        .map_err(|error| Failure::invalid("invalid_address", error, "give one IP:PORT"))
}

/// Which relays iroh uses.
#[cfg(feature = "iroh")]
pub(crate) fn relay(word: &str) -> Result<Relay, Failure> {
    word.parse().map_err(|_| {
        let message = format!("`{word}` is neither `default`, `none` nor the URL of a relay");
        Failure::invalid("invalid_address", message, "a relay is given as https://HOST or https://HOST:PORT")
    })
}

/// An invitation, as `driftless ticket` prints it.
pub(crate) fn ticket(word: &str) -> Result<Ticket, Failure> {
    word.parse().map_err(|error: driftless::Error| {
        let hint =
            "tickets begin with `driftless:` and are printed by `driftless ticket`; copy the whole of it";
        Failure::invalid("invalid_ticket", error, hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_words_with_an_optional_strength() {
        assert_eq!(permission("read"), Ok(Permission::Read));
        assert_eq!(permission("write"), Ok(Permission::Write(USUAL_WRITER)));
        assert_eq!(permission("admin:0"), Ok(Permission::Admin(Strength(0))));
        for wrong in ["", "own", "read:1", "write:", "write:-1", "admin:x"] {
            assert!(permission(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_get_printed_can_be_saved_again() {
        let id = DocumentId::string("FI-18").unwrap();
        let json = r#"{"_id":"FI-18","_collection":"c","_created":1,"a":{"$bytes":"AQ=="},"b":1.0}"#;
        let mut input = Input::new(Box::new(std::io::empty()), std::path::PathBuf::new());
        let mut whole_document = |json: &str, id: &DocumentId| whole_document(&mut input, json, id);
        assert_eq!(whole_document(json, &id).unwrap().to_json(), r#"{"a":{"$bytes":"AQ=="},"b":1.0}"#);
        assert!(whole_document(json, &DocumentId::from(1)).is_err());
        assert!(whole_document(r#"{"_other":1}"#, &id).is_err());
        assert!(whole_document("[]", &id).is_err());
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "d", "2", "-1h", "+1h", "1.5h", "2 d", "99999999999999999999s", "9999999w", "2é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_may_leave_out_the_scheme() {
        assert_eq!(address("127.0.0.1:7477"), address("http://127.0.0.1:7477/"));
        for wrong in ["", "7477", "ftp://a:1", "http://a"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
