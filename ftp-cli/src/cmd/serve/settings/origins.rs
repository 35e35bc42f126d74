//! Records the origins of values.

use super::lines::Lines;

/// Origins of values that are not defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

#[derive(Clone, Debug)]
struct Origin {
    key: &'static str,
    /// `server.toml:14`, `--set` or the name of another option.
    source: String,
    /// Byte offset of the value in the file.
    at: Option<usize>,
    /// If the value is inherited, the source and the table: `server.toml:14 (defaults)`.
    inherited: Option<String>,
}

impl Origins {
    /// Records an origin; `at` is the byte offset of the value in the file.
    pub(super) fn note(&mut self, key: &'static str, source: String, at: Option<usize>) {
        self.0.retain(|other| other.key != key);
        self.0.push(Origin { key, source, at, inherited: None });
    }

    /// Records the table that a value is inherited from.
    pub(super) fn note_table(&mut self, key: &str, table: &str) {
        if let Some(origin) = self.0.iter_mut().find(|origin| origin.key == key) {
            origin.inherited = Some(format!("{} ({table})", origin.source));
        }
    }

    /// Returns `server.toml:14`, `--set`, the name of another option, or `default`. If the value is
    /// inherited, adds the table in parentheses.
    pub(crate) fn of(&self, key: &str) -> &str {
        self.get(key)
            .map_or("default", |origin| origin.inherited.as_deref().unwrap_or(&origin.source))
    }

    /// Returns the origin with its column in the file, such as `server.toml:14:7`. `lines` are the
    /// lines of the file.
    pub(super) fn place(&self, key: &str, lines: Option<&Lines<'_>>) -> String {
        let origin = self.get(key);
        let source = origin.map_or("default", |origin| &origin.source);
        match (lines, origin.and_then(|origin| origin.at)) {
            (Some(lines), Some(at)) => format!("{source}:{}", lines.column(at)),
            _ => source.to_owned(),
        }
    }

    fn get(&self, key: &str) -> Option<&Origin> {
        self.0.iter().find(|origin| origin.key == key)
    }
}
