//! Line endings of type ASCII: CR LF on the wire, LF in files (RFC 959 §3.1.1.1).
//!
//! Both converters accept pieces of any size; the result does not depend on how the input is split.
//! Bytes that need no change are copied in runs.

/// A converter from LF to CR LF, for data to be sent. An LF after a CR is unchanged, so an existing
/// CR LF does not become CR CR LF.
#[derive(Clone, Debug, Default)]
pub struct AsciiEncoder {
    after_cr: bool,
}

impl AsciiEncoder {
    /// Returns an encoder at the start of a file.
    #[must_use]
    pub const fn new() -> Self {
        Self { after_cr: false }
    }

    /// Converts `input` and appends the result to `out`: at most twice as many bytes.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let Some(last) = input.last() else { return };
        // Room for some line endings, so that `out` rarely grows.
        out.reserve(input.len() + input.len() / 32);
        let mut rest = input;
        for at in memchr::memchr_iter(b'\n', input) {
            let copied = input.len() - rest.len();
            let (text, from_lf) = rest.split_at(at - copied);
            if text.last().map_or(self.after_cr, |&byte| byte == b'\r') {
                continue;
            }
            out.extend_from_slice(text);
            out.push(b'\r');
            rest = from_lf;
        }
        out.extend_from_slice(rest);
        self.after_cr = *last == b'\r';
    }
}

/// A converter from CR LF to LF, for received data. A CR without an LF, and an LF without a CR, are
/// unchanged.
#[derive(Clone, Debug, Default)]
pub struct AsciiDecoder {
    held_cr: bool,
}

impl AsciiDecoder {
    /// Returns a decoder at the start of a file.
    #[must_use]
    pub const fn new() -> Self {
        Self { held_cr: false }
    }

    /// Converts `input` and appends the result to `out`: at most one byte more than `input`.
    ///
    /// A final CR is held back until the next byte is known.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let (Some(first), Some(last)) = (input.first(), input.last()) else { return };
        if self.held_cr && *first != b'\n' {
            out.push(b'\r');
        }
        self.held_cr = *last == b'\r';
        let input = input.strip_suffix(b"\r").unwrap_or(input);
        out.reserve(input.len());
        let mut rest = input;
        for at in memchr::memchr_iter(b'\n', input) {
            let copied = input.len() - rest.len();
            let (text, from_lf) = rest.split_at(at - copied);
            if let Some(text) = text.strip_suffix(b"\r") {
                out.extend_from_slice(text);
                rest = from_lf;
            }
        }
        out.extend_from_slice(rest);
    }

    /// Appends the CR that was held back, if any. Call it at the end of the data.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::any_chunking;

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
    fn text_without_cr_round_trips() {
        let text = b"one\n\ntwo \xff\0\nlast";
        assert_eq!(decode(&[&encode(&[text])]), text);
    }
}
