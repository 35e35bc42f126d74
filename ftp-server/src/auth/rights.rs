//! Rights of users, in general and by directory.

use std::ops::BitOr;

use crate::storage::VirtualPath;

/// A set of rights of a user.
///
/// ```
/// use ftp_server::Rights;
///
/// let inbox = Rights::LIST | Rights::WRITE;
/// assert!(inbox.contains(Rights::WRITE));
/// assert!(!inbox.contains(Rights::READ));
/// assert!(Rights::FULL.contains(inbox));
/// ```
// Not of the crate bitflags: its `all()` would include `FXP`, which nobody has unless it is named.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rights(u16);

impl Rights {
    /// No rights.
    pub const NONE: Self = Self(0);
    /// List names and facts: LIST, NLST, MLSD, MLST, SIZE, MDTM, STAT of a path, AVBL, SITE QUOTA.
    pub const LIST: Self = Self(1);
    /// Read files: RETR, HASH.
    pub const RETRIEVE: Self = Self(1 << 1);
    /// Create new files: STOR, STOU, and, with [`APPEND`](Self::APPEND), APPE to a missing file.
    /// Part of [`WRITE`](Self::WRITE).
    pub const CREATE: Self = Self(1 << 8);
    /// Create, replace and resume files, and set their times: STOR, STOU, REST with STOR or APPE,
    /// MFMT, and `Modify` of MFF.
    pub const WRITE: Self = Self(1 << 2 | Self::CREATE.0);
    /// Append to existing files: APPE.
    pub const APPEND: Self = Self(1 << 3);
    /// Delete files and directories: DELE, RMD, and RNTO to an existing file.
    pub const DELETE: Self = Self(1 << 4);
    /// Rename files and directories: RNFR, RNTO.
    pub const RENAME: Self = Self(1 << 5);
    /// Make directories: MKD.
    pub const MKDIR: Self = Self(1 << 6);
    /// List and read files, but change nothing.
    pub const READ: Self = Self(Self::LIST.0 | Self::RETRIEVE.0);
    /// Set permission bits: SITE CHMOD, and `UNIX.mode` of MFF.
    pub const CHMOD: Self = Self(1 << 7);
    /// Use data connections with hosts other than the client's, if they are in
    /// [`fxp_networks`](crate::ServerConfig::fxp_networks): FXP (RFC 959 §5.2, RFC 2577 §3).
    pub const FXP: Self = Self(1 << 15);
    /// All rights except [`FXP`](Self::FXP).
    pub const FULL: Self = Self((1 << 9) - 1);
    /// Create new files and directories, and nothing else: for cameras, scanners and upload forms.
    ///
    /// The user cannot list or read anything, and uploads to existing names fail with 553. The user
    /// can still learn that a name exists (553), that it is a directory (`CWD`), and how much space
    /// is left (from `ALLO` and failed uploads).
    pub const DROP_BOX: Self = Self(Self::CREATE.0 | Self::MKDIR.0);

    /// Parses rights from the text of a setting.
    ///
    /// The text is `full`, `read` (list and read), `drop-box`, or a comma-separated list of `list`,
    /// `read`, `create`, `write`, `append`, `delete`, `rename`, `mkdir`, `chmod` and `fxp`. In a
    /// list of several words, `read` is [`RETRIEVE`](Self::RETRIEVE) alone. The word `write`
    /// includes `create`.
    ///
    /// ```
    /// use ftp_server::Rights;
    ///
    /// assert_eq!(Rights::parse("read"), Ok(Rights::LIST | Rights::RETRIEVE));
    /// assert_eq!(Rights::parse("read, write"), Ok(Rights::RETRIEVE | Rights::WRITE));
    /// assert!(Rights::parse("full, fxp").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`UnknownRight`] if a word is unknown; the error contains the first such word.
    pub fn parse(text: &str) -> Result<Self, UnknownRight> {
        match text.trim() {
            "full" => Ok(Self::FULL),
            "read" => Ok(Self::READ),
            "drop-box" => Ok(Self::DROP_BOX),
            list => Self::from_words(list.split(',')),
        }
    }

