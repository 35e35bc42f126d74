//! Copies of one file from server to server with one call, for tests of both servers.

use std::time::Duration;

use ftp_client::file::{Relay, Side, Verify};
use ftp_client::{AddressRule, Client, Error, FileOptions, Place, Reply, Resume};

/// How a copy is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    listener: Option<Side>,
    resume: Resume,
    address: AddressRule,
    verify: Verify,
}

impl Options {
    /// Returns the way with this server listening.
    pub fn to(listener: impl Into<Option<Side>>) -> Self {
        let (resume, address, verify) = (Resume::Own, AddressRule::Peer, Verify::IfKnown);
        Self { listener: listener.into(), resume, address, verify }
    }

    /// Returns the way with this server listening, without a comparison of the sizes.
    pub fn only(listener: impl Into<Option<Side>>) -> Self {
        Self::to(listener).verify(Verify::None)
    }

    /// Sets what a resume may rely on.
    #[must_use]
    pub fn resume(self, resume: Resume) -> Self {
        Self { resume, ..self }
    }

    /// Sets the host to which one server must connect.
    #[must_use]
    pub fn address(self, address: AddressRule) -> Self {
        Self { address, ..self }
    }

    /// Sets how the result is verified.
    #[must_use]
    pub fn verify(self, verify: Verify) -> Self {
        Self { verify, ..self }
    }
}

/// What a copy says after its success.
#[derive(Debug)]
pub struct Report {
    /// Where the copy began, in bytes.
    pub offset: u64,
    /// The size of both files, if it is known.
    pub size: Option<u64>,
    /// The server that listened, if anything was transferred.
    pub listener: Option<Side>,
    /// The final replies of the source and of the target.
    pub replies: Option<[Reply; 2]>,
    /// The time that the copy took.
    pub duration: Duration,
}

/// Copies the file at `source_path` to `target_path`, which is another file.
///
/// # Errors
///
/// Returns the errors of [`Relay::attempt`].
pub fn transfer(
    source: &mut Client,
    source_path: &str,
    target: &mut Client,
    target_path: &str,
    options: Options,
) -> Result<Report, Error> {
    let files = FileOptions::new().resume(options.resume).verify(options.verify);
    let mut job = Relay::new(Place::at(source_path), Place::at(target_path), &files)
        .listener(options.listener)
        .address(options.address)
        .apart(true);
    let done = job.attempt(source, target, &())?;
    let (size, listener, replies) = (job.size(), job.listened(), job.replies().cloned());
    Ok(Report { offset: done.resumed, size, listener, replies, duration: done.duration })
}
