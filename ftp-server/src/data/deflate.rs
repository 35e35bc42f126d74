//! Mode Z: compressing data to send and decompressing received data, within limits on memory and
//! processor time for the whole server.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use ftp_proto::{DeflateDecoder, DeflateEncoder, DeflateFault, DeflateLevel};

use super::block::Blocks;
use super::outgoing::Outgoing;
use crate::lock::unpoisoned;
use crate::storage::StorageError;
use crate::{budget, limits};

/// Memory of one encoder in bytes.
const ENCODER: u64 = 300 * 1024;

/// Maximum bytes to compress, or to produce by decompression, in one turn. A turn takes a
/// millisecond or two.
const TURN: usize = 32 * 1024;

/// Maximum time to compress before sending, because a lot of data can compress to a few bytes.
const GATHER: Duration = Duration::from_millis(50);

/// The turns and encoders of all sessions of a server.
#[derive(Debug)]
pub(crate) struct Deflating {
    /// Maximum number of simultaneous turns: half the number of processors, rounded up.
    turns: usize,
    most_encoders: usize,
    state: Mutex<DeflatingState>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct DeflatingState {
    /// Number of sessions that have a turn.
    working: usize,
    /// Number of encoders in use.
    encoders: usize,
}

/// A session's turn to use a processor; dropping it ends the turn.
struct Turn<'a>(&'a Deflating);

/// A place for one encoder; dropping it frees the place.
#[derive(Debug)]
struct EncoderPlace(Arc<Deflating>);

impl Default for Deflating {
    fn default() -> Self {
        let turns = thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
        let memory = budget::memory_in_all().unwrap_or(u64::MAX) / 16;
        let most_encoders = usize::try_from(memory / ENCODER).unwrap_or(usize::MAX);
        let most_encoders = most_encoders.min(limits::ENCODERS);
        Self { turns, most_encoders, state: Mutex::default(), freed: Condvar::new() }
    }
}

impl Deflating {
    /// Waits for a turn. The wait is short: a session keeps its turn for a few milliseconds, and
    /// never waits for its client meanwhile.
    fn turn(&self) -> Turn<'_> {
        let mut state = self.state();
        while state.working >= self.turns {
            state = unpoisoned(self.freed.wait(state));
        }
        state.working += 1;
        Turn(self)
    }

    fn place(self: &Arc<Self>) -> Option<EncoderPlace> {
        let mut state = self.state();
        if state.encoders >= self.most_encoders {
            return None;
        }
        state.encoders += 1;
        Some(EncoderPlace(Arc::clone(self)))
    }

    fn state(&self) -> MutexGuard<'_, DeflatingState> {
        unpoisoned(self.state.lock())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().working -= 1;
        self.0.freed.notify_one();
    }
}

impl Drop for EncoderPlace {
    fn drop(&mut self) {
        self.0.state().encoders -= 1;
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
    place: EncoderPlace,
}

impl DeflateOutgoing {
    /// Returns `inner` in compressed form, or `None` if the server has no encoder left.
    pub(crate) fn new(
        inner: Box<dyn Outgoing>,
        level: DeflateLevel,
        deflating: &Arc<Deflating>,
    ) -> Option<Self> {
        let place = deflating.place()?;
        let encoder = Some(DeflateEncoder::new(level));
        Some(Self { inner, encoder, plain: Vec::new(), read: 0, place })
    }
}

impl DeflateOutgoing {
    /// Compresses the next bytes. Returns `false` at the end.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, StorageError> {
        self.plain.clear();
        let has_more = self.inner.fill(TURN, &mut self.plain)?;
        self.read += self.plain.len() as u64;
        let _turn = self.place.0.turn();
        if let Some(encoder) = &mut self.encoder {
            encoder.encode(&self.plain, out);
        }
        if !has_more {
            // This check comes before the stream ends: a source that is too short must not look
            // complete.
            self.inner.check_end(self.read)?;
            if let Some(encoder) = self.encoder.take() {
                encoder.finish(out);
            }
        }
        Ok(has_more)
    }
}

impl Outgoing for DeflateOutgoing {
    fn prepare(&mut self) -> Result<bool, StorageError> {
        self.inner.prepare()
    }

    fn fill(&mut self, _room: usize, out: &mut Vec<u8>) -> Result<bool, StorageError> {
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
    deflating: Arc<Deflating>,
}

impl Inflating {
    pub(crate) fn new(deflating: &Arc<Deflating>) -> Self {
        let decoder = DeflateDecoder::new();
        Self { decoder, plain: vec![0; TURN], deflating: Arc::clone(deflating) }
    }

    /// Decompresses some bytes from the beginning of `rest`, and removes them from `rest`. Returns
    /// no bytes if the decoder needs more input.
    pub(super) fn next(&mut self, rest: &mut &[u8]) -> Result<&[u8], DeflateFault> {
        let turn = self.deflating.turn();
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
    /// The line endings of type ASCII.
    pub(crate) ascii: Option<ftp_proto::AsciiDecoder>,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Outgoing for Nothing {
        fn fill(&mut self, _room: usize, _out: &mut Vec<u8>) -> Result<bool, StorageError> {
            Ok(false)
        }
    }

    #[test]
    fn the_number_of_encoders_is_limited_as_05() {
        let deflating: Arc<Deflating> = Arc::default();
        let most = deflating.most_encoders;
        assert!((1..=limits::ENCODERS).contains(&most), "{most}");
        let get = || DeflateOutgoing::new(Box::new(Nothing), DeflateLevel::default(), &deflating);
        let mut all: Vec<_> = (0..most).map(|_| get().unwrap()).collect();
        assert!(get().is_none());
        all.pop();
        assert!(get().is_some());
    }

    #[test]
    fn every_deflate_turn_is_released() {
        let deflating = Deflating::default();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|_| drop(deflating.turn())));
            }
        });
        assert_eq!(deflating.state().working, 0);
    }
}