    /// Parses the words of a list. [`parse`](Self::parse) splits a list at commas.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownRight`] if a word is unknown; the error contains the first such word.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownRight> {
        words.into_iter().map(str::trim).try_fold(Self::NONE, |sum, word| {
            let known = WORDS.iter().find(|(known, _)| *known == word);
            known.map(|(_, right)| sum | *right).ok_or_else(|| UnknownRight(word.to_owned()))
        })
    }

    /// Returns the words of the rights in this set, as [`from_words`](Self::from_words) reads them.
    /// The word `create` is left out if `write` includes it.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let is_included = move |right| right == Self::CREATE && self.contains(Self::WRITE);
        let words = WORDS.iter().filter(move |(_, right)| self.contains(*right));
        words.filter(move |(_, right)| !is_included(*right)).map(|(word, _)| *word)
    }

    /// Returns every word that [`from_words`](Self::from_words) reads.
    pub fn known_words() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(word, _)| *word)
    }

    /// Returns whether the set allows new files, but neither replacing files nor appending to them.
    /// If so, an interrupted upload cannot be resumed.
    pub(crate) fn only_creates(self) -> bool {
        self.contains(Self::CREATE) && !self.contains(Self::WRITE) && !self.contains(Self::APPEND)
    }

    /// Returns whether the set allows creating files, but neither listing, reading nor replacing
    /// them.
    pub(crate) fn is_drop_box(self) -> bool {
        let seeing = Self::READ.0 | (Self::WRITE.0 & !Self::CREATE.0);
        self.contains(Self::CREATE) && self.0 & seeing == 0
    }

    /// Returns whether the set contains all of `rights`.
    #[must_use]
    pub const fn contains(self, rights: Self) -> bool {
        self.0 & rights.0 == rights.0
    }

    /// Returns whether the set allows uploads: new files, or appending.
    #[must_use]
    pub const fn let_upload(self) -> bool {
        self.contains(Self::CREATE) || self.contains(Self::APPEND)
    }
}

/// A word that is not the name of a right.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown right \"{0}\"{hint}", hint = hint(.0))]
pub struct UnknownRight(
    /// The unknown word.
    pub String,
);

/// Returns the hint for an unknown word. `full` and `drop-box` are valid, but only outside a list.
fn hint(word: &str) -> &'static str {
    match word {
        "full" | "drop-box" => " in a list: use this word alone",
        _ => {
            ": expected full, read, drop-box, or a list of the words list, read, create, write, \
             append, delete, rename, mkdir, chmod, fxp"
        }
    }
}

/// The words of single rights, in the order of [`Rights::words`].
const WORDS: [(&str, Rights); 10] = [
    ("list", Rights::LIST),
    ("read", Rights::RETRIEVE),
    ("create", Rights::CREATE),
    ("write", Rights::WRITE),
    ("append", Rights::APPEND),
    ("delete", Rights::DELETE),
    ("rename", Rights::RENAME),
    ("mkdir", Rights::MKDIR),
    ("chmod", Rights::CHMOD),
    ("fxp", Rights::FXP),
];

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Rights that replace a user's general rights in a directory and below it.
pub(crate) type DirectoryRights = (VirtualPath, Rights);

/// Returns the rule for a path; `None` if no rule applies. If several apply, the longest directory
/// path wins.
pub(crate) fn rule_for<'a>(
    rules: &'a [DirectoryRights],
    path: &VirtualPath,
) -> Option<&'a DirectoryRights> {
    let about = rules.iter().filter(|(directory, _)| path.is_at_or_below(directory));
    about.max_by_key(|(directory, _)| directory.as_bytes().len())
}

pub(crate) fn rights_at(rights: Rights, rules: &[DirectoryRights], path: &VirtualPath) -> Rights {
    rule_for(rules, path).map_or(rights, |(_, rights)| *rights)
}

