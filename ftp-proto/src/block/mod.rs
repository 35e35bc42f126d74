//! Mode B: blocks with headers, so that a data connection can carry many files (RFC 959 §3.4.2).
//!
//! A block with the descriptor EOF ends a file, so a file without such a block is recognised as
//! truncated. The decoder accepts pieces of any size, and its memory use is bounded.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::{RestartMarker, limits};

/// The length of a header, in bytes.
const HEADER: usize = 3;

/// Descriptor codes (RFC 959 §3.4.2). The four lower bits have no meaning.
const END_OF_RECORD: u8 = 128;
const END_OF_FILE: u8 = 64;
const SUSPECT: u8 = 32;
const MARKER: u8 = 16;

/// The header of a block: its descriptor and its byte count (RFC 959 §3.4.2).
///
/// ```
/// use ftp_proto::{BlockDecoder, BlockEvent, BlockHeader};
///
/// // The sender: a file in one block, and its end.
/// let mut sent = Vec::new();
/// BlockHeader::encode_data(b"hello", &mut sent);
/// sent.extend(BlockHeader::END_OF_FILE.encode());
/// assert_eq!(sent, b"\x00\x00\x05hello\x40\x00\x00");
///
/// // The receiver: pieces of any size. If a step has no event, more input is needed.
/// let (mut decoder, mut file, mut is_whole) = (BlockDecoder::new(), Vec::new(), false);
/// for mut rest in sent.chunks(2) {
///     loop {
///         let step = decoder.decode(rest)?;
///         rest = &rest[step.taken..];
///         match step.event {
///             Some(BlockEvent::Data(data)) => file.extend_from_slice(data),
///             Some(BlockEvent::EndOfFile) => is_whole = true,
///             Some(other) => panic!("{other:?} was not sent"),
///             None => break,
///         }
///     }
/// }
/// assert_eq!((file.as_slice(), is_whole), (&b"hello"[..], true));
/// # Ok::<(), ftp_proto::BlockFault>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct BlockHeader {
    /// The end of the block is the end of a record.
    pub ends_record: bool,
    /// The end of the block is the end of the file.
    pub ends_file: bool,
    /// The sender suspects errors in the data, for example after a disk fault.
    pub is_suspect: bool,
    /// The block is a restart marker instead of data.
    pub is_marker: bool,
    /// The number of bytes in the block after the header.
    pub count: u16,
}

impl BlockHeader {
    /// The maximum number of data bytes in one block.
    pub const MOST: usize = 65_535;

    /// The header of an empty block that ends a file.
    pub const END_OF_FILE: Self =
        Self { ends_record: false, ends_file: true, is_suspect: false, is_marker: false, count: 0 };

    /// Returns the header of a block with `count` data bytes.
    #[must_use]
    pub const fn data(count: u16) -> Self {
        Self { ends_file: false, count, ..Self::END_OF_FILE }
    }

    /// Parses a header: the descriptor, and the count with its high byte first.
    ///
    /// # Errors
    ///
    /// Returns `Descriptor` for a descriptor that RFC 959 does not define.
    pub const fn parse(header: [u8; HEADER]) -> Result<Self, BlockFault> {
        let [descriptor, high, low] = header;
        if descriptor & !(END_OF_RECORD | END_OF_FILE | SUSPECT | MARKER) != 0 {
            return Err(BlockFault::Descriptor(descriptor));
        }
        Ok(Self {
            ends_record: descriptor & END_OF_RECORD != 0,
            ends_file: descriptor & END_OF_FILE != 0,
            is_suspect: descriptor & SUSPECT != 0,
            is_marker: descriptor & MARKER != 0,
            count: u16::from_be_bytes([high, low]),
        })
    }

