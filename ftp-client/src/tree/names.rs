//! Names that a target may store as one: where to look, what the answers prove, and which new names
//! a second listing confirms.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ftp_proto::ListLine;
use unicode_normalization::UnicodeNormalization;

use crate::client::Client;
use crate::error::{Error, ListingCut};
use crate::listing::{ListOptions, MOST_OBJECTS};

/// Combining dot above: what lower case leaves of `İ` (U+0130) besides the `i`.
const DOT_ABOVE: char = '\u{307}';

/// Returns a key that is equal for all spellings of `name` that some target may store as one object:
/// without case, composed (NFC), without blanks at either end and without dots at the end.
///
/// Equal forms prove nothing: `a` and `A` are two files on most servers. They only show which names
/// to ask for; [`relation`] decides. In a name that is not UTF-8, only the case of ASCII letters,
/// blanks and dots count.
pub(crate) fn fold(name: &[u8]) -> Vec<u8> {
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

impl Client {
    /// Returns a key that is equal for all spellings of a name that some server may store as one object:
    /// without case, in one Unicode form, without blanks at either end and without dots at the end. Two
    /// names with one key are two objects on most servers.
    #[must_use]
    pub fn name_key(name: &[u8]) -> Vec<u8> {
        fold(name)
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_start().trim_end_matches(|letter: char| letter == '.' || letter.is_whitespace())
}

/// A target's answer to the question whether it has an object of a name: for a file `SIZE`, else
/// `MLST` or `MDTM`, for a directory `MLST` or `CWD`, on a local disk `lstat`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// It reports facts of the object, or enters the directory.
    There,
    Absent,
    /// It does not answer the question.
    Unknown,
}

/// What the answers for two names of equal [`fold`] prove.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Relation {
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
pub(crate) const fn relation(listed: Answer, unlisted: Answer) -> Relation {
    match (listed, unlisted) {
        (Answer::There, Answer::Absent) => Relation::Two,
        (Answer::There, Answer::There) => Relation::One,
        _ => Relation::Unclear,
    }
}

/// Whether the server shows an object at a path.
type Question = fn(&mut Client, &[u8]) -> Result<bool, Error>;

/// Asks the server whether `unlisted`, a name that is about to be written, is the object that it
/// lists as `listed`. Both are paths of names with equal [`fold`] in one directory.
///
/// The question is the first of `MLST`, `MDTM`, `SIZE` and `CWD` that the server answers for the
/// listed name. Its refusal for the other name then means that this name is free. A refusal to
/// answer, such as a 4yz reply, proves nothing.
///
/// # Errors
///
/// Returns errors of the connection.
pub(crate) fn look(client: &mut Client, listed: &[u8], unlisted: &[u8]) -> Result<Relation, Error> {
    let questions: [Question; 4] = [
        |client, path| Ok(client.stat(path)?.is_some()),
        |client, path| Ok(client.modified(path)?.is_some()),
        |client, path| Ok(client.size(path)?.is_some()),
        // Without a way back, the directory is not entered.
        |client, path| Ok(client.visits(path)?.unwrap_or(false)),
    ];
    let mut ask = || {
        for question in questions {
            if question(client, listed)? {
                let is_there = question(client, unlisted)?;
                let answer = if is_there { Answer::There } else { Answer::Absent };
                return Ok(relation(Answer::There, answer));
            }
        }
        Ok(relation(Answer::Unknown, Answer::Unknown))
    };
    match ask() {
        Err(Error::Refused { .. } | Error::Argument(_)) => Ok(Relation::Unclear),
        asked => asked,
    }
}

/// Looks for one of the `others` that a name of equal [`fold`] would replace, before that name is
/// written; `relate` says what the target answers for each. Returns the first that is the same
/// object ([`Relation::One`]), which forbids the write. Else returns the last that may be the same
/// object ([`Relation::Unclear`]): the name is written, but not as a success.
///
/// # Errors
///
/// Returns the errors of `relate`.
pub(crate) fn replaced<'n, E>(
    others: impl IntoIterator<Item = &'n [u8]>,
    mut relate: impl FnMut(&'n [u8]) -> Result<Relation, E>,
) -> Result<Option<(&'n [u8], Relation)>, E> {
    let mut unclear = None;
    for other in others {
        match relate(other)? {
            Relation::Two => {}
            Relation::One => return Ok(Some((other, Relation::One))),
            Relation::Unclear => unclear = Some((other, Relation::Unclear)),
        }
    }
    Ok(unclear)
}

/// The largest number of names of equal [`fold`] that the target is asked about before one of them is
/// written: a hostile source can have any number of them.
const SOME_TWINS: usize = 8;

/// The names that a run has written to each directory, by their [`fold`]. Only folds that the run
/// writes several names of are noted, so that the memory for all other names is spared.
#[derive(Default)]
pub(crate) struct WrittenAlike<'a>(HashMap<&'a [u8], NamesByFold<'a>>);

type NamesByFold<'a> = HashMap<Vec<u8>, Vec<&'a [u8]>>;

impl<'a> WrittenAlike<'a> {
    /// Expects another name of the fold of `name`.
    pub(crate) fn expect(&mut self, directory: &'a [u8], name: &[u8]) {
        self.0.entry(directory).or_default().insert(fold(name), Vec::new());
    }

    pub(crate) fn note(&mut self, directory: &[u8], name: &'a [u8]) {
        let alike = self.0.get_mut(directory).and_then(|alike| alike.get_mut(&fold(name)));
        if let Some(alike) = alike.filter(|alike| alike.len() < SOME_TWINS) {
            alike.push(name);
        }
    }

    /// Returns some of the written names of the fold of `name`.
    pub(crate) fn written(&self, directory: &[u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let alike = self.0.get(directory).and_then(|alike| alike.get(&fold(name)));
        alike.into_iter().flatten().copied()
    }
}

/// The pause before a directory that lacks new names is listed once more: some servers list from a
/// cache.
pub(crate) const AGAIN: Duration = Duration::from_secs(2);

/// Calls `lacks`, which lists a directory of `target` and returns what it lacks, for each directory.
/// After `pause`, which waits for [`AGAIN`], calls it once more for those that lack something.
/// Returns what they still lack.
///
/// # Errors
///
/// Returns the errors of `pause` and `lacks`.
pub(crate) fn lacking<T, D, L, E>(
    target: &mut T,
    directories: impl IntoIterator<Item = D>,
    pause: impl FnOnce(&mut T) -> Result<(), E>,
    mut lacks: impl FnMut(&mut T, &D) -> Result<Option<L>, E>,
) -> Result<Vec<(D, L)>, E> {
    let mut round = |target: &mut T, directories: Vec<D>| -> Result<Vec<(D, L)>, E> {
        let mut found = Vec::new();
        for directory in directories {
            found.extend(lacks(target, &directory)?.map(|lacked| (directory, lacked)));
        }
        Ok(found)
    };
    let first = round(target, directories.into_iter().collect())?;
    if first.is_empty() {
        return Ok(first);
    }
    pause(target)?;
    round(target, first.into_iter().map(|(directory, _)| directory).collect())
}

/// The names in a directory of the target, listed again after names were written.
#[derive(Debug, Default)]
pub(crate) struct ShownNames {
    /// The names, with their sizes if these are listed.
    pub(crate) names: HashMap<Vec<u8>, Option<u64>>,
    pub(crate) hides_dots: bool,
}

impl ShownNames {
    /// Lists a directory on a server. Names that are not wanted are left out: the server may invent
    /// any number of them. Returns the server's refusal of the listing inside.
    ///
    /// # Errors
    ///
    /// Returns errors of the connection.
    pub(crate) fn list(
        client: &mut Client,
        directory: &[u8],
        options: ListOptions,
        wanted: &HashSet<&[u8]>,
    ) -> Result<Result<Self, Error>, Error> {
        let listed = client.list_directory(directory, options).and_then(|mut entries| {
            let mut names = HashMap::new();
            for (number, listed) in entries.by_ref().enumerate() {
                match listed? {
                    _ if number >= MOST_OBJECTS => {
                        return Err(Error::ListingCut(ListingCut::TooLong));
                    }
                    ListLine::Entry(entry) if wanted.contains(entry.name.as_slice()) => {
                        names.insert(entry.name, entry.size);
                    }
                    ListLine::Entry(_) | ListLine::Unparsed(_) => {}
                }
            }
            Ok(Self { names, hides_dots: !entries.shows_hidden() })
        });
        match listed {
            Err(error @ Error::Refused { .. }) => Ok(Err(error)),
            // Without the rest of the names, nothing is confirmed.
            Err(Error::ListingCut(_)) => Ok(Ok(Self::default())),
            listed => listed.map(Ok),
        }
    }

    /// Returns whether the listing confirms that `written` is stored under exactly this name.
    /// `extras` are the [`fold`]s of objects that may be the same one.
    ///
    /// A name that begins with a dot needs no confirmation where such names are hidden, unless an
    /// extra may be the same object. If a name is not confirmed, nothing may be deleted from the
    /// directory, and no source of it may be removed.
    pub(crate) fn confirms(&self, written: &[u8], extras: &HashSet<Vec<u8>>) -> bool {
        let may_be_hidden = self.hides_dots && written.first() == Some(&b'.');
        self.names.contains_key(written) || may_be_hidden && !extras.contains(&fold(written))
    }
}

#[cfg(test)]
mod tests;
