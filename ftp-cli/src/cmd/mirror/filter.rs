//! Selects objects of a tree: `--include GLOB` and `--exclude GLOB`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use ftp_client::Selection;
use ftp_client::tree::Choice;
use ftp_proto::Pattern;

use crate::exit::Failure;
use crate::options::Options;
use crate::transfer::options;

/// Patterns in the order of the command line; the last pattern that matches decides.
///
/// A pattern that ends in `/` matches only directories. A pattern without any other `/` matches
/// names at any depth. All other patterns match whole paths from the top of the tree, and their `*`
/// and `?` do not match `/`. Excluded directories are not entered. Objects that match no pattern
/// are included, unless the first pattern is an `--include`: then directories are still entered,
/// but other objects are left out.
#[derive(Debug, Default)]
pub(super) struct Filter {
    globs: Vec<Glob>,
    selection: Selection,
}

#[derive(Debug)]
struct Glob {
    /// The pattern as typed.
    text: String,
    /// Whether the pattern has matched a name.
    is_met: AtomicBool,
    includes: bool,
    only_directories: bool,
    /// One pattern for each part of a path; a name has only one part.
    segments: Vec<Pattern>,
    is_path: bool,
}

impl Filter {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for a pattern that cannot match anything, or for an invalid size or age.
    pub(super) fn from_options(options: &Options) -> Result<Self, Failure> {
        let given = options.in_order(&["include", "exclude"]);
        let globs = given.map(|(long, text)| Glob::read(long, text)).collect::<Result<_, _>>()?;
        Ok(Self { globs, selection: options::selection(options)? })
    }

    /// Returns the patterns that matched no name, as typed.
    pub(super) fn unmet(&self) -> impl Iterator<Item = &str> {
        let unmet = self.globs.iter().filter(|glob| !glob.is_met.load(Ordering::Relaxed));
        unmet.map(|glob| glob.text.as_str())
    }
}

impl Choice for Filter {
    fn needs_time(&self) -> bool {
        self.selection.needs_time()
    }

    fn takes_file(&self, size: Option<u64>, times: Option<(i64, i64)>) -> bool {
        self.selection.refuses(size, times).is_none()
    }

    fn takes(&self, path: &[u8], is_directory: bool) -> bool {
        let mut last = None;
        // Every pattern is tried, to find the patterns that match nothing.
        for glob in self.globs.iter().filter(|glob| glob.matches(path, is_directory)) {
            glob.is_met.store(true, Ordering::Relaxed);
            last = Some(glob);
        }
        match (last, self.globs.first()) {
            (Some(glob), _) => glob.includes,
            (None, Some(first)) => is_directory || !first.includes,
            (None, None) => true,
        }
    }
}

impl Glob {
    fn read(long: &str, text: &OsStr) -> Result<Self, Failure> {
        let bytes = text.as_bytes();
        let inner = bytes.strip_suffix(b"/").unwrap_or(bytes);
        let only_directories = inner.len() < bytes.len();
        let path = inner.strip_prefix(b"/").unwrap_or(inner);
        let is_path = path.len() < inner.len() || path.contains(&b'/');
        if path.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"" | b"." | b"..")) {
            let text = crate::display::shown(bytes);
            let why = "matches no name; remove empty parts and the parts \".\" and \"..\"";
            return Err(Failure::usage(format!("--{long}: \"{text}\" {why}")));
        }
        if path.windows(2).any(|pair| pair == b"**") || has_braces(path) {
            let text = crate::display::shown(bytes);
            let message = format!(
                "--{long}: \"{text}\": patterns support only *, ? and [a-z]: without a /, a pattern matches names at any depth; for {{a,b}}, repeat --{long}; for the character itself, write [*] or [{{]"
            );
            return Err(Failure::usage(message));
        }
        let segments = path.split(|byte| *byte == b'/').map(Pattern::of).collect();
        let text = format!("--{long} {}", crate::display::shown(bytes));
        let (includes, is_met) = (long == "include", AtomicBool::new(false));
        Ok(Self { text, is_met, includes, only_directories, segments, is_path })
    }

    fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        if self.only_directories && !is_directory {
            return false;
        }
        let mut names = path.split(|byte| *byte == b'/');
        if !self.is_path {
            let name = names.next_back();
            let pattern = self.segments.first();
            return name.zip(pattern).is_some_and(|(name, pattern)| pattern.matches(name));
        }
        let mut segments = self.segments.iter();
        loop {
            match (names.next(), segments.next()) {
                (Some(name), Some(segment)) if segment.matches(name) => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }
}

/// Returns whether a pattern has `{`, apart from a set such as `[{]`.
fn has_braces(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'{' => return true,
            // The first byte of a set is a member, even `]`.
            b'[' => match after.iter().skip(1).position(|byte| *byte == b']') {
                Some(at) => after.get(at + 2..).unwrap_or_default(),
                None => after,
            },
            _ => after,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(words: &str) -> Filter {
        let globs = words.split_whitespace().map(|word| {
            let (sign, text) = word.split_at(1);
            let long = if sign == "+" { "include" } else { "exclude" };
            Glob::read(long, OsStr::new(text)).unwrap()
        });
        Filter { globs: globs.collect(), selection: Selection::default() }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        for (words, taken, left_out) in [
            ("", &["a", "a/b", "d/"][..], &[][..]),
            ("-*.o", &["a.c", "d/a.c", "d/"], &["a.o", "d/a.o", "x.o/"]),
            ("-*.o +keep.o", &["keep.o", "d/keep.o", "a"], &["a.o"]),
            ("+keep.o -*.o", &[], &["keep.o", "a.o", "a.c"]),
            ("+*.jpg", &["a.jpg", "d/a.jpg", "d/"], &["a.png", "d/a"]),
            ("+*.jpg -thumb*", &["a.jpg", "d/"], &["thumb.jpg", "thumbs/", "a"]),
            ("-.git/", &["a", ".git", "d/.git"], &[".git/", "d/.git/"]),
            ("-/d", &["x/d", "x/d/", "d/a"], &["d", "d/"]),
            ("-d/*", &["d/", "d/a/b", "x/d/a", "a"], &["d/a", "d/a/"]),
            ("-d/*/c", &["d/c", "d/a/b/c", "x/d/a/c"], &["d/b/c"]),
            ("-[a-c]?", &["d1", "a", "abc"], &["a1", "x/c2"]),
        ] {
            let choice = choice(words);
            let takes = |path: &str| {
                let name = path.strip_suffix('/');
                choice.takes(name.unwrap_or(path).as_bytes(), name.is_some())
            };
            for path in taken {
                assert!(takes(path), "{words:?} leaves out {path}");
            }
            for path in left_out {
                assert!(!takes(path), "{words:?} takes {path}");
            }
        }
    }

    #[test]
    fn patterns_that_matched_nothing_are_reported() {
        let choice = choice("-*.tmp +keep.tmp -x/y -[{]a,b}");
        assert!(!choice.takes(b"a.tmp", false) && choice.takes(b"d/keep.tmp", false));
        assert!(choice.unmet().eq(["--exclude x/y", "--exclude [{]a,b}"]));
    }

    #[test]
    fn patterns_that_cannot_match_are_refused() {
        for text in ["", "/", "a//b", "../a", "a/..", ".", "//", "**/x", "a**", "{a,b}", "[a]{b}"] {
            assert!(Glob::read("exclude", OsStr::new(text)).is_err(), "{text:?}");
        }
    }
}
