//! Content of data connections.

use ftp_proto::{AsciiDecoder, AsciiEncoder};

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
