//! Contents of files: bytes that depend only on a size and a seed, so that neither a 1 GiB file nor
//! its reference copy is ever held in memory.

use std::io::{self, Read};

use crate::random::nth;

/// The sizes with which every transfer is tested: 0 bytes, 1 byte, and 1 MiB + 1 byte.
pub const SIZES: [usize; 3] = [0, 1, (1 << 20) + 1];

/// The size of the large files, if [`large`] returns true.
pub const LARGE: u64 = 1 << 30;

/// Returns whether to test 1 GiB files: `FTP_LARGE=1`. Without it, the tests of these files return
/// at once.
#[must_use]
pub fn large() -> bool {
    std::env::var_os("FTP_LARGE").is_some_and(|value| value == "1")
}

/// Returns `size` pseudo-random bytes of any value.
#[must_use]
pub fn binary(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut stream = Stream::new(u64::try_from(size).expect("a usize fits"), seed);
    stream.read_exact(&mut bytes).expect("a stream gives its size");
    bytes
}

/// Returns `size` bytes of lines that end in LF, except perhaps the last one. The lines contain any
/// bytes except CR, so that NVT ASCII carries them unchanged in both directions. No line is longer
/// than 200 bytes.
#[must_use]
pub fn text(size: usize, seed: u64) -> Vec<u8> {
    let (mut text, mut column) = (binary(size, seed), 0);
    for byte in &mut text {
        column = if matches!(*byte, 1..4 | b'\n') || column == 199 { 0 } else { column + 1 };
        if column == 0 {
            *byte = b'\n';
        } else if *byte == b'\r' {
            *byte = b'r';
        }
    }
    text
}

/// Returns `text` as NVT ASCII carries it over the data connection: CR LF for each LF.
#[must_use]
pub fn on_the_wire(text: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(text.len() + text.len() / 16);
    for &byte in text {
        if byte == b'\n' {
            wire.push(b'\r');
        }
        wire.push(byte);
    }
    wire
}

/// The bytes of [`binary`], a piece at a time.
#[derive(Clone, Debug)]
pub struct Stream {
    seed: u64,
    at: u64,
    size: u64,
}

impl Stream {
    /// Returns a reader of `size` bytes.
    #[must_use]
    pub fn new(size: u64, seed: u64) -> Self {
        Self { seed, at: 0, size }
    }

    /// Skips the first `offset` bytes.
    #[must_use]
    pub fn from(mut self, offset: u64) -> Self {
        self.at = offset.min(self.size);
        self
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Whole words are several times as fast as pieces of them in code that is not optimized.
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len()).min(1 << 16);
        let end = self.at + u64::try_from(count).expect("a usize fits");
        let word = |at: u64| nth(self.seed, at).to_le_bytes();
        let words: Vec<_> = (self.at / 8..end.div_ceil(8)).map(word).collect();
        let skip = usize::try_from(self.at % 8).expect("it is below 8");
        self.at = end;
        let mut bytes = words.as_flattened().get(skip..).unwrap_or_default();
        bytes.read(buffer.get_mut(..count).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_stream_can_start_at_any_offset() {
        let whole = binary(100, 7);
        for offset in 0..100 {
            let mut rest = Vec::new();
            let stream = Stream::new(100, 7).from(u64::try_from(offset).unwrap());
            stream.take(9).read_to_end(&mut rest).unwrap();
            assert_eq!(rest, whole[offset..(offset + 9).min(100)], "from {offset}");
        }
    }

    #[test]
    fn text_is_lines_without_carriage_return() {
        let text = text(100_000, 7);
        for byte in 0..=255 {
            assert_eq!(text.contains(&byte), byte != b'\r' && !(1..4).contains(&byte), "{byte}");
        }
        assert!(text.split(|&byte| byte == b'\n').all(|line| line.len() <= 200));
        assert_eq!(on_the_wire(b"a\n\nb"), b"a\r\n\r\nb");
    }
}