pub(crate) fn all_rights(rights: Rights, rules: &[DirectoryRights]) -> Rights {
    rules.iter().fold(rights, |sum, (_, rights)| sum | *rights)
}

/// Returns whether the object at this path, or one below it, is a directory with a rule.
pub(crate) fn holds_rules(rules: &[DirectoryRights], path: &VirtualPath) -> bool {
    rules.iter().any(|(directory, _)| directory.is_at_or_below(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_parsed_from_words() {
        let all = "list,read,write,append,delete,rename,mkdir,chmod";
        for (text, want) in [
            ("full", Ok(Rights::FULL)),
            (" drop-box ", Ok(Rights::DROP_BOX)),
            ("read", Ok(Rights::READ)),
            ("list", Ok(Rights::LIST)),
            ("read,read", Ok(Rights::RETRIEVE)),
            ("list, mkdir , fxp", Ok(Rights::LIST | Rights::MKDIR | Rights::FXP)),
            (all, Ok(Rights::FULL)),
            ("create", Ok(Rights::CREATE)),
            ("create,mkdir", Ok(Rights::DROP_BOX)),
            ("create,write", Ok(Rights::WRITE)),
            ("", Err("")),
            ("list,", Err("")),
            ("list,Write", Err("Write")),
            ("list read", Err("list read")),
            ("full,fxp", Err("full")),
            ("drop-box,list", Err("drop-box")),
        ] {
            let want = want.map_err(|word| UnknownRight(word.to_owned()));
            assert_eq!(Rights::parse(text), want, "{text}");
        }
        assert_eq!(Rights::from_words(["read"]), Ok(Rights::RETRIEVE));
        for rights in
            [Rights::NONE, Rights::READ, Rights::DROP_BOX, Rights::FULL, Rights::FULL | Rights::FXP]
        {
            assert_eq!(Rights::from_words(rights.words()), Ok(rights));
        }
        assert!(!Rights::FULL.words().any(|word| word == "create"));
        assert!(!Rights::FULL.contains(Rights::FXP));
    }

    #[test]
    fn errors_say_to_use_words_for_several_rights_alone() {
        for (text, want) in [
            ("full,fxp", "unknown right \"full\" in a list: use this word alone"),
            ("list,drop-box", "unknown right \"drop-box\" in a list: use this word alone"),
            (
                "fly",
                "unknown right \"fly\": expected full, read, drop-box, or a list of the words list",
            ),
        ] {
            let error = Rights::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn only_drop_box_rights_make_a_drop_box() {
        for (text, want) in [
            ("drop-box", true),
            ("full", false),
            ("read", false),
            ("write,mkdir", false),
            ("mkdir", false),
        ] {
            assert_eq!(Rights::parse(text).unwrap().is_drop_box(), want, "{text}");
        }
        assert!(!(Rights::DROP_BOX | Rights::LIST).is_drop_box());
        assert!((Rights::DROP_BOX | Rights::FXP).is_drop_box());
    }

    #[test]
    fn the_longest_matching_directory_decides() {
        let rule = |path: &str, rights| (VirtualPath::from(path), rights);
        let rules = [
            rule("/a", Rights::READ),
            rule("/a/b/c", Rights::FULL),
            rule("/a/b", Rights::DROP_BOX),
        ];
        for (path, want) in [
            ("/", None),
            ("/b", None),
            ("/ab", None),
            ("/a", Some(Rights::READ)),
            ("/a/bc", Some(Rights::READ)),
            ("/a/b", Some(Rights::DROP_BOX)),
            ("/a/b/cd", Some(Rights::DROP_BOX)),
            ("/a/b/c", Some(Rights::FULL)),
            ("/a/b/c/d/e", Some(Rights::FULL)),
        ] {
            assert_eq!(rule_for(&rules, &path.into()).map(|(_, rights)| *rights), want, "{path}");
        }
        for (path, want) in
            [("/", true), ("/a/b/c", true), ("/a/b", true), ("/a/b/c/d", false), ("/b", false)]
        {
            assert_eq!(holds_rules(&rules, &path.into()), want, "{path}");
        }
    }
}
