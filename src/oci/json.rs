//! JSON as the documents need it: read without ambiguity, written in one order.
//!
//! It knows no document; what members mean is said in `manifest`, `index` and `config`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// Parses JSON text; an object in which a member stands twice is an error, since readers differ on which one counts
/// (RFC 8259, section 4).
pub(super) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Unambiguous>(bytes).map(|read| read.0)
}

/// The first member whose name differs from one of `names` in case alone: Go's decoder would read it, others would not.
pub(super) fn lookalike<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    let alike = |key: &String| names.iter().any(|name| key != name && key.eq_ignore_ascii_case(name));
    object.keys().find(|key| alike(key)).map(String::as_str)
}

/// Takes `null` for a type's default, as Go's encoder writes absent lists and maps.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Serialises a value with the members of every object in the order of their names.
pub(super) struct Sorted<'a>(pub(super) &'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(object) => {
                serializer.collect_map(object.iter().map(|(k, v)| (k, Sorted(v))).collect::<BTreeMap<_, _>>())
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Sorted)),
            other => other.serialize(serializer),
        }
    }
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Unambiguous)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let Unambiguous(value) = members.next_value()?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("member `{key}` stands twice in one object")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_refuses_a_member_that_stands_twice_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"a":2}}]"#, r#"{"a":1,"\u0061":2}"#] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("stands twice"), "{text}: {error}");
        }
        assert!(parse(br#"{"a":{"a":1},"A":null}"#).is_ok());
    }

    #[test]
    fn parse_refuses_what_follows_a_value_and_what_is_no_utf8() {
        for bytes in [&b"{} {}"[..], b"\xef\xbb\xbf{}", b"\"\xff\"", b"", b"{\"a\":1,}"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn sorted_writes_members_in_order_of_their_names() {
        let value = parse(br#"{"b":[{"d":1,"c":-2}],"a":1.5,"A":null}"#).unwrap();
        assert_eq!(serde_json::to_string(&Sorted(&value)).unwrap(), r#"{"A":null,"a":1.5,"b":[{"c":-2,"d":1}]}"#);
    }

    #[test]
    fn lookalike_finds_a_name_that_differs_in_case_alone() {
        let value = parse(br#"{"manifests":[],"Layers":[]}"#).unwrap();
        assert_eq!(lookalike(value.as_object().unwrap(), &["manifests", "layers"]), Some("Layers"));
        assert_eq!(lookalike(value.as_object().unwrap(), &["manifests", "Layers"]), None);
    }
}
