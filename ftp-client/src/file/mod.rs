//! Transfers of whole files, with resume, checks and retries: what the options and results of
//! [`Get`](crate::Get), [`Put`](crate::Put) and [`Relay`] say.
//!
//! A job keeps the memory of its attempts, so that each begins after the bytes that are proved to be
//! right:
//!
//! ```no_run
//! use ftp_client::file::{StoreAs, TemporaryName};
//! use ftp_client::{Client, FileOptions, Place, Put};
//!
//! let mut client = Client::builder().connect("ftp.example.org")?;
//! client.login("me", "secret")?;
//! let options = FileOptions::new();
//! let mut job = Put::from_path("a.bin", Place::at("in/a.bin"), &options)
//!     .store_as(StoreAs::Under(TemporaryName::standard()));
//! let done = job.attempt(&mut client, &())?;
//! println!("{} bytes, verified: {}", done.bytes, done.verified.as_str());
//! # Ok::<(), ftp_client::Error>(())
//! ```

pub(crate) mod begin;
pub(crate) mod evidence;
pub(crate) mod get;
pub(crate) mod journal;
pub(crate) mod local;
mod moving;
pub(crate) mod options;
pub(crate) mod partial;
pub(crate) mod pieces;
pub(crate) mod put;
mod receive;
pub(crate) mod record;
pub(crate) mod relay;
pub(crate) mod retry;
pub(crate) mod segments;
mod spellings;
mod take;
pub(crate) mod targets;

pub(crate) use options::Done;
pub use options::{Existing, Left, SkipReason};
pub use put::StoreAs;
pub use relay::Relay;
pub use targets::Targets;

pub use crate::digest::{Checksum, Digest, HashAlgorithm};
pub use crate::error::fxp::Side;
pub use crate::event::{Note, Verify, Why};
#[cfg(windows)]
pub use crate::system::{OsStrExt, OsStringExt};

use ftp_proto::Pathname;

use crate::random;

/// What the names that no caller chose begin with, as in lftp's manual.
const BEFORE: &[u8] = b".in.";

/// The number of hexadecimal digits at the end of such a name.
const DIGITS: usize = 16;

/// The name of an upload until it is complete: the name of the file between two texts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TemporaryName {
    before: Vec<u8>,
    after: Vec<u8>,
    is_standard: bool,
}

impl TemporaryName {
    /// Returns `.in.*.` and 16 hexadecimal digits at random, which are others for each value: no other
    /// sender has the name.
    ///
    /// An upload that a later run may [resume](crate::FileOptions::resume) has digits by which that run
    /// finds it, as long as the local file is unchanged.
    #[must_use]
    pub fn standard() -> Self {
        let after = format!(".{:016x}", random::number());
        Self { before: BEFORE.to_vec(), after: after.into_bytes(), is_standard: true }
    }

    /// Returns `*.old.` and 16 hexadecimal digits at random, for a file that is replaced. It is a user's, so
    /// nothing may take its name for that of an upload.
    fn of_old_file() -> Self {
        let Self { after, .. } = Self::standard();
        Self { before: Vec::new(), after: [b".old", &*after].concat(), is_standard: false }
    }

    /// Parses a pattern in which `*` stands for the name of the file. Returns `None` if the pattern
    /// does not have exactly one `*`, has no other character, or has a `/`, CR, LF or NUL.
    ///
    /// If several senders store a file of one name, each needs a pattern of its own: otherwise one can
    /// write to the temporary file of another.
    #[must_use]
    pub fn parse(pattern: &[u8]) -> Option<Self> {
        let star = pattern.iter().position(|byte| *byte == b'*')?;
        let before = pattern.get(..star)?.to_vec();
        let after = pattern.get(star + 1..)?.to_vec();
        let is_valid = |byte: &u8| !matches!(byte, b'*' | b'/' | b'\r' | b'\n' | 0);
        let is_other = pattern.len() > 1;
        let is_name = before.iter().chain(&after).all(is_valid);
        (is_other && is_name).then_some(Self { before, after, is_standard: false })
    }

    /// Returns the temporary path of the file at `path`, in the same directory.
    #[must_use]
    pub fn of(&self, path: &[u8]) -> Vec<u8> {
        let (directory, name) = Pathname::split(path);
        Pathname::join(directory, &[&self.before, name, &self.after].concat())
    }

    /// Returns the temporary name that is the same in each run with the same `key`, also in two that
    /// overlap. No other sender has it.
    fn lasting(&self, name: &[u8], key: u64) -> Vec<u8> {
        match self.is_standard {
            true => Self { after: format!(".{key:016x}").into_bytes(), ..self.clone() }.of(name),
            false => self.of(name),
        }
    }

    /// Returns whether no other sender has names of this form.
    const fn is_own(&self) -> bool {
        self.is_standard
    }

    /// Returns the name of the file whose temporary name this is, in this or another run.
    pub(crate) fn file_of<'n>(&self, temporary: &'n [u8]) -> Option<&'n [u8]> {
        match self.is_standard {
            true => file_of(temporary),
            false => temporary.strip_prefix(&*self.before)?.strip_suffix(&*self.after),
        }
    }
}

/// Returns the name of the file, if this is the [standard](TemporaryName::standard) name of its upload in
/// any run.
pub(crate) fn file_of(temporary: &[u8]) -> Option<&[u8]> {
    let (name, digits) = temporary.strip_prefix(BEFORE)?.split_last_chunk::<DIGITS>()?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let name = name.strip_suffix(b".")?;
    (digits.iter().all(is_digit) && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_knows_the_temporary_names_of_all_runs() {
        let [one, other] = [TemporaryName::standard(), TemporaryName::standard()];
        for name in [&b"a"[..], b".in.a.0123456789abcdef", b"\xff."] {
            let path = [b"d/", name].concat();
            let temporary = one.of(&path);
            let (directory, own) = Pathname::split(&temporary);
            assert_eq!(
                (directory, other.file_of(own), file_of(own)),
                (&b"d"[..], Some(name), Some(name))
            );
            assert_ne!(temporary, other.of(&path));
            assert_eq!(one.lasting(name, 7), other.lasting(name, 7));
            assert_eq!(file_of(&one.lasting(name, 7)), Some(name));
        }
        let old = TemporaryName::of_old_file().of(b"d/a");
        assert!(old.starts_with(b"d/a.old.") && file_of(&old["d/".len()..]).is_none(), "{old:?}");
        for name in [
            ".in.a",
            ".in..0123456789abcdef",
            ".in.a.0123456789abcde",
            ".in.a0123456789abcdef",
            ".in.a.0123456789ABCDEF",
            "in.a.0123456789abcdef",
            "",
        ] {
            assert_eq!(file_of(name.as_bytes()), None, "{name}");
        }
        let typed = TemporaryName::parse(b".in.*").unwrap();
        assert_eq!(
            (typed.of(b"a"), typed.lasting(b"a", 7)),
            (b".in.a".to_vec(), b".in.a".to_vec())
        );
        assert_eq!(typed.file_of(b".in.a.b"), Some(&b"a.b"[..]));
    }
}
