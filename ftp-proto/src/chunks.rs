//! The shared check of every decoder: the same values whole, byte by byte, and cut at each point.

use std::fmt::Debug;

/// Runs `decode` on `input` cut in every way that can matter and expects `want` each time.
/// `decode` takes the pieces in order and returns all that came out.
pub(crate) fn any_chunking<T: Debug + PartialEq>(
    input: &[u8],
    decode: impl Fn(&[&[u8]]) -> T,
    want: &T,
) {
    assert_eq!(&decode(&[input]), want, "whole: {:?}", crate::Escaped(input));
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(&decode(&bytes), want, "byte by byte: {:?}", crate::Escaped(input));
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        let got = decode(&[head, tail]);
        assert_eq!(&got, want, "cut at {at}: {:?}", crate::Escaped(input));
    }
}
