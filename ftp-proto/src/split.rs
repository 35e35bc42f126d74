//! Splitting bytes in two, which the standard library offers only for text.

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

#[cfg(test)]
mod tests {
    use super::*;

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
