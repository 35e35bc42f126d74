//! Copies of one file from server to server with one call that tells all of it, for tests of both servers.

use std::time::Duration;

use ftp_client::file::{Relay, Side, Verify};
pub use ftp_client::fxp::Options;
use ftp_client::{Client, Error, FileOptions, Place, Reply};

/// Returns the options with this server listening.
pub fn to(listener: impl Into<Option<Side>>) -> Options {
    Options::new().listener(listener.into())
}

/// Returns the options with this server listening, without a comparison of the sizes.
pub fn only(listener: impl Into<Option<Side>>) -> Options {
    to(listener).compare_sizes(false)
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

/// Copies the file at `source_path` to `target_path`, which is another file, and is written in place.
///
/// # Errors
///
/// Returns the errors of [`Relay::attempt`].
pub fn copied(
    source: &mut Client,
    source_path: impl AsRef<[u8]>,
    target: &mut Client,
    target_path: impl AsRef<[u8]>,
    options: Options,
) -> Result<Report, Error> {
    let verify = if options.compare_sizes { Verify::IfKnown } else { Verify::None };
    let files = FileOptions::new().resume(options.resume).verify(verify);
    let mut job =
        Relay::new(Place::at(source_path.as_ref()), Place::at(target_path.as_ref()), &files)
            .listener(options.listener)
            .address(options.address)
            .in_place(true);
    let done = job.attempt(source, target, &())?;
    let (size, listener, replies) = (job.size(), job.listened(), job.replies().cloned());
    Ok(Report { offset: done.resumed, size, listener, replies, duration: done.duration })
}
