//! Replaces arguments that are not UTF-8 with placeholders, because getopts rejects all arguments
//! if one of them is not UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::exit::Failure;

/// Arguments as text. No argument can contain NUL, so a placeholder is NUL and a number.
pub(super) struct Placeholders {
    pub(super) texts: Vec<String>,
    originals: Vec<OsString>,
}

impl Placeholders {
    /// Reads the arguments, and inserts placeholders where needed.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an option whose name is not UTF-8, and for a short option whose value
    /// is in the same argument and is not UTF-8.
    pub(super) fn new(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut this = Self { texts: Vec::new(), originals: Vec::new() };
        let mut only_operands = false;
        for argument in arguments {
            let text = match argument.into_string() {
                Ok(text) => text,
                Err(argument) => this.stand_in(argument, only_operands)?,
            };
            only_operands |= text == "--";
            this.texts.push(text);
        }
        Ok(this)
    }

    fn stand_in(&mut self, argument: OsString, only_operands: bool) -> Result<String, Failure> {
        let bytes = argument.as_bytes();
        let (prefix, original) = if only_operands || !bytes.starts_with(b"-") {
            (String::new(), argument)
        } else {
            // `--name=value`: the value can be anything.
            let at = bytes.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
            let (name, value) = bytes.split_at_checked(at).unwrap_or((b"", bytes));
            match std::str::from_utf8(name) {
                Ok(name) if name.starts_with("--") => {
                    (name.to_owned(), OsString::from_vec(value.to_vec()))
                }
                _ => {
                    let shown = argument.to_string_lossy();
                    return Err(Failure::usage(format!(
                        "unknown option \"{shown}\"; use -- before a file of this name"
                    )));
                }
            }
        };
        self.originals.push(original);
        Ok(format!("{prefix}\0{}", self.originals.len() - 1))
    }

    /// Returns the argument, or part of one, that `text` represents.
    pub(super) fn restore(&self, text: &str) -> OsString {
        let number = text.strip_prefix('\0').and_then(|number| number.parse::<usize>().ok());
        let original = number.and_then(|number| self.originals.get(number));
        original.cloned().unwrap_or_else(|| text.into())
    }
}
