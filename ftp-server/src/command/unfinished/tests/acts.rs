//! What clients, servers and other programs do to the file of the model.

use std::path::PathBuf;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    Stor,
    StorCut,
    /// `STOR` that is cut after one byte.
    StorCutEarly,
    /// `STOR` that ends with an error of the disk.
    StorFailed,
    /// `STOR` in `TYPE A` that is cut.
    StorTextCut,
    /// `STOR` that is refused before its first byte.
    StorRefused,
    RestStor,
    RestStorCut,
    /// `REST` and `STOR` that are refused before the first byte.
    RestStorRefused,
    Appe,
    AppeCut,
    /// `APPE` that is refused before its first byte.
    AppeRefused,
    Size,
    Mlst,
    Hash,
    Retr,
    Dele,
    RenameAway,
    /// `RNFR` and `RNTO` with the same name.
    RenameToItself,
    /// Another file gets the name.
    RenameOnto,
    /// `RMD` of the directory; if it is gone, `MKD`.
    Rmd,
    /// The directory gets another name and its old one again.
    MoveDirectory,
    /// A new session of the user, perhaps from another network.
    Reconnect,
    OtherUserStores,
    OtherUserDeletes,
    Restart,
    /// Another session of the user begins a `STOR`.
    Begin,
    /// The first of these uploads is cut.
    CutBegun,
    /// The first of these uploads is complete.
    EndBegun,
    /// Another program puts a new file in place of this one, or of none.
    OthersReplace,
    OthersAppend,
    OthersRemove,
    /// Another program sets the time of the file.
    OthersTouch,
    /// The kept bytes make room for others.
    BytesGo,
}

/// Acts of the world that no storage sees.
pub(super) const OTHERS_ACTS: &[Act] =
    &[Act::OthersReplace, Act::OthersAppend, Act::OthersRemove, Act::OthersTouch, Act::BytesGo];

pub(crate) fn is_of_others(act: Act) -> bool {
    OTHERS_ACTS.contains(&act)
}

/// Where a storage keeps its files.
#[derive(Clone, Debug)]
pub(crate) enum World {
    /// No other program reaches them.
    Closed,
    /// In an object store, which cannot read kept bytes.
    Objects,
    Disk(PathBuf),
}

pub(super) const ACTS: &[Act] = &[
    Act::Stor,
    Act::StorCut,
    Act::StorCutEarly,
    Act::StorFailed,
    Act::StorTextCut,
    Act::StorRefused,
    Act::RestStor,
    Act::RestStorCut,
    Act::RestStorRefused,
    Act::Appe,
    Act::AppeCut,
    Act::AppeRefused,
    Act::Size,
    Act::Mlst,
    Act::Hash,
    Act::Retr,
    Act::Dele,
    Act::RenameAway,
    Act::RenameToItself,
    Act::RenameOnto,
    Act::Rmd,
    Act::MoveDirectory,
    Act::Reconnect,
    Act::OtherUserStores,
    Act::OtherUserDeletes,
    Act::Restart,
    Act::Begin,
    Act::CutBegun,
    Act::EndBegun,
];
