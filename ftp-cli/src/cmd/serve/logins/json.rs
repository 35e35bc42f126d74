//! Reads a JSON object (RFC 8259) and writes it as TOML, which settings are read from.

use crate::cmd::serve::settings::{quoted, shown};

/// Largest depth of lists and objects: no key of a user needs more than three.
const DEPTH: usize = 8;

/// A JSON value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    Null,
    Switch(bool),
    /// The text of the number, which is valid.
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

/// Reads one object, with space around it. No message shows a value: it may be a password.
///
/// # Errors
///
/// Returns a message with the first byte that is wrong.
pub(super) fn object(bytes: &[u8]) -> Result<Vec<Member>, String> {
    let wrong = |at: usize| format!("the answer is not JSON from byte {} on", at + 1);
    let text = str::from_utf8(bytes).map_err(|error| wrong(error.valid_up_to()))?;
    let mut parser = Parser { rest: text };
    let value = parser.value(0);
    parser.skip_space();
    match value {
        Some(Value::Object(members)) if parser.rest.is_empty() => Ok(members),
        Some(_) if parser.rest.is_empty() => Err("the answer is not a JSON object".to_owned()),
        _ if text.trim().is_empty() => Err("the answer is empty".to_owned()),
        _ => Err(wrong(text.len() - parser.rest.len())),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Skips space, and takes `word` if it is next.
    fn takes(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let is_too_deep = depth == DEPTH;
        for (word, value) in
            [("null", Value::Null), ("true", Value::Switch(true)), ("false", Value::Switch(false))]
        {
            if self.takes(word) {
                return Some(value);
            }
        }
        match self.rest.chars().next()? {
            '"' => self.text().map(Value::Text),
            '[' | '{' if is_too_deep => None,
            '[' => self.list(depth + 1),
            '{' => self.members(depth + 1),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        if !self.takes("[") || self.takes("]") {
            return Some(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.takes("]") {
                return Some(Value::List(items));
            }
            self.takes(",").then_some(())?;
        }
    }

    fn members(&mut self, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        if !self.takes("{") || self.takes("}") {
            return Some(Value::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.text()?;
            self.takes(":").then_some(())?;
            let value = self.value(depth)?;
            members.push(Member { name, value });
            if self.takes("}") {
                return Some(Value::Object(members));
            }
            self.takes(",").then_some(())?;
        }
    }

    fn number(&mut self) -> Option<Value> {
        let is_part = |char: char| char.is_ascii_digit() || "+-.eE".contains(char);
        let end = self.rest.find(|char| !is_part(char)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
        let are_digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_valid = are_digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(are_digits)
            && exponent.is_none_or(are_digits);
        is_valid.then(|| {
            self.rest = rest;
            Value::Number(text.to_owned())
        })
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => {
                    let (char, rest) = escaped(chars.as_str())?;
                    text.push(char);
                    chars = rest.chars();
                }
                '\0'..='\x1f' => return None,
                char => text.push(char),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }
}

/// Reads what follows a backslash. Returns the character, and the rest of the text.
fn escaped(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let char = match chars.next()? {
        char @ ('"' | '\\' | '/') => char,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(chars.as_str()),
        _ => return None,
    };
    Some((char, chars.as_str()))
}

/// Reads four digits, or those of two surrogates.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (high, rest) = unit(text)?;
    if let Some(char) = char::from_u32(high.into()) {
        return Some((char, rest));
    }
    let (low, rest) = unit(rest.strip_prefix("\\u")?)?;
    let char = char::decode_utf16([high, low]).next()?.ok()?;
    Some((char, rest))
}

fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex).map(|unit| (unit, rest))
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
            // No key takes it.
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
            ("{\"a\":1.5e+3}", "a = 1.5e+3\n"),
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
    fn rubbish_is_refused_without_its_text() {
        for (json, want) in [
            ("", "empty"),
            (" \n", "empty"),
            ("geheim", "byte 1 on"),
            ("[]", "not a JSON object"),
            ("\"geheim\"", "not a JSON object"),
            ("{\"a\":1}{}", "byte 8 on"),
            ("{\"a\":1,}", "byte 8 on"),
            ("{\"a\" 1}", "byte 6 on"),
            ("{a:1}", "byte 2 on"),
            ("{\"a\":01}", "byte 6 on"),
            ("{\"a\":+1}", "byte 6 on"),
            ("{\"a\":1.}", "byte 6 on"),
            ("{\"a\":1e}", "byte 6 on"),
            ("{\"a\":nul}", "byte 6 on"),
            ("{\"a\":truer}", "byte 10 on"),
            ("{\"a\":\"geheim", "byte 6 on"),
            ("{\"a\":\"\\x\"}", "byte 6 on"),
            ("{\"a\":\"\\u+123\"}", "byte 6 on"),
            ("{\"a\":\"\\ud800\"}", "byte 6 on"),
            ("{\"a\":\"\\ud800\\u0041\"}", "byte 6 on"),
            ("{\"a\":\"\\u00\u{e9}9\"}", "byte 6 on"),
            ("{\"a\":\"\n\"}", "byte 6 on"),
        ] {
            let why = object(json.as_bytes()).unwrap_err();
            assert!(why.contains(want) && !why.contains("geheim"), "{json}: {why}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").unwrap_err().contains("byte 7 on"));
        let deep = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(deep(DEPTH - 1).as_bytes()).is_ok());
        assert!(object(deep(DEPTH).as_bytes()).is_err());
        assert!(object(deep(60_000).as_bytes()).is_err());
    }

    #[test]
    fn any_text_is_an_object_or_refused() {
        let whole = "{\"ok\":true,\"a\":[1,-2.5e3,\"\\u00e9\\n\"],\"b\":{\"c\":null}}";
        let mut good = 0;
        for at in 0..=whole.len() {
            let (head, tail) = whole.split_at_checked(at).unwrap();
            for between in ["", " ", ",", "\"", "\\", "{", "]", "0", "e", "\u{e9}"] {
                let text = format!("{head}{between}{tail}");
                if let Ok(members) = object(text.as_bytes()) {
                    let toml = toml(&members);
                    // Names may occur twice: the reader of settings refuses that.
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
