//! Bytes that every parser reads: digits, separators, and the bounded input of the decoders.

use crate::limits;

/// Parses one or more ASCII digits that fill all of `digits`; `None` for anything else or a value
/// over `u64::MAX`.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let digit = |byte: &u8| Some(u64::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit <= 9);
    digits.iter().try_fold(0_u64, |value, next| value.checked_mul(10)?.checked_add(digit(next)?))
}

/// Parses one to seven octal digits that fill all of `digits`, enough for a file mode with its
/// type; `None` for anything else.
pub(crate) fn octal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 7 {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, &digit| {
        matches!(digit, b'0'..=b'7').then(|| value * 8 + u32::from(digit - b'0'))
    })
}

/// Parses one to three digits with a value of 0 to 255, as in a host-port.
pub(crate) fn octet(digits: &[u8]) -> Option<u8> {
    if digits.len() > 3 { None } else { decimal(digits)?.try_into().ok() }
}

/// Returns the bytes before and after the first `separator`; `None` if there is none.
pub(crate) fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let mut halves = bytes.splitn(2, |&byte| byte == separator);
    Some((halves.next()?, halves.next()?))
}

/// Returns the bytes before and after the first `separator`, or all of `bytes` and nothing if there
/// is none.
pub(crate) fn split_or_all(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    split_once(bytes, separator).unwrap_or((bytes, &[]))
}

/// The most memory that an idle decoder keeps for its input, in bytes.
const KEPT: usize = 1_024;

/// At most [`limits::READ_AHEAD`] bytes, appended at the end and processed from the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadAhead {
    bytes: Vec<u8>,
    /// Bytes before this index are processed.
    start: usize,
}

impl ReadAhead {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0 }
    }

    /// Takes as many of `bytes` as there is [`room`](Self::room) for, and returns how many it took.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.is_empty() {
            self.release();
        } else if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let taken = bytes.get(..self.room()).unwrap_or(bytes);
        self.bytes.extend_from_slice(taken);
        taken.len()
    }

    /// Returns how many more bytes [`push`](Self::push) would take now.
    pub(crate) const fn room(&self) -> usize {
        limits::READ_AHEAD.saturating_sub(self.bytes.len() - self.start)
    }

    /// Returns whether everything is processed.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Returns the unprocessed bytes.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..).expect("`start` is never beyond the end")
    }

    /// Returns and consumes the first `count` bytes of [`waiting`](Self::waiting).
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let end = (self.start + count).min(self.bytes.len());
        let start = std::mem::replace(&mut self.start, end);
        self.bytes.get(start..end).expect("`start` is never beyond the end")
    }

    /// Discards everything and frees memory.
    pub(crate) fn release(&mut self) {
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(0);
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_accepts_only_digits_hs_22() {
        for (text, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("4294967296", Some(1 << 32)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("0x10", None),
            ("1e3", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), want, "{text:?}");
        }
        assert_eq!(decimal(&[b'9'; 400]), None);
    }

    #[test]
    fn octet_ends_at_255() {
        for (text, want) in [("255", Some(255)), ("256", None), ("0255", None), ("00", Some(0))] {
            assert_eq!(octet(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn split_once_finds_the_first_separator() {
        for length in 0..40 {
            for at in 0..=length {
                let mut bytes = vec![b':'; length];
                bytes[at..].fill(b';');
                let want = (at < length).then(|| (&bytes[..at], &bytes[at + 1..]));
                assert_eq!(split_once(&bytes, b';'), want, "{length} {at}");
                let all = want.unwrap_or((&bytes, &[]));
                assert_eq!(split_or_all(&bytes, b';'), all, "{length} {at}");
            }
        }
        assert_eq!(split_once(b"a=b=c", b'='), Some((&b"a"[..], &b"b=c"[..])));
    }
}
