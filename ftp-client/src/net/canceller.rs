//! `Canceller`: stopping a client from another thread.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustix::fd::{AsFd, BorrowedFd};

use crate::net::wait::Wakeup;

/// A handle that stops clients from another thread, such as one that handles signals.
///
/// Pass it to [`ClientBuilder::canceller`](crate::ClientBuilder::canceller) of one or more clients.
/// After [`cancel`](Self::cancel), every wait of these clients ends at once with
/// [`Error::Cancelled`](crate::Error::Cancelled), and so does every later call. Only
/// [`Download::abort`](crate::Download::abort), [`Upload::abort`](crate::Upload::abort) and
/// [`Client::quit`](crate::Client::quit) may still talk to the server, for at most 1 s.
///
/// ```no_run
/// use ftp_client::{Canceller, Client, Error};
///
/// let canceller = Canceller::new()?;
/// let button = canceller.clone();
/// std::thread::spawn(move || {
///     // The user presses the button.
///     button.cancel();
/// });
/// let mut client = Client::builder().canceller(canceller).connect("ftp.example.org")?;
/// client.login("anonymous", "guest@")?;
/// let mut file = client.retrieve("pub/large.bin")?;
/// match std::io::copy(&mut file, &mut std::io::sink()).map_err(Error::recover) {
///     Ok(_) => println!("{} bytes", file.finish()?.bytes),
///     Err(Ok(Error::Cancelled)) => file.abort()?,
///     Err(error) => return Err(error?.into()),
/// }
/// client.quit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Canceller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    at: OnceLock<Instant>,
    wakeup: Wakeup,
}

impl Canceller {
    /// Creates a canceller, which holds two file descriptors.
    ///
    /// # Errors
    ///
    /// Returns the system's error, for example if no file descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { at: OnceLock::new(), wakeup: Wakeup::new()? })))
    }

    /// Cancels all clients of this canceller permanently. Further calls have no effect.
    pub fn cancel(&self) {
        let Self(inner) = self;
        if inner.at.set(Instant::now()).is_ok() {
            inner.wakeup.wake();
        }
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled_at().is_some()
    }

    pub(crate) fn cancelled_at(&self) -> Option<Instant> {
        self.0.at.get().copied()
    }
}

/// The descriptor becomes readable after the cancel. Callers can poll it together with other
/// descriptors, but must not read from it.
impl AsFd for Canceller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wakeup.as_fd()
    }
}
