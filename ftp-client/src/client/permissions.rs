//! Changes of permission bits, in octal digits or in the notation of chmod(1).

use ftp_proto::Permissions;

use super::Client;
use crate::Error;
use crate::listing::ListingForm;

/// A change of permission bits: new bits, or changes of the current ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PermissionChange(Change);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Change {
    Bits(u16),
    Clauses(Vec<Clause>),
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Clause {
    /// Permission bits that `u`, `g` and `o` select.
    who: u16,
    /// `+`, `-` or `=`.
    how: u8,
    /// Letters of `rwxXst`.
    letters: Vec<u8>,
}

impl PermissionChange {
    /// Parses three or four octal digits, or symbolic notation such as `u+w,go=`. Without u, g, o
    /// or a, the change applies to all, regardless of the server's umask. Returns `None` for
    /// anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(match Permissions::parse(text.as_bytes()) {
            Some(bits) => Change::Bits(bits.mode()),
            None => Change::Clauses(text.split(',').map(Clause::parse).collect::<Option<_>>()?),
        }))
    }

    fn apply(&self, bits: u16, is_directory: bool) -> u16 {
        match &self.0 {
            Change::Bits(bits) => *bits,
            Change::Clauses(clauses) => {
                clauses.iter().fold(bits, |bits, clause| clause.apply(bits, is_directory))
            }
        }
    }
}

impl Client {
    /// Changes the permission bits of the object at `path` (`SITE CHMOD`), in symbolic notation
    /// after asking for the current bits. Returns `false`, and changes nothing, if the server does
    /// not report them.
    ///
    /// # Errors
    ///
    /// Returns the server's refusal, and the errors of [`look`](Self::look) and
    /// [`chmod`](Self::chmod).
    pub fn change_permissions(
        &mut self,
        path: &[u8],
        change: &PermissionChange,
    ) -> Result<bool, Error> {
        let (mut before, mut is_directory) = (0, false);
        if let Change::Clauses(_) = change.0 {
            let mut entry = self.look(path, ListingForm::Auto)?;
            if entry.as_ref().is_some_and(|entry| entry.permissions.is_none()) {
                // On many servers, MLST reports no mode, but LIST does.
                entry = self.look(path, ListingForm::List)?;
            }
            let Some(mode) = entry.as_ref().and_then(|entry| entry.permissions) else {
                // For a missing object, this returns the server's reason.
                if entry.is_none() {
                    self.can_enter(path)?;
                }
                return Ok(false);
            };
            before = mode.mode();
            is_directory = entry.is_some_and(|entry| entry.is_dir());
        }
        self.chmod(path, Permissions::new(change.apply(before, is_directory)))?;
        Ok(true)
    }
}

impl Clause {
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
            let after = PermissionChange::parse(text).unwrap().apply(before, directory);
            assert_eq!(after, want, "{text} of {before:o}: {after:o}");
        }
        for text in ["", "8", "64", "00644", "999", "u", "u+q", "z+r", "u+w,", "rw", "+0644", "-1"]
        {
            assert_eq!(PermissionChange::parse(text), None, "{text}");
        }
    }
}
