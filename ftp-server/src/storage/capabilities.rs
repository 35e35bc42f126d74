//! What a storage can do, and what it promises.

use std::ops::BitOr;

#[cfg(doc)]
use super::{Change, RoomFor, Source, Storage, Upload};

/// A set of abilities beyond listing, reading and writing.
///
/// ```
/// use ftp_server::Capabilities;
///
/// let both = Capabilities::SPACE | Capabilities::DIGEST;
/// assert!(both.contains(Capabilities::DIGEST));
/// assert!(!both.contains(Capabilities::CHMOD));
/// assert!(Capabilities::ALL.contains(both));
/// ```
// Not of the crate bitflags: its `all()` would include the promises below, which a storage must know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// No abilities beyond listing, reading and writing.
    pub const NONE: Self = Self(0);
    /// [`Change::Modified`]: `MFMT`, and `Modify` of `MFF`.
    pub const SET_TIMES: Self = Self(1);
    /// [`Change::Mode`]: `SITE CHMOD`, and `UNIX.mode` of `MFF`.
    pub const CHMOD: Self = Self(1 << 1);
    /// [`Storage::space`] for an amount: `AVBL`, and the check of `ALLO`.
    pub const SPACE: Self = Self(1 << 2);
    /// Reading a whole file of up to 8 GiB only to compute its digest is acceptable: `HASH`.
    pub const DIGEST: Self = Self(1 << 3);
    /// [`Storage::space`] for [`RoomFor::User`]: `SITE QUOTA`.
    pub const QUOTA: Self = Self(1 << 4);
    /// All abilities.
    pub const ALL: Self = Self((1 << 5) - 1);
    /// No ability: calls can wait for long, for example for a network. The server then makes each
    /// call of the storage that returns a `Result` in a thread of its own, and each step of a
    /// listing. While the call waits, the session answers `ABOR`, and notices that its client has
    /// gone or that the server is shutting down. The session then gives up the call, which goes on
    /// alone: its change may still happen, and its event comes then. The session's next call begins
    /// when that one has ended. The connection counts until then.
    ///
    /// Calls of a [`Source`] or an [`Upload`] stay in the session's thread, except
    /// [`Upload::commit`]; let their `prepare` and `ready` return in time.
    pub const REMOTE: Self = Self(1 << 5);
    /// No ability: while `prepare`, `ready` or `prepare_commit` return `false`, work advances, or a
    /// timeout of the storage itself runs. Without this, a transfer ends with 451 when they have
    /// returned nothing but `false` for [`Timeouts::stall`](crate::Timeouts::stall), without
    /// [progress](Upload::progress), and the log says `stall`.
    pub const BOUNDED_WAITS: Self = Self(1 << 6);

    /// No ability: a promise that each listing shows a symbolic link as one, with
    /// [`Entry::through`](crate::Entry::through). `FEAT` passes it on as `X-LINKS`: clients then enter
    /// what is listed as a directory, and remove what is in it.
    pub const LINKS: Self = Self(1 << 7);

    /// Returns whether the set contains all of `capabilities`.
    #[must_use]
    pub const fn contains(self, capabilities: Self) -> bool {
        self.0 & capabilities.0 == capabilities.0
    }

    /// Returns the set if `is_true` is set, otherwise no abilities.
    pub(crate) const fn only_if(self, is_true: bool) -> Self {
        if is_true { self } else { Self::NONE }
    }

    /// Returns the set without `capabilities`.
    pub(crate) const fn without(self, capabilities: Self) -> Self {
        Self(self.0 & !capabilities.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
