//! The actual and the expected length of a transfer.

use super::verdict::TransferFault;
use crate::number;
use crate::reply::Reply;

/// The length of a transfer and all known expectations, in bytes on the data connection of an image
/// transfer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TransferLength {
    /// The number of transferred bytes.
    pub moved: u64,
    /// The offset in the file at which the transfer began.
    pub offset: u64,
    /// The length in the 150 reply of a download; see [`Reply::announced_length`].
    pub announced: Option<u64>,
    /// The number of bytes to transfer, from `SIZE` or from the requested range.
    pub wanted: Option<u64>,
    /// The length of the file after an upload, from `SIZE`.
    pub stored: Option<u64>,
}

impl TransferLength {
    /// Returns the length of a transfer of `moved` bytes from the beginning of the file, without
    /// expectations.
    #[must_use]
    pub const fn of(moved: u64) -> Self {
        Self { moved, offset: 0, announced: None, wanted: None, stored: None }
    }

    /// Compares the transferred bytes with the expectations. For a transfer from an offset, some
    /// servers announce the length of the rest in the 150 reply, and others that of the whole file;
    /// both are accepted.
    ///
    /// # Errors
    ///
    /// Returns [`TransferFault::Incomplete`] if an expectation is not met.
    pub fn check(&self) -> Result<(), TransferFault> {
        let Self { moved, offset, announced, wanted, stored } = *self;
        let end = offset.saturating_add(moved);
        if wanted.is_some_and(|wanted| wanted != moved) {
            return Err(TransferFault::Incomplete { bytes: moved, announced: wanted });
        }
        if announced.is_some_and(|all| all != moved && all != end) {
            return Err(TransferFault::Incomplete { bytes: moved, announced });
        }
        match stored.filter(|stored| *stored != end) {
            Some(bytes) => Err(TransferFault::Incomplete { bytes, announced: Some(end) }),
            None => Ok(()),
        }
    }
}

impl Reply {
    /// Returns the file length that a 150 reply announces as `(n bytes)` at its end; `None` if it
    /// announces none.
    ///
    /// ```
    /// use ftp_proto::{Reply, ReplyCode};
    ///
    /// let reply = Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, "Opening a.txt (1024 bytes).");
    /// assert_eq!(reply.announced_length(), Some(1_024));
    /// ```
    #[must_use]
    pub fn announced_length(&self) -> Option<u64> {
        let text = self.text().trim_ascii_end();
        let text = text.strip_suffix(b".").unwrap_or(text);
        let text = text.strip_suffix(b" bytes)").or_else(|| text.strip_suffix(b" byte)"))?;
        number::decimal(
            text.rsplit(|&byte| byte == b'(').next().filter(|it| it.len() < text.len())?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::ReplyCode;

    #[test]
    fn announced_lengths_are_parsed_hc_16() {
        for (text, want) in [
            ("Opening BINARY mode data connection for a (1024 bytes).", Some(1_024)),
            ("Opening for a (5 bytes) (0 bytes)", Some(0)),
            ("for a (1 byte)", Some(1)),
            ("for a (5 bytes) with more", None),
            ("for a (-5 bytes)", None),
            ("for a (+5 bytes)", None),
            ("for a ( bytes)", None),
            ("for a 5 bytes)", None),
            ("5 bytes)", None),
            ("for a (99999999999999999999 bytes)", None),
            ("226.1 kbytes to download", None),
            ("Opening data connection", None),
            ("", None),
        ] {
            let reply = Reply::new(ReplyCode::ABOUT_TO_OPEN_DATA, text);
            assert_eq!(reply.announced_length(), want, "{text}");
        }
    }

    #[test]
    fn only_known_lengths_are_compared() {
        let incomplete =
            |bytes, announced| Err(TransferFault::Incomplete { bytes, announced: Some(announced) });
        let from_2 = TransferLength { offset: 2, ..TransferLength::of(8) };
        for (length, want) in [
            (TransferLength::of(8), Ok(())),
            (TransferLength { announced: Some(8), ..from_2 }, Ok(())),
            (TransferLength { announced: Some(10), ..from_2 }, Ok(())),
            (TransferLength { announced: Some(9), ..from_2 }, incomplete(8, 9)),
            (TransferLength { wanted: Some(8), ..from_2 }, Ok(())),
            (TransferLength { wanted: Some(10), ..from_2 }, incomplete(8, 10)),
            (TransferLength { wanted: Some(7), announced: Some(8), ..from_2 }, incomplete(8, 7)),
            (TransferLength { stored: Some(10), ..from_2 }, Ok(())),
            (TransferLength { stored: Some(8), ..from_2 }, incomplete(8, 10)),
            (TransferLength { offset: u64::MAX, announced: Some(8), ..from_2 }, Ok(())),
        ] {
            assert_eq!(length.check(), want, "{length:?}");
        }
    }
}
