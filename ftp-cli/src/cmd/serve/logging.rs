//! What the parts of `serve` have in common where they log.

use std::io;

use crate::exit::{Exit, Failure};

/// Where the server logs, as far as it is known here what there is to say.
pub(super) const LOG: &str = "ftp_server";

/// A failure for want of a thread.
pub(super) fn no_thread(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("no thread for {what}: {error}"))
}
