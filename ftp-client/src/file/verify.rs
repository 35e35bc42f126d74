//! Compares sizes and digests of a local file with those of the server's file.

use std::fs::File;
use std::time::Duration;

use ftp_proto::{Reply, Severity};

use super::checksum::Checksum;
use super::evidence::Asked;
use super::options::Verify;
use crate::client::Client;
use crate::digest::Digest;
use crate::error::{Error, JobFault, Phase};

/// The pause before a digest is asked for again, after a 450.
const PAUSE: Duration = Duration::from_secs(1);

/// Returns a new checksum for [`Verify::Digest`], with the first algorithm that the server lists
/// and this library computes.
///
/// # Errors
///
/// Returns [`Error::Unsupported`] if there is no such algorithm, and the errors of the client.
pub(crate) fn checksum(client: &mut Client) -> Result<Checksum, Error> {
    Checksum::for_server(client)?
        .ok_or(Error::Unsupported("the server offers no digest that this program supports"))
}

/// Compares the number of bytes with the size that the server reports, as `verify` demands.
///
/// # Errors
///
/// Returns [`Error::Incomplete`] if the size differs. With [`Verify::Size`], also returns
/// [`Error::Unsupported`] if the server does not report the size, and the errors of the client.
/// Replies out of step are always an error, because the confirmation counts no more.
pub(crate) fn check_size(
    client: &mut Client,
    path: &[u8],
    bytes: u64,
    verify: Verify,
) -> Result<Verify, Error> {
    let size = match (verify, client.size(path)) {
        (Verify::None, _) => None,
        (_, Ok(Some(size))) => Some(size),
        (_, Err(error)) if error.is_out_of_step() => return Err(error),
        (Verify::Size, Ok(None)) => client.stat(path)?.and_then(|entry| entry.size),
        (Verify::Size, Err(error)) => return Err(error),
        // The server confirmed the transfer; a failure of SIZE does not change that.
        (Verify::IfKnown | Verify::Digest, _) => None,
    };
    match size {
        Some(size) if size != bytes => Err(Error::Incomplete { bytes, announced: Some(size) }),
        Some(_) => Ok(Verify::Size),
        None if verify == Verify::Size => {
            Err(Error::Unsupported("the server does not report the size of the file"))
        }
        None => Ok(Verify::None),
    }
}

/// The result of the comparison of two digests.
#[derive(Debug)]
pub(crate) enum Compared {
    Equal,
    Differs {
        here: Digest,
        there: Digest,
    },
    /// The server does not compute the digest, or not in time.
    NoAnswer(Error),
}

impl Compared {
    /// Returns the comparison as evidence.
    pub(crate) const fn asked(&self) -> Asked {
        match self {
            Self::Equal => Asked::Equal,
            Self::Differs { .. } => Asked::Differs,
            Self::NoAnswer(_) => Asked::NoAnswer,
        }
    }

    /// Returns whether the digest proves the file; a difference is an error.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Mismatch`] if the digests differ. If `demands` is set, also returns the
    /// reason if the server does not compute the digest.
    pub(crate) fn proves(self, demands: bool) -> Result<bool, Error> {
        match self {
            Self::Equal => Ok(true),
            Self::Differs { here, there } => Err(Error::Mismatch { here, there }),
            Self::NoAnswer(error) if demands => Err(error),
            Self::NoAnswer(_) => Ok(false),
        }
    }
}

/// Compares the server's digest of the file at `path` with `here`. A server that is busy (450) is
/// asked again until the [final reply](crate::Timeouts::final_reply) would time out.
///
/// # Errors
///
/// Returns [`Error::Cancelled`], an overall [`Error::Timeout`], and the error of replies that are out
/// of step. After other errors there is no
/// answer, although the connection may be closed.
pub(crate) fn compare_digest(
    client: &mut Client,
    path: &[u8],
    here: Digest,
) -> Result<Compared, Error> {
    let algorithm = here.algorithm;
    compare(client, here, |client| client.hash(path, Some(algorithm)))
}

