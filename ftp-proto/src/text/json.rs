//! Writes JSON (RFC 8259): flat objects, one per line.

use std::fmt::Write;
use std::time::Duration;

use base64ct::{Base64, Encoding};

/// One line of JSON, built field by field.
#[derive(Clone, Debug)]
#[must_use]
pub struct Object(String);

impl Object {
    /// Starts an object that is not an event. It begins with `"v":1` too.
    pub fn start() -> Self {
        Self("{\"v\":1".to_owned())
    }

    /// Starts an event: `"v":1` comes first, so that a reader can check the version.
    pub fn event(name: &str) -> Self {
        Self::start().text("event", name)
    }

    /// Adds a text field.
    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.string(value);
        self
    }

    /// Adds a text field if there is a value.
    pub fn text_if(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// Adds a name in bytes. Invalid UTF-8 becomes U+FFFD, and the exact bytes follow in base64 in
    /// a field whose name is `key` plus `_b64`.
    pub fn name(self, key: &str, value: &[u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok(text) => self.text(key, text),
            Err(_) => self
                .text(key, &String::from_utf8_lossy(value))
                .text(&format!("{key}_b64"), &Base64::encode_string(value)),
        }
    }

    /// Adds a whole number.
    pub fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        let _ = write!(self.0, "{value}");
        self
    }

    /// Adds a whole number if there is a value.
    pub fn number_if(self, key: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    /// Adds a time in seconds, with three decimals.
    pub fn seconds(mut self, key: &str, value: Duration) -> Self {
        self.key(key);
        let _ = write!(self.0, "{}.{:03}", value.as_secs(), value.subsec_millis());
        self
    }

    /// Adds the value `true` if `value` is set.
    pub fn flag(mut self, key: &str, value: bool) -> Self {
        if value {
            self.key(key);
            self.0.push_str("true");
        }
        self
    }

    /// Returns the line with its line feed.
    #[must_use]
    pub fn into_line(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }

    fn key(&mut self, key: &str) {
        self.0.push(',');
        self.string(key);
        self.0.push(':');
    }

    fn string(&mut self, text: &str) {
        self.0.push('"');
        for char in text.chars() {
            match char {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                // JSON does not require escapes for DEL, C1 and direction marks, but terminals may
                // show the lines.
                '\0'..='\x1f'
                | '\x7f'..='\u{9f}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{61c}' => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(char));
                }
                _ => self.0.push(char),
            }
        }
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_objects_are_written_as_lines() {
        let line = Object::event("entry")
            .name("name", b"a \"b\"\\\n\x1b\x7f")
            .number("size", u64::MAX)
            .number_if("code", None)
            .text_if("group", Some("staff"))
            .flag("skipped", true)
            .flag("other", false)
            .seconds("seconds", Duration::from_millis(1_005));
        let want = concat!(
            r#"{"v":1,"event":"entry","name":"a \"b\"\\\u000a\u001b\u007f","#,
            r#""size":18446744073709551615,"group":"staff","skipped":true,"seconds":1.005}"#,
            "\n"
        );
        assert_eq!(line.into_line(), want);
    }

    #[test]
    fn names_that_are_not_utf_8_are_added_in_base64_hl_08_li_05() {
        let line = Object::event("x").name("name", b"a\xff").into_line();
        assert!(line.contains("\"name\":\"a\u{fffd}\",\"name_b64\":\"Yf8=\""), "{line}");
        let line = Object::event("x").name("name", "caf\u{e9}\u{202e}".as_bytes()).into_line();
        assert!(line.contains("\"name\":\"caf\u{e9}\\u202e\"}"), "{line}");
    }

    #[test]
    fn base64_matches_rfc_4648() {
        for (name, want) in [
            (&b"\xff"[..], "/w=="),
            (b"a\xff", "Yf8="),
            (b"\xfb\xff\xbf", "+/+/"),
            (b"foo\xff", "Zm9v/w=="),
            (b"fooba\xff", "Zm9vYmH/"),
        ] {
            let line = Object::event("x").name("name", name).into_line();
            assert!(line.contains(&format!("\"name_b64\":\"{want}\"}}")), "{line}");
        }
    }
}
