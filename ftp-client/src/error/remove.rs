//! `RemoveFault`: why a removal kept an object that the server did not refuse to remove.

use std::fmt;

use crate::listing::MOST_OBJECTS;

/// Why an object was not removed. `Display` explains it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RemoveFault {
    /// The object is listed as a directory, but another fact contradicts that: it may be a symbolic
    /// link. Its content was kept.
    ShownAsDirectory,
    /// Nothing proves that the object is a directory and not a symbolic link, so its content was
    /// kept. [`RemoveOptions::is_directory`](crate::tree::RemoveOptions::is_directory) removes it.
    MayBeLink,
    /// The directory is too many levels below the first one. Its content was kept.
    TooDeep,
    /// The listed name [is not safe](crate::Entry::is_safe_name).
    UnsafeName,
    /// The tree has more objects than one removal takes. Another one removes the rest.
    TooMany,
}

impl fmt::Display for RemoveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShownAsDirectory => f.write_str(
                "it may be a symbolic link: the server lists links as directories, so its content \
                 was kept",
            ),
            Self::MayBeLink => f.write_str("it may be a symbolic link, so its content was kept"),
            Self::TooDeep => f.write_str("the tree is too deep; its content was kept"),
            Self::UnsafeName => f.write_str("not a valid name; kept"),
            Self::TooMany => write!(f, "the tree has more than {MOST_OBJECTS} objects"),
        }
    }
}

impl std::error::Error for RemoveFault {}