    /// Returns the header as sent.
    #[must_use]
    pub const fn encode(self) -> [u8; HEADER] {
        const fn bit(is_set: bool, code: u8) -> u8 {
            if is_set { code } else { 0 }
        }
        let descriptor = bit(self.ends_record, END_OF_RECORD)
            | bit(self.ends_file, END_OF_FILE)
            | bit(self.is_suspect, SUSPECT)
            | bit(self.is_marker, MARKER);
        let [high, low] = self.count.to_be_bytes();
        [descriptor, high, low]
    }

    /// Appends `data` to `out`, in as few blocks as possible; appends nothing if `data` is empty.
    pub fn encode_data(data: &[u8], out: &mut Vec<u8>) {
        for piece in data.chunks(Self::MOST) {
            let count = u16::try_from(piece.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&Self::data(count).encode());
            out.extend_from_slice(piece);
        }
    }
}

/// The text of a restart marker: 1 to [`limits::BLOCK_MARKER`] printable ASCII characters other
/// than space (RFC 959 §3.5 and §5.3.2).
///
/// Only the sender of a marker knows its meaning. This project sends the byte offset in the file,
/// in decimal digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct BlockMarker {
    text: [u8; limits::BLOCK_MARKER],
    length: usize,
}

impl BlockMarker {
    /// Returns the marker with this text; `None` if the text is empty, too long, or contains a
    /// space or a byte that is not printable ASCII.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut marker = Self { text: [0; limits::BLOCK_MARKER], length: text.len() };
        marker.text.get_mut(..text.len())?.copy_from_slice(text);
        let is_printable = text.iter().all(u8::is_ascii_graphic);
        (is_printable && !text.is_empty()).then_some(marker)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// Appends the block of this marker to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let count = u16::try_from(self.length).unwrap_or(u16::MAX);
        let header = BlockHeader { is_marker: true, ..BlockHeader::data(count) };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(self.as_bytes());
    }
}

impl From<RestartMarker> for BlockMarker {
    /// Returns the marker whose text is the offset in decimal digits.
    fn from(marker: RestartMarker) -> Self {
        Self::new(marker.to_string().as_bytes()).expect("1 to 19 digits are printable and fit")
    }
}

impl fmt::Display for BlockMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|&byte| write!(f, "{}", char::from(byte)))
    }
}

impl fmt::Debug for BlockMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockMarker({self})")
    }
}

/// What a [`BlockDecoder`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BlockEvent<'a> {
    /// Bytes of the file, at least one. A block can come in several events.
    Data(&'a [u8]),
    /// The data of the block that begins here may have errors.
    Suspect,
    /// A restart marker, for the position after all data so far.
    Marker(BlockMarker),
    /// The end of a record.
    EndOfRecord,
    /// The end of the file. Further bytes belong to the next file.
    EndOfFile,
}

/// Progress of a [`BlockDecoder`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlockStep<'a> {
    /// Bytes taken from the input.
    pub taken: usize,
    /// The next event; `None` if more input is needed.
    pub event: Option<BlockEvent<'a>>,
}

/// Why received bytes are not a valid file in mode B.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFault {
    /// A block descriptor that RFC 959 does not define.
    #[error("unknown block descriptor {0}")]
    Descriptor(u8),
    /// A restart marker that is empty, too long or not printable.
    #[error("invalid restart marker")]
    Marker,
    /// More than [`limits::EMPTY_BLOCKS`] consecutive blocks without data.
    #[error("too many blocks without data")]
    Empty,
    /// The sender suspects errors in the data, as [`BlockEvent::Suspect`] says. The decoder never
    /// returns this fault; receivers that reject such data can.
    #[error("the sender suspects errors in the data")]
    Suspect,
    /// The data ended before the end of the file.
    #[error("the data ended without an end-of-file block")]
    Truncated,
}

/// A decoder for the data of a connection in mode B: any number of files, one after the other.
///
/// See [`BlockHeader`] for an example.
#[derive(Clone, Debug, Default)]
pub struct BlockDecoder {
    /// The header that is being read, and how many of its bytes have arrived.
    header: [u8; HEADER],
    held: usize,
    /// The current block, and how many of its bytes are still to come.
    block: Option<BlockHeader>,
    left: usize,
    marker: Vec<u8>,
    /// The number of consecutive blocks without data.
    empty: u32,
    is_inside: bool,
    fault: Option<BlockFault>,
}

