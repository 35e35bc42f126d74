//! Mode Z: compressing data to send and decompressing received data, within limits on memory and
//! processor time for the whole server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ftp_proto::{DeflateDecoder, DeflateEncoder, DeflateFault, DeflateLevel};

use super::block::Blocks;
use super::outgoing::{GATHER, Outgoing};
use crate::shares::{Share, Shares, table};
use crate::storage::StorageResult;
use crate::{budget, limits};

/// Memory of one encoder in bytes.
const ENCODER: u64 = 300 * 1024;

/// Maximum bytes to compress, or to produce by decompression, in one turn. A turn takes a
/// millisecond or two.
const TURN: usize = 32 * 1024;

/// What all sessions of a server share: turns to use a processor, and places for encoders.
#[derive(Debug)]
pub(crate) struct Deflating {
    turns: Arc<Shares>,
    encoders: Arc<Shares>,
}

impl Default for Deflating {
    fn default() -> Self {
        let processors = budget::processors() as u64;
        let memory = budget::memory_in_all().unwrap_or(u64::MAX) / 16;
        Self {
            turns: Shares::new(&table::TURNS, processors.div_ceil(2)),
            encoders: Shares::new(&table::ENCODERS, (memory / ENCODER).min(limits::ENCODERS)),
        }
    }
}

/// The turns of one client to use a processor.
struct Turns {
    of_all: Arc<Shares>,
    peer: IpAddr,
}

impl Turns {
    /// Waits for a turn, which ends when the result is dropped. The wait is short: a session keeps
    /// its turn for a few milliseconds, and never waits for its client meanwhile.
    fn next(&self) -> Share {
        let mut turn = self.of_all.claim(self.peer, 1);
        // On timeout, proceeds without a turn: fairness is best effort, progress is not.
        turn.wait(self.of_all.deadline());
        turn
    }
}

/// Data to send in mode Z.
pub(crate) struct DeflateOutgoing {
    inner: Box<dyn Outgoing>,
    /// The encoder, or `None` once it has written the end of the stream.
    encoder: Option<DeflateEncoder>,
    /// The bytes to compress next.
    plain: Vec<u8>,
    /// Bytes read from `inner` so far.
    read: u64,
    turns: Turns,
    /// The place of the encoder.
    _place: Share,
}

impl DeflateOutgoing {
    /// Returns `inner` in compressed form, or `None` if the server has no encoder left.
    pub(crate) fn new(
        inner: Box<dyn Outgoing>,
        level: DeflateLevel,
        deflating: &Deflating,
        peer: IpAddr,
    ) -> Option<Self> {
        let place = Some(deflating.encoders.claim(peer, 1)).filter(Share::is_granted)?;
        let turns = Turns { of_all: Arc::clone(&deflating.turns), peer };
        let encoder = Some(DeflateEncoder::new(level));
        Some(Self { inner, encoder, plain: Vec::new(), read: 0, turns, _place: place })
    }
}

impl DeflateOutgoing {
    /// Compresses the next bytes. Returns `false` at the end.
    fn step(&mut self, out: &mut Vec<u8>) -> StorageResult<bool> {
        self.plain.clear();
        let has_more = self.inner.fill(TURN, &mut self.plain)?;
        self.read += self.plain.len() as u64;
        let _turn = self.turns.next();
        if let Some(encoder) = &mut self.encoder {
            encoder.encode(&self.plain, out);
        }
        if !has_more {
            // Checked before the final deflate block: a truncated source must not look complete.
            self.inner.check_end(self.read)?;
            if let Some(encoder) = self.encoder.take() {
                encoder.finish(out);
            }
        }
        Ok(has_more)
    }
}

impl Outgoing for DeflateOutgoing {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.inner.prepare()
    }

    fn fill(&mut self, _room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let end = Instant::now() + GATHER;
        loop {
            let has_more = self.step(out)?;
            // If the source has no bytes yet, this returns and the pump waits before its next call.
            // The pump must not wait just because the encoder has held back its output.
            let is_waiting = self.plain.is_empty();
            if !has_more || is_waiting || !out.is_empty() || Instant::now() >= end {
                return Ok(has_more);
            }
        }
    }

    fn bytes(&self, _sent: u64) -> u64 {
        self.read
    }
}

/// Received data in mode Z.
pub(crate) struct Inflating {
    decoder: DeflateDecoder,
    plain: Vec<u8>,
    turns: Turns,
}

impl Inflating {
    pub(crate) fn new(deflating: &Deflating, peer: IpAddr) -> Self {
        let turns = Turns { of_all: Arc::clone(&deflating.turns), peer };
        Self { decoder: DeflateDecoder::new(), plain: vec![0; TURN], turns }
    }

    /// Decompresses some bytes from the beginning of `rest`, and removes them from `rest`. Returns
    /// no bytes if the decoder needs more input.
    pub(super) fn next(&mut self, rest: &mut &[u8]) -> Result<&[u8], DeflateFault> {
        let turn = self.turns.next();
        let step = self.decoder.decode(rest, &mut self.plain);
        drop(turn);
        let step = step?;
        *rest = rest.get(step.taken..).unwrap_or_default();
        Ok(self.plain.get(..step.written).unwrap_or_default())
    }

    /// Checks that the data was complete.
    pub(super) fn finish(&self) -> Result<(), DeflateFault> {
        self.decoder.finish()
    }
}

/// The encodings to undo in received data to get the content of the file.
#[derive(Default)]
pub(crate) struct Encoding {
    /// The blocks of mode B.
    pub(crate) blocks: Option<Blocks>,
    /// The compression of mode Z.
    pub(crate) deflate: Option<Box<Inflating>>,
    pub(crate) ascii: Option<ftp_proto::AsciiDecoder>,
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    struct Nothing;

    impl Outgoing for Nothing {
        fn fill(&mut self, _room: usize, _out: &mut Vec<u8>) -> StorageResult<bool> {
            Ok(false)
        }
    }

    #[test]
    fn the_number_of_encoders_is_limited_hs_37() {
        let deflating = Deflating::default();
        let most = deflating.encoders.total();
        assert!((2..=limits::ENCODERS).contains(&most), "{most}");
        let get = |last| {
            let (nothing, peer) = (Box::new(Nothing), [192, 0, 2, last].into());
            DeflateOutgoing::new(nothing, DeflateLevel::default(), &deflating, peer)
        };
        let mut all: Vec<_> = std::iter::from_fn(|| get(1)).collect();
        assert_eq!(all.len() as u64, most - (most / 8).max(1), "the rest is for others");
        assert!(get(2).is_some());
        all.pop();
        assert!(get(1).is_some());
    }

    #[test]
    fn every_deflate_turn_is_released() {
        let deflating = Deflating::default();
        thread::scope(|scope| {
            for last in 0..8 {
                let peer = [192, 0, 2, last].into();
                let turns = Turns { of_all: Arc::clone(&deflating.turns), peer };
                scope.spawn(move || (0..100).for_each(|_| drop(turns.next())));
            }
        });
        assert_eq!(deflating.turns.held(), 0);
    }
}
