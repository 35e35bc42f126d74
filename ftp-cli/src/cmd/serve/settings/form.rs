//! Reads the value of a setting from text, and shows it as text.

use super::kind::Kind;

/// Text form of values of the type `T`.
pub(crate) struct Form<T: 'static> {
    pub(crate) kind: Kind,
    /// Parses a value, or returns a message about the error.
    pub(crate) read: fn(&str) -> Result<T, String>,
    pub(crate) show: fn(&T) -> String,
}

impl<T> Form<T> {
    pub(crate) const fn new(
        kind: Kind,
        read: fn(&str) -> Result<T, String>,
        show: fn(&T) -> String,
    ) -> Self {
        Self { kind, read, show }
    }
}

/// Reads a value. Returns `None` if the text is empty.
pub(crate) fn unless_empty<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

/// Shows a value that may be missing.
pub(crate) fn optional<T: ToString>(value: &Option<T>) -> String {
    or_quotes(value.as_ref().map_or_else(String::new, ToString::to_string))
}

/// Returns the text, or a pair of quotes if it is empty.
pub(crate) fn or_quotes(shown: String) -> String {
    if shown.is_empty() { "\"\"".to_owned() } else { shown }
}
