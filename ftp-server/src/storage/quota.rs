//! The usage and limits of a user's quota.

/// Usage and limits of a user, in bytes and in the number of files and directories.
///
/// ```
/// use ftp_server::Quota;
///
/// // 3 files and directories with 5,000 bytes in total. 4,096 bytes and any number of files are
/// // allowed.
/// let quota = Quota::used(5_000, 3).max_bytes(4_096);
/// assert_eq!((quota.bytes_left(), quota.files_left()), (Some(0), None));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Quota {
    /// Bytes in use, including running uploads.
    pub bytes: u64,
    /// Maximum of `bytes`; `None`: unlimited.
    pub max_bytes: Option<u64>,
    /// Number of files and directories.
    pub files: u64,
    /// Maximum of `files`; `None`: unlimited.
    pub max_files: Option<u64>,
}

impl Quota {
    /// Returns an unlimited quota with this usage.
    #[must_use]
    pub const fn used(bytes: u64, files: u64) -> Self {
        Self { bytes, max_bytes: None, files, max_files: None }
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

    /// Returns the number of bytes left; `None` if bytes are unlimited.
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
