//! Line ends of representation type ASCII: CR LF on the wire, LF in files (RFC 959 §3.1.1.1).
//!
//! Both converters are fed pieces of any size and give the same bytes for every way of cutting
//! the input. Bytes that need no change are copied in runs.

/// LF to CR LF, for data that is sent. A LF behind a CR is left alone, so that a file that has
/// CR LF already is not given CR CR LF.
#[derive(Clone, Debug, Default)]
pub struct AsciiEncoder {
    after_cr: bool,
}

impl AsciiEncoder {
    /// An encoder at the start of a file.
    #[must_use]
    pub const fn new() -> Self {
        Self { after_cr: false }
    }

    /// Appends `input`, converted, to `out`; at most twice the length of `input`.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for piece in input.split_inclusive(|&byte| byte == b'\n') {
            match piece.split_last() {
                Some((b'\n', line)) => {
                    out.extend_from_slice(line);
                    let ends_in_cr = line.last().map_or(self.after_cr, |&byte| byte == b'\r');
                    out.extend_from_slice(if ends_in_cr { b"\n" } else { b"\r\n" });
                    self.after_cr = false;
                }
                Some((last, _)) => {
                    out.extend_from_slice(piece);
                    self.after_cr = *last == b'\r';
                }
                None => {}
            }
        }
    }
}

/// CR LF to LF, for data that was received. A CR that no LF follows, and a LF that no CR
/// precedes, stay.
#[derive(Clone, Debug, Default)]
pub struct AsciiDecoder {
    held_cr: bool,
}

impl AsciiDecoder {
    /// A decoder at the start of a file.
    #[must_use]
    pub const fn new() -> Self {
        Self { held_cr: false }
    }

    /// Appends `input`, converted, to `out`; at most one byte more than the length of `input`.
    /// A CR at the end is held back until it is known what follows.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let Some(first) = input.first() else { return };
        if self.held_cr && *first != b'\n' {
            out.push(b'\r');
        }
        self.held_cr = false;
        for piece in input.split_inclusive(|&byte| byte == b'\n') {
            match piece {
                [line @ .., b'\r', b'\n'] => {
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
                [line @ .., b'\r'] => {
                    out.extend_from_slice(line);
                    self.held_cr = true;
                }
                _ => out.extend_from_slice(piece),
            }
        }
    }

    /// Appends the CR that was held back, at the end of the data.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::any_chunking;

    fn encode(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut encoder, mut out) = (AsciiEncoder::new(), Vec::new());
        pieces.iter().for_each(|piece| encoder.encode(piece, &mut out));
        out
    }

    fn decode(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut out) = (AsciiDecoder::new(), Vec::new());
        pieces.iter().for_each(|piece| decoder.decode(piece, &mut out));
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn encode_gives_as_02_for_any_chunking_as_06() {
        for (input, want) in [
            ("", ""),
            ("a", "a"),
            ("a\n", "a\r\n"),
            ("a\r\n", "a\r\n"),
            ("\n\n", "\r\n\r\n"),
            ("\r\r\n\n", "\r\r\n\r\n"),
            ("a\rb\n\r", "a\rb\r\n\r"),
        ] {
            any_chunking(input.as_bytes(), encode, &want.as_bytes().to_vec());
        }
    }

    #[test]
    fn decode_gives_as_01_for_any_chunking_as_06() {
        for (input, want) in [
            ("", ""),
            ("a\r\nb", "a\nb"),
            ("a\nb", "a\nb"),
            ("a\rb", "a\rb"),
            ("a\r", "a\r"),
            ("\r\r\n", "\r\n"),
            ("\r\n\r\n\n\r", "\n\n\n\r"),
        ] {
            any_chunking(input.as_bytes(), decode, &want.as_bytes().to_vec());
        }
    }

    #[test]
    fn there_and_back_is_the_same_without_cr() {
        let text = b"one\n\ntwo \xff\0\nlast";
        assert_eq!(decode(&[&encode(&[text])]), text);
    }
}
