//! Byte comparison that reports the first difference instead of showing both sides.

use std::io::Read;

/// Asserts that `got` and `want` are the same bytes.
#[track_caller]
pub fn assert_same(what: &str, got: &[u8], want: &[u8]) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).take_while(|(a, b)| a == b).count();
    panic!(
        "{what}: {} bytes instead of {}, different from byte {at} on: got {}, want {}",
        got.len(),
        want.len(),
        around(got, at),
        around(want, at),
    );
}

/// Asserts that two streams return the same bytes, without holding them in memory. Returns the
/// number of bytes.
#[track_caller]
pub fn assert_same_stream(what: &str, got: impl Read, want: impl Read) -> u64 {
    const PIECE: usize = 256 * 1024;
    let (mut got, mut want) = (got, want);
    let mut at = 0;
    loop {
        let (mut ours, mut theirs) = (Vec::with_capacity(PIECE), Vec::with_capacity(PIECE));
        let limit = u64::try_from(PIECE).expect("a usize fits");
        got.by_ref().take(limit).read_to_end(&mut ours).expect("what was got can be read");
        want.by_ref().take(limit).read_to_end(&mut theirs).expect("what is wanted can be read");
        assert_same(&format!("{what}, from byte {at}"), &ours, &theirs);
        if ours.is_empty() {
            return at;
        }
        at += u64::try_from(ours.len()).expect("a usize fits");
    }
}

/// Returns the bytes around `at`, in readable form.
fn around(bytes: &[u8], at: usize) -> String {
    let near = bytes.get(at.saturating_sub(8)..(at + 16).min(bytes.len())).unwrap_or_default();
    format!("\"{}\"", near.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "x: 4 bytes instead of 5, different from byte 2 on")]
    fn the_first_difference_is_reported() {
        assert_same("x", b"abXd", b"abcde");
    }

    #[test]
    #[should_panic(expected = "x, from byte 262144: 0 bytes instead of 1")]
    fn a_missing_last_byte_is_found() {
        assert_same_stream("x", &vec![0; 1 << 18][..], &vec![0; (1 << 18) + 1][..]);
    }

    #[test]
    fn equal_streams_are_counted() {
        assert_eq!(assert_same_stream("x", &[1; 300_000][..], &[1; 300_000][..]), 300_000);
    }
}
