//! What users may do.

use std::ops::BitOr;

/// What a user may do: a set of rights.
///
/// ```
/// use ftp_server::Rights;
///
/// let inbox = Rights::LIST | Rights::WRITE;
/// assert!(inbox.contains(Rights::WRITE));
/// assert!(!inbox.contains(Rights::READ));
/// assert!(Rights::FULL.contains(inbox));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rights(u16);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// See names and facts: LIST, NLST, MLSD, MLST, SIZE, MDTM, STAT, and AVBL.
    pub const LIST: Self = Self(1);
    /// Read files: RETR, HASH.
    pub const RETRIEVE: Self = Self(1 << 1);
    /// Make and replace files, and say when they were modified: STOR, STOU, MFMT.
    pub const WRITE: Self = Self(1 << 2);
    /// Add to files that are there: APPE.
    pub const APPEND: Self = Self(1 << 3);
    /// Remove files and directories: DELE, RMD.
    pub const DELETE: Self = Self(1 << 4);
    /// Rename: RNFR and RNTO.
    pub const RENAME: Self = Self(1 << 5);
    /// Make directories: MKD.
    pub const MKDIR: Self = Self(1 << 6);
    /// Look and read, change nothing.
    pub const READ: Self = Self(Self::LIST.0 | Self::RETRIEVE.0);
    /// Set permission bits: SITE CHMOD, `UNIX.mode` of MFF.
    pub const CHMOD: Self = Self(1 << 7);
    /// Have data connections to and from hosts other than the user's own, within the networks
    /// that the server's settings name: FXP (RFC 959 §5.2, RFC 2577 §3).
    pub const FXP: Self = Self(1 << 15);
    /// All but [`FXP`](Self::FXP).
    pub const FULL: Self = Self((1 << 8) - 1);

    /// Whether all of `rights` are among these.
    #[must_use]
    pub const fn contains(self, rights: Self) -> bool {
        self.0 & rights.0 == rights.0
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
