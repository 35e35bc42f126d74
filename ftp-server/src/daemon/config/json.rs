//! Reads a JSON object (RFC 8259), whose members are values of settings.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::value::{Content, TomlEntry, TomlValue, ValueType};

/// Reads one object, and accepts white space around it. No message shows a value, because it may be
/// a password.
///
/// # Errors
///
/// Returns a message; for a syntax error, with its position.
pub(in crate::daemon) fn object(bytes: &[u8]) -> Result<Vec<TomlEntry>, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("the answer is empty".to_owned());
    }
    match serde_json::from_slice(bytes) {
        Ok(TomlValue { content: Content::Table(members), .. }) => Ok(members),
        Ok(_) => Err("the answer is not a JSON object".to_owned()),
        Err(error) => Err(format!("the answer is not JSON: {error}")),
    }
}

impl<'de> Deserialize<'de> for TomlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// A visitor that accepts any value. Members keep their order, and names may occur twice.
struct AnyValue;

fn single<E>(value_type: ValueType, text: String) -> Result<TomlValue, E> {
    Ok(Content::Single(value_type, text).into())
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = TomlValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<TomlValue, E> {
        Ok(Content::Unset.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<TomlValue, E> {
        single(ValueType::Switch, value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<TomlValue, E> {
        single(ValueType::Number, value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<TomlValue, E> {
        single(ValueType::Number, value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<TomlValue, E> {
        single(ValueType::Fraction, format!("{value:?}"))
    }

    fn visit_str<E>(self, value: &str) -> Result<TomlValue, E> {
        single(ValueType::Text, value.to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TomlValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list).into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<TomlValue, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = entries.next_entry()? {
            members.push(TomlEntry { at: 0, name, value });
        }
        Ok(Content::Table(members).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_values() {
        for (json, want) in [
            ("{}", "{}"),
            (" {\n\t} \r\n", "{}"),
            ("{\"a\":null}", "{ a = unset }"),
            ("{\"a\":true,\"b\" : false}", "{ a = true, b = false }"),
            ("{\"a\":0,\"b\":-12,\"c\":10}", "{ a = 0, b = -12, c = 10 }"),
            ("{\"a\":1.5e+3}", "{ a = 1500.0 }"),
            ("{\"a\":\"x \\\" \\\\ \\/ \\n\"}", "{ a = \"x \\\" \\\\ / \\u000a\" }"),
            ("{\"a\":\"\\u00e9\\uD83D\\uDE00\\u0000\"}", "{ a = \"\u{e9}\u{1f600}\\u0000\" }"),
            ("{\"a b\":[\"x\" , 1,[]]}", "{ \"a b\" = [\"x\", 1, []] }"),
            ("{\"a\":{\"/in\":\"read\",\"b\":{}}}", "{ a = { \"/in\" = \"read\", b = {} } }"),
        ] {
            let members = object(json.as_bytes()).unwrap();
            assert_eq!(TomlValue::from(Content::Table(members)).to_string(), want);
        }
    }

    #[test]
    fn invalid_json_is_refused_without_quoting_it() {
        for (json, want) in [
            ("", "empty"),
            (" \n", "empty"),
            ("geheim", "column 1"),
            ("[]", "not a JSON object"),
            ("\"geheim\"", "not a JSON object"),
            ("{\"a\":1}{}", "trailing characters at line 1 column 8"),
            ("{\"a\":1,}", "not JSON: "),
            ("{\"a\" 1}", "not JSON: "),
            ("{a:1}", "not JSON: "),
            ("{\"a\":01}", "not JSON: "),
            ("{\"a\":+1}", "not JSON: "),
            ("{\"a\":1.}", "not JSON: "),
            ("{\"a\":1e}", "not JSON: "),
            ("{\"a\":nul}", "not JSON: "),
            ("{\"a\":truer}", "not JSON: "),
            ("{\"a\":\"geheim", "not JSON: "),
            ("{\"a\":\"\\x\"}", "not JSON: "),
            ("{\"a\":\"\\u+123\"}", "not JSON: "),
            ("{\"a\":\"\\ud800\"}", "not JSON: "),
            ("{\"a\":\"\\ud800\\u0041\"}", "not JSON: "),
            ("{\"a\":\"\\u00\u{e9}9\"}", "not JSON: "),
            ("{\"a\":\"\n\"}", "not JSON: "),
        ] {
            let why = object(json.as_bytes()).unwrap_err();
            assert!(why.contains(want) && !why.contains("geheim"), "{json}: {why}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").unwrap_err().contains("not JSON: "));
        let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(deep(7).as_bytes()).is_ok());
        assert!(object(deep(200).as_bytes()).is_err());
        assert!(object(deep(60_000).as_bytes()).is_err());
    }

    #[test]
    fn mutated_json_never_panics() {
        let whole = "{\"ok\":true,\"a\":[1,-2.5e3,\"\\u00e9\\n\"],\"b\":{\"c\":null}}";
        let mut good = 0;
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at_checked(at).unwrap();
            for between in ["", " ", ",", "\"", "\\", "{", "]", "0", "e", "\u{e9}"] {
                let text = format!("{head}{between}{tail}");
                good += usize::from(object(text.as_bytes()).is_ok());
            }
            let _ = object(head.as_bytes());
            let _ = object(tail.as_bytes());
        }
        assert!(good > 30, "{good}");
    }
}
