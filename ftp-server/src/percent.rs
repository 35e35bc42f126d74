//! Percent-encoding (RFC 3986 §2.1).

use std::fmt::Write as _;

pub(crate) fn encoded(bytes: &[u8], is_plain: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match is_plain(byte) {
            true => text.push(char::from(byte)),
            // Writing to a string does not fail.
            false => _ = write!(text, "%{byte:02X}"),
        }
    }
    text
}

pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => byte,
        });
    }
    Some(decoded)
}
