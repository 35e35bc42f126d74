//! Where values are from.

use super::lines::Lines;

/// Where values are from that are not the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

#[derive(Clone, Debug)]
struct Origin {
    key: &'static str,
    /// `server.toml:14`, `--set` or the name of another option.
    source: String,
    /// Which byte of the file the value begins with.
    at: Option<usize>,
}

impl Origins {
    /// `at`: which byte of the file the value begins with.
    pub(super) fn note(&mut self, key: &'static str, source: String, at: Option<usize>) {
        self.0.retain(|other| other.key != key);
        self.0.push(Origin { key, source, at });
    }

    /// `server.toml:14`, `--set`, the name of another option, or `default`.
    pub(crate) fn of(&self, key: &str) -> &str {
        self.get(key).map_or("default", |origin| &origin.source)
    }

    /// The same with the column in the file, `server.toml:14:7`. `lines` are those of the file.
    pub(super) fn place(&self, key: &str, lines: Option<&Lines<'_>>) -> String {
        let source = self.of(key);
        match (lines, self.get(key).and_then(|origin| origin.at)) {
            (Some(lines), Some(at)) => format!("{source}:{}", lines.column(at)),
            _ => source.to_owned(),
        }
    }

    fn get(&self, key: &str) -> Option<&Origin> {
        self.0.iter().find(|origin| origin.key == key)
    }
}
