//! The same values as CBOR: the `$` forms are byte strings, integers and floats there. For answers, and for arguments,
//! which become the JSON that the database reads.

use std::fmt::Write as _;

use data_encoding::BASE64;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde_json::Value;

use crate::limits::MAX_DEPTH;
use crate::refusal::Refusal;

/// An answer.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing to a vector cannot fail.
    let _ = put(&mut encoder, value);
    encoder.into_writer()
}

type Put = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn put(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Put {
    match value {
        Value::Null => encoder.null()?,
        Value::Bool(value) => encoder.bool(*value)?,
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => encoder.i64(integer)?,
            (None, Some(integer)) => encoder.u64(integer)?,
            (None, None) => encoder.f64(number.as_f64().unwrap_or(f64::NAN))?,
        },
        Value::String(text) => encoder.str(text)?,
        Value::Array(list) => {
            encoder.array(list.len() as u64)?;
            return list.iter().try_for_each(|value| put(encoder, value));
        }
        Value::Object(map) => {
            let only = map.iter().next().filter(|_| map.len() == 1);
            let text = only.and_then(|(key, value)| Some((key.as_str(), value.as_str()?)));
            match text {
                Some(("$bytes", text)) if let Ok(bytes) = BASE64.decode(text.as_bytes()) => {
                    encoder.bytes(&bytes)?
                }
                Some(("$f64", "inf")) => encoder.f64(f64::INFINITY)?,
                Some(("$f64", "-inf")) => encoder.f64(f64::NEG_INFINITY)?,
                _ => {
                    encoder.map(map.len() as u64)?;
                    for (key, value) in map {
                        encoder.str(key)?;
                        put(encoder, value)?;
                    }
                    return Ok(());
                }
            }
        }
    };
    Ok(())
}

/// Arguments, as JSON.
pub(crate) fn to_json(bytes: &[u8]) -> Result<String, Refusal> {
    let (mut decoder, mut out) = (Decoder::new(bytes), String::new());
    match take(&mut decoder, &mut out, MAX_DEPTH) {
        Some(()) if decoder.position() == bytes.len() => Ok(out),
        _ => {
            let hint =
                "an object with text keys, of definite length, nested at most 80 deep, without tags and NaN";
            Err(Refusal::new(400, "invalid_cbor", "the body is not CBOR that can be read", hint))
        }
    }
}

fn take(decoder: &mut Decoder<'_>, out: &mut String, depth: usize) -> Option<()> {
    match decoder.datatype().ok()? {
        Type::Null | Type::Undefined => {
            decoder.skip().ok()?;
            out.push_str("null");
        }
        Type::Bool => out.push_str(if decoder.bool().ok()? { "true" } else { "false" }),
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => {
            let integer = decoder.int().ok()?;
            write!(out, "{integer}").ok()?;
        }
        Type::F16 | Type::F32 | Type::F64 => {
            let float = decoder.f64().ok().or_else(|| decoder.f32().ok().map(f64::from))?;
            match float {
                f64::INFINITY => out.push_str(r#"{"$f64":"inf"}"#),
                f64::NEG_INFINITY => out.push_str(r#"{"$f64":"-inf"}"#),
                float if float.is_nan() => return None,
                float => write!(out, "{float:?}").ok()?,
            }
        }
        Type::String => text(decoder.str().ok()?, out)?,
        Type::Bytes => {
            out.push_str(r#"{"$bytes":""#);
            BASE64.encode_append(decoder.bytes().ok()?, out);
            out.push_str("\"}");
        }
        Type::Array => {
            let (depth, length) = (depth.checked_sub(1)?, decoder.array().ok()??);
            out.push('[');
            for at in 0..length {
                if at > 0 {
                    out.push(',');
                }
                take(decoder, out, depth)?;
            }
            out.push(']');
        }
        Type::Map => {
            let (depth, length) = (depth.checked_sub(1)?, decoder.map().ok()??);
            out.push('{');
            for at in 0..length {
                if at > 0 {
                    out.push(',');
                }
                text(decoder.str().ok()?, out)?;
                out.push(':');
                take(decoder, out, depth)?;
            }
            out.push('}');
        }
        _ => return None,
    }
    Some(())
}

fn text(text: &str, out: &mut String) -> Option<()> {
    out.push_str(&serde_json::to_string(text).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_survive_and_the_dollar_forms_are_native() {
        let value = json!({"b": {"$bytes": "AAEC"}, "i": i64::MAX, "f": {"$f64": "-inf"}, "g": 1.5, "l": [null, true, "é\n"]});
        let bytes = encode(&value);
        assert!(bytes.windows(4).any(|part| part == [0x43, 0, 1, 2]), "bytes are a byte string");
        assert_eq!(serde_json::from_str::<Value>(&to_json(&bytes).unwrap()).unwrap(), value);
    }

    #[test]
    fn what_is_cut_nested_or_strange_is_refused() {
        let whole = encode(&json!({"a": [1, {"$bytes": "AAEC"}, "text"], "b": 2.5}));
        for cut in 0..whole.len() {
            assert!(to_json(&whole[..cut]).is_err(), "{cut}");
        }
        let deep = [0x81; 100_000];
        let long = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let nan = [0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0];
        for wrong in
            [&deep[..], &long, &nan, &[0xc0, 0x00], &[0xa1, 0x01, 0x01], &[0x9f, 0xff], &[0x01, 0x01]]
        {
            assert_eq!(
                to_json(wrong).unwrap_err().code,
                "invalid_cbor",
                "{:02x?}",
                &wrong[..wrong.len().min(9)]
            );
        }
    }
}
