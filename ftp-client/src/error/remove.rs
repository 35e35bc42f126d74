//! `RemoveFault`: why a removal kept an object that the server did not refuse to remove.

use crate::listing::MOST_OBJECTS;

/// Why an object was not removed. `Display` explains it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveFault {
    /// The object is listed as a directory, but another fact contradicts that: it may be a symbolic
    /// link. Its content was kept.
    #[error(
        "it may be a symbolic link: the server lists links as directories, so its content was kept"
    )]
    ShownAsDirectory,
    /// Nothing proves that the object is a directory and not a symbolic link, so its content was
    /// kept. [`RemoveOptions::is_directory`](crate::tree::RemoveOptions::is_directory) removes it.
    #[error("it may be a symbolic link, so its content was kept")]
    MayBeLink,
    /// The directory is too many levels below the first one. Its content was kept.
    #[error("the tree is too deep; its content was kept")]
    TooDeep,
    /// The listed name [is not safe](crate::Entry::is_safe_name).
    #[error("not a valid name; kept")]
    UnsafeName,
    /// The tree has more objects than one removal takes. Another one removes the rest.
    #[error("the tree has more than {} objects", MOST_OBJECTS)]
    TooMany,
}
