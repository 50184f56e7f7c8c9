//! A primary key as the id of a document and back.

use driftless::{DocumentId, Value};

/// Why a key cannot be the id of a document.
pub(crate) fn to_id(cells: &[Value]) -> Result<DocumentId, String> {
    let mut parts = Vec::with_capacity(cells.len());
    for cell in cells {
        let part = match cell {
            Value::I64(number) => Ok(DocumentId::from(*number)),
            Value::String(text) => DocumentId::string(text.as_str()),
            Value::Bytes(bytes) => DocumentId::bytes(bytes.as_slice()),
            Value::Null => return Err("its key is NULL".into()),
            Value::F64(_) => return Err("its key is a floating-point number".into()),
            _ => return Err("its key is text that is not UTF-8".into()),
        };
        parts.push(part.map_err(|error| error.to_string())?);
    }
    let id = match parts.len() {
        1 => parts.pop().ok_or_else(|| "it has no key".to_owned()),
        _ => DocumentId::list(parts).map_err(|error| error.to_string()),
    }?;
    Ok(id)
}

/// The cells of a key of so many columns; `None` if the id is not one.
pub(crate) fn from_id(id: &DocumentId, columns: usize) -> Option<Vec<Value>> {
    if id.is_list() != (columns > 1) {
        return None;
    }
    Some(id.parts()).filter(|parts| parts.len() == columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_were() {
        for key in [
            vec![Value::I64(i64::MIN)],
            vec![Value::from("a\0b")],
            vec![Value::from("")],
            vec![Value::Bytes(vec![7; 16])],
            vec![Value::Bytes(Vec::new()), Value::I64(3)],
            vec![Value::from("~"), Value::Bytes(vec![1; 16]), Value::from("x")],
        ] {
            let id = to_id(&key).unwrap();
            assert_eq!(from_id(&id, key.len()), Some(key));
        }
        for refused in [vec![Value::Null], vec![Value::F64(driftless::Float::new(1.0).unwrap())]] {
            to_id(&refused).unwrap_err();
        }
        assert_eq!(from_id(&DocumentId::from(1), 2), None);
    }
}