impl BlockDecoder {
    /// Returns a decoder at the start of a data connection.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            header: [0; HEADER],
            held: 0,
            block: None,
            left: 0,
            marker: Vec::new(),
            empty: 0,
            is_inside: false,
            fault: None,
        }
    }

    /// Returns how many bytes of the current block are still to come. They belong to the current
    /// file.
    #[must_use]
    pub const fn block_left(&self) -> usize {
        self.left
    }

    /// Decodes the first event in `input`. In the next call, pass the bytes that were not taken. A
    /// step without an event has taken all bytes and needs more. After a step with an event, more
    /// events can follow even without more input.
    ///
    /// # Errors
    ///
    /// Returns `Descriptor`, `Marker` or `Empty`, and the same error from every later call.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<BlockStep<'a>, BlockFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut rest = input;
        let event = self.next(&mut rest).inspect_err(|fault| self.fault = Some(*fault))?;
        Ok(BlockStep { taken: input.len() - rest.len(), event })
    }

    /// Checks that the last file is complete, at the end of the connection.
    ///
    /// # Errors
    ///
    /// Returns `Truncated` if the connection ended inside a file, or the fault that
    /// [`decode`](Self::decode) found.
    pub const fn finish(&self) -> Result<(), BlockFault> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.is_inside => Err(BlockFault::Truncated),
            None => Ok(()),
        }
    }

    fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Option<BlockEvent<'a>>, BlockFault> {
        loop {
            let Some(block) = self.block else {
                if !self.read_header(rest)? {
                    return Ok(None);
                }
                continue;
            };
            if block.is_suspect {
                self.block = Some(BlockHeader { is_suspect: false, ..block });
                return Ok(Some(BlockEvent::Suspect));
            }
            if self.left > 0 {
                let piece = take(rest, self.left);
                self.left -= piece.len();
                if !block.is_marker {
                    return Ok((!piece.is_empty()).then_some(BlockEvent::Data(piece)));
                }
                self.marker.extend_from_slice(piece);
                if self.left > 0 {
                    return Ok(None);
                }
            }
            if block.is_marker {
                self.block = Some(BlockHeader { is_marker: false, ..block });
                let marker = BlockMarker::new(&self.marker);
                self.marker.clear();
                return marker.map(BlockEvent::Marker).map(Some).ok_or(BlockFault::Marker);
            }
            if block.ends_record {
                self.block = Some(BlockHeader { ends_record: false, ..block });
                return Ok(Some(BlockEvent::EndOfRecord));
            }
            self.block = None;
            if block.ends_file {
                (self.is_inside, self.empty) = (false, 0);
                return Ok(Some(BlockEvent::EndOfFile));
            }
        }
    }

    /// Reads a header and checks it; returns whether the header is complete.
    fn read_header(&mut self, rest: &mut &[u8]) -> Result<bool, BlockFault> {
        for byte in take(rest, HEADER - self.held) {
            if let Some(place) = self.header.get_mut(self.held) {
                *place = *byte;
            }
            (self.held, self.is_inside) = (self.held + 1, true);
        }
        if self.held < HEADER {
            return Ok(false);
        }
        self.held = 0;
        let block = BlockHeader::parse(self.header)?;
        self.left = block.count.into();
        if block.is_marker && !(1..=limits::BLOCK_MARKER).contains(&self.left) {
            return Err(BlockFault::Marker);
        }
        self.empty = if block.is_marker || block.count == 0 { self.empty + 1 } else { 0 };
        if self.empty > limits::EMPTY_BLOCKS {
            return Err(BlockFault::Empty);
        }
        self.block = Some(block);
        Ok(true)
    }
}

fn take<'a>(rest: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (piece, left) = rest.split_at_checked(most).unwrap_or((rest, &[]));
    *rest = left;
    piece
}
