//! Reads a JSON object (RFC 8259) and converts it to TOML, from which settings are read.

use std::fmt;

use serde_core::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::daemon::toml_text::{quoted, shown};

/// A JSON value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    Null,
    Switch(bool),
    /// The text of a valid number.
    Number(String),
    Text(String),
    List(Vec<Self>),
    Object(Vec<Member>),
}

/// A name and its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) value: Value,
}

/// Reads one object, and accepts white space around it. No message shows a value, because it may be
/// a password.
///
/// # Errors
///
/// Returns a message; for a syntax error, with its position.
pub(super) fn object(bytes: &[u8]) -> Result<Vec<Member>, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("the answer is empty".to_owned());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("the answer is not a JSON object".to_owned()),
        Err(error) => Err(format!("the answer is not JSON: {error}")),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// A visitor that accepts any value. Members keep their order, and names may occur twice; the
/// reader of settings refuses duplicate names.
struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Switch(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // A number with a fraction or an exponent, in the form that TOML requires.
        Ok(Value::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = entries.next_entry()? {
            members.push(Member { name, value });
        }
        Ok(Value::Object(members))
    }
}

/// Returns a line of TOML for each member whose value is not null.
pub(super) fn toml(members: &[Member]) -> String {
    let lines = members.iter().filter(|member| member.value != Value::Null);
    lines.map(|member| member.toml() + "\n").collect()
}

impl Member {
    fn toml(&self) -> String {
        format!("{} = {}", shown(&self.name), self.value.toml())
    }
}

impl Value {
    fn toml(&self) -> String {
        match self {
            // No key accepts this value.
            Self::Null => "\"null\"".to_owned(),
            Self::Switch(value) => value.to_string(),
            Self::Number(text) => text.clone(),
            Self::Text(text) => quoted(text),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::toml).collect::<Vec<_>>().join(", "))
            }
            Self::Object(members) => {
                let members: Vec<String> = members.iter().map(Member::toml).collect();
                format!("{{ {} }}", members.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_toml() {
        for (json, want) in [
            ("{}", ""),
            (" {\n\t} \r\n", ""),
            ("{\"a\":null}", ""),
            ("{\"a\":true,\"b\" : false}", "a = true\nb = false\n"),
            ("{\"a\":0,\"b\":-12,\"c\":10}", "a = 0\nb = -12\nc = 10\n"),
            ("{\"a\":1.5e+3}", "a = 1500.0\n"),
            ("{\"a\":\"x \\\" \\\\ \\/ \\n\"}", "a = \"x \\\" \\\\ / \\u000a\"\n"),
            ("{\"a\":\"\\u00e9\\uD83D\\uDE00\\u0000\"}", "a = \"\u{e9}\u{1f600}\\u0000\"\n"),
            ("{\"a b\":[\"x\" , 1,[]]}", "\"a b\" = [\"x\", 1, []]\n"),
            ("{\"a\":{\"/in\":\"read\",\"b\":{}}}", "a = { \"/in\" = \"read\", b = {  } }\n"),
        ] {
            assert_eq!(object(json.as_bytes()).map(|members| toml(&members)).as_deref(), Ok(want));
            let parsed = toml::de::DeTable::parse(want);
            assert!(parsed.is_ok(), "{want}");
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
                if let Ok(members) = object(text.as_bytes()) {
                    let toml = toml(&members);
                    // Names may occur twice; the reader of settings refuses such names.
                    let _ = toml::de::DeTable::parse_recoverable(&toml);
                    good += 1;
                }
            }
            let _ = object(head.as_bytes());
            let _ = object(tail.as_bytes());
        }
        assert!(good > 30, "{good}");
    }
}
