//! Counts what a run does about replies that are out of step with commands.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ftp_client::Error;

use crate::exit::{Exit, Failure};

/// The number of times that one run reconnects because replies were out of step.
const MOST: u32 = 3;

/// The reconnects of one run, shared by its threads, and whether a session ended with a reply that
/// was never read.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    reconnects: AtomicU32,
    was_unread: AtomicBool,
}

impl Replies {
    /// Returns whether one more connection may replace one whose replies were out of step, and
    /// counts it.
    pub(crate) fn may_reconnect(&self) -> bool {
        self.reconnects.fetch_add(1, Ordering::Relaxed) < MOST
    }

    /// Notes the result of QUIT.
    pub(crate) fn note_quit(&self, result: &Result<(), Error>) {
        if result.as_ref().is_err_and(Error::is_out_of_step) {
            self.was_unread.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the failure of a run that seemed to succeed.
    ///
    /// # Errors
    ///
    /// Returns `Integrity` if a session ended with a reply that was never read.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.was_unread.load(Ordering::Relaxed) {
            true => {
                let message = "the server sent more replies than commands, so what it confirmed \
                               may have failed; check the result, or use --verify size";
                Err(Failure::new(Exit::Integrity, message).never_retried())
            }
            false => Ok(()),
        }
    }
}
