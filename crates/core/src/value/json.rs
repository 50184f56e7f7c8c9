//! JSON at the border: a reader and a writer of values, without loss in either direction.
//!
//! Why not `serde_json`: it turns an integer beyond u64 into a double without a word, and this text is also how
//! documents rest in the view, so it is read and written often. A double always prints with a point or an exponent.
//! `{"$bytes": base64}`, `{"$f64": "inf"|"-inf"}` and, when reading, `{"$i64": "…"}` stand for what JSON has not.

use std::borrow::Cow;
use std::fmt::Write;

use data_encoding::BASE64;

use super::{Float, Map, Value, is_allowed_key};
use crate::limits::MAX_VALUE_DEPTH;

/// Why a text is not a value, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}, at line {line} column {column}")]
pub struct JsonError {
    /// What is wrong.
    pub fault: JsonFault,
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON.
    #[error("not JSON: expected {0}")]
    Syntax(&'static str),
    /// A number without point or exponent that is not an i64.
    #[error("the integer does not fit in 64 bits; write it as a string, or with a point as a double")]
    IntegerTooLarge,
    /// A number with point or exponent beyond the doubles.
    #[error("the number is too large for a double")]
    FloatTooLarge,
    /// One key twice in one map.
    #[error("the key `{0}` is there twice")]
    RepeatedKey(String),
    /// A key of the system or of the query language.
    #[error("the key `{0}` begins with `$` or `_`, which is reserved; rename the field")]
    ReservedKey(String),
    /// A malformed `$bytes`, `$f64` or `$i64`.
    #[error("expected {0}, alone in its map")]
    Special(&'static str),
    /// Lists and maps are nested too deep.
    #[error("lists and maps are nested more than {MAX_VALUE_DEPTH} deep")]
    TooDeep,
}

// Most documents are not longer, so that their text is allocated once.
const JSON_ROOM: usize = 256;

impl Value {
    /// Reads one value of a document.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        Parser { text, at: 0, keys: Keys::OfDocuments }.whole()
    }

    /// Reads a value in which keys may begin with `$` and `_`: operators, filters, documents with system fields.
    pub fn from_json_with_operators(text: &str) -> Result<Self, JsonError> {
        Parser { text, at: 0, keys: Keys::Any }.whole()
    }

    /// The JSON on one line, without spaces, keys in byte order.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// Appends the JSON.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            // Writing to a string cannot fail.
            Self::I64(value) => drop(write!(out, "{value}")),
            Self::F64(value) if value.get() == f64::INFINITY => out.push_str(r#"{"$f64":"inf"}"#),
            Self::F64(value) if value.get() == f64::NEG_INFINITY => out.push_str(r#"{"$f64":"-inf"}"#),
            // Debug prints the shortest text that reads back the same, always with a point or an exponent.
            Self::F64(value) => drop(write!(out, "{:?}", value.get())),
            Self::String(text) => write_json_string(text, out),
            Self::Bytes(bytes) => {
                out.push_str(r#"{"$bytes":""#);
                BASE64.encode_append(bytes, out);
                out.push_str(r#""}"#);
            }
            Self::List(list) => {
                out.push('[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value.write_json(out);
                }
                out.push(']');
            }
            Self::Map(map) => map.write_json(out),
        }
    }
}

impl Map {
    /// Reads one map of a document.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        let mut parser = Parser { text, at: 0, keys: Keys::OfDocuments };
        match parser.whole()? {
            Value::Map(map) => Ok(map),
            _ => {
                parser.at = 0;
                Err(parser.error(JsonFault::Syntax("an object, like {\"title\": \"Milk\"}")))
            }
        }
    }

    /// The JSON on one line.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(JSON_ROOM);
        self.write_json(&mut out);
        out
    }

    /// Appends the JSON.
    pub fn write_json(&self, out: &mut String) {
        out.push('{');
        self.write_json_pairs(out);
        out.push('}');
    }

    // The pairs without the braces, so that a document can put its system fields before them.
    pub(crate) fn write_json_pairs(&self, out: &mut String) {
        for (at, (key, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            write_json_string(key, out);
            out.push(':');
            value.write_json(out);
        }
    }
}

/// Appends a quoted string.
pub(crate) fn write_json_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // What is escaped is one ASCII byte, so both cuts are at character boundaries.
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let (special, tail) = tail.split_at(1);
        match special {
            "\"" => out.push_str("\\\""),
            "\\" => out.push_str("\\\\"),
            "\n" => out.push_str("\\n"),
            "\r" => out.push_str("\\r"),
            "\t" => out.push_str("\\t"),
            control => drop(write!(out, "\\u{:04x}", control.bytes().next().unwrap_or(0))),
        }
        rest = tail;
    }
    out.push_str(rest);
    out.push('"');
}

// Reads the text of one of the three special maps; `None` for a key that is not special.
pub(super) fn special(key: &str, text: &str) -> Option<Result<Value, JsonFault>> {
    Some(match key {
        "$bytes" => BASE64.decode(text.as_bytes()).map(Value::Bytes).map_err(|_| expected(key)),
        "$i64" => text.parse().map(Value::I64).map_err(|_| expected(key)),
        "$f64" => match text {
            "inf" => Float::new(f64::INFINITY).map(Value::F64).ok_or(expected(key)),
            "-inf" => Float::new(f64::NEG_INFINITY).map(Value::F64).ok_or(expected(key)),
            _ => Err(expected(key)),
        },
        _ => return None,
    })
}

