//! Mode Z: the data of a transfer as one compressed stream.

use std::time::{Duration, Instant};

use ftp_proto::{DeflateDecoder, DeflateEncoder, DeflateFault, DeflateLevel};

use super::RawData;
use crate::error::Error;

/// The number of bytes to compress, or to receive, at a time.
const PIECE: usize = 32 * 1_024;

/// The maximum time for which the compressor may hold back all data. After that, the next write is
/// flushed, because servers abort a transfer in which no bytes arrive.
const SILENCE: Duration = Duration::from_secs(5);

/// A compressor for data to send.
#[derive(Debug)]
pub(crate) struct Deflating {
    /// `None` once the end of the stream was written.
    encoder: Option<DeflateEncoder>,
    /// Compressed bytes of one write.
    out: Vec<u8>,
    sent_at: Instant,
}

/// A decompressor for received data.
#[derive(Debug)]
pub(crate) struct Inflating {
    decoder: DeflateDecoder,
    /// Received bytes; those from `start` to `end` are not decoded yet.
    piece: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Deflating {
    fn default() -> Self {
        Self {
            encoder: Some(DeflateEncoder::new(DeflateLevel::default())),
            out: Vec::new(),
            sent_at: Instant::now(),
        }
    }
}

impl Default for Inflating {
    fn default() -> Self {
        Self { decoder: DeflateDecoder::new(), piece: vec![0; PIECE], start: 0, end: 0 }
    }
}

impl Inflating {
    pub(super) fn read(
        &mut self,
        data: &mut impl RawData,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.piece.get(self.start..self.end).unwrap_or_default();
            let step = match self.decoder.decode(input, buffer) {
                Ok(step) => step,
                Err(fault) => return Err(data.fail(Error::Compressed(fault))),
            };
            self.start += step.taken;
            if step.written > 0 {
                return Ok(step.written);
            }
            if self.start < self.end {
                if step.taken == 0 {
                    return Err(data.fail(Error::Compressed(DeflateFault::Corrupt)));
                }
                continue;
            }
            (self.start, self.end) = (0, data.read_data(&mut self.piece)?);
            if self.end == 0 {
                let finished = self.decoder.finish();
                finished.map_err(|fault| data.fail(Error::Compressed(fault)))?;
                return Ok(0);
            }
        }
    }
}

impl Deflating {
    pub(super) fn write(&mut self, data: &mut impl RawData, bytes: &[u8]) -> Result<usize, Error> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        self.out.clear();
        if let Some(encoder) = &mut self.encoder {
            encoder.encode(piece, &mut self.out);
            if self.out.is_empty() && self.sent_at.elapsed() > SILENCE {
                encoder.flush(&mut self.out);
            }
        }
        self.send(data)?;
        Ok(piece.len())
    }

    pub(super) fn finish(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        self.out.clear();
        encoder.finish(&mut self.out);
        self.send(data)
    }

    fn send(&mut self, data: &mut impl RawData) -> Result<(), Error> {
        let mut rest = self.out.as_slice();
        while !rest.is_empty() {
            let written = data.write_data(rest)?;
            rest = rest.get(written..).unwrap_or_default();
            self.sent_at = Instant::now();
        }
        Ok(())
    }
}
