//! Converts decimal and octal digits to numbers; rejects signs, spaces and overflow.

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
}
