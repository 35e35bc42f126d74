//! The algorithms of `HASH` (draft-bryan-ftpext-hash-02).

use sha2::digest::DynDigest;

/// A digest algorithm.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Algorithm {
    /// SHA-256, the default.
    #[default]
    Sha256,
    Sha512,
    /// SHA-1, which is insecure but required by the draft.
    Sha1,
}

impl Algorithm {
    /// All algorithms, in the order of `FEAT`.
    pub(crate) const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Sha1];

    /// Returns the name that IANA has registered.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
        }
    }

    /// Returns a new hasher for this algorithm.
    pub(crate) fn begin(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Sha256 => Box::<sha2::Sha256>::default(),
            Self::Sha512 => Box::<sha2::Sha512>::default(),
            Self::Sha1 => Box::<sha1::Sha1>::default(),
        }
    }

    /// Returns the algorithm with this upper-case name, or `None` if the name is unknown.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}
