//! Mode Z: the bytes of mode S, compressed into one zlib stream for each data connection
//! (draft-preston-ftpext-deflate; RFC 1950).
//!
//! The stream marks its own end, so a transfer without that mark is recognised as truncated. Both
//! converters accept pieces of any size.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::parameters::DeflateLevel;

/// The number of free bytes to offer the compressor at a time: it often outputs a whole block at
/// once.
const ROOM: usize = 16 * 1024;

/// An encoder that compresses the data of one transfer in mode Z.
///
/// It uses about 300 KiB of memory.
///
/// ```
/// use ftp_proto::{DeflateDecoder, DeflateEncoder, DeflateLevel};
///
/// let mut sent = Vec::new();
/// let mut encoder = DeflateEncoder::new(DeflateLevel::default());
/// encoder.encode(&[b'x'; 100_000], &mut sent);
/// encoder.finish(&mut sent);
/// assert!(sent.len() < 1_000);
///
/// let mut decoder = DeflateDecoder::new();
/// let mut piece = [0; 4_096];
/// let (mut rest, mut count) = (sent.as_slice(), 0);
/// while !decoder.is_finished() {
///     let step = decoder.decode(rest, &mut piece)?;
///     rest = &rest[step.taken..];
///     count += step.written;
/// }
/// assert_eq!(count, 100_000);
/// # Ok::<(), ftp_proto::DeflateFault>(())
/// ```
#[derive(Debug)]
pub struct DeflateEncoder(Compress);

impl DeflateEncoder {
    /// Returns an encoder for a new transfer.
    #[must_use]
    pub fn new(level: DeflateLevel) -> Self {
        Self(Compress::new(Compression::new(level.value().into()), true))
    }

    /// Takes all of `input` and appends compressed bytes to `out`. Their number can be 0, and is at
    /// most about 64 KiB more than the length of `input`.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while !rest.is_empty() {
            let (taken, _) = self.step(rest, out, FlushCompress::None);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Appends to `out` all data that was taken but not yet written, so that the receiver can
    /// decode it immediately. Each flush makes the stream longer.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        loop {
            self.step(&[], out, FlushCompress::Sync);
            if out.len() < out.capacity() {
                return;
            }
        }
    }

    /// Appends the rest of the stream, including its end, to `out`.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        while self.step(&[], out, FlushCompress::Finish).1 != Status::StreamEnd {}
    }

    /// Compresses some of `input`; returns how many bytes were taken, and the state of the stream.
    fn step(&mut self, input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> (usize, Status) {
        out.reserve(ROOM);
        let before = self.0.total_in();
        let status = self.0.compress_vec(input, out, flush);
        let status = status.expect("a stream that has not ended takes any bytes");
        let taken = usize::try_from(self.0.total_in() - before).unwrap_or(input.len());
        (taken, status)
    }
}

/// A decoder that decompresses the data of one transfer in mode Z.
///
/// It uses about 50 KiB of memory. It writes only as much as the caller has room for, since a few
/// bytes can expand to a thousand times as many.
#[derive(Debug)]
pub struct DeflateDecoder {
    stream: Decompress,
    is_finished: bool,
}

/// Progress of a [`DeflateDecoder`], in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeflateStep {
    /// Bytes taken from the input.
    pub taken: usize,
    /// Bytes written to the output.
    pub written: usize,
}

/// Why received bytes are not the compressed data of one transfer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeflateFault {
    /// The bytes are not a zlib stream, or their checksum is wrong. Bytes that were decoded earlier
    /// may be wrong too.
    #[error("the compressed data is corrupt")]
    Corrupt,
    /// More bytes follow the end of the stream.
    #[error("data follows the end of the compressed data")]
    Trailing,
    /// The data ended before the end of the stream.
    #[error("the compressed data ended early")]
    Truncated,
}

impl Default for DeflateDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl DeflateDecoder {
    /// Returns a decoder for a new transfer.
    #[must_use]
    pub fn new() -> Self {
        Self { stream: Decompress::new(true), is_finished: false }
    }

