//! Content of data connections.

use ftp_proto::{
    AsciiDecoder, AsciiEncoder, BlockDecoder, BlockEvent, BlockFault, BlockHeader, BlockMarker,
    DeflateDecoder, DeflateEncoder, DeflateFault, DeflateLevel,
};

use super::any_chunking;

/// Checks a file in representation type ASCII, in either direction.
pub fn ascii(data: &[u8]) {
    let sent = any_chunking(data, encode);
    assert_eq!(sent, plain_encode(data));
    assert!(sent.len() <= 2 * data.len());
    let received = any_chunking(data, decode);
    assert_eq!(received, plain_decode(data));
    let text: Vec<u8> = data.iter().copied().filter(|&byte| byte != b'\r').collect();
    assert_eq!(decode(&[&encode(&[&text])]), text, "there and back");
}

/// Largest number of decompressed bytes that are examined.
const PLAIN: usize = 1 << 20;

/// Checks data in mode Z, in either direction.
pub fn deflate(data: &[u8]) {
    let found = any_chunking(data, inflate);
    if let Ok(plain) = found
        && plain.len() < PLAIN
    {
        assert!(inflate(&[&compress(&plain)]).is_ok_and(|again| again == plain));
    }
    assert_eq!(inflate(&[&compress(data)]).as_deref(), Ok(data), "there and back");
}

fn compress(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = DeflateEncoder::new(DeflateLevel::default());
    data.chunks(1_000).for_each(|piece| encoder.encode(piece, &mut out));
    encoder.finish(&mut out);
    out
}

/// Returns the decompressed data, or its first bytes. Which fault a stream has must not depend on
/// the pieces, but the bytes returned before a fault may.
fn inflate(pieces: &[&[u8]]) -> Result<Vec<u8>, DeflateFault> {
    let (mut decoder, mut all, mut out) = (DeflateDecoder::new(), Vec::new(), [0; 4_096]);
    for mut rest in pieces.iter().copied() {
        loop {
            let step = decoder.decode(rest, &mut out)?;
            assert!(step.taken <= rest.len() && step.written <= out.len());
            rest = rest.get(step.taken..).unwrap_or_default();
            all.extend(out.iter().take(step.written));
            if all.len() >= PLAIN {
                all.truncate(PLAIN);
                return Ok(all);
            }
            if step.taken == 0 && step.written == 0 {
                assert!(rest.is_empty(), "a step without progress needs more input");
                break;
            }
        }
    }
    decoder.finish().map(|()| all)
}

/// Checks data in mode B, in either direction.
pub fn block(data: &[u8]) {
    let _any = any_chunking(data, unblock);
    let (first, second) = data.split_at(data.len() / 2);
    let marker = BlockMarker::new(first).or(BlockMarker::new(b"1")).expect("1 is a marker");
    let mut sent = Vec::new();
    BlockHeader::encode_data(first, &mut sent);
    marker.encode(&mut sent);
    BlockHeader::encode_data(second, &mut sent);
    sent.extend(BlockHeader::END_OF_FILE.encode());
    let file = BlockedFile { content: data.into(), markers: vec![(first.len(), marker)] };
    let next = BlockedFile::default();
    assert_eq!(any_chunking(&sent, unblock), (vec![file, next], String::new(), Ok(())));
    sent.pop();
    assert_eq!(unblock(&[&sent]).2, Err(BlockFault::Truncated));
}

/// A file in mode B: its bytes, and its restart markers with their positions.
#[derive(Debug, Default, PartialEq)]
struct BlockedFile {
    content: Vec<u8>,
    markers: Vec<(usize, BlockMarker)>,
}

/// Returns the files, of which only the last can be incomplete, and the places of other events.
fn unblock(pieces: &[&[u8]]) -> (Vec<BlockedFile>, String, Result<(), BlockFault>) {
    let (mut decoder, mut files) = (BlockDecoder::new(), Vec::new());
    let (mut file, mut others) = (BlockedFile::default(), String::new());
    'pieces: for mut rest in pieces.iter().copied() {
        loop {
            let Ok(step) = decoder.decode(rest) else { break 'pieces };
            rest = rest.get(step.taken..).expect("it takes only what there is");
            match step.event {
                Some(BlockEvent::Data(data)) => {
                    assert!(!data.is_empty());
                    file.content.extend_from_slice(data);
                }
                Some(BlockEvent::Marker(marker)) => {
                    file.markers.push((file.content.len(), marker));
                }
                Some(BlockEvent::EndOfFile) => files.push(std::mem::take(&mut file)),
                Some(other) => others += &format!("{other:?} at {}; ", file.content.len()),
                None => break,
            }
        }
        assert!(rest.is_empty(), "a step without an event takes all");
    }
    files.push(file);
    (files, others, decoder.finish())
}

fn encode(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut encoder, mut out) = (AsciiEncoder::new(), Vec::new());
    for piece in pieces {
        let before = out.len();
        encoder.encode(piece, &mut out);
        assert!(out.len() - before <= 2 * piece.len());
    }
    out
}

fn decode(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut decoder, mut out) = (AsciiDecoder::new(), Vec::new());
    for piece in pieces {
        let before = out.len();
        decoder.decode(piece, &mut out);
        assert!(out.len() - before <= piece.len() + 1);
    }
    decoder.finish(&mut out);
    out
}

fn plain_encode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in data {
        if byte == b'\n' && !out.ends_with(b"\r") {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

fn plain_decode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // A CR directly before a LF is removed, even if an earlier CR precedes it.
    for (index, &byte) in data.iter().enumerate() {
        if byte != b'\r' || data.get(index + 1) != Some(&b'\n') {
            out.push(byte);
        }
    }
    out
}