pub(super) fn is_special(key: &str) -> bool {
    matches!(key, "$bytes" | "$i64" | "$f64")
}

pub(super) fn expected(key: &str) -> JsonFault {
    JsonFault::Special(match key {
        "$bytes" => r#"{"$bytes": "base64 with padding"}"#,
        "$i64" => r#"{"$i64": "a decimal integer of 64 bits"}"#,
        _ => r#"{"$f64": "inf"} or {"$f64": "-inf"}"#,
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Keys {
    OfDocuments,
    Any,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    keys: Keys,
}

impl<'t> Parser<'t> {
    fn whole(&mut self) -> Result<Value, JsonError> {
        let value = self.value(MAX_VALUE_DEPTH)?;
        match self.skip_space() {
            None => Ok(value),
            Some(_) => self.fail("the end of the text"),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    // The next byte that is not white space, not taken.
    fn skip_space(&mut self) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn error(&self, fault: JsonFault) -> JsonError {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        JsonError { fault, line, column: before.len() - line_start + 1 }
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(self.error(JsonFault::Syntax(expected)))
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.skip_space() {
            Some(b'"') => Ok(Value::String(self.string()?.into_owned())),
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.fail("a value"),
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, JsonError> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return self.fail(word);
        }
        self.at += word.len();
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Value, JsonError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.error(JsonFault::TooDeep))?;
        self.at += 1;
        let mut list = Vec::new();
        if self.skip_space() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(list));
        }
        loop {
            list.push(self.value(depth)?);
            match self.skip_space() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(list));
                }
                _ => return self.fail("`,` or `]`"),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, JsonError> {
        let open = self.at;
        self.at += 1;
        let mut map = Map::new();
        if self.skip_space() == Some(b'}') {
            self.at += 1;
            return self.nested(depth, open).map(|_| Value::Map(map));
        }
        loop {
            if self.skip_space() != Some(b'"') {
                return self.fail("a key in quotes");
            }
            let start = self.at;
            let key = self.string()?;
            if self.skip_space() != Some(b':') {
                return self.fail("`:`");
            }
            self.at += 1;
            if map.is_empty() && is_special(&key) {
                return self.special(&key);
            }
            let depth = self.nested(depth, open)?;
            if self.keys == Keys::OfDocuments && !is_allowed_key(&key) {
                self.at = start;
                return Err(self.error(JsonFault::ReservedKey(key.into_owned())));
            }
            let value = self.value(depth)?;
            if map.insert(&*key, value).is_some() {
                self.at = start;
                return Err(self.error(JsonFault::RepeatedKey(key.into_owned())));
            }
            match self.skip_space() {
                Some(b',') => {
                    self.at += 1;
                }
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Map(map));
                }
                _ => return self.fail("`,` or `}`"),
            }
        }
    }

    // Special maps are scalars; only what turns out to be a real map counts as a level.
    fn nested(&mut self, depth: usize, open: usize) -> Result<usize, JsonError> {
        depth.checked_sub(1).ok_or_else(|| {
            self.at = open;
            self.error(JsonFault::TooDeep)
        })
    }

    fn special(&mut self, key: &str) -> Result<Value, JsonError> {
        if self.skip_space() != Some(b'"') {
            return Err(self.error(expected(key)));
        }
        let start = self.at;
        let text = self.string()?;
        let value = special(key, &text).unwrap_or(Err(expected(key)));
        if self.skip_space() != Some(b'}') {
            return Err(self.error(expected(key)));
        }
        self.at += 1;
        value.map_err(|fault| {
            self.at = start;
            self.error(fault)
        })
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else if !self.digits() {
            return self.fail("a digit");
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            self.at += 1;
            float = true;
            if !self.digits() {
                return self.fail("a digit");
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            float = true;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.digits() {
                return self.fail("a digit");
            }
        }
        if matches!(self.peek(), Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-' | b'+' | b'.')) {
            return self.fail("the end of the number");
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let value = if float {
            text.parse().ok().filter(|float: &f64| float.is_finite()).and_then(Float::new).map(Value::F64)
        } else {
            text.parse().ok().map(Value::I64)
        };
        value.ok_or_else(|| {
            self.at = start;
            self.error(if float { JsonFault::FloatTooLarge } else { JsonFault::IntegerTooLarge })
        })
    }

    fn string(&mut self) -> Result<Cow<'t, str>, JsonError> {
        self.at += 1;
        let run = self.run()?;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(run));
        }
        let mut out = run.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => out.push_str(self.run()?),
            }
        }
    }

    // The characters up to the next quote or backslash, which exists.
    fn run(&mut self) -> Result<&'t str, JsonError> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
        self.at = start + length.unwrap_or(rest.len());
        match self.peek() {
            None => self.fail("a closing quote"),
            Some(byte) if byte < 0x20 => self.fail("an escape like \\n instead of a control character"),
            Some(_) => Ok(self.text.get(start..self.at).unwrap_or_default()),
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.four_digits()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first).map_or_else(|| self.fail("a surrogate pair"), Ok);
                }
                if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u")) {
                    return self.fail("the second half of a surrogate pair");
                }
                self.at += 2;
                let second = self.four_digits()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return self.fail("the second half of a surrogate pair");
                }
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(code).map_or_else(|| self.fail("a character"), Ok);
            }
            _ => return self.fail("an escape"),
        })
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => self.fail("four hexadecimal digits"),
        }
    }
}
