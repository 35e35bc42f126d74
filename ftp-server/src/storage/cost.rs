//! The cost of files and directories, for quotas.

/// Cost of a directory or an empty file, in bytes: about the space it takes on a disk.
pub(crate) const COST_OF_OBJECT: u64 = 4 * 1024;

/// The cost of files and directories, or a limit on the cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Cost {
    pub(crate) bytes: u64,
    /// Number of files and directories.
    pub(crate) files: u64,
}

impl Cost {
    /// The cost of a directory.
    pub(crate) const DIRECTORY: Self = Self { bytes: COST_OF_OBJECT, files: 1 };

    /// The cost of a name for a new file, before it has content.
    pub(crate) const NAME: Self = Self { bytes: 0, files: 1 };

    /// The smallest cost that an upload adds to a file.
    pub(crate) const BYTE: Self = Self::bytes(1);

    pub(crate) const fn bytes(bytes: u64) -> Self {
        Self { bytes, files: 0 }
    }

    /// Returns the cost of a regular file of this length.
    pub(crate) const fn of_file(size: u64) -> Self {
        Self { bytes: if size == 0 { COST_OF_OBJECT } else { size }, files: 1 }
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { bytes, files: self.files.saturating_add(other.files) }
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_sub(other.bytes);
        Self { bytes, files: self.files.saturating_sub(other.files) }
    }

    /// Returns whether this limit permits `more` in addition to `used`. Too many files do not
    /// forbid more bytes, and too many bytes do not forbid another name.
    pub(crate) const fn permits(self, more: Self, used: Self) -> bool {
        let total = used.plus(more);
        (more.bytes == 0 || total.bytes <= self.bytes)
            && (more.files == 0 || total.files <= self.files)
    }

    pub(crate) fn at_least(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), files: self.files.max(other.files) }
    }
}
