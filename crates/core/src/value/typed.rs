//! Typed documents: any serde type to a value and back, and the bridge to `serde_json::Value`.
//!
//! Going through `serde_json::to_value` would turn NaN and the infinities into null. Here NaN is refused and infinities
//! stay. Maps of one key `$bytes`, `$f64` or `$i64` are read as in the border JSON, so `serde_json` values work too.

use serde::de::{self, IntoDeserializer, value::MapDeserializer, value::SeqDeserializer};
use serde::ser::{self, SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::json::{is_special, special};
use super::{Map, Value, ValueError};

/// Why a Rust value and a document value do not become each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypedError {
    /// It would not be a value of a document.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// An unsigned or 128-bit integer beyond i64.
    #[error("the integer {0} does not fit in 64 bits with a sign; use a string")]
    IntegerTooLarge(String),
    /// What a type's own Serialize or Deserialize says.
    #[error("{0}")]
    Message(String),
}

impl ser::Error for TypedError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }
}

impl de::Error for TypedError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Message(message.to_string())
    }
}

impl Value {
    /// The value of a Rust value, checked: depth, reserved keys, NaN.
    pub fn from_typed<T: Serialize + ?Sized>(typed: &T) -> Result<Self, TypedError> {
        let value = typed.serialize(ToValue)?;
        value.check()?;
        Ok(value)
    }

    /// The Rust value of this value.
    pub fn to_typed<T: de::DeserializeOwned>(&self) -> Result<T, TypedError> {
        T::deserialize(self)
    }

    /// A JSON value as a value of a document, by the rules of the border.
    pub fn from_serde_json(json: &serde_json::Value) -> Result<Self, TypedError> {
        Self::from_typed(json)
    }

    /// The border JSON as a `serde_json` value; without loss, `from_serde_json` gives the same value back.
    pub fn to_serde_json(&self) -> serde_json::Value {
        // Keys are strings and no number is NaN: this cannot fail.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Map {
    /// The fields of a Rust value that serialises as a struct or map, checked.
    pub fn from_typed<T: Serialize + ?Sized>(typed: &T) -> Result<Self, TypedError> {
        match Value::from_typed(typed)? {
            Value::Map(map) => Ok(map),
            _ => Err(ser::Error::custom("a document is a struct or a map")),
        }
    }

    /// The Rust value of these fields.
    pub fn to_typed<T: de::DeserializeOwned>(&self) -> Result<T, TypedError> {
        T::deserialize(MapDeserializer::new(self.iter()))
    }
}

/// As border JSON.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = |serializer: S, key: &str, text: &str| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(key, text)?;
            map.end()
        };
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::I64(value) => serializer.serialize_i64(*value),
            Self::F64(value) if value.get().is_finite() => serializer.serialize_f64(value.get()),
            Self::F64(value) => one(serializer, "$f64", if value.get() > 0.0 { "inf" } else { "-inf" }),
            Self::String(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => one(serializer, "$bytes", &data_encoding::BASE64.encode(bytes)),
            Self::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|value| seq.serialize_element(value))?;
                seq.end()
            }
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

/// As border JSON.
impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

/// Any field of a typed document may be a `Value`. From `serde_json` text an integer beyond u64 arrives as a double,
/// which cannot be seen here: read text with `Value::from_json`.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value of a document")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::I64(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value)
            .map(Value::I64)
            .map_err(|_| E::custom(TypedError::IntegerTooLarge(value.to_string())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Value::float(value).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value::<Value>()?;
            if map.insert(key, value).is_some() {
                return Err(de::Error::custom("one key is there twice"));
            }
        }
        unwrap_special(map).map_err(de::Error::custom)
    }
}

// What `{"$bytes": ..}` and its like stand for; any other map is itself.
fn unwrap_special(map: Map) -> Result<Value, TypedError> {
    match map.iter().next() {
        Some((key, value)) if map.len() == 1 && is_special(key) => {
            let read = value.as_str().and_then(|text| special(key, text));
            let fault = || super::json::expected(key);
            read.unwrap_or_else(|| Err(fault())).map_err(|fault| TypedError::Message(fault.to_string()))
        }
        _ => Ok(Value::Map(map)),
    }
}

struct ToValue;

// A list or map under construction, with the name of the enum variant around it, if any.
struct Items {
    list: Vec<Value>,
    variant: Option<&'static str>,
}

struct Fields {
    map: Map,
    key: Option<String>,
    variant: Option<&'static str>,
}

fn in_variant(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(name) => Value::Map(Map::from_iter([(name, value)])),
        None => value,
    }
}

impl Items {
    fn new(variant: Option<&'static str>) -> Result<Self, TypedError> {
        Ok(Self { list: Vec::new(), variant })
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        self.list.push(value.serialize(ToValue)?);
        Ok(())
    }

