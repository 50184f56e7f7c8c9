//! The golden vectors in `conformance/`: what another implementation must read, write and decide in the same way.
//!
//! Each file is made by the code, compared with what is kept, then read as a stranger would: decoded, encoded again,
//! compared. A field too many or too few fails. `DRIFTLESS_WRITE_VECTORS=1` writes the files anew.

mod bodies;
mod documents;
mod folds;
mod headers;
mod histories;
mod frames;
mod messages;
mod reconciliations;
mod sessions;
mod signatures;
mod summaries;

#[path = "../replica/mod.rs"]
mod replica;

use std::path::Path;

use data_encoding::HEXLOWER;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, in JSON as hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(bytes.as_ref().to_vec())
    }

    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.clone().try_into().expect("as many bytes as the field needs")
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER.decode(text.as_bytes()).map(Self).map_err(D::Error::custom)
    }
}

/// Bytes that must be refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusedBytes {
    pub(crate) name: String,
    pub(crate) bytes: Hex,
    pub(crate) reason: String,
}

impl RefusedBytes {
    /// Panics if `decode` takes the bytes: then they are no vector of this kind.
    pub(crate) fn new<T, E: std::fmt::Display>(
        name: &str,
        bytes: Vec<u8>,
        decode: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Self {
        let Err(reason) = decode(&bytes) else { panic!("{name} was not refused") };
        Self { name: name.to_owned(), bytes: Hex(bytes), reason: reason.to_string() }
    }

    pub(crate) fn check<T, E: std::fmt::Display>(&self, decode: impl Fn(&[u8]) -> Result<T, E>) {
        let result = decode(&self.bytes.0).map(drop).map_err(|error| error.to_string());
        assert_eq!(result, Err(self.reason.clone()), "{}", self.name);
    }
}

/// Compares a file with what the code makes, then hands over what is read from it.
pub(crate) fn hold<T: Serialize + DeserializeOwned>(name: &str, made: &T, check: impl FnOnce(T)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let path = folder.join(format!("{name}.json"));
    let mut text = serde_json::to_string_pretty(made).unwrap();
    text.push('\n');
    if std::env::var_os("DRIFTLESS_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let line = 1 + kept.lines().zip(text.lines()).take_while(|(kept, made)| kept == made).count();
    assert!(
        kept == text,
        "conformance/{name}.json, line {line}, is not what the code makes. If the format was meant to change, write it \
         anew: see conformance/README.md"
    );
    check(serde_json::from_str(&kept).unwrap());
}

#[test]
fn a_vector_with_a_field_too_many_or_too_few_is_no_vector() {
    let read = |text: &str| serde_json::from_str::<RefusedBytes>(text).is_ok();
    assert!(read(r#"{"name":"","bytes":"00","reason":""}"#));
    assert!(!read(r#"{"name":"","bytes":"00"}"#));
    assert!(!read(r#"{"name":"","bytes":"00","reason":"","more":1}"#));
    let read = |text: &str| serde_json::from_str::<signatures::Case>(text).is_ok();
    let case = r#"{"name":"","domain":"","author":"","payload":"","signature":"","counts":true,"seed":null}"#;
    assert!(read(case));
    assert!(!read(&case.replace(r#","seed":null"#, "")));
}
