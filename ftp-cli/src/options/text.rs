//! Arguments as text for getopts, which accepts only UTF-8: each byte becomes one character.

use std::ffi::{OsStr, OsString};

use crate::system::{OsStrExt, OsStringExt};

pub(super) fn to_text(argument: &OsStr) -> String {
    argument.as_bytes().iter().copied().map(char::from).collect()
}

/// Returns the argument, or the part of one, whose text this is.
pub(super) fn from_text(text: &str) -> OsString {
    // No character is above U+00FF.
    OsString::from_vec(text.chars().flat_map(u8::try_from).collect())
}
