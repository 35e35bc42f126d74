//! The space that a user has.

/// The free space of a directory, or the usage and limits of a user in bytes and in the number of
/// files and directories.
///
/// ```
/// use ftp_server::Space;
///
/// // 3 files and directories with 5,000 bytes in total. 4,096 bytes and any number of files are
/// // allowed.
/// let space = Space::used(5_000, 3).max_bytes(4_096);
/// assert_eq!((space.bytes_left(), space.files_left()), (Some(0), None));
/// assert_eq!(Space::free(7).free, Some(7));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Space {
    /// Free bytes, regardless of the limits; `None`: unknown.
    pub free: Option<u64>,
    /// Bytes in use, including running uploads.
    pub bytes: u64,
    /// Maximum of `bytes`; `None`: unlimited.
    pub max_bytes: Option<u64>,
    /// Number of files and directories.
    pub files: u64,
    /// Maximum of `files`; `None`: unlimited.
    pub max_files: Option<u64>,
}

impl Space {
    /// Returns a number of free bytes, without limits.
    #[must_use]
    pub const fn free(bytes: u64) -> Self {
        Self { free: Some(bytes), ..Self::used(0, 0) }
    }

    /// Returns this usage, without limits.
    #[must_use]
    pub const fn used(bytes: u64, files: u64) -> Self {
        Self { free: None, bytes, max_bytes: None, files, max_files: None }
    }

    /// Sets the maximum of `bytes`.
    #[must_use]
    pub const fn max_bytes(self, bytes: u64) -> Self {
        Self { max_bytes: Some(bytes), ..self }
    }

    /// Sets the maximum of `files`.
    #[must_use]
    pub const fn max_files(self, files: u64) -> Self {
        Self { max_files: Some(files), ..self }
    }

    /// Returns the number of bytes that the limits leave; `None` if bytes are unlimited.
    #[must_use]
    pub fn bytes_left(self) -> Option<u64> {
        self.max_bytes.map(|most| most.saturating_sub(self.bytes))
    }

    /// Returns the number of files and directories that can still be created; `None` if their
    /// number is unlimited.
    #[must_use]
    pub fn files_left(self) -> Option<u64> {
        self.max_files.map(|most| most.saturating_sub(self.files))
    }
}
