//! Downloads of objects. The response that contains the size also contains the content, so one
//! request reads a whole file. A thread receives the content of a large one, and requests the rest
//! after an interruption.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};

use sha2::{Digest as _, Sha256};
use ureq::Body;

use super::encode::base64;
use super::error::S3Error;
use super::http::{Retries, STEP};
use super::inner::Inner;
use super::objects::StoredObject;
use crate::storage::{Source, StorageErrorKind as Kind, StorageResult};
use crate::threads::ThreadJob;

/// Maximum number of bytes that the thread passes on at once.
const PIECE: u64 = 128 * 1024;

/// Maximum number of pieces that wait for the client.
const WAITING: usize = 4;

type Piece = Result<Vec<u8>, S3Error>;

/// An open object. If the object changes, reading returns the old content or fails.
pub(super) struct S3Source {
    store: Arc<Inner>,
    key: String,
    object: StoredObject,
    /// The content from the first byte on, if a response contains it and the thread has not begun
    /// to read it.
    content: Option<Body>,
    /// Offset of the next byte for the caller.
    at: u64,
    /// Received bytes.
    piece: Vec<u8>,
    /// Number of bytes of `piece` that the caller has read.
    used: usize,
    /// Further pieces, once they are requested.
    pieces: Option<Receiver<Piece>>,
}

impl S3Source {
    /// Opens an object. Returns `None` if the object is missing. Reads a small one at once: on a busy
    /// computer, a thread for a few bytes that have arrived already takes longer than the request.
    pub(super) fn open(store: &Arc<Inner>, key: String) -> Result<Option<Self>, S3Error> {
        let Some((object, content)) = store.client.open(&key)? else { return Ok(None) };
        let (store, is_small) = (Arc::clone(store), content.is_some() && object.size <= PIECE);
        let (piece, pieces) = (Vec::new(), None);
        let mut source = Self { store, key, object, content, at: 0, piece, used: 0, pieces };
        source.pieces = is_small.then(|| source.begin()).transpose()?;
        Ok(Some(source))
    }

    fn rest(&self) -> &[u8] {
        self.piece.get(self.used..).unwrap_or_default()
    }

    /// Begins to get the pieces: a small content at once, everything else in a thread.
    fn begin(&mut self) -> Result<Receiver<Piece>, S3Error> {
        let (sender, pieces) = mpsc::sync_channel(WAITING);
        let sum = self.object.sum.clone().filter(|_| self.at == 0);
        let mut fetch = Fetch {
            store: Arc::clone(&self.store),
            key: self.key.clone(),
            tag: self.object.tag.clone(),
            size: self.object.size,
            at: self.at,
            sum: sum.map(|sum| (Sha256::new(), sum)),
            sender,
            retries: Retries::new(self.store.client.timeouts.retries),
        };
        let mut content = self.content.take();
        let is_small = content.is_some() && self.object.size <= PIECE;
        // Passes on a piece at most, and an error, for which there is room.
        if !is_small || fetch.step(content.take()) {
            // The thread ends when the receiver is dropped.
            drop(ThreadJob::begin(move || while fetch.step(content.take()) {})?);
        }
        Ok(pieces)
    }
}

impl io::Read for S3Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ready()? {}
        let mut rest = self.rest();
        let count = rest.read(buffer)?;
        self.used += count;
        self.at += count as u64;
        Ok(count)
    }
}

impl Source for S3Source {
    fn size(&self) -> u64 {
        self.object.size
    }

    fn seek_to(&mut self, offset: u64) -> StorageResult<()> {
        if offset > self.object.size {
            return Err(Kind::BadRestart.into());
        }
        if offset != self.at {
            (self.at, self.used, self.pieces, self.content) = (offset, 0, None, None);
            self.piece.clear();
        }
        Ok(())
    }

    fn ready(&mut self) -> StorageResult<bool> {
        if !self.rest().is_empty() || self.at >= self.object.size {
            return Ok(true);
        }
        let pieces = self.pieces.take().map_or_else(|| self.begin(), Ok)?;
        let received = pieces.recv_timeout(STEP);
        self.pieces = Some(pieces);
        match received {
            Ok(piece) => {
                (self.piece, self.used) = (piece?, 0);
                Ok(!self.piece.is_empty())
            }
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(Kind::Io.into()),
        }
    }
}

/// The thread that reads an object.
struct Fetch {
    store: Arc<Inner>,
    key: String,
    tag: String,
    size: u64,
    at: u64,
    /// The digest of the bytes so far, and the store's digest in base64.
    sum: Option<(Sha256, String)>,
    sender: SyncSender<Piece>,
    retries: Retries,
}

impl Fetch {
    /// Reads `content`, or requests what is missing. Returns whether some is still missing.
    fn step(&mut self, content: Option<Body>) -> bool {
        let (before, client) = (self.at, &self.store.client);
        let content = content.map_or_else(|| client.get(&self.key, &self.tag, self.at), Ok);
        if let Err(error) = content.and_then(|content| self.read(content)) {
            if self.at > before {
                self.retries = Retries::new(self.store.client.timeouts.retries);
            }
            let again = if error.is_transient() { self.retries.again(error) } else { Err(error) };
            if let Err(error) = again {
                // Fails if the source was dropped.
                let _ = self.sender.send(Err(error));
                return false;
            }
        }
        self.at < self.size
    }

    /// Passes on the rest of the object from `content`.
    fn read(&mut self, content: Body) -> Result<(), S3Error> {
        let operation = "GetObject";
        let mut body = content.into_reader();
        let lost = |reason: String| Err(S3Error::Lost { operation, reason });
        while self.at < self.size {
            let most = PIECE.min(self.size - self.at);
            // A vector that grows would copy its bytes several times.
            let mut piece = Vec::with_capacity(usize::try_from(most).unwrap_or_default());
            let read = body.by_ref().take(most).read_to_end(&mut piece);
            if piece.is_empty() {
                return lost(
                    read.map_or_else(|e| e.to_string(), |_| "incomplete object".to_owned()),
                );
            }
            self.at += piece.len() as u64;
            if self.at == self.size {
                // The next request can reuse this connection only after a read has found the end of
                // the body. The content is complete, so an error does not matter.
                let _ = body.read(&mut [0]);
            }
            self.compare(&piece)?;
            let unwanted = |_| S3Error::Local(io::ErrorKind::BrokenPipe.into());
            self.sender.send(Ok(piece)).map_err(unwanted)?;
            if let Err(error) = read {
                return lost(error.to_string());
            }
        }
        Ok(())
    }

    /// Adds a piece to the digest. Before the last piece is passed on, compares the digest with the
    /// store's.
    fn compare(&mut self, piece: &[u8]) -> Result<(), S3Error> {
        let Some((digest, told)) = &mut self.sum else { return Ok(()) };
        digest.update(piece);
        if self.at < self.size || base64(&digest.clone().finalize()) == *told {
            return Ok(());
        }
        Err(S3Error::wrong("GetObject", "the content does not match its checksum"))
    }
}
