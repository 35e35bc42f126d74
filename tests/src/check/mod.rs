//! Invariants for any bytes: one function for each kind of input, which takes the bytes of a peer
//! and panics if an invariant is broken.
//!
//! The property tests call these functions with generated input, the fuzzer with input from
//! libFuzzer. Where possible, the result of the toolkit is compared with the result of a few plain
//! lines here, which are slow, hold everything in memory and share no code with the toolkit.

mod addresses;
mod client;
mod control;
mod data;
mod listing;
mod names;
mod server;
mod url;
mod values;

use std::fmt::Debug;

pub use self::addresses::{
    extended_address, host_name, host_port, language_tag, network_protocols, port_ranges,
    proxy_header,
};
pub use self::client::client_dialogue;
pub use self::control::{
    argument, argument_of_names, argument_of_numbers, argument_of_words, command_line, features,
    reply,
};
pub use self::data::{ascii, block, deflate};
pub use self::listing::{listing, listing_eplf, listing_names};
pub use self::names::{escaped, quoted_pathname, virtual_path};
pub use self::server::server_dialogue;
pub use self::url::url;
pub use self::values::{facts, file_digest, time_val};

use crate::random::mix;

/// A function of this module.
pub type Check = fn(&[u8]);

/// The targets of the fuzzer, each with its function. `tests/fuzz/corpus` has a folder for each.
pub const TARGETS: &[(&str, Check)] = &[
    ("argument", argument),
    ("argument_of_names", argument_of_names),
    ("argument_of_numbers", argument_of_numbers),
    ("argument_of_words", argument_of_words),
    ("ascii", ascii),
    ("block", block),
    ("client_dialogue", client_dialogue),
    ("command_line", command_line),
    ("deflate", deflate),
    ("escaped", escaped),
    ("extended_address", extended_address),
    ("facts", facts),
    ("features", features),
    ("file_digest", file_digest),
    ("host_name", host_name),
    ("host_port", host_port),
    ("language_tag", language_tag),
    ("listing_dos", listing),
    ("listing_eplf", listing_eplf),
    ("listing_names", listing_names),
    ("listing_unix", listing),
    ("network_protocols", network_protocols),
    ("port_ranges", port_ranges),
    ("proxy_header", proxy_header),
    ("quoted_pathname", quoted_pathname),
    ("reply", reply),
    ("server_dialogue", server_dialogue),
    ("time_val", time_val),
    ("url", url),
    ("virtual_path", virtual_path),
];

/// Returns the result of `decode` for `input`, which must be the same for the whole, for each byte
/// alone, and for pieces whose lengths depend on the bytes.
fn any_chunking<T: Debug + PartialEq>(input: &[u8], decode: impl Fn(&[&[u8]]) -> T) -> T {
    let whole = decode(&[input]);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode(&bytes), whole, "byte by byte");
    let mut state = input.iter().fold(0, |state, &byte| mix(state ^ u64::from(byte)));
    let (mut pieces, mut rest) = (Vec::new(), input);
    while !rest.is_empty() {
        state = mix(state.wrapping_add(1));
        let length = usize::try_from(state % 61).expect("it is below 61");
        let (piece, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        pieces.push(piece);
        rest = behind;
    }
    assert_eq!(decode(&pieces), whole, "in pieces of {:?}", lengths(&pieces));
    whole
}

fn lengths(pieces: &[&[u8]]) -> Vec<usize> {
    pieces.iter().map(|piece| piece.len()).collect()
}

/// Returns the number in `digits`, or `None` if there are other characters or the number exceeds
/// 2^64 - 1.
fn plain_number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.chars().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Returns whether a byte would end a line of the control connection, or a C string.
fn breaks_lines(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// Asserts that `text` is safe to print: one line, without cursor movement or reversed text.
#[track_caller]
fn assert_shown(text: &str) {
    let acts = |char: char| {
        char.is_control()
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{61c}')
            || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(acts), "{text:?} is shown to people");
}
