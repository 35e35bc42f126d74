//! `Canceller`: how another thread stops a client.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustix::fd::{AsFd, BorrowedFd};

use crate::net::wakeup::Wakeup;

/// Stops clients from another thread, or from a handler of signals that has a thread of its own.
///
/// It is given to [`ClientBuilder::canceller`](crate::ClientBuilder::canceller), to one client or
/// to several. Once [`cancel`](Self::cancel) was called, whatever these clients wait for, a name,
/// a connection, a reply, data, ends at once with [`Error::Cancelled`](crate::Error::Cancelled),
/// and so does every later call. Only [`Download::abort`](crate::Download::abort),
/// [`Upload::abort`](crate::Upload::abort) and [`Client::quit`](crate::Client::quit) may still
/// talk to the server, for a second at most.
///
/// ```no_run
/// use ftp_client::{Canceller, Client, Error};
///
/// let canceller = Canceller::new()?;
/// let button = canceller.clone();
/// std::thread::spawn(move || {
///     // Somebody presses it.
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
    /// One that has not cancelled anything. It holds two descriptors of this process.
    ///
    /// # Errors
    ///
    /// Those of the system, which may have no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { at: OnceLock::new(), wakeup: Wakeup::new()? })))
    }

    /// Cancels, for good. May be called any number of times.
    pub fn cancel(&self) {
        let Self(inner) = self;
        if inner.at.set(Instant::now()).is_ok() {
            inner.wakeup.wake();
        }
    }

    /// Whether [`cancel`](Self::cancel) was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled_at().is_some()
    }

    pub(crate) fn cancelled_at(&self) -> Option<Instant> {
        self.0.at.get().copied()
    }
}

/// Readable once it is cancelled, for those who wait for something else at the same time. Nothing
/// is to be read from it.
impl AsFd for Canceller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wakeup.as_fd()
    }
}
