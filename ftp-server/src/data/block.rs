//! Mode B: files in blocks, and the data connection that stays open for the next file (RFC 959
//! §3.4.2).

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use ftp_proto::{BlockDecoder, BlockFault, BlockHeader, BlockMarker, DeflateFault, RestartMarker};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::outgoing::{GATHER, Outgoing};
use crate::net::socket::is_hung_up;
use crate::storage::StorageResult;
use crate::tls::{Connection, size_of_records};

/// Bytes of a file between two restart markers in a download.
const MARK: u64 = 1024 * 1024;

/// Maximum bytes of data to put into one block. A listing may exceed this by one line, which
/// usually still fits into the block.
const BLOCK: usize = 60 * 1024;

/// Minimum room for another block in the same buffer, in bytes.
const LEAST: usize = 1024;

#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DataFault {
    /// The data is not one complete compressed stream.
    #[error(transparent)]
    Deflate(#[from] DeflateFault),
    /// The data is not a complete file in blocks.
    #[error(transparent)]
    Block(#[from] BlockFault),
    /// The data contains an end-of-record mark, which the stored file could not keep.
    #[error("the data contains records")]
    Record,
    /// The sender marks a block as possibly wrong. The stored file could not keep that mark.
    #[error("the sender suspects errors in the data")]
    Suspect,
}

impl DataFault {
    /// Returns whether the data ended early but was valid until then.
    pub(crate) const fn is_truncation(&self) -> bool {
        matches!(self, Self::Deflate(DeflateFault::Truncated) | Self::Block(BlockFault::Truncated))
    }
}

/// An open data connection, which begins in non-blocking mode.
pub(crate) struct DataConnection {
    pub(crate) stream: TcpStream,
    /// TLS, if the connection is protected.
    pub(crate) protection: Option<Connection>,
    /// Whether the connection stays open after a complete file. In that case, the data itself marks
    /// the end of each file.
    pub(crate) stays_open: bool,
    /// Data of later files that the client has sent in advance, already decrypted. The data fits
    /// into a small buffer.
    pub(super) early: Vec<u8>,
}

impl DataConnection {
    pub(crate) const fn new(stream: TcpStream, protection: Option<Connection>) -> Self {
        Self { stream, protection, stays_open: false, early: Vec::new() }
    }

    /// Makes the connection stay open after a complete file.
    pub(crate) fn stay_open(&mut self) {
        self.stays_open = true;
        // Without `TCP_NODELAY`, the last bytes of a file would wait until the client has
        // acknowledged the earlier ones. If this call fails, transfers are only slower.
        let _ = self.stream.set_nodelay(true);
    }

    /// Returns whether the client has closed its side and the server has read all data that the
    /// client sent.
    pub(crate) fn is_finished(&self) -> bool {
        if !self.early.is_empty() {
            return false;
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.stream, &mut [0; 1], flags) {
            Ok((count, _)) => {
                count == 0 || self.protection.as_ref().is_some_and(Connection::is_closed)
            }
            Err(error) => !matches!(error, Errno::AGAIN | Errno::INTR),
        }
    }
}

/// A data connection between two files. Dropping it closes the connection.
pub(crate) struct IdleConnection(Option<Box<DataConnection>>);

impl IdleConnection {
    pub(crate) fn new(connection: DataConnection) -> Self {
        Self(Some(Box::new(connection)))
    }

    /// Returns the connection for the next file, or `None` if the connection is closed or does not
    /// have the protection that the session now requires.
    pub(crate) fn resume(mut self, is_private: bool, is_upload: bool) -> Option<DataConnection> {
        let connection = self.0.as_ref()?;
        // An upload can still use the data that arrived before the client closed its side.
        let is_gone =
            if is_upload { connection.is_finished() } else { is_hung_up(&connection.stream) };
        if is_gone || connection.protection.is_some() != is_private {
            return None;
        }
        self.0.take().map(|connection| *connection)
    }
}

impl Drop for IdleConnection {
    fn drop(&mut self) {
        let Some(DataConnection { stream, protection: Some(protection), .. }) =
            self.0.as_deref_mut()
        else {
            return;
        };
        let mut record = [0; size_of_records(0)];
        if let Ok(length) = protection.close(&mut record) {
            // A client that has disconnected, or does not read, does not need the `close_notify`.
            let _ = stream.write(record.get(..length).unwrap_or_default());
        }
    }
}

/// Data to send in mode B.
pub(crate) struct BlockOutgoing {
    inner: Box<dyn Outgoing>,
    /// Bytes read from `inner` so far.
    read: u64,
    /// For a file: the offset at which `inner` begins, and the offset of the next restart marker,
    /// in bytes.
    marks: Option<(u64, u64)>,
}

impl BlockOutgoing {
    /// Returns `inner` in blocks. For a file, `offset` is the offset at which `inner` begins, and
    /// the blocks contain restart markers. For a listing, `offset` is `None`.
    pub(crate) fn new(inner: Box<dyn Outgoing>, offset: Option<u64>) -> Self {
        let marks = offset.map(|offset| (offset, offset.saturating_add(MARK)));
        Self { inner, read: 0, marks }
    }

    /// Appends a restart marker if one is due.
    fn mark(&mut self, out: &mut Vec<u8>) {
        let Some((offset, next)) = &mut self.marks else { return };
        let position = offset.saturating_add(self.read);
        if position < *next {
            return;
        }
        if let Some(marker) = RestartMarker::new(position) {
            BlockMarker::from(marker).encode(out);
        }
        *next = position.saturating_add(MARK);
    }

    /// Appends a block of about `room` bytes. Returns the number of data bytes in the block, and
    /// whether more data follows.
    fn block(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<(usize, bool)> {
        let at = out.len();
        out.extend_from_slice(&BlockHeader::data(0).encode());
        let start = out.len();
        let has_more = self.inner.fill(room.min(BLOCK), out)?;
        let count = out.len() - start;
        self.read += count as u64;
        match u16::try_from(count) {
            Ok(0) => out.truncate(at),
            Ok(count) => {
                let header = BlockHeader::data(count).encode();
                out.get_mut(at..start).unwrap_or_default().copy_from_slice(&header);
            }
            Err(_) => {
                let data = out.split_off(start);
                out.truncate(at);
                BlockHeader::encode_data(&data, out);
            }
        }
        Ok((count, has_more))
    }
}

impl Outgoing for BlockOutgoing {
    fn prepare(&mut self) -> StorageResult<bool> {
        self.inner.prepare()
    }

    fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
        let end = Instant::now() + GATHER;
        let full = out.len() + room;
        loop {
            self.mark(out);
            let room = full.saturating_sub(out.len() + BlockHeader::END_OF_FILE.encode().len());
            let (count, has_more) = self.block(room.max(LEAST), out)?;
            if !has_more {
                // Checked before the end-of-file block commits the transfer: a truncated source
                // must not look complete.
                self.inner.check_end(self.read)?;
                out.extend_from_slice(&BlockHeader::END_OF_FILE.encode());
                return Ok(false);
            }
            let is_full = out.len() + LEAST > full;
            if count == 0 || is_full || Instant::now() >= end {
                return Ok(true);
            }
        }
    }

    fn bytes(&self, _sent: u64) -> u64 {
        self.read
    }
}

/// Received data in mode B.
pub(crate) struct Blocks {
    pub(super) decoder: BlockDecoder,
    /// The offset in the file at which the data begins.
    pub(super) offset: u64,
    /// Whether the end of the file was received.
    pub(super) is_complete: bool,
}

impl Blocks {
    pub(crate) const fn new(offset: u64) -> Self {
        Self { decoder: BlockDecoder::new(), offset, is_complete: false }
    }
}

#[cfg(test)]
mod tests {
    use ftp_proto::BlockEvent;

    use super::*;

    /// Pieces of a file, then its end; more bytes than asked for, if a piece is longer.
    struct Pieces(Vec<usize>);

    impl Outgoing for Pieces {
        fn fill(&mut self, _room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
            let count = if self.0.is_empty() { 0 } else { self.0.remove(0) };
            out.resize(out.len() + count, b'x');
            Ok(!self.0.is_empty())
        }
    }

    /// Returns the bytes of the data, and the restart markers.
    fn sent(pieces: &[usize], offset: Option<u64>, room: usize) -> (usize, Vec<String>) {
        let mut outgoing = BlockOutgoing::new(Box::new(Pieces(pieces.to_vec())), offset);
        let (mut all, mut part) = (Vec::new(), Vec::new());
        loop {
            part.clear();
            let has_more = outgoing.fill(room, &mut part).unwrap();
            all.extend_from_slice(&part);
            if !has_more {
                break;
            }
        }
        let (mut decoder, mut rest) = (BlockDecoder::new(), all.as_slice());
        let (mut length, mut markers) = (0, Vec::new());
        loop {
            let step = decoder.decode(rest).unwrap();
            rest = &rest[step.taken..];
            match step.event.unwrap() {
                BlockEvent::Data(data) => length += data.len(),
                BlockEvent::Marker(marker) => markers.push(marker.to_string()),
                BlockEvent::EndOfFile => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(rest.is_empty());
        assert_eq!(outgoing.bytes(0), length as u64);
        (length, markers)
    }

    #[test]
    fn pieces_of_any_size_become_one_file() {
        for pieces in [&[][..], &[0], &[1], &[1, 0, 2], &[70_000, 200_000, 1], &[0, 0, 65_535]] {
            for room in [1, 100, 4_096, 512 * 1024] {
                assert_eq!(sent(pieces, None, room), (pieces.iter().sum(), Vec::new()));
            }
        }
    }

    /// A file without end, which fills all the room.
    struct Endless;

    impl Outgoing for Endless {
        fn fill(&mut self, room: usize, out: &mut Vec<u8>) -> StorageResult<bool> {
            out.resize(out.len() + room, b'x');
            Ok(true)
        }
    }

    #[test]
    fn blocks_fill_the_buffer_up_to_60_kib() {
        for room in [8 * 1024, 16 * 1024, 512 * 1024] {
            let mut out = Vec::new();
            BlockOutgoing::new(Box::new(Endless), None).fill(room, &mut out).unwrap();
            let length = usize::from(u16::from_be_bytes([out[1], out[2]]));
            assert!((room.min(BLOCK) - 16..=BLOCK).contains(&length), "{room}: {length}");
        }
    }

    #[test]
    fn markers_contain_file_offsets() {
        let mib = 1 << 20;
        assert_eq!(sent(&[mib, mib, 5], Some(0), mib).1, ["1048576", "2097152"]);
        assert_eq!(sent(&[mib, 5], Some(7), mib).1, ["1048583"]);
        assert_eq!(sent(&[mib - 1, 5], Some(0), mib).1, Vec::<String>::new());
        assert_eq!(sent(&[mib, mib, 5], None, mib).1, Vec::<String>::new());
    }
}