    fn close(self) -> Result<Value, TypedError> {
        Ok(in_variant(self.variant, Value::List(self.list)))
    }
}

impl Fields {
    fn new(variant: Option<&'static str>) -> Result<Self, TypedError> {
        Ok(Self { map: Map::new(), key: None, variant })
    }

    fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), TypedError> {
        match self.map.insert(key, value.serialize(ToValue)?) {
            Some(_) => Err(TypedError::Message(format!("the key `{key}` is there twice"))),
            None => Ok(()),
        }
    }

    fn close(self) -> Result<Value, TypedError> {
        Ok(in_variant(self.variant, unwrap_special(self.map)?))
    }
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = TypedError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    fn serialize_bool(self, value: bool) -> Result<Value, TypedError> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, TypedError> {
        Ok(Value::I64(value.into()))
    }

    fn serialize_i16(self, value: i16) -> Result<Value, TypedError> {
        Ok(Value::I64(value.into()))
    }

    fn serialize_i32(self, value: i32) -> Result<Value, TypedError> {
        Ok(Value::I64(value.into()))
    }

    fn serialize_i64(self, value: i64) -> Result<Value, TypedError> {
        Ok(Value::I64(value))
    }

    fn serialize_i128(self, value: i128) -> Result<Value, TypedError> {
        i64::try_from(value).map(Value::I64).map_err(|_| TypedError::IntegerTooLarge(value.to_string()))
    }

    fn serialize_u8(self, value: u8) -> Result<Value, TypedError> {
        Ok(Value::I64(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Result<Value, TypedError> {
        Ok(Value::I64(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Result<Value, TypedError> {
        Ok(Value::I64(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, TypedError> {
        i64::try_from(value).map(Value::I64).map_err(|_| TypedError::IntegerTooLarge(value.to_string()))
    }

    fn serialize_u128(self, value: u128) -> Result<Value, TypedError> {
        i64::try_from(value).map(Value::I64).map_err(|_| TypedError::IntegerTooLarge(value.to_string()))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, TypedError> {
        Ok(Value::float(value.into())?)
    }

    fn serialize_f64(self, value: f64) -> Result<Value, TypedError> {
        Ok(Value::float(value)?)
    }

    fn serialize_char(self, value: char) -> Result<Value, TypedError> {
        Ok(Value::String(value.into()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, TypedError> {
        Ok(Value::String(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, TypedError> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, TypedError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, TypedError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, TypedError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, TypedError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<Value, TypedError> {
        Ok(Value::from(name))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, TypedError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Value, TypedError> {
        Ok(in_variant(Some(name), value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, TypedError> {
        Items::new(None)
    }

    fn serialize_tuple(self, _: usize) -> Result<Items, TypedError> {
        Items::new(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items, TypedError> {
        Items::new(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Items, TypedError> {
        Items::new(Some(name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields, TypedError> {
        Fields::new(None)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields, TypedError> {
        Fields::new(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Fields, TypedError> {
        Fields::new(Some(name))
    }
}

macro_rules! items {
    ($($part:ident :: $method:ident),*) => {$(
        impl ser::$part for Items {
            type Ok = Value;
            type Error = TypedError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
                self.push(value)
            }

            fn end(self) -> Result<Value, TypedError> {
                self.close()
            }
        }
    )*};
}

items!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! fields {
    ($($part:ident),*) => {$(
        impl ser::$part for Fields {
            type Ok = Value;
            type Error = TypedError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), TypedError> {
                self.put(key, value)
            }

            fn end(self) -> Result<Value, TypedError> {
                self.close()
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Fields {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), TypedError> {
        self.key = Some(match key.serialize(ToValue)? {
            Value::String(key) => key,
            // As serde_json does for maps with integer keys.
            Value::I64(key) => key.to_string(),
            Value::Bool(key) => key.to_string(),
            _ => return Err(TypedError::Message("keys of a map must be strings".to_owned())),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        match self.key.take() {
            Some(key) => self.put(&key, value),
            None => Err(TypedError::Message("a value of a map came before its key".to_owned())),
        }
    }

    fn end(self) -> Result<Value, TypedError> {
        self.close()
    }
}

impl<'de> IntoDeserializer<'de, TypedError> for &'de Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = TypedError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::I64(value) => visitor.visit_i64(*value),
            Value::F64(value) => visitor.visit_f64(value.get()),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::List(list) => {
                let mut seq = SeqDeserializer::new(list.iter());
                let value = visitor.visit_seq(&mut seq)?;
                seq.end()?;
                Ok(value)
            }
            Value::Map(map) => {
                let mut pairs = MapDeserializer::new(map.iter());
                let value = visitor.visit_map(&mut pairs)?;
                pairs.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        if *self == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        match self {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Map(map) if map.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(MapDeserializer::new(map.iter())))
            }
            _ => Err(de::Error::custom("expected a string or a map of one key for an enum")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
