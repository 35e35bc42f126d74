//! `chmod MODE URL...`: sets permission bits, in octal or symbolic notation.

use std::os::unix::ffi::OsStrExt;

use ftp_client::listing::ListingForm;
use ftp_client::{Client, Error};
use ftp_proto::Permissions;

use crate::console::stdio::Stdio;
use crate::exit::{Exit, Failure};
use crate::options::{Options, urls};
use crate::report::jobs::{self, Outcome, for_each_url};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    let Some((mode, urls @ [_, ..])) = options.operands.split_first() else {
        return Err(Failure::usage("chmod needs a mode and a URL: ftp-cli chmod MODE URL..."));
    };
    if urls::is_remote(mode) {
        return Err(Failure::usage("chmod takes the mode first: ftp-cli chmod MODE URL..."));
    }
    let mode = Mode::read(mode.as_bytes())?;
    let urls = urls::parse_all(urls, "", |_| Ok(()))?;
    for_each_url(options, stdio, &urls, "modes set", |client, url, _, _| {
        outcome(jobs::at(client, url, |client, path| mode.set(client, path))?)
    })
}

fn outcome(is_set: bool) -> Result<Outcome, Failure> {
    match is_set {
        true => Ok(Outcome::Done("set")),
        false => {
            let message = "the server does not report the current mode; use an octal MODE";
            Err(Failure::item(Exit::Unsupported, message))
        }
    }
}

/// Change of the permission bits.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// Bits to set.
    Bits(u16),
    /// Changes to apply in order.
    Changes(Vec<Change>),
}

#[derive(Debug, Eq, PartialEq)]
pub(super) struct Change {
    /// Permission bits that `u`, `g` and `o` select.
    who: u16,
    /// `+`, `-` or `=`.
    how: u8,
    /// Letters of `rwxXst`.
    letters: Vec<u8>,
}

impl Mode {
    /// Parses the mode that the user typed.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if the mode is invalid.
    pub(super) fn read(text: &[u8]) -> Result<Self, Failure> {
        let text = String::from_utf8_lossy(text);
        Self::parse(&text).ok_or_else(|| {
            let known = "expected a mode such as 644, 0755, u+w, go-rwx or a=r,u+x";
            Failure::item(Exit::Usage, format!("invalid mode \"{text}\": {known}"))
        })
    }

    /// Sets the mode of the object at `path`.
    ///
    /// # Errors
    ///
    /// Returns the server's refusal, errors of the connection, or `Unsupported` if the current mode
    /// is needed but the server does not report it.
    pub(super) fn put(&self, client: &mut Client, path: &[u8]) -> Result<Outcome, Failure> {
        outcome(self.set(client, path)?)
    }

    /// Parses three or four octal digits, or symbolic notation such as `u+w,go=`. Without u, g, o
    /// or a, the change applies to all, regardless of the server's umask. Returns `None` for
    /// anything else.
    fn parse(text: &str) -> Option<Self> {
        if let Some(bits) = Permissions::parse(text.as_bytes()) {
            return Some(Self::Bits(bits.mode()));
        }
        text.split(',').map(Change::parse).collect::<Option<_>>().map(Self::Changes)
    }

    /// Sets the mode of the object at `path`. Returns false if the current mode is needed but the
    /// server does not report it.
    fn set(&self, client: &mut Client, path: &[u8]) -> Result<bool, Error> {
        let bits = match self {
            Self::Bits(bits) => *bits,
            Self::Changes(changes) => {
                let mut entry = client.look(path, ListingForm::Auto)?;
                if entry.as_ref().is_some_and(|entry| entry.permissions.is_none()) {
                    // On many servers, MLST reports no mode, but LIST does.
                    entry = client.look(path, ListingForm::List)?;
                }
                let Some(before) = entry.as_ref().and_then(|entry| entry.permissions) else {
                    // For a missing object, this returns the server's reason.
                    if entry.is_none() {
                        client.can_enter(path)?;
                    }
                    return Ok(false);
                };
                let is_directory = entry.is_some_and(|entry| entry.is_dir());
                changes.iter().fold(before.mode(), |bits, change| change.apply(bits, is_directory))
            }
        };
        client.chmod(path, Permissions::new(bits))?;
        Ok(true)
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['+', '-', '='])?;
        let (who, rest) = text.split_at_checked(at)?;
        let who = who.bytes().try_fold(0, |bits, who| {
            Some(
                bits | match who {
                    b'u' => 0o4700,
                    b'g' => 0o2070,
                    b'o' => 0o1007,
                    b'a' => 0o7777,
                    _ => return None,
                },
            )
        })?;
        let (how, letters) = rest.as_bytes().split_first()?;
        let is_known = letters.iter().all(|letter| b"rwxXst".contains(letter));
        let who = if who == 0 { 0o7777 } else { who };
        is_known.then(|| Self { who, how: *how, letters: letters.to_vec() })
    }

    fn apply(&self, bits: u16, is_directory: bool) -> u16 {
        let letters = self.letters.iter().fold(0, |sum, letter| {
            sum | match letter {
                b'r' => 0o444,
                b'w' => 0o222,
                b'x' => 0o111,
                // `X` applies to directories, and to files that already have an execute bit.
                b'X' if is_directory || bits & 0o111 != 0 => 0o111,
                b's' => 0o6000,
                b't' => 0o1000,
                _ => 0,
            }
        });
        match self.how {
            b'+' => bits | letters & self.who,
            b'-' => bits & !(letters & self.who),
            // `=` can set special bits, but never clears them.
            _ => bits & !(self.who & 0o777) | letters & self.who,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_applied() {
        for (text, before, directory, want) in [
            ("644", 0, false, 0o644),
            ("0755", 0, false, 0o755),
            ("1777", 0, false, 0o1777),
            ("u+w", 0o444, false, 0o644),
            ("+x", 0o644, false, 0o755),
            ("go-rwx", 0o755, false, 0o700),
            ("a=r,u+w", 0o777, false, 0o644),
            ("go=", 0o4755, false, 0o4700),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o744, false, 0o755),
            ("a+X", 0o644, true, 0o755),
            ("u+s,o+t", 0o755, false, 0o5755),
            ("ug+s", 0o755, false, 0o6755),
            ("u-s", 0o6755, false, 0o2755),
            ("ug=rw,o=r", 0, false, 0o664),
        ] {
            let after = match Mode::parse(text).unwrap() {
                Mode::Bits(bits) => bits,
                Mode::Changes(changes) => {
                    changes.iter().fold(before, |bits, change| change.apply(bits, directory))
                }
            };
            assert_eq!(after, want, "{text} of {before:o}: {after:o}");
        }
        for text in ["", "8", "64", "00644", "999", "u", "u+q", "z+r", "u+w,", "rw", "+0644", "-1"]
        {
            assert_eq!(Mode::parse(text), None, "{text}");
        }
    }
}