/// Compares the server's digest of the first `length` bytes of the file at `path` with those of a
/// local file. `size` is the size of the server's file, if known.
///
/// # Errors
///
/// Returns the errors of [`compare_digest`], and [`Error::Local`] if the local file cannot be read.
pub(crate) fn compare_first(
    client: &mut Client,
    path: &[u8],
    (file, length): (&File, u64),
    size: Option<u64>,
) -> Result<Compared, Error> {
    let is_whole = size == Some(length);
    let checksum = Checksum::for_server(client)?.filter(|_| length > 0);
    let (Some(mut checksum), true) = (checksum, is_whole || client.can_hash_ranges()?) else {
        return Ok(Compared::NoAnswer(Error::Unsupported("the server offers no suitable digest")));
    };
    checksum.update_from(file, length).map_err(Error::Local)?;
    let here = checksum.finish();
    let algorithm = here.algorithm;
    compare(client, here, |client| match is_whole {
        true => client.hash(path, Some(algorithm)),
        false => client.hash_first(path, algorithm, length),
    })
}

fn compare(
    client: &mut Client,
    here: Digest,
    mut ask: impl FnMut(&mut Client) -> Result<Digest, Error>,
) -> Result<Compared, Error> {
    let deadline = client.control.deadline(client.config.timeouts.final_reply, Phase::FinalReply);
    loop {
        let error = match ask(client) {
            Ok(there) if there.bytes == here.bytes => return Ok(Compared::Equal),
            Ok(there) => return Ok(Compared::Differs { here, there }),
            Err(error @ (Error::Cancelled | Error::Timeout(Phase::Overall))) => return Err(error),
            Err(error) if error.is_out_of_step() => return Err(error),
            Err(error) => error,
        };
        let is_busy = matches!(&error, Error::Refused(_, reply)
            if reply.code().severity() == Severity::Transient);
        if !is_busy || deadline.remaining().is_ok_and(|left| left < PAUSE) {
            return Ok(Compared::NoAnswer(error));
        }
        if !client.control.waiter().pause(PAUSE)? {
            return Ok(Compared::NoAnswer(error));
        }
        if deadline.remaining().is_err() {
            return Ok(Compared::NoAnswer(error));
        }
    }
}

/// Judges whether a source may go after its copy of `length` bytes. `size` is that of the server's
/// file, which is the source or the copy; `is_same` says whether its known facts are those that were
/// noted, and `is_timed` whether its time is known as far as it is needed. Only facts that come from
/// one command are compared in full: a listing can round the time that `MDTM` reports.
pub(crate) fn prove_copy(
    size: Option<u64>,
    length: u64,
    is_same: bool,
    is_timed: bool,
) -> Result<(), JobFault> {
    match size {
        None => Err(JobFault::NotMoved("size")),
        Some(size) if size != length || !is_same => Err(JobFault::ChangedMeanwhile),
        Some(_) if !is_timed => Err(JobFault::NotMoved("modification time")),
        Some(_) => Ok(()),
    }
}

/// Returns whether a confirmation speaks of a transfer that did not succeed.
pub(super) fn is_doubtful(reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    [&b"aborted"[..], b"incomplete", b"not complete", b"failed"]
        .iter()
        .any(|word| text.windows(word.len()).any(|part| part == *word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_goes_only_if_all_facts_of_its_copy_are_proved() {
        for size in [None, Some(8), Some(9)] {
            for (is_same, is_timed) in [(true, true), (true, false), (false, true), (false, false)]
            {
                let want = match (size, is_same, is_timed) {
                    (None, ..) => Some("size"),
                    (Some(8), ..) | (_, false, _) => Some(""),
                    (_, true, false) => Some("modification time"),
                    (_, true, true) => None,
                };
                let found = match prove_copy(size, 9, is_same, is_timed) {
                    Ok(()) => None,
                    Err(JobFault::NotMoved(what)) => Some(what),
                    Err(JobFault::ChangedMeanwhile) => Some(""),
                    Err(fault) => panic!("{fault:?}"),
                };
                assert_eq!(found, want, "{size:?} {is_same} {is_timed}");
            }
        }
    }
}
