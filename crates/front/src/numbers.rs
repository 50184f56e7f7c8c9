//! Numbers that JavaScript would round become `{"$i64": ".."}` before an answer leaves.

use serde_json::{Value, json};

/// The largest integer of which JavaScript also holds both neighbours.
const LARGEST: u64 = (1 << 53) - 1;

/// Replaces every integer that is too large.
pub(crate) fn tame(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let large = match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => integer.unsigned_abs() > LARGEST,
                (None, Some(_)) => true,
                (None, None) => false,
            };
            if large {
                *value = json!({"$i64": number.to_string()});
            }
        }
        Value::Array(list) => list.iter_mut().for_each(tame),
        Value::Object(map) => map.values_mut().for_each(tame),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integers_beyond_2_to_the_53_change() {
        let mut value = json!([9007199254740991_i64, -9007199254740991_i64, 1.5e300, {"a": 9007199254740992_i64}, i64::MIN]);
        tame(&mut value);
        let large = |text: &str| json!({"$i64": text});
        assert_eq!(
            value,
            json!([9007199254740991_i64, -9007199254740991_i64, 1.5e300, {"a": large("9007199254740992")}, large("-9223372036854775808")])
        );
    }
}
