//! Names that a target may store as one: where to look, and what the answers prove.

use std::collections::HashSet;
use std::time::Duration;

use unicode_normalization::UnicodeNormalization;

/// Combining dot above: what lower case leaves of `İ` (U+0130) besides the `i`.
const DOT_ABOVE: char = '\u{307}';

/// Returns the form that all spellings of `name` share which some target may store as one object:
/// without case, composed (NFC), without blanks at either end and without dots at the end.
///
/// Equal forms prove nothing: `a` and `A` are two files on most servers. They only show which names
/// to ask for; [`relation`] decides. In a name that is not UTF-8, only the case of ASCII letters,
/// blanks and dots count.
///
/// ```
/// use ftp_client::tree::fold;
///
/// assert_eq!(fold("Caf\u{e9}. ".as_bytes()), fold("CAFE\u{301}".as_bytes()));
/// assert_ne!(fold(b"a"), fold(b"b"));
/// ```
#[must_use]
pub fn fold(name: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(name) else {
        let lower = name.to_ascii_lowercase();
        let lower = lower.trim_ascii_start();
        let is_kept = |byte: &u8| *byte != b'.' && !byte.is_ascii_whitespace();
        let end = lower.iter().rposition(is_kept).map_or(0, |at| at + 1);
        return lower.get(..end).unwrap_or_default().to_vec();
    };
    if text.is_ascii() {
        return trimmed(&text.to_ascii_lowercase()).into();
    }
    // Upper case in between unites letters that share it: `ß` and `ss`, `ς` and `σ`, `ſ` and `s`.
    let plain = text.nfd().flat_map(char::to_lowercase).flat_map(char::to_uppercase);
    let mut folded = String::with_capacity(text.len());
    for letter in plain.flat_map(char::to_lowercase) {
        if letter != DOT_ABOVE || !folded.ends_with('i') {
            folded.push(letter);
        }
    }
    let composed: String = folded.nfc().collect();
    trimmed(&composed).into()
}

fn trimmed(text: &str) -> &str {
    text.trim_start().trim_end_matches(|letter: char| letter == '.' || letter.is_whitespace())
}

/// A target's answer to the question whether it has an object of a name: for a file `SIZE`, else
/// `MLST` or `MDTM`, for a directory `MLST` or `CWD`, on a local disk `lstat`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It reports facts of the object, or enters the directory.
    There,
    /// It says that the object is missing.
    Absent,
    /// It does not answer the question.
    Unknown,
}

/// What the answers for two names of equal [`fold`] prove.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// Two names: writing one leaves the other as it is.
    Two,
    /// One object: the target lists the new name under the other spelling. A write under the new
    /// name replaces that object, so it must be kept. If its name is another target of the same
    /// run, the new name cannot be written.
    One,
    /// Nothing is proved. The listed object must be kept, and the run must not end with success.
    Unclear,
}

/// Returns what the answers prove for a name that the target lists and another of equal [`fold`]
/// that it does not list. Both must be asked before the other name is written.
#[must_use]
pub const fn relation(listed: Answer, unlisted: Answer) -> Relation {
    match (listed, unlisted) {
        (Answer::There, Answer::Absent) => Relation::Two,
        (Answer::There, Answer::There) => Relation::One,
        _ => Relation::Unclear,
    }
}

/// The pause before a directory that lacks new names is listed once more: some servers list from a
/// cache.
pub(crate) const AGAIN: Duration = Duration::from_secs(2);

/// The names in a directory of the target, listed again after names were written.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Names that the listing shows.
    pub names: &'a HashSet<Vec<u8>>,
    /// Whether the server may hide names that begin with a dot.
    pub hides_dots: bool,
    /// [`fold`] of the objects that only the target had before the run.
    pub extras: &'a HashSet<Vec<u8>>,
}

impl Shown<'_> {
    /// Returns whether the listing confirms that `written` is stored under exactly this name.
    ///
    /// A name that begins with a dot needs no confirmation where such names are hidden, unless an
    /// extra may be the same object. If a name is not confirmed, nothing may be deleted from the
    /// directory, and no source of it may be removed.
    #[must_use]
    pub fn confirms(&self, written: &[u8]) -> bool {
        let may_be_hidden = self.hides_dots && written.first() == Some(&b'.');
        self.names.contains(written) || may_be_hidden && !self.extras.contains(&fold(written))
    }
}

#[cfg(test)]
mod tests;
