//! Sorts the entries of listings.

use std::cmp::Ordering;

use ftp_proto::Entry;

use crate::exit::Failure;
use crate::options::Options;
use crate::options::values;

/// Sort key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Key {
    /// The server's order.
    Server,
    Name,
    /// Newest first.
    Time,
    /// Largest first.
    Size,
}

/// Order of a listing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListOrder {
    pub(crate) key: Key,
    pub(crate) reverse: bool,
    /// Whether no option has set the key: a listing that is too long to sort is then printed unsorted.
    pub(crate) is_default: bool,
}

impl Default for ListOrder {
    fn default() -> Self {
        Self { key: Key::Name, reverse: false, is_default: true }
    }
}

impl ListOrder {
    /// Reads `-t`, `-S`, `--sort` and `-r`; the last key wins.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an unknown key.
    pub(crate) fn from_options(options: &Options) -> Result<Self, Failure> {
        let keys =
            [("none", Key::Server), ("name", Key::Name), ("time", Key::Time), ("size", Key::Size)];
        let named = options.parsed("sort", |text| values::word(text, &keys))?;
        let last = options.last_of(&["sort", "newest-first", "largest-first"]);
        let key = match last {
            Some("newest-first") => Key::Time,
            Some("largest-first") => Key::Size,
            _ => named.unwrap_or(Key::Name),
        };
        Ok(Self { key, reverse: options.has("reverse"), is_default: last.is_none() })
    }

    /// Returns whether entries can be printed as they arrive.
    pub(crate) const fn is_of_server(self) -> bool {
        matches!(self, Self { key: Key::Server, reverse: false, .. })
    }

    /// Returns whether sorting needs more than the names.
    pub(crate) const fn needs_facts(self) -> bool {
        matches!(self.key, Key::Time | Key::Size)
    }

    /// Sorts named entries. Entries without the fact to sort by come last, and equal entries are
    /// sorted by name, before `reverse` applies. Paths are sorted part by part: the content of a
    /// directory follows its name. Sorts in place: a stable sort would need more memory.
    pub(crate) fn sort(self, entries: &mut [(Vec<u8>, Entry)]) {
        let time = |entry: &Entry| entry.modified.map(|modified| modified.time);
        if self.key != Key::Server {
            entries.sort_unstable_by(|(one, first), (other, second)| {
                let by_fact = match self.key {
                    Key::Time => time(second).cmp(&time(first)),
                    Key::Size => second.size.cmp(&first.size),
                    Key::Server | Key::Name => Ordering::Equal,
                };
                by_fact.then_with(|| parts(one).cmp(parts(other)))
            });
        }
        if self.reverse {
            entries.reverse();
        }
    }
}

/// Returns the parts of a path.
fn parts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| *byte == b'/')
}

#[cfg(test)]
mod tests {
    use ftp_proto::Facts;

    use super::*;

    #[test]
    fn entries_are_sorted_by_their_facts() {
        let lines: [&[u8]; 4] = [
            b"type=file;size=5;modify=20240101000000; c",
            b"type=file;size=90;modify=20220101000000; a",
            b"type=dir;modify=20250101000000; d",
            b"type=file;size=5; b",
        ];
        for (key, reverse, want) in [
            (Key::Server, false, "cadb"),
            (Key::Server, true, "bdac"),
            (Key::Name, false, "abcd"),
            (Key::Name, true, "dcba"),
            (Key::Time, false, "dcab"),
            (Key::Time, true, "bacd"),
            (Key::Size, false, "abcd"),
        ] {
            let entry = |line: &&[u8]| Entry::from(&Facts::parse(line).unwrap());
            let mut entries: Vec<_> =
                lines.iter().map(entry).map(|entry| (entry.name.clone(), entry)).collect();
            ListOrder { key, reverse, is_default: false }.sort(&mut entries);
            let names: Vec<u8> = entries.into_iter().flat_map(|(name, _)| name).collect();
            assert_eq!(names, want.as_bytes(), "{key:?} {reverse}");
        }
    }

    #[test]
    fn the_content_of_a_directory_follows_its_name() {
        let names = ["a-b", "a/c", "a", "a/b/d", "a.b"];
        let entry = |name: &&str| (name.as_bytes().to_vec(), Entry::new(""));
        let mut entries: Vec<_> = names.iter().map(entry).collect();
        ListOrder::default().sort(&mut entries);
        let names: Vec<_> = entries.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        assert_eq!(names, ["a", "a/b/d", "a/c", "a-b", "a.b"]);
    }
}
