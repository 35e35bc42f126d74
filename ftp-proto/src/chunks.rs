//! A check that a decoder returns the same result however its input is split.

use std::fmt::Debug;

/// Runs `decode` on `input` as a whole, byte by byte, and split in two at each point, and expects
/// `want` each time. `decode` takes the pieces in order and returns the whole result.
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