    /// Returns whether the end of the stream was decoded.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Decodes some of `input` into the beginning of `out`.
    ///
    /// If a step fills `out`, the next one may write more even without more input. Before the end
    /// of the stream, a step that takes and writes nothing needs more input. Pass all bytes that a
    /// step did not take to the next step, even after the end of the stream.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` for invalid data, and `Trailing` for any byte after the end of the stream.
    pub fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Result<DeflateStep, DeflateFault> {
        if self.is_finished {
            return match input {
                [] => Ok(DeflateStep::default()),
                _ => Err(DeflateFault::Trailing),
            };
        }
        let (read, made) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, out, FlushDecompress::None);
        let status = status.map_err(|_| DeflateFault::Corrupt)?;
        self.is_finished = status == Status::StreamEnd;
        Ok(DeflateStep {
            taken: usize::try_from(self.stream.total_in() - read).unwrap_or(input.len()),
            written: usize::try_from(self.stream.total_out() - made).unwrap_or(out.len()),
        })
    }

    /// Checks that the data was complete.
    ///
    /// # Errors
    ///
    /// Returns `Truncated` if the end of the stream has not been decoded.
    pub const fn finish(&self) -> Result<(), DeflateFault> {
        if self.is_finished { Ok(()) } else { Err(DeflateFault::Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(data: &[u8], level: u8, piece: usize) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(DeflateLevel::new(level).unwrap());
        let mut out = Vec::new();
        data.chunks(piece).for_each(|piece| encoder.encode(piece, &mut out));
        encoder.finish(&mut out);
        out
    }

    fn decoded(input: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, DeflateFault> {
        let mut decoder = DeflateDecoder::new();
        let (mut all, mut out) = (Vec::new(), vec![0; room]);
        for mut rest in input.chunks(piece) {
            loop {
                let step = decoder.decode(rest, &mut out)?;
                rest = &rest[step.taken..];
                all.extend_from_slice(&out[..step.written]);
                if step == DeflateStep::default() {
                    assert!(rest.is_empty(), "a step without progress needs more input");
                    break;
                }
            }
        }
        decoder.finish().map(|()| all)
    }

    /// Bytes that compress badly, and bytes that compress well.
    fn samples() -> Vec<Vec<u8>> {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let noise: Vec<u8> = (0..50_000).map(|_| noise()).collect();
        vec![Vec::new(), b"x".to_vec(), b"line\r\n".repeat(10_000), noise]
    }

    #[test]
    fn data_round_trips_at_any_level_and_chunking() {
        for data in samples() {
            for level in [0, 1, 6, 9] {
                let whole = encoded(&data, level, usize::MAX);
                assert_eq!(decoded(&whole, usize::MAX, 32_768).as_ref(), Ok(&data));
                assert_eq!(decoded(&encoded(&data, level, 997), 1_000, 313).as_ref(), Ok(&data));
            }
            let small = &data[..data.len().min(3_000)];
            assert_eq!(decoded(&encoded(small, 6, 1), 1, 1).as_deref(), Ok(small));
        }
    }

    #[test]
    fn only_a_complete_stream_is_accepted() {
        for data in samples().iter().map(|data| &data[..data.len().min(2_000)]) {
            let whole = encoded(data, 6, usize::MAX);
            for cut in 0..whole.len() {
                let found = decoded(&whole[..cut], usize::MAX, 64);
                assert_eq!(found, Err(DeflateFault::Truncated), "{cut}");
            }
            let more = [whole.as_slice(), b"x"].concat();
            assert_eq!(decoded(&more, usize::MAX, 64), Err(DeflateFault::Trailing));
            assert_eq!(decoded(&more, 1, 64), Err(DeflateFault::Trailing));
            // Every bit matters, also in the checksum. The first two bytes are left out because
            // some of their bits only state the window size.
            for at in 2..whole.len() {
                let mut wrong = whole.clone();
                wrong[at] ^= 1;
                assert_ne!(decoded(&wrong, usize::MAX, 64).as_deref(), Ok(data), "{at}");
            }
        }
        for text in ["150 hello", "\x1f\x08 gzip", "PK"] {
            assert_eq!(decoded(text.as_bytes(), 1, 64), Err(DeflateFault::Corrupt), "{text}");
        }
        assert_eq!(decoded(b"", 1, 64), Err(DeflateFault::Truncated));
    }

    #[test]
    fn bytes_after_the_end_do_not_hide_the_last_bytes_of_the_stream() {
        let more = [encoded(b"hello", 6, usize::MAX).as_slice(), b"x"].concat();
        let (mut decoder, mut out) = (DeflateDecoder::new(), [0; 64]);
        let step = decoder.decode(&more, &mut out).unwrap();
        assert_eq!((step.taken, step.written), (more.len() - 1, 5));
        assert!(decoder.is_finished());
        assert_eq!(decoder.decode(b"x", &mut out), Err(DeflateFault::Trailing));
    }

    #[test]
    fn flushed_data_can_be_decoded_at_once() {
        let mut encoder = DeflateEncoder::new(DeflateLevel::default());
        let (mut out, mut plain) = (Vec::new(), [0; 64]);
        let mut decoder = DeflateDecoder::new();
        for word in ["one", "two"] {
            out.clear();
            encoder.encode(word.as_bytes(), &mut out);
            encoder.flush(&mut out);
            let step = decoder.decode(&out, &mut plain).unwrap();
            assert_eq!(&plain[..step.written], word.as_bytes());
        }
        assert_eq!(decoder.finish(), Err(DeflateFault::Truncated));
    }

    #[test]
    fn a_deflate_bomb_fills_only_the_given_buffer() {
        let bomb = encoded(&vec![0; 5_000_000], 9, usize::MAX);
        assert!(bomb.len() < 6_000, "{}", bomb.len());
        let mut out = [1; 1_000];
        let step = DeflateDecoder::new().decode(&bomb, &mut out).unwrap();
        assert_eq!(step.written, out.len());
    }
}
