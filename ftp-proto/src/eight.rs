//! Eight bytes looked at together, in one `u64` with the first of them lowest.

/// A byte in each of the eight places.
pub(crate) const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Which of `bytes` is the first below `bound`, which is at most 128; 8 if none is.
pub(crate) const fn first_below(bytes: u64, bound: u8) -> usize {
    first(below(bytes, bound))
}

/// The highest bit of each byte below `bound`, and of none in front of the first such byte:
/// subtracting borrows only from those behind it.
pub(crate) const fn below(bytes: u64, bound: u8) -> u64 {
    bytes.wrapping_sub(each(bound)) & !bytes & each(0x80)
}

/// Whether each of `bytes` is below `bound`, which is at most 128.
pub(crate) const fn all_below(bytes: u64, bound: u8) -> bool {
    // With no byte over 127 the sums do not carry.
    bytes & each(0x80) == 0 && (bytes + each(0x80 - bound)) & each(0x80) == 0
}

/// The four numbers that digits of these values make, two by two.
pub(crate) const fn pairs(digits: u64) -> [u8; 4] {
    // Ten times each and the one behind it: at most 99, so nothing carries.
    let [a, _, b, _, c, _, d, _] = (digits * 10 + (digits >> 8)).to_le_bytes();
    [a, b, c, d]
}

/// Where the first byte stands that `below` marked; 8 if it marked none.
pub(crate) const fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Where `sign` stands first. For words of a few bytes, which a search made for long texts would
/// pass in less time than it takes to begin.
pub(crate) fn find(bytes: &[u8], sign: u8) -> Option<usize> {
    let (eights, rest) = bytes.as_chunks();
    let marks_of = |eight: &[u8; 8]| below(u64::from_le_bytes(*eight) ^ each(sign), 1);
    match eights.iter().map(marks_of).enumerate().find(|(_, marks)| *marks > 0) {
        Some((at, marks)) => Some(8 * at + first(marks)),
        None => Some(bytes.len() - rest.len() + rest.iter().position(|&byte| byte == sign)?),
    }
}

/// What stands in front of the first `sign` and what stands behind it.
pub(crate) fn split_once(bytes: &[u8], sign: u8) -> Option<(&[u8], &[u8])> {
    let at = find(bytes, sign)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_below_is_found_wherever_it_stands() {
        for bound in [1, 14, 128] {
            for byte in 0..=255 {
                for place in 0..8 {
                    for others in [0, bound - 1, bound, 0x7f.max(bound), 0x80, 0xff] {
                        let mut bytes = [others; 8];
                        bytes[place] = byte;
                        let want = bytes.iter().position(|byte| *byte < bound).unwrap_or(8);
                        let got = first_below(u64::from_le_bytes(bytes), bound);
                        assert_eq!(got, want, "{bytes:?} below {bound}");
                        let all = all_below(u64::from_le_bytes(bytes), bound);
                        assert_eq!(all, bytes.iter().all(|byte| *byte < bound), "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn pairs_are_numbers_of_two_digits() {
        let digits = |digits: [u8; 8]| pairs(u64::from_le_bytes(digits));
        assert_eq!(digits([1, 2, 3, 4, 5, 6, 7, 8]), [12, 34, 56, 78]);
        assert_eq!(digits([9; 8]), [99; 4]);
        assert_eq!(digits([0, 9, 9, 0, 0, 0, 0, 1]), [9, 90, 0, 1]);
    }

    #[test]
    fn bytes_behind_the_first_do_not_hide_it() {
        let bytes = u64::from_le_bytes([9, 1, 0, 1, 0, 1, 2, 0]);
        assert_eq!(
            (first_below(bytes, 1), first_below(bytes, 2), first_below(bytes, 10)),
            (2, 1, 0)
        );
    }

    #[test]
    fn split_once_finds_the_first_sign_of_all() {
        for length in 0..40 {
            for at in 0..=length {
                let mut bytes = vec![b':'; length];
                bytes[at..].fill(b';');
                let want = (at < length).then(|| (&bytes[..at], &bytes[at + 1..]));
                assert_eq!(split_once(&bytes, b';'), want, "{length} {at}");
            }
        }
        assert_eq!(split_once(b"a=b=c", b'='), Some((&b"a"[..], &b"b=c"[..])));
    }
}
