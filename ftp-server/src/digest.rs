//! The algorithms of `HASH` (draft-bryan-ftpext-hash-02).

use sha2::digest::DynDigest;

/// A way to make a digest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Algorithm {
    /// The one that is used unless another is asked for.
    #[default]
    Sha256,
    Sha512,
    /// Not for safety but because the draft demands it.
    Sha1,
}

impl Algorithm {
    /// All, in the order in which `FEAT` lists them.
    pub(crate) const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Sha1];

    /// The name that IANA has for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
        }
    }

    /// A digest of nothing yet.
    pub(crate) fn begin(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Sha256 => Box::<sha2::Sha256>::default(),
            Self::Sha512 => Box::<sha2::Sha512>::default(),
            Self::Sha1 => Box::<sha1::Sha1>::default(),
        }
    }

    /// The one of this name, in upper case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}
